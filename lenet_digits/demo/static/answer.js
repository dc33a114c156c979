// Asks the server about a picture and shows what it answers. Runs first in both tabs; knows
// nothing of how the picture came about. `element`, `props` and `server` are Gradio's.

const $ = (selector) => element.querySelector(selector);
const answer = $(".answer");
const bars = [...element.querySelectorAll(".bars li")];
let latest = 0; // questions asked so far; only the answer to this one is ever shown

// `image`: a data URL, or a promise of one. Resolves to the reply if it was shown, else undefined.
async function ask(image) {
  const question = ++latest;
  answer.dataset.asking = "";
  let reply;
  try {
    reply = await server.read(await image);
  } catch {
    // Gradio throws, or answers undefined, when the server does not.
  }
  reply ??= problem("The server does not answer. Check the connection, then try again.");
  if (question !== latest) return undefined;
  show(reply);
  return reply;
}

function forget() {
  latest++;
  show(props.nothing);
}

function refuse(sentence) {
  latest++;
  show(problem(sentence));
}

function problem(sentence) {
  return { verdict: "problem", headline: "No answer", note: sentence };
}

function show(reply) {
  delete answer.dataset.asking;
  answer.dataset.verdict = reply.verdict;
  say($(".headline"), reply.headline);
  say($(".note"), reply.note);
  bars.forEach((bar, digit) => {
    const share = reply.probabilities?.[digit] ?? 0;
    const meter = bar.querySelector("[role=meter]");
    const words = reply.shares?.[digit] ?? "";
    meter.setAttribute("aria-valuenow", (100 * share).toFixed(1));
    meter.setAttribute("aria-valuetext", words || "no answer");
    meter.firstElementChild.style.width = `${100 * share}%`;
    bar.querySelector(".share").textContent = words;
    bar.toggleAttribute("data-winner", digit === reply.digit);
  });
  const canvas = $("img.canvas");
  canvas.alt = reply.canvas ? "The 28 by 28 canvas given to the network" : "";
  if (reply.canvas) canvas.src = reply.canvas;
  else canvas.removeAttribute("src");
  $(".steps").hidden = !reply.steps;
  $(".steps ol").replaceChildren(
    ...(reply.steps ?? []).map(({ name, about, image }) => {
      const step = document.createElement("li");
      step.innerHTML = "<img><strong></strong> <span></span>";
      Object.assign(step.querySelector("img"), { src: image, alt: "" });
      step.querySelector("strong").textContent = name;
      step.querySelector("span").textContent = about;
      return step;
    }),
  );
  say($(".discarded"), reply.discarded ?? "");
}

// A screen reader announces a status when its text changes: leave it alone when it does not.
function say(place, words) {
  if (place.textContent !== words) place.textContent = words;
}

function visible() {
  return element.offsetParent !== null;
}

function readAsDataURL(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

forget();
