"""Times the static site in a headless Chromium: from opening it to the first answer, and an answer.

The site brings Pyodide itself, as far as the package registries have it (see ``tests/standins``:
another release, with a stand-in for OpenCV). A 7 is drawn as soon as the pad can be drawn on, so
that the first answer is there once Python has started.

python -m tests.benchmarks.site [--visits 5]
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, sync_playwright

from lenet_digits.demo.fragments import STATIC
from lenet_digits.demo.site import write_site

from ..standins.release import make_release

SEVEN = ((0.3, 0.2), (0.7, 0.2), (0.5, 0.85))  # of the pad's width and height

ANSWERED = "() => document.querySelector('#pad .headline').textContent === '7'"
PATIENCE = 120_000  # milliseconds
ROUNDS = 20  # answers timed on one page
TIMED = """async ([drawing, rounds]) => {
    const picture = await (await fetch(drawing)).blob();
    const engine = makeBrowserEngine({ worker: "worker.js", onState() {} });
    await engine.read(picture);
    const times = [];
    for (let round = 0; round < rounds; round++) {
        const began = performance.now();
        await engine.read(picture);
        times.push(performance.now() - began);
    }
    return times;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--visits", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        release, out = Path(folder, "release"), Path(folder, "out")
        release.mkdir()
        pyodide = make_release(release)
        write_site(out, self_hosted=release, pyodide=pyodide)
        own = [path for path in out.rglob("*") if path.is_file() and path.name not in pyodide.files]
        print(f"the site's own files: {sum(path.stat().st_size for path in own) / 1e6:.2f} MB")
        sent = sum(
            len(gzip.compress(path.read_bytes())) for path in out.rglob("*") if path.is_file()
        )
        print(f"all files, each compressed: {sent / 1e6:.1f} MB")
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        first, again, later = [], [], []
        with serving(out) as url:
            for _ in range(options.visits):
                visitor = browser.new_context()
                visitor.set_default_timeout(PATIENCE)
                page, seconds = visit(visitor, url)
                first.append(seconds)
                later += answers(page)
                page.evaluate("navigator.serviceWorker.ready")
                page.wait_for_timeout(2000)  # until the service worker has kept the files
                page.close()
                again.append(visit(visitor, url)[1])
                visitor.close()
    show("first visit, to the first answer", first, "s")
    show("second visit, to the first answer", again, "s")
    show("an answer to a drawing", later, "ms")


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files, and writes no log."""

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serves a folder on loopback; its address."""
    handler = partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def visit(visitor: BrowserContext, url: str) -> tuple[Page, float]:
    """Open the site and draw a 7; the page, and the seconds from the start to the answer."""
    began = time.perf_counter()
    page = visitor.new_page()
    page.goto(url)
    pad = page.locator("#pad[data-ready] .pad canvas")
    pad.wait_for()
    box = pad.bounding_box()
    assert box is not None
    (first, *rest) = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in SEVEN]
    page.mouse.move(*first)
    page.mouse.down()
    for point in rest:
        page.mouse.move(*point, steps=3)
    page.mouse.up()
    page.wait_for_function(ANSWERED, polling=20)
    return page, time.perf_counter() - began


def answers(page: Page) -> list[float]:
    """Milliseconds that each of some more answers takes, to the drawing on the pad."""
    drawing = page.locator("#pad .pad canvas").evaluate("pad => pad.toDataURL()")
    page.goto(f"{page.url}manifest.json")  # the page itself allows no script but its own
    page.add_script_tag(path=STATIC / "engine-browser.js")
    return [float(each) for each in page.evaluate(TIMED, [drawing, ROUNDS])]


def show(what: str, values: list[float], unit: str) -> None:
    low, high = min(values), max(values)
    print(f"{what}: median {statistics.median(values):.1f} {unit}, {low:.1f} to {high:.1f}")


if __name__ == "__main__":
    main()
