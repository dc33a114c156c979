// The panel "Inside the network": every layer's answer to the canvas of the chosen digit, what one
// unit looks at, and the ink that makes it that digit. It asks the engine only while it is open.

// Layers as the 1998 paper names them: maps, their width and height in units, and what a unit sees
// of the canvas: so many pixels wide, and so many further on for the next unit. The single units of
// C5 and F6 are shown as one block, and see the whole canvas.
const LAYERS = [
  { name: "C1", maps: 6, wide: 28, high: 28, sees: 5, step: 1 },
  { name: "S2", maps: 6, wide: 14, high: 14, sees: 6, step: 2 },
  { name: "C3", maps: 16, wide: 10, high: 10, sees: 14, step: 2 },
  { name: "S4", maps: 16, wide: 5, high: 5, sees: 16, step: 4 },
  { name: "C5", maps: 1, wide: 10, high: 12, sees: 32, step: 0 },
  { name: "F6", maps: 1, wide: 7, high: 12, sees: 32, step: 0 },
];
const SIDE = 28; // pixels: of the canvas
const EDGE = 2; // pixels that C1 sees beyond each edge of the canvas
const ZERO = 128; // the byte of an activation or weight of 0
const KERNEL = 5; // weights: side of a kernel
const ANSWERED = 0.1; // of the ink in favour: from here on, the ink against it is worth a mention
const PLACES = [
  "at the top left", "at the top", "at the top right",
  "on the left", "in the middle", "on the right",
  "at the bottom left", "at the bottom", "at the bottom right",
];
const REMEMBERED = "lenet-digits-inside"; // in the browser's storage: "open", or nothing
const EMPTY = "Nothing to look into yet.";
const ADVICE =
  "Point at a map, or go to it with the arrow keys, to see what it looks at. " +
  "Shift and an arrow key go from unit to unit.";

