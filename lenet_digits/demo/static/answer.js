// Asks an engine about a picture and shows what it answers. Both readers, pad and upload, use it.

const REST = 500; // milliseconds that the pen rests before the headline follows it

// `nothing`: the note while there is no picture. `onBoxes` is given the boxes of a reply's digits,
// as shares of the picture's size, and which of them is chosen.
function makeAnswer(element, engine, { nothing, onBoxes = () => {} }) {
  const $ = (selector) => element.querySelector(selector);
  const panel = $(".answer");
  const bars = [...element.querySelectorAll(".bars li")];
  const chips = $(".chips");
  const inside = makeInside(element, engine);
  let latest = 0; // questions asked so far; only the answer to the last one is ever shown
  let pending; // aborts that question
  let shown = null; // the reply that the panel shows
  let spoken = ""; // the headline and note that were last announced
  let chosen = 0; // which digit of the reply

  // `picture`: a Blob, or a promise of one. While `live` is true the pen is down: bars and canvas
  // follow it, headline and status stay. Resolves to the reply if it was shown, else undefined.
  async function ask(picture, { live = false } = {}) {
    const question = ++latest;
    pending?.abort();
    pending = new AbortController();
    if (engine.notYet) announce(engine.notYet);
    panel.dataset.asking = "";
    let reply;
    try {
      reply = await engine.read(await picture, pending.signal);
    } catch {
      // The server is gone, or a newer question took this one's place.
    }
    if (question !== latest) return undefined;
    reply ??= problem("The server does not answer. Check the connection, then try again.");
    show(reply, live);
    return reply;
  }

  function forget() {
    stop();
    show({ verdict: "nothing", headline: "", note: nothing });
  }

  function refuse(sentence) {
    stop();
    show(problem(sentence));
  }

  // Says something in the status without an answer, for instance that a picture is being read.
  function announce(sentence) {
    show({ verdict: "nothing", headline: "", note: sentence });
  }

  function stop() {
    latest++;
    pending?.abort();
  }

  function problem(sentence) {
    return { verdict: "problem", headline: "No answer", note: sentence };
  }

  function show(reply, live = false) {
    delete panel.dataset.asking;
    shown = reply;
    const digits = reply.digits ?? [];
    chosen = Math.min(chosen, Math.max(digits.length - 1, 0));
    if (!live) {
      panel.dataset.verdict = reply.verdict;
      say($(".headline"), reply.headline);
      say($(".note"), reply.note);
      say($(".discarded"), reply.discarded ?? "");
      showChips(digits);
      showLines(reply.lines ?? []);
    }
    choose(chosen, live);
  }

  function step({ name, about, image }) {
    const item = document.createElement("li");
    item.innerHTML = "<img alt=''><strong></strong> <span></span>";
    item.querySelector("img").src = image;
    item.querySelector("strong").textContent = name;
    item.querySelector("span").textContent = about;
    return item;
  }

  // Shows the bars, the canvas and the steps of one digit.
  function choose(index, live = false) {
    chosen = index;
    const digit = shown.digits?.[index];
    bars.forEach((bar, value) => {
      const share = digit?.probabilities[value] ?? 0;
      const words = digit?.shares[value] ?? "";
      const meter = bar.querySelector("[role=meter]");
      meter.setAttribute("aria-valuenow", (100 * share).toFixed(1));
      meter.setAttribute("aria-valuetext", words || "no answer");
      meter.firstElementChild.style.width = `${100 * share}%`;
      bar.querySelector(".share").textContent = words;
      bar.toggleAttribute("data-winner", value === digit?.digit);
    });
    const steps = digit?.steps ?? shown.steps;
    $(".steps").hidden = !steps;
    $(".steps ol").replaceChildren(...(steps ?? []).map(step));
    const canvas = $("img.canvas");
    canvas.alt = digit ? "The 28 by 28 canvas given to the network" : "";
    if (digit) canvas.src = digit.canvas;
    else canvas.removeAttribute("src");
    [...chips.children].forEach((chip, at) => {
      chip.setAttribute("aria-pressed", at === index);
      chip.tabIndex = at === index ? 0 : -1;
    });
    onBoxes((shown.digits ?? []).map(({ box }) => box), index);
    inside.show(digit, live);
  }

  function showChips(digits) {
    chips.hidden = digits.length < 2;
    chips.replaceChildren(
      ...(digits.length < 2 ? [] : digits).map(({ digit, share, verdict }, index) => {
        const chip = document.createElement("button");
        chip.type = "button";
        chip.dataset.verdict = verdict;
        chip.innerHTML = "<strong></strong> <span></span>";
        chip.querySelector("strong").textContent = digit;
        chip.querySelector("span").textContent = share;
        chip.addEventListener("click", () => choose(index));
        return chip;
      }),
    );
  }

  function showLines(lines) {
    $(".lines").hidden = lines.length < 2;
    $(".lines ol").replaceChildren(
      ...lines.map(({ text, share }) => {
        const item = document.createElement("li");
        item.innerHTML = "<strong></strong> <span></span>";
        item.querySelector("strong").textContent = text;
        item.querySelector("span").textContent = share;
        return item;
      }),
    );
  }

  arrowKeys(chips, (chip) => chip.click());
  $("[name=copy]").addEventListener("click", () => copy(shown.text));
  $("[name=save]").addEventListener("click", () => {
    const rows = shown.lines.map(({ text, confidence }, index) =>
      [index + 1, `"${text}"`, confidence].join(","));
    save("numbers.csv", ["line,text,confidence", ...rows, ""].join("\r\n"));
  });

  forget();
  return { ask, forget, refuse, announce };
}

// A screen reader announces a status when its text changes, so leave it alone when it does not.
function say(place, words) {
  if (place.textContent !== words) place.textContent = words;
}

// Left and right arrow, Home and End move the focus within a toolbar, as ARIA asks for.
function arrowKeys(toolbar, onMove = () => {}) {
  toolbar.addEventListener("keydown", (event) => {
    const items = [...toolbar.querySelectorAll("button, input")].filter((i) => i.offsetParent);
    const at = items.indexOf(event.target);
    if (at < 0 || event.target.matches("input") || event.ctrlKey || event.metaKey) return;
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: items.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const item = items[(to + items.length) % items.length];
    item.focus();
    onMove(item);
  });
}

// A file that is dropped or pasted anywhere on the page becomes a "picture" event of the document,
// and never opens a tab of its own.
function catchFiles() {
  for (const name of ["dragenter", "dragover", "dragleave", "drop"])
    document.addEventListener(name, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      const over = name === "dragenter" || name === "dragover";
      document.querySelector(".drop")?.toggleAttribute("data-over", over);
      if (name === "drop") handOver(event.dataTransfer.files[0]);
    });
  document.addEventListener("paste", (event) => handOver(event.clipboardData?.files[0]));

  function handOver(file) {
    if (file) document.dispatchEvent(new CustomEvent("picture", { detail: file }));
  }
}

// Also works where the page has no secure context, for instance over http in a classroom.
function copy(text) {
  const area = Object.assign(document.createElement("textarea"), { value: text });
  area.style.position = "fixed";
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

function save(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
