// The shell of the page that has no server: its tabs, its two readers, and how far loading is.

(() => {
  const $ = (selector) => document.querySelector(selector);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const tabs = [...document.querySelectorAll("[role=tab]")];

  function followLight() {
    document.documentElement.classList.toggle("dark", dark.matches);
  }

  function choose(chosen) {
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", tab === chosen);
      tab.tabIndex = tab === chosen ? 0 : -1;
      $(`#${tab.getAttribute("aria-controls")}`).hidden = tab !== chosen;
    }
  }

  function showState({ text, share }) {
    const loading = $(".loading");
    loading.hidden = share === 1 && !text;
    loading.querySelector("span").textContent = text;
    const bar = loading.querySelector("progress");
    bar.hidden = share === undefined;
    if (share === null) bar.removeAttribute("value");
    else bar.value = share ?? 0;
    if (share === undefined) loading.setAttribute("role", "alert");
  }

  followLight();
  dark.addEventListener("change", followLight);
  for (const tab of tabs) tab.addEventListener("click", () => choose(tab));
  arrowKeys($("[role=tablist]"), choose);
  const engine = makeBrowserEngine({ worker: WORKER, limit: LIMIT, onState: showState });
  document.addEventListener("picture", () => choose($("#tab-upload")));
  makePad($("#pad"), engine);
  makeUpload($("#upload"), engine);
  catchFiles();
  for (const id of ["pad", "upload"]) $(`#${id}`).dataset.ready = "";
  navigator.serviceWorker?.register("service-worker.js").catch(() => {}); // not in every frame
})();
