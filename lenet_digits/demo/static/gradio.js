// Mends what Gradio's page around the readers lacks.

// Arrow keys, Home and End move between the tabs, and only the chosen one is reached with Tab, as
// ARIA asks for.
function arrowKeysInTabs() {
  const list = document.querySelector("[role=tablist]");
  const tabs = () => [...list.querySelectorAll("[role=tab]")];

  function mark() {
    for (const tab of tabs()) {
      const index = tab.getAttribute("aria-selected") === "true" ? 0 : -1;
      if (tab.tabIndex !== index) tab.tabIndex = index;
      if (tab.getAttribute("aria-controls") === "") tab.removeAttribute("aria-controls");
    }
  }

  new MutationObserver(mark).observe(list, {
    childList: true, subtree: true, attributeFilter: ["aria-selected", "aria-controls"],
  });
  mark();
  list.addEventListener("keydown", (event) => {
    const all = tabs();
    const at = all.indexOf(document.activeElement);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: all.length - 1 }[event.key];
    if (at < 0 || to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const tab = all[(to + all.length) % all.length];
    tab.click();
    tab.focus();
  });
}

// In a frame, as a Space is, Gradio would ask for a frame as high as the page, and the page makes
// its pad as high as the frame allows: both would grow. So the frame stays as high as the window,
// and the page scrolls within it (see demo.css).
function coverTheFrame() {
  if (window.parent !== window) document.documentElement.dataset.gradioCover = "";
}

// The link in the footer leads to ?view=api. Gradio takes that for a page that it shows already,
// yet it loads the page only when its own link, which is not shown here, is clicked.
function openTheApiPage() {
  if (new URLSearchParams(location.search).get("view") !== "api") return;
  const link = document.querySelector(".show-api");
  link?.click(); // away from it,
  setTimeout(() => link?.click()); // and to it
}
