"""The page within other programs: mounted, behind a proxy with a path, and in a frame."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from browsing import answered, draw, headline, open_page, open_upload
from conftest import ROOT, App
from PIL import Image, ImageChops
from playwright.sync_api import Browser, BrowserContext, Page, Response, expect

VISIBLE = 40  # levels, of 255, by which a pixel has to differ
SECONDS = 120  # that a server may take to start on a busy machine


@pytest.fixture(scope="module")
def other(app: App) -> Iterator[str]:
    """The address of a server around the page; see `embedding.py`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "tests/demo/embedding.py", str(port), app.url]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            assert process.poll() is None, "the server ended before it served"
            time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1000, "height": 700}, reduced_motion="reduce")
    yield context
    context.close()


def opened(context: BrowserContext, url: str) -> tuple[Page, list[str]]:
    """The page at an address, ready to draw, and a list that gathers the requests that fail."""
    page = context.new_page()
    missing: list[str] = []

    def note(response: Response) -> None:
        if response.status >= 400:
            missing.append(f"{response.status} {response.url}")

    page.on("response", note)
    open_page(page, url)
    page.wait_for_function("[...document.images].every((i) => i.complete)")
    return page, missing


def drawn(page: Page) -> Image.Image:
    """What the page shows once a 3 is drawn and read."""
    draw(page, "3")
    expect(headline(page)).to_have_text("3")
    answered(page)
    page.mouse.move(0, 0)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def differ(one: Image.Image, other: Image.Image) -> bool:
    """Whether any pixel differs so that it can be seen; scaled pictures differ by a few levels."""
    levels = ImageChops.difference(one, other).getextrema()
    return max(most for _, most in levels) > VISIBLE


@pytest.mark.parametrize("path", ["/demo/", "/apps/digits/"])
def test_the_page_within_another_program_looks_and_works_as_launched(
    context: BrowserContext, app: App, other: str, path: str
) -> None:
    launched, _ = opened(context, app.url)
    page, missing = opened(context, other + path)
    assert not differ(drawn(launched), drawn(page))
    open_upload(page)
    page.locator(".examples button[title*=photo]:visible").click()
    expect(headline(page)).to_have_text("7")
    page.get_by_role("tab", name="About").click()
    expect(page.get_by_role("heading", name="How often it is right")).to_be_visible()
    assert missing == []
    assert "another program" in context.request.get(other).text()


def test_a_page_that_looks_different_would_be_noticed(context: BrowserContext, app: App) -> None:
    """The twin of the test above: a page that lacks a style."""
    launched, _ = opened(context, app.url)
    context.route("**/theme.css*", lambda route: route.abort())
    page, _ = opened(context, app.url)
    page.add_style_tag(content=".share { color: red }")
    assert differ(drawn(launched), drawn(page))


def test_a_link_to_the_mounted_page_names_its_picture(context: BrowserContext, other: str) -> None:
    text = context.request.get(f"{other}/demo/").text()
    address = f"{other}/demo/card.png"
    assert f'<meta property="og:image" content="{address}">' in text
    assert context.request.get(address).headers["content-type"] == "image/png"


def test_the_page_in_a_frame_is_one_view_and_scrolls_within_it(
    browser: Browser, other: str
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 664})
    page = context.new_page()
    page.goto(f"{other.replace('127.0.0.1', 'localhost')}/frame")  # another site than the app's
    page.frame_locator("iframe").locator("[data-ready] .pad canvas").wait_for(timeout=60_000)
    frame = page.frames[-1]
    box = page.frame_locator("iframe").locator(".pad canvas").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"]
    page.mouse.move(x, y + 0.15 * box["height"])
    page.mouse.down()
    page.mouse.move(x, y + 0.85 * box["height"], steps=10)
    page.mouse.up()
    expect(frame.locator(".headline:visible")).to_have_text("1")
    bottom = frame.locator(".note:visible").evaluate("note => note.getBoundingClientRect().bottom")
    assert bottom <= 664
    page.mouse.move(x, 650)
    page.mouse.wheel(0, 300)
    frame.wait_for_function("document.body.scrollTop > 0")
    context.close()


def test_the_quick_import_of_gradio_leaves_python_as_it_was() -> None:
    code = (
        "import inspect; before = inspect.getfile\n"
        "from lenet_digits.demo.quick_gradio import gr\n"
        "assert inspect.getfile is before\n"
        "assert inspect.getfile(gr.Textbox).endswith('textbox.py')\n"
        "print(gr.__version__)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
