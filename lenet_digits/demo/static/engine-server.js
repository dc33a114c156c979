// Sends pictures to the server that serves this page. The page without a server has another engine
// (engine-browser.js) with the same members, and `notYet`, a sentence while it is not ready.

const BUSY_PATIENCE = 1000; // milliseconds before a busy server is asked again
const TRIES = 3;

function makeServerEngine(limit) {
  const folder = location.href.replace(/[?#].*/, "").replace(/[^/]*$/, "");

  // `picture`: a Blob. Resolves to a reply; throws where the server does not answer.
  function read(picture, signal) {
    return post("read?pictures=1", picture, signal);
  }

  // What the panel asks for: see makeInside.
  async function inside(canvas, question) {
    return post(`inside?${new URLSearchParams(question)}`, new Blob([bytes(canvas.split(",")[1])]));
  }

  async function kernels() {
    return (await fetch(new URL("inside", folder))).json();
  }

  async function post(address, picture, signal) {
    for (let tries = 1; ; tries++) {
      const response = await fetch(new URL(address, folder), {
        method: "POST",
        body: picture,
        headers: { "content-type": picture.type || "application/octet-stream" },
        signal,
      });
      const reply = await response.json();
      if (response.ok) return reply;
      if (response.status !== 503 || tries === TRIES)
        return { verdict: "problem", headline: "No answer", note: reply.detail };
      await new Promise((resolve) => setTimeout(resolve, tries * BUSY_PATIENCE));
    }
  }

  return { read, inside, kernels, limit };
}