// `engine` has two members for the panel. `kernels()` resolves to those of C1 and C3;
// `inside(canvas, { digit, against })` to the layers for a canvas, a data URL, and with a digit also
// to the ink that makes it that one. It is asked without one while the pen is down.
function makeInside(element, engine) {
  const $ = (selector) => element.querySelector(selector);
  const panel = $(".inside");
  const view = $(".view");
  const against = $("[name=against]");
  const words = $(".inside .map");
  const options = []; // the maps' canvases, in order
  let wanted = {}; // what to show: a digit of an answer, and whether the pen is down
  let asking = false;
  let drawing = 0; // how many there were: none is shown once there is nothing to show
  let shown = null; // what is shown: digit, pixels of the canvas, layers, ink
  let kernels = null;
  let looked = null; // at which option, row and column; without a row, at its strongest unit

  // Shows a digit of an answer, or that there is none.
  function show(digit, live = false) {
    wanted = { digit, live };
    if (!digit) drawing++;
    if (panel.open) follow();
  }

  // One question at a time; the last one wanted is always asked.
  async function follow() {
    if (!wanted.digit) paint({ problem: EMPTY });
    if (asking) return;
    asking = true;
    for (let asked; wanted !== asked && wanted.digit && panel.open;) {
      asked = wanted;
      const before = drawing;
      const next = await ask(asked);
      if (next && before === drawing) paint(next);
    }
    asking = false;
  }

  // Resolves to nothing where the engine has no answer while the pen is down.
  async function ask({ digit, live }) {
    try {
      kernels ??= await engine.kernels();
      if (against.value === String(digit.digit)) against.value = "";
      const question = live ? {} : { digit: digit.digit };
      if (!live && against.value) question.against = against.value;
      const [reply, pixels] = await Promise.all([
        engine.inside(digit.canvas, question), pixelsOf(digit.canvas),
      ]);
      if (!reply) return undefined;
      if (!reply.layers) return { problem: reply.note };
      const layers = LAYERS.map(({ name }) => bytes(reply.layers[name.toLowerCase()]));
      const ink = reply.ink && new Int8Array(bytes(reply.ink).buffer);
      return { digit: digit.digit, against: reply.against, pixels, layers, ink };
    } catch {
      return { problem: "The network does not answer. Check the connection, then try again." };
    }
  }

  function paint(next) {
    shown = next;
    const palette = coloursOf(panel);
    options.forEach((option) => paintMap(option, palette));
    paintView(palette);
    paintKernel(palette);
    tell();
  }

  function paintMap({ canvas, layer, map }, palette) {
    const { wide, high } = LAYERS[layer];
    const units = shown.layers?.[layer].subarray(map * wide * high, (map + 1) * wide * high);
    paintUnits(canvas, wide, high, (at) => (units ? units[at] : ZERO), palette);
  }

  // The canvas; on it the ink that mattered, as squares as large as it mattered, hollow where it
  // speaks against the digit; and a frame around what the unit that is looked at sees.
  function paintView({ paper, ink, good, bad }) {
    const context = view.getContext("2d");
    const cell = view.width / SIDE;
    context.fillStyle = css(paper);
    context.fillRect(0, 0, view.width, view.height);
    const most = Math.max(1, ...(shown.ink ?? []).map(Math.abs));
    shown.pixels?.forEach((share, at) => {
      const [x, y] = [(at % SIDE) * cell, Math.floor(at / SIDE) * cell];
      context.fillStyle = css(mixed(paper, ink, shown.ink ? share / 4 : share));
      context.fillRect(x, y, cell, cell);
      if (!shown.ink?.[at]) return;
      const side = cell * Math.sqrt(Math.abs(shown.ink[at]) / most);
      context.fillStyle = css(shown.ink[at] > 0 ? good : bad);
      context.fillRect(x + (cell - side) / 2, y + (cell - side) / 2, side, side);
      if (shown.ink[at] > 0) return;
      context.fillStyle = css(paper);
      context.fillRect(x + cell / 2 - side / 4, y + cell / 2 - side / 4, side / 2, side / 2);
    });
    const field = shown.layers && fieldOf(unitLookedAt());
    if (!field) return;
    const frame = [field.left, field.top, field.right - field.left + 1, field.bottom - field.top + 1];
    for (const [width, colour] of [[7, paper], [4, good]]) {
      context.lineWidth = width;
      context.strokeStyle = css(colour);
      context.strokeRect(...frame.map((pixels) => pixels * cell));
    }
  }

  function paintKernel(palette) {
    const canvas = $(".kernel canvas");
    const { layer, map } = looked?.option ?? {};
    const name = LAYERS[layer]?.name;
    const weights = kernels?.[name?.toLowerCase()];
    $(".kernel").hidden = !weights;
    if (!weights) return;
    const inputs = name === "C1" ? 1 : 6;
    const size = inputs * KERNEL ** 2;
    const some = new Int8Array(bytes(weights).buffer).subarray(map * size, (map + 1) * size);
    const most = Math.max(...some.map(Math.abs));
    const wide = inputs * (KERNEL + 1) - 1; // side by side, a gap between two
    paintUnits(canvas, wide, KERNEL, (at) => {
      const [row, column] = [Math.floor(at / wide), at % wide];
      const [input, place] = [Math.floor(column / (KERNEL + 1)), column % (KERNEL + 1)];
      if (place === KERNEL) return null;
      return ZERO + Math.round((127 * some[input * KERNEL ** 2 + row * KERNEL + place]) / most);
    }, palette);
    const which = inputs === 1 ? "Its kernel" : "Its six kernels, one for each map of S2";
    canvas.setAttribute("aria-label", which);
    $(".kernel span").textContent = `${which}. Red weights subtract, the others add.`;
  }

  // Which unit is looked at: the one pointed at, or else the strongest of the map.
  function unitLookedAt() {
    if (!looked) return null;
    const { layer, map } = looked.option;
    const { wide, high } = LAYERS[layer];
    const units = shown.layers?.[layer].subarray(map * wide * high, (map + 1) * wide * high);
    let { row, column } = looked;
    if (row === undefined && units) {
      const strength = [...units].map((value) => Math.abs(value - 127.5));
      const at = strength.indexOf(Math.max(...strength));
      [row, column] = [Math.floor(at / wide), at % wide];
    }
    return { layer, map, row, column, value: units?.[row * wide + column] / 127.5 - 1 };
  }

  // The pixels of the canvas that a unit sees, first and last, from 0.
  function fieldOf(unit) {
    if (!unit) return null;
    const { sees, step } = LAYERS[unit.layer];
    const range = (at) => [
      Math.max(0, step * at - EDGE), Math.min(SIDE - 1, step * at - EDGE + sees - 1),
    ];
    const [[top, bottom], [left, right]] = [range(unit.row), range(unit.column)];
    return { top, bottom, left, right };
  }

  // All that is painted, in words.

  function tell() {
    const { digit, problem } = shown;
    say($(".mattered"), problem ?? (shown.ink ? reasons() : "Lift the pen to see which ink mattered."));
    $(".rather").hidden = digit === undefined;
    say($(".rather b"), digit === undefined ? "" : named(digit));
    [...against.options].forEach((option) => (option.disabled = option.value === String(digit)));
    if (shown.against !== undefined && !against.value)
      say(against.options[0], `the runner-up, ${shown.against}`);
    say(words, shown.layers && looked ? aboutUnit(unitLookedAt()) : ADVICE);
  }

  function reasons() {
    const [favour, opposed] = [1, -1].map((sign) => strongestPlace(sign));
    const [one, other] = [named(shown.digit), named(shown.against)];
    const sentences = [];
    if (favour.sum)
      sentences.push(`The ink ${favour.place} does most to make it ${one} and not ${other}.`);
    if (opposed.sum > ANSWERED * favour.sum)
      sentences.push(`The ink ${opposed.place} (hollow) speaks for ${other}.`);
    return sentences.join(" ");
  }

  // In which ninth of the ink's box the evidence of one sign is strongest, and all of it.
  function strongestPlace(sign) {
    const inked = [...shown.pixels.keys()].filter((at) => shown.pixels[at]);
    const thirds = [(at) => Math.floor(at / SIDE), (at) => at % SIDE].map((coordinate) => {
      const all = inked.map(coordinate);
      const [first, last] = [Math.min(...all), Math.max(...all)];
      return (at) => Math.floor((3 * (coordinate(at) - first)) / (last - first + 1));
    });
    const sums = PLACES.map(() => 0);
    for (const at of inked)
      sums[3 * thirds[0](at) + thirds[1](at)] += Math.max(0, sign * shown.ink[at]);
    const most = Math.max(...sums);
    return { place: PLACES[sums.indexOf(most)], sum: sums.reduce((a, b) => a + b) };
  }

  function aboutUnit(unit) {
    const { name, maps, wide, sees } = LAYERS[unit.layer];
    const { top, bottom, left, right } = fieldOf(unit);
    const value = unit.value.toFixed(2).replace("-", "−");
    const strongest = looked.row === undefined ? "strongest " : "";
    if (maps === 1)
      return `${name}: its ${strongest}unit, number ${unit.row * wide + unit.column + 1}, answers ` +
        `${value}. It sees the whole canvas.`;
    return `${name}, map ${unit.map + 1} of ${maps}: its ${strongest}unit, row ${unit.row + 1}, ` +
      `column ${unit.column + 1}, answers ${value}. It sees ${sees}×${sees} pixels: ` +
      `rows ${top + 1} to ${bottom + 1}, columns ${left + 1} to ${right + 1}.`;
  }

  function named(digit) {
    return `${digit === 8 ? "an" : "a"}\u00a0${digit}`;
  }

  // Looking at a map: by pointer, focus, or arrow keys.

  function look(option, row, column) {
    looked = { option, row, column };
    options.forEach(({ canvas }) => {
      canvas.tabIndex = canvas === option.canvas ? 0 : -1;
      canvas.setAttribute("aria-selected", canvas === option.canvas);
    });
    if (!shown) return;
    const palette = coloursOf(panel);
    paintView(palette);
    paintKernel(palette);
    tell();
  }

  function pointAt(option, event) {
    const { wide, high } = LAYERS[option.layer];
    const box = option.canvas.getBoundingClientRect();
    const place = (share, units) => Math.max(0, Math.min(units - 1, Math.floor(share * units)));
    look(
      option,
      place((event.clientY - box.top) / box.height, high),
      place((event.clientX - box.left) / box.width, wide),
    );
  }

  function press(option, event) {
    const { wide, high } = LAYERS[option.layer];
    const [across, down] = {
      ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
      Home: [-Infinity, 0], End: [Infinity, 0],
    }[event.key] ?? [0, 0];
    if ((!across && !down) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (event.shiftKey) {
      const { row, column } = unitLookedAt();
      const within = (at, units) => Math.max(0, Math.min(units - 1, at));
      if (row !== undefined) look(option, within(row + down, high), within(column + across, wide));
      return;
    }
    const at = options.indexOf(option);
    const layer = LAYERS[option.layer + down] ? option.layer + down : option.layer;
    const place = (option.map + 0.5) / LAYERS[option.layer].maps; // from the left
    const to = down
      ? options.findIndex((o) =>
          o.layer === layer && o.map === Math.floor(place * LAYERS[layer].maps))
      : Math.max(0, Math.min(options.length - 1, at + across));
    options[to].canvas.focus();
  }

  LAYERS.forEach(({ name, maps, wide, high }, layer) => {
    const size = maps > 1 ? `${maps} maps of ${wide}×${high}` : `${wide * high} units`;
    const group = document.createElement("div");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", `${name}: ${size}`);
    group.dataset.layer = name;
    group.innerHTML = "<p aria-hidden='true'><strong></strong> <span></span></p><div></div>";
    group.querySelector("strong").textContent = name;
    group.querySelector("span").textContent = size;
    for (let map = 0; map < maps; map++) {
      const canvas = Object.assign(document.createElement("canvas"), { width: wide, height: high });
      const option = { canvas, layer, map };
      canvas.setAttribute("role", "option");
      canvas.setAttribute("aria-selected", false);
      canvas.setAttribute("aria-label", maps > 1 ? `${name}, map ${map + 1} of ${maps}` : `${name}, ${size}`);
      canvas.tabIndex = options.length ? -1 : 0;
      canvas.addEventListener("focus", () => {
        words.setAttribute("aria-live", "polite"); // calm while the pen draws
        if (looked?.option !== option) look(option);
      });
      canvas.addEventListener("blur", () => words.removeAttribute("aria-live"));
      for (const move of ["pointerdown", "pointermove"])
        canvas.addEventListener(move, (event) => pointAt(option, event));
      canvas.addEventListener("pointerleave", () => look(option));
      canvas.addEventListener("keydown", (event) => press(option, event));
      group.lastElementChild.append(canvas);
      options.push(option);
    }
    $(".layers").append(group);
  });

  against.append(new Option("the runner-up", ""), ...PLACES.map((_, digit) => new Option(digit)));
  against.append(new Option(9));
  against.addEventListener("change", () => show(wanted.digit));

  panel.addEventListener("toggle", () => {
    remember(panel.open);
    if (!panel.open) return;
    show(wanted.digit);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    setTimeout(() => shown && paint(shown)));
  panel.hidden = !engine.inside;
  panel.open = !panel.hidden && isRemembered();

  return { show };
}

// The storage may be switched off, and then throws.

function remember(open) {
  try {
    if (open) localStorage.setItem(REMEMBERED, "open");
    else localStorage.removeItem(REMEMBERED);
  } catch {
    // It will be folded again next time.
  }
}

function isRemembered() {
  try {
    return localStorage.getItem(REMEMBERED) === "open";
  } catch {
    return false;
  }
}

// The share of ink of each pixel of a canvas, a data URL.
async function pixelsOf(url) {
  const image = Object.assign(new Image(), { src: url });
  await image.decode();
  const sheet = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
  const context = sheet.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, SIDE, SIDE);
  const { data } = context.getImageData(0, 0, SIDE, SIDE);
  return Float32Array.from({ length: SIDE ** 2 }, (_, at) => data[4 * at] / 255);
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

// Paints bytes in the palette's scale. Where `byteAt` gives null, nothing is painted.
function paintUnits(canvas, wide, high, byteAt, { scale }) {
  if (canvas.width !== wide) canvas.width = wide;
  if (canvas.height !== high) canvas.height = high;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(wide, high);
  for (let at = 0; at < wide * high; at++) {
    const byte = byteAt(at);
    if (byte !== null) picture.data.set(scale[byte], 4 * at);
  }
  context.putImageData(picture, 0, 0);
}

// The page's colours, which depend on its light, as [red, green, blue], and with alpha a scale of
// 256: from 0, red for -1, over paper to 255, ink for 1.
function coloursOf(element) {
  const style = getComputedStyle(element);
  const context = document.createElement("canvas").getContext("2d");
  const rgb = (name) => {
    context.fillStyle = style.getPropertyValue(name);
    return [1, 3, 5].map((at) => parseInt(context.fillStyle.slice(at, at + 2), 16));
  };
  const [paper, ink, good, bad] = ["--sheet", "--ink", "--accent", "--warn"].map(rgb);
  const scale = Array.from({ length: 256 }, (_, byte) => {
    const value = (byte - 127.5) / 127.5;
    return [...mixed(paper, value > 0 ? ink : bad, Math.abs(value)), 255];
  });
  return { paper, ink, good, bad, scale };
}

function mixed(one, other, share) {
  return one.map((value, at) => Math.round(value + (other[at] - value) * share));
}

function css(colour) {
  return `rgb(${colour.join(" ")})`;
}
