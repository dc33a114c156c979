// Loads Python and the reader, then answers pictures. Each message to it is { name, content, digits },
// as lenet_digits/demo/browser.py takes them; its own are [kind, value], for engine-browser.js. SITE, which says where the
// files are and what they must be, is written before this when the site is made.

const NO_MEMORY = "This browser has no memory left for Python. Close other tabs, then reload the page.";
const NO_ANSWER = "Python failed at this picture; the browser's console says how.";

class Failure extends Error {} // its message is a sentence for the visitor

function tell(kind, value) {
  postMessage([kind, value]);
}

function failed(error) {
  const memory = error instanceof RangeError || /memory/i.test(error.message);
  const other = `Python could not be started: ${String(error.message).trim().split("\n").at(-1)}`;
  tell("failure", error instanceof Failure ? error.message : memory ? NO_MEMORY : other);
}

// Files. Each is taken from the browser's store or from its address, and must be what SITE says.

const sizes = new Map(SITE.files.map(({ name, bytes }) => [name, bytes]));
const received = new Map();

function showProgress() {
  let [done, all] = [0, 0];
  for (const [name, bytes] of sizes) {
    all += bytes;
    done += Math.min(bytes, received.get(name) ?? 0);
  }
  const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
  const text = `Loading Python: ${megabytes(done)} of about ${megabytes(all)} MB`;
  tell("loading", done < all ? { text, share: done / all } : { text: "Starting Python…", share: null });
}

const fetchFile = globalThis.fetch;

async function load(file) {
  const url = new URL(file.url, location).href;
  // The service worker keeps the site's own files.
  const store = file.name === SITE.reader ? null : await openStore();
  const kept = await store?.match(url);
  const bytes = await bytesOf(kept ?? (await request(file, url)), file);
  if (!(await isRight(bytes, file))) {
    await store?.delete(url);
    throw new Failure(
      `The file ${file.name} is damaged, or not the one that this page needs. Reload the page.`);
  }
  // A browser that stores nothing, or has no room, loads the file again next time.
  if (!kept) await store?.put(url, new Response(bytes)).catch(() => {});
  received.set(file.name, Infinity);
  showProgress();
  return bytes;
}

function openStore() {
  const name = `${new URL(".", location).href}#${SITE.store}`;
  return globalThis.caches?.open(name).catch(() => null);
}

async function request(file, url) {
  const place = new URL(url).host;
  const hashes = Boolean(globalThis.crypto?.subtle); // without https there are none: see isRight
  const integrity = hashes ? "" : `sha256-${file.sha256}`;
  // "no-cache": an earlier release may have had another file of this name.
  const response = await fetchFile(url, { cache: "no-cache", integrity }).catch(() => {
    const what = hashes ? place : `${place} or an undamaged ${file.name}`;
    throw new Failure(`${what} cannot be reached. Check the connection, then reload the page.`);
  });
  if (!response.ok)
    throw new Failure(
      `${place} answers with the error ${response.status} for ${file.name}. Try again later.`);
  return response;
}

async function bytesOf(response, file) {
  const chunks = [];
  let count = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read().catch(() => {
      throw new Failure(`The connection broke off at ${file.name}. Reload the page.`);
    });
    if (done) break;
    chunks.push(value);
    count += value.length;
    received.set(file.name, count);
    showProgress();
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

// Without https a browser offers no hashes; there it checked them itself as `request` asked it to.
async function isRight(bytes, file) {
  if (!globalThis.crypto?.subtle) return true;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return btoa(String.fromCharCode(...digest)) === file.sha256;
}

// Python. It starts while files still arrive. Pyodide asks for them by address, and gets these: no
// other request leaves the worker.

async function start() {
  const files = new Map(SITE.files.map((file) => [file.name, load(file)]));
  const answer = startPython(files);
  await Promise.all([...files.values(), answer]); // what fails first says why
  return answer;
}

async function startPython(files) {
  files.set("pyodide-lock.json", new TextEncoder().encode(JSON.stringify(SITE.lock)));
  globalThis.fetch = async (address) => {
    const bytes = await files.get(String(address).split("/").at(-1));
    if (!bytes) throw new TypeError(`${address} is not part of this page`);
    const type = String(address).endsWith(".wasm") ? "application/wasm" : "application/zip";
    return new Response(bytes, { headers: { "content-type": type } });
  };
  // Pyodide would log a failure and wait for ever.
  const instantiate = WebAssembly.instantiateStreaming;
  WebAssembly.instantiateStreaming = (...args) =>
    instantiate(...args).catch((error) => {
      failed(error);
      throw error;
    });

  async function script(name) {
    const blob = new Blob([await files.get(name)], { type: "text/javascript" });
    return import(URL.createObjectURL(blob));
  }
  const core = [...files.keys()].find((name) => /^pyodide\.asm\.m?js$/.test(name));
  const [{ loadPyodide }, { default: createPyodideModule }] =
    await Promise.all([script("pyodide.mjs"), script(core)]);
  const python = await loadPyodide({
    indexURL: new URL(".", location).href,
    packages: Object.keys(SITE.lock.packages),
    createPyodideModule,
  });
  python.unpackArchive(await files.get(SITE.reader), "zip");
  files.clear();
  const { answer } = python.pyimport("lenet_digits.demo.browser");
  return ({ name, content, digits = {} }) => {
    const view = python.toPy(content);
    try {
      return JSON.parse(answer(name, view, JSON.stringify(digits)));
    } finally {
      view.destroy();
    }
  };
}

const started = start();

onmessage = async ({ data }) => {
  const answer = await started;
  try {
    tell("answer", answer(data));
  } catch (error) {
    console.error(error);
    if (error.pyodide_fatal_error) failed(error);
    else tell("answer", { verdict: "problem", headline: "No answer", note: NO_ANSWER });
  }
};

started.then(() => tell("ready"), failed);
