"use strict";
// Shows the lines of numbers with a field for each, and saves the table with the corrections.
// All text reaches the page as text, by textContent and value, never as markup.
const { heading, file, places, lines } = JSON.parse(document.getElementById("data").textContent);
const list = document.getElementById("lines");
const plain = /^(?:(?:0|[1-9][0-9]{0,10})?|[0-9 ·]*·[0-9 ·]*)$/; // as PLAIN_TEXT of lines.py
let unsaved = false;

const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
const textCell = (text) => (plain.test(text) ? text : `=${quoted(text)}`);
const isCorrected = (line) => line.field.value.trim() !== line.text;

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function show() {
  const corrected = lines.filter(isCorrected).length;
  document.getElementById("count").textContent = `${corrected} of ${lines.length} corrected`;
}

function changed(line) {
  unsaved = true;
  line.item.classList.toggle("corrected", isCorrected(line));
  show();
}

function choice(line, [text, share]) {
  const button = element("button", { type: "button" }, text, " ", element("small", {}, share));
  button.addEventListener("click", () => {
    line.field.value = text;
    changed(line);
    line.field.focus();
  });
  return button;
}

function add(line, index) {
  line.field = element("input", { value: line.text, autocomplete: "off", spellcheck: false });
  line.field.addEventListener("input", () => changed(line));
  line.field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") lines[index + 1]?.field.focus();
  });
  line.field.ariaLabel = `${line.name}: ${line.note}`;
  const note = element("span", { className: line.doubtful ? "doubtful" : "" }, line.note);
  const label = element("label", {}, note, line.field);
  const picture = line.crop
    ? element("img", { src: `data:image/jpeg;base64,${line.crop}`, alt: line.name, loading: "lazy" })
    : element("span", { className: "none" }, line.error || "The sheet has no space for its picture.");
  const choices = line.choices.map((one) => choice(line, one));
  const name = element("span", { className: "name" }, line.name);
  line.item = element("li", {}, name, picture, element("div", {}, label, ...choices));
  list.append(line.item);
}

function table() {
  const rows = [];
  for (const line of lines) {
    const cells = [...line.cells];
    if (isCorrected(line)) {
      cells[places.text] = quoted(textCell(line.field.value.trim()));
      cells[places.confidence] = '""';
      cells[places.status] = '"corrected"';
    }
    rows[line.place] = `${cells.join(",")}\n`;
  }
  return heading + rows.join("");
}

document.getElementById("save").addEventListener("click", () => {
  const url = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
  element("a", { href: url, download: file }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // by then the browser has taken it
  unsaved = false;
});

addEventListener("beforeunload", (event) => {
  if (unsaved) event.preventDefault();
});

lines.forEach(add);
show();
lines[0]?.field.focus();
