// The sketchpad: strokes kept as points, so that undo, redo and clear are exact. Runs after
// answer.js, in the same scope.

const MID_STROKE = 100; // milliseconds between questions while the pen is down
const INK = "#16213a";
const pad = $("canvas");
const ink = pad.getContext("2d", { willReadFrequently: true });
const width = $("[name=width]");
const button = Object.fromEntries([...element.querySelectorAll("button[name]")].map((b) => [b.name, b]));
let marks = []; // what was done, in order: strokes, pictures, clearings
let undone = [];
let stroke = null; // the one under the pen
let waiting = false; // for the answer to a question asked in mid-stroke
let asked = 0; // when that was, in milliseconds

// Drawing. A stroke is a chain of quadratic curves through the midpoints of its points.

function drawSegment({ points, width, erase, ended }, index) {
  const [here, before = here, earlier = before] = [0, 1, 2].map((back) => points[index - back]);
  ink.globalCompositeOperation = erase ? "destination-out" : "source-over";
  ink.strokeStyle = INK;
  ink.lineWidth = width;
  ink.lineCap = ink.lineJoin = "round";
  ink.beginPath();
  ink.moveTo((earlier.x + before.x) / 2, (earlier.y + before.y) / 2);
  ink.quadraticCurveTo(before.x, before.y, (before.x + here.x) / 2, (before.y + here.y) / 2);
  if (index === 0 || (ended && index === points.length - 1)) ink.lineTo(here.x, here.y);
  ink.stroke();
}

function draw(mark) {
  if (mark.clear) ink.clearRect(0, 0, pad.width, pad.height);
  ink.globalCompositeOperation = "source-over";
  if (mark.picture) ink.drawImage(mark.picture, 0, 0);
  mark.points?.forEach((_, index) => drawSegment(mark, index));
}

function redraw() {
  ink.clearRect(0, 0, pad.width, pad.height);
  marks.forEach(draw);
}

function isBlank() {
  const cleared = marks.findLastIndex((mark) => mark.clear);
  return !marks.slice(Math.max(cleared, 0)).some((mark) => mark.picture || (mark.points && !mark.erase));
}

// Every change of the drawing ends here.
function settle() {
  button.undo.disabled = !marks.length;
  button.redo.disabled = !undone.length;
  button.clear.disabled = isBlank();
  element.toggleAttribute("data-marked", !isBlank());
  if (isBlank()) forget();
  else ask(pad.toDataURL("image/png"));
}

function add(mark) {
  marks.push(mark);
  undone = [];
  redraw();
  settle();
}

function undo() {
  if (stroke || !marks.length) return;
  undone.push(marks.pop());
  redraw();
  settle();
}

function redo() {
  if (stroke || !undone.length) return;
  marks.push(undone.pop());
  redraw();
  settle();
}

function clear() {
  if (!stroke && !isBlank()) add({ clear: true });
}

// The pen: mouse, stylus or finger, one at a time.

function pointOf(event) {
  const box = pad.getBoundingClientRect();
  return {
    x: ((event.clientX - box.left) / box.width) * pad.width,
    y: ((event.clientY - box.top) / box.height) * pad.height,
  };
}

function extend(event) {
  stroke.points.push(pointOf(event));
  drawSegment(stroke, stroke.points.length - 1);
}

async function askMidStroke() {
  if (waiting || performance.now() - asked < MID_STROKE) return;
  waiting = true;
  asked = performance.now();
  await ask(pad.toDataURL("image/png"));
  waiting = false;
}

pad.addEventListener("pointerdown", (event) => {
  if (stroke || event.button > 0 && event.button !== 5) return;
  pad.setPointerCapture(event.pointerId);
  const erase = chosen() === "eraser" || event.button === 5; // a stylus turned round
  stroke = { id: event.pointerId, points: [], width: Number(width.value), erase };
  asked = performance.now();
  element.setAttribute("data-marked", "");
  extend(event);
});

pad.addEventListener("pointermove", (event) => {
  if (stroke?.id !== event.pointerId) return;
  const events = event.getCoalescedEvents?.() ?? [];
  for (const each of events.length ? events : [event]) extend(each);
  if (!isBlank() || !stroke.erase) askMidStroke();
});

function lift(event) {
  if (stroke?.id !== event.pointerId) return;
  const mark = { ...stroke, ended: true };
  stroke = null;
  add(mark);
}
pad.addEventListener("pointerup", lift);
pad.addEventListener("pointercancel", lift);
pad.addEventListener("lostpointercapture", lift);

// Tools.

function chosen() {
  return button.eraser.getAttribute("aria-pressed") === "true" ? "eraser" : "pen";
}

function choose(tool) {
  button.pen.setAttribute("aria-pressed", tool === "pen");
  button.eraser.setAttribute("aria-pressed", tool === "eraser");
  element.dataset.tool = tool;
}

function showWidth() {
  element.style.setProperty("--pen", width.value / pad.width);
}

button.pen.addEventListener("click", () => choose("pen"));
button.eraser.addEventListener("click", () => choose("eraser"));
button.undo.addEventListener("click", undo);
button.redo.addEventListener("click", redo);
button.clear.addEventListener("click", clear);
width.addEventListener("input", showWidth);

document.addEventListener("keydown", (event) => {
  if (!visible() || event.altKey || event.target.matches?.("textarea, [type=text]")) return;
  const key = event.key.toLowerCase();
  const command = event.ctrlKey || event.metaKey;
  const shortcuts = command
    ? { z: event.shiftKey ? redo : undo, y: redo }
    : {
        p: () => choose("pen"),
        e: () => choose("eraser"),
        c: clear,
        "[": () => { width.stepDown(4); showWidth(); },
        "]": () => { width.stepUp(4); showWidth(); },
      };
  // Plain letters only while the focus is in here, so that they stay free elsewhere.
  if (!shortcuts[key] || !(command || element.contains(document.activeElement))) return;
  event.preventDefault();
  shortcuts[key]();
});

// Examples: dark pixels become ink, the rest stays transparent.

element.querySelectorAll(".examples button").forEach((example) =>
  example.addEventListener("click", async () => {
    const picture = await createImageBitmap(await (await fetch(example.dataset.file)).blob());
    const scale = Math.min(pad.width / picture.width, pad.height / picture.height);
    const layer = Object.assign(document.createElement("canvas"), { width: pad.width, height: pad.height });
    const context = layer.getContext("2d");
    const [w, h] = [picture.width * scale, picture.height * scale];
    context.drawImage(picture, (pad.width - w) / 2, (pad.height - h) / 2, w, h);
    const pixels = context.getImageData(0, 0, pad.width, pad.height);
    for (let i = 0; i < pixels.data.length; i += 4) {
      const [red, green, blue, alpha] = pixels.data.subarray(i, i + 4);
      const light = 0.299 * red + 0.587 * green + 0.114 * blue;
      pixels.data.set([0x16, 0x21, 0x3a, alpha * (1 - light / 255)], i);
    }
    context.putImageData(pixels, 0, 0);
    add({ clear: true, picture: layer });
  }),
);

choose("pen");
showWidth();
