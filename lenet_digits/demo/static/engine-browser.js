// Reads pictures in this browser, with the Python code that the server runs. A worker loads that
// code (see worker.js), so that the page can be drawn on meanwhile.

const NO_WORKER =
  "Python cannot run here. Reload the page, or use a current version of Chrome, Edge, Firefox or Safari.";
const NO_FILE = "This file cannot be read. Choose it again.";
const NOT_YET = "This is read as soon as the page has loaded Python.";

// `worker`: address of the worker's script. `limit`: bytes that a picture may have. `onState` is
// told how far loading is: { text, share }, where the share is 1 at the end, and null while nobody
// can tell. After a failure there is no share, and the text says what is wrong.
function makeBrowserEngine({ worker: address, limit, onState }) {
  const engine = { read, inside, kernels, limit, notYet: NOT_YET };
  const waiting = []; // questions, oldest first; the worker has the first of them while `busy`
  let worker = null;
  let ready = false;
  let busy = false;
  let failure = "";

  // `picture`: a Blob. Resolves to a reply; rejects where a newer question takes its place.
  async function read(picture, signal) {
    const content = await picture.arrayBuffer().catch(() => null);
    return content ? ask({ name: "read", content }, signal) : problem(NO_FILE);
  }

  // What the panel asks for: see makeInside.
  function inside(canvas, digits) {
    return ask({ name: "inside", content: bytes(canvas.split(",")[1]).buffer, digits });
  }

  function kernels() {
    return ask({ name: "kernels", content: new ArrayBuffer(0) });
  }

  function ask(message, signal) {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const question = { message, resolve, left: false };
      signal?.addEventListener("abort", () => {
        question.left = true;
        reject(signal.reason);
      });
      waiting.push(question);
      next();
    });
  }

  function next() {
    if (failure) {
      for (const { resolve } of waiting.splice(0)) resolve(problem(failure));
      return;
    }
    if (!ready || busy) return;
    const at = waiting.findIndex(({ left }) => !left);
    waiting.splice(0, at < 0 ? waiting.length : at);
    if (!waiting.length) return;
    busy = true;
    const [{ message }] = waiting;
    worker.postMessage(message, [message.content]);
  }

  function fail(sentence) {
    failure ||= sentence;
    worker?.terminate();
    engine.notYet = "";
    onState({ text: failure });
    next();
  }

  function problem(sentence) {
    return { verdict: "problem", headline: "No answer", note: sentence };
  }

  const on = {
    loading: onState,
    ready() {
      ready = true;
      engine.notYet = "";
      onState({ text: "", share: 1 });
      next();
    },
    answer(reply) {
      busy = false;
      waiting.shift().resolve(reply);
      next();
    },
    failure: fail,
  };

  function start() {
    if (!globalThis.Worker || !globalThis.WebAssembly) return fail(NO_WORKER);
    try {
      worker = new Worker(address, { type: "module" });
    } catch {
      return fail(NO_WORKER);
    }
    worker.onmessage = ({ data: [kind, value] }) => on[kind](value);
    worker.onerror = () => fail(NO_WORKER);
    return undefined;
  }

  start();
  return engine;
}
