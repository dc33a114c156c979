"""Times the sketchpad: from the pen lifting to the answer on the page, in a real browser.

Starts ``python app.py`` and a headless Chromium, and draws with its mouse. Knows nothing of how
right the answers are.

python -m tests.benchmarks.pen [--drawings 50]
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics

from playwright.sync_api import sync_playwright

from .load import serve

WATCH = """() => {
    window.waits = [];
    let lifted;
    const answer = document.querySelector(".answer");
    const pad = document.querySelector(".paper canvas");
    pad.addEventListener("pointerup", () => { lifted = performance.now(); }, true);
    new MutationObserver(() => {
        if (lifted && !("asking" in answer.dataset)) {
            waits.push(performance.now() - lifted);
            lifted = undefined;
        }
    }).observe(answer, { attributes: true });
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drawings", type=int, default=50)
    options = parser.parse_args()

    dice = random.Random(1998)
    with serve("app.py") as app, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = chromium.new_page()
        page.goto(app.url)
        page.locator("[data-tool] .paper canvas").wait_for()
        page.evaluate(WATCH)
        box = page.locator(".paper canvas").bounding_box()
        assert box is not None
        for done in range(options.drawings):
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 8)
            page.mouse.down()
            for share in (0.4, 0.6, 0.9):
                across = box["x"] + box["width"] * dice.uniform(0.4, 0.6)
                page.mouse.move(across, box["y"] + box["height"] * share, steps=3)
            page.mouse.up()
            page.wait_for_function(f"waits.length > {done}")
            page.get_by_role("button", name="Clear").click()
        waits = page.evaluate("waits")
        chromium.close()
    print(
        f"{len(waits)} drawings: median {statistics.median(waits):.0f} ms from the pen lifting to "
        f"the answer, fastest {min(waits):.0f} ms, slowest {max(waits):.0f} ms"
    )


if __name__ == "__main__":
    main()
