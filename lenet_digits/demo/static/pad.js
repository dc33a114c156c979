// The sketchpad. Strokes are kept as points, so that undo, redo and clear are exact. A stroke's
// coordinates are in units of 1/560 of the pad's height, with x = 0 in its middle, so that a
// drawing stays when the window changes its shape.

const HEIGHT = 560; // units of the pad's height
const SENT = 280; // pixels of the pad's height in the picture that is sent
const MARGIN = 14; // pixels of transparent margin around it, 5 %: ink at the edge stays ink
const GRID = 28; // steps of the keyboard's pen over the height of the pad
const MID_STROKE = 100; // milliseconds between questions while the pen is down
const INK = "#16213a";
const PAPER = 0.15; // share of the way from paper to ink up to which an example's pixel is paper

function makePad(element, engine) {
  const $ = (selector) => element.querySelector(selector);
  const pad = $("canvas");
  const ink = pad.getContext("2d", { willReadFrequently: true });
  const width = $("[name=width]");
  const button = Object.fromEntries(
    [...element.querySelectorAll(".source button[name]")].map((b) => [b.name, b]));
  const answer = makeAnswer(element, engine, { nothing: "Nothing drawn yet", onBoxes: showBoxes });
  let marks = []; // what was done, in order: strokes, pictures, clearings
  let undone = [];
  let stroke = null; // the one under the pen
  let waiting = false; // for the answer to a question asked in mid-stroke
  let asked = 0; // when that was, in milliseconds
  let rest = 0; // timer: the pen has not moved for a while

  // Drawing. A stroke is a chain of quadratic curves through the midpoints of its points.

  function drawSegment(context, { points, width, erase, ended }, index) {
    const [here, before = here, earlier = before] = [0, 1, 2].map((back) => points[index - back]);
    context.globalCompositeOperation = erase ? "destination-out" : "source-over";
    context.strokeStyle = INK;
    context.lineWidth = width;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo((earlier.x + before.x) / 2, (earlier.y + before.y) / 2);
    context.quadraticCurveTo(before.x, before.y, (before.x + here.x) / 2, (before.y + here.y) / 2);
    if (index === 0 || (ended && index === points.length - 1)) context.lineTo(here.x, here.y);
    context.stroke();
  }

  function drawAll(context, scale, across, down) {
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, context.canvas.width, context.canvas.height);
    context.setTransform(scale, 0, 0, scale, across, down);
    const cleared = marks.findLastIndex((mark) => mark.clear);
    for (const mark of marks.slice(Math.max(cleared, 0))) {
      context.globalCompositeOperation = "source-over";
      if (mark.picture) context.drawImage(mark.picture, -HEIGHT / 2, 0, HEIGHT, HEIGHT);
      mark.points?.forEach((_, index) => drawSegment(context, mark, index));
    }
    stroke?.points.forEach((_, index) => drawSegment(context, stroke, index));
  }

  function redraw() {
    const scale = pad.height / HEIGHT;
    drawAll(ink, scale, pad.width / 2, 0);
  }

  // The drawing as it is sent: SENT pixels high, transparent, with a margin.
  function picture() {
    const scale = SENT / HEIGHT;
    const across = Math.round((SENT * pad.width) / pad.height);
    const sheet = Object.assign(document.createElement("canvas"), {
      width: across + 2 * MARGIN,
      height: SENT + 2 * MARGIN,
    });
    const context = sheet.getContext("2d");
    drawAll(context, scale, MARGIN + across / 2, MARGIN);
    return new Promise((resolve) => sheet.toBlob(resolve, "image/png"));
  }

  // Boxes come as shares of the picture that was sent, margin included.
  function showBoxes(boxes, chosen) {
    const across = Math.round((SENT * pad.width) / pad.height);
    const [wide, high] = [across + 2 * MARGIN, SENT + 2 * MARGIN];
    const place = (share, size, inner) => `${((share * size - MARGIN) / inner) * 100}%`;
    $(".boxes").replaceChildren(
      ...(boxes.length < 2 ? [] : boxes).map(([left, top, right, bottom], index) => {
        const box = document.createElement("i");
        Object.assign(box.style, {
          left: place(left, wide, across),
          top: place(top, high, SENT),
          width: `${(((right - left) * wide) / across) * 100}%`,
          height: `${(((bottom - top) * high) / SENT) * 100}%`,
        });
        box.toggleAttribute("data-chosen", index === chosen);
        return box;
      }),
    );
  }

  function isBlank() {
    const cleared = marks.findLastIndex((mark) => mark.clear);
    return !marks.slice(Math.max(cleared, 0)).some((m) => m.picture || (m.points && !m.erase));
  }

  // Whether the eraser has left any ink.
  function isErased() {
    const { data } = ink.getImageData(0, 0, pad.width, pad.height);
    for (let i = 3; i < data.length; i += 4) if (data[i]) return false;
    return true;
  }

  // Every change of the drawing ends here.
  function settle() {
    clearTimeout(rest);
    const blank = isBlank() || isErased();
    enable(button.undo, marks.length);
    enable(button.redo, undone.length);
    enable(button.clear, !isBlank());
    element.toggleAttribute("data-marked", !blank);
    if (blank) answer.forget();
    else askNow();
  }

  // The page says what the pad holds: a pad full of ink is not an empty one.
  async function askNow() {
    const reply = await answer.ask(picture());
    if (reply?.verdict === "nothing") answer.announce("There is no digit in this ink");
  }

  // A disabled button would lose the focus: it says that it is disabled, and does nothing.
  function enable(tool, able) {
    tool.setAttribute("aria-disabled", !able);
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
    if (stroke || isBlank()) return;
    choose("pen");
    add({ clear: true });
  }

  // The pen: mouse, stylus or finger, one at a time.

  function pointOf(event) {
    const box = pad.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left - box.width / 2) / box.height) * HEIGHT,
      y: ((event.clientY - box.top) / box.height) * HEIGHT,
    };
  }

  function begin(id, erase, point) {
    stroke = { id, points: [], width: Number(width.value), erase };
    asked = performance.now();
    if (erase && isBlank()) answer.announce("The pad is empty. Choose the pen to draw.");
    else element.setAttribute("data-marked", "");
    extend(point);
  }

  function extend(point) {
    stroke.points.push(point);
    drawSegment(ink, stroke, stroke.points.length - 1);
  }

  function end() {
    const mark = { ...stroke, ended: true };
    stroke = null;
    if (mark.erase && isBlank()) {
      element.removeAttribute("data-marked");
      return; // there was nothing to erase: nothing to undo either
    }
    add(mark);
  }

  async function askMidStroke() {
    clearTimeout(rest);
    rest = setTimeout(() => stroke && askNow(), REST);
    if (waiting || performance.now() - asked < MID_STROKE) return;
    waiting = true;
    asked = performance.now();
    await answer.ask(picture(), { live: true });
    waiting = false;
  }

  pad.addEventListener("pointerdown", (event) => {
    if (stroke || (event.button > 0 && event.button !== 5)) return;
    hideCursor();
    pad.setPointerCapture(event.pointerId);
    const erase = chosen() === "eraser" || event.button === 5; // a stylus turned round
    begin(event.pointerId, erase, pointOf(event));
  });

  pad.addEventListener("pointermove", (event) => {
    if (stroke?.id !== event.pointerId) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) extend(pointOf(each));
    if (!isBlank() || !stroke.erase) askMidStroke();
  });

  function lift(event) {
    if (stroke?.id === event.pointerId) end();
  }
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"])
    pad.addEventListener(name, lift);

  // The keyboard's pen: arrows move it over a grid, the space bar lowers and lifts it.

  const cursor = $(".cursor");
  let at = null; // its column, from the middle, and row

  function pointAt() {
    const cell = HEIGHT / GRID;
    return { x: at.column * cell, y: (at.row + 0.5) * cell };
  }

  function moveCursor(across, down) {
    const columns = Math.floor((GRID * pad.width) / pad.height / 2);
    at ??= { column: 0, row: GRID / 2 };
    at.column = Math.max(-columns, Math.min(columns, at.column + across));
    at.row = Math.max(0, Math.min(GRID - 1, at.row + down));
    if (stroke) {
      extend(pointAt());
      if (!isBlank() || !stroke.erase) askMidStroke();
    }
    showCursor();
    const state = stroke ? "pen down" : "pen up";
    $(".position").textContent = `column ${at.column + columns + 1}, row ${at.row + 1}, ${state}`;
  }

  function showCursor() {
    const { x, y } = pointAt();
    cursor.hidden = false;
    cursor.toggleAttribute("data-down", Boolean(stroke));
    cursor.style.left = `calc(50% + ${(x / HEIGHT) * 100} * var(--percent))`;
    cursor.style.top = `${(y / HEIGHT) * 100}%`;
  }

  function hideCursor() {
    cursor.hidden = true;
    if (stroke?.id === "keys") end();
  }

  function pressSpace() {
    at ??= { column: 0, row: GRID / 2 };
    if (stroke) end();
    else begin("keys", chosen() === "eraser", pointAt());
    moveCursor(0, 0);
  }

  pad.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || (stroke && stroke.id !== "keys")) return;
    const step = event.shiftKey ? 4 : 1;
    const keys = {
      ArrowLeft: () => moveCursor(-step, 0),
      ArrowRight: () => moveCursor(step, 0),
      ArrowUp: () => moveCursor(0, -step),
      ArrowDown: () => moveCursor(0, step),
      " ": pressSpace,
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  pad.addEventListener("blur", hideCursor);

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
    element.style.setProperty("--pen", width.value / HEIGHT);
  }

  button.pen.addEventListener("click", () => choose("pen"));
  button.eraser.addEventListener("click", () => choose("eraser"));
  button.undo.addEventListener("click", undo);
  button.redo.addEventListener("click", redo);
  button.clear.addEventListener("click", clear);
  width.addEventListener("input", showWidth);
  arrowKeys($(".source .tools"));

  document.addEventListener("keydown", (event) => {
    if (!element.offsetParent || event.altKey || event.target.matches?.("textarea, [type=text]"))
      return;
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
      const file = await (await fetch(example.dataset.file)).blob();
      const bitmap = await createImageBitmap(file);
      const scale = HEIGHT / Math.max(bitmap.width, bitmap.height);
      const layer = Object.assign(document.createElement("canvas"), { width: HEIGHT, height: HEIGHT });
      const context = layer.getContext("2d");
      const [w, h] = [bitmap.width * scale, bitmap.height * scale];
      context.drawImage(bitmap, (HEIGHT - w) / 2, (HEIGHT - h) / 2, w, h);
      const pixels = context.getImageData(0, 0, HEIGHT, HEIGHT);
      const lightOf = ([red, green, blue, alpha]) =>
        255 - (alpha / 255) * (255 - (0.299 * red + 0.587 * green + 0.114 * blue));
      const lights = [];
      for (let i = 0; i < pixels.data.length; i += 4) lights.push(lightOf(pixels.data.subarray(i, i + 4)));
      const sorted = lights.filter((_, at) => pixels.data[4 * at + 3]).sort((a, b) => a - b);
      const [dark, paper] = [sorted[0], Math.min(255, sorted[Math.floor(sorted.length / 2)])];
      const white = Math.max(paper - (paper - dark) * PAPER, dark + 1);
      lights.forEach((light, at) => {
        const share = Math.min(1, Math.max(0, (white - light) / (white - dark)));
        pixels.data.set([0x16, 0x21, 0x3a, 255 * share], 4 * at);
      });
      context.putImageData(pixels, 0, 0);
      add({ clear: true, picture: layer });
    }),
  );

  // The pad has as many pixels as the screen shows of it.
  new ResizeObserver(() => {
    const box = pad.getBoundingClientRect();
    if (!box.height) return;
    const ratio = devicePixelRatio;
    const size = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
    element.style.setProperty("--percent", `${box.height / 100}px`);
    element.style.setProperty("--pad", `${box.height}px`);
    if (size[0] === pad.width && size[1] === pad.height) return;
    [pad.width, pad.height] = size;
    redraw();
  }).observe(pad);

  choose("pen");
  showWidth();
}
