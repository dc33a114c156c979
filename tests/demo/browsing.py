"""What tests of the page do in a browser: open it, draw on it, and look at its answer."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

pytest.importorskip("playwright", reason="playwright is not installed")
from playwright.sync_api import Locator, Page, expect

from lenet_digits.training.drawing import EXAMPLES, read_stroke

expect.set_options(timeout=120_000)  # milliseconds; a busy machine takes its time

# Which digits of `EXAMPLES` stand where: left, top, width and height in percent of the pad's.
PLACES = {
    "42": (("4 open", 14, 18, 32, 66), ("2", 56, 18, 30, 66)),
    "7 in a corner": (("7", 2, 2, 14, 24),),
}
MIDDLE = 30, 15, 40, 70  # where a single digit stands
DOT = "1,1 1,1"


def open_page(page: Page, url: str) -> None:
    """Opens the page at an address, and waits until it can be drawn on."""
    page.set_default_timeout(120_000)
    page.goto(url)
    page.locator("[data-ready] .pad canvas").wait_for()
    still(page)


def still(page: Page) -> None:
    """Waits until the page has been painted as it is: touches go where the eye sees things."""
    page.evaluate("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")


def pad_of(page: Page) -> Locator:
    return page.locator(".pad canvas")


def headline(page: Page) -> Locator:
    return page.locator(".headline:visible")


def note(page: Page) -> Locator:
    return page.locator(".note:visible")


def answered(page: Page) -> None:
    """Waits until no question is open."""
    expect(page.locator(".answer:visible")).not_to_have_attribute("data-asking", "")


def clear(page: Page) -> None:
    page.get_by_role("button", name="Clear").click()
    expect(note(page)).to_have_text("Nothing drawn yet")


def points(strokes: str, page: Page) -> list[list[tuple[float, float]]]:
    """Strokes in pixels of the page.

    ``strokes`` is a name in `PLACES` or in `EXAMPLES`. Else it has the points themselves, x,y in
    percent of the pad's width and height; a | lifts the pen.
    """
    box = pad_of(page).bounding_box()
    assert box is not None
    if strokes in PLACES or strokes in EXAMPLES:
        paths = [
            np.array([left, top]) + np.array([width, height]) * (curve @ shape)
            for name, left, top, width, height in PLACES.get(strokes, ((strokes, *MIDDLE),))
            for shape, curve in (read_stroke(each, steps=2) for each in EXAMPLES[name].split("|"))
        ]
    else:
        paths = [
            np.array([point.split(",") for point in stroke.split()], float)
            for stroke in strokes.split("|")
        ]
    corner, size = np.array([box["x"], box["y"]]), np.array([box["width"], box["height"]])
    return [[(float(x), float(y)) for x, y in corner + size * path / 100] for path in paths]


def draw(page: Page, strokes: str, *, lift: bool = True) -> None:
    """Draws with the mouse."""
    for stroke in points(strokes, page):
        page.mouse.move(*stroke[0])
        page.mouse.down()
        for x, y in stroke[1:]:
            page.mouse.move(x, y, steps=3 if lift else 12)
        if lift:
            page.mouse.up()


def draw_with_finger(page: Page, strokes: str) -> None:
    touch = page.context.new_cdp_session(page)

    def send(kind: str, *at: tuple[float, float]) -> None:
        touch_points = [{"x": x, "y": y} for x, y in at]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touch_points})

    for stroke in points(strokes, page):
        send("touchStart", stroke[0])
        for (x, y), (to_x, to_y) in itertools.pairwise(stroke):
            for step in (0.25, 0.5, 0.75, 1):
                send("touchMove", (x + (to_x - x) * step, y + (to_y - y) * step))
        send("touchEnd")


def open_upload(page: Page) -> None:
    page.get_by_role("tab", name="Upload").click()
    page.locator("[data-ready] .drop").wait_for()
    still(page)


def give(page: Page, name: str, content: bytes) -> None:
    """Chooses a file, by the file chooser's back door."""
    file: Any = {"name": name, "mimeType": "image/png", "buffer": content}
    page.locator(".drop input").set_input_files(file)
