"""What tests of the page do in a browser: open it, draw on it, and look at its answer."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")
from playwright.sync_api import Locator, Page, expect

expect.set_options(timeout=120_000)  # milliseconds; a busy machine takes its time

# Strokes, as points x,y in percent of the pad's width and height; a | lifts the pen.
STROKES = {
    "0": "50,15 32,25 28,50 33,75 50,85 67,75 72,50 67,25 50,15",
    "1": "50,15 50,85",
    "2": "32,30 40,17 58,17 67,30 62,45 45,62 30,82 50,82 72,82",
    "3": "32,20 50,15 66,26 60,42 45,48 64,54 70,70 52,85 30,80",
    "4": "42,15 32,50 70,50 | 62,30 60,85",
    "5": "66,16 38,16 34,45 52,42 68,56 64,78 46,85 30,78",
    "6": "62,15 42,35 33,62 42,83 60,83 67,68 57,55 42,58 35,68",
    "7": "30,18 70,18 58,45 46,85",
    "8": "64,25 50,15 37,26 50,47 65,65 50,85 35,66 50,47 63,32 64,25",
    "9": "64,25 50,17 36,28 42,46 58,46 65,28 65,40 60,85",
    "42": "24,20 16,52 44,52 | 38,36 36,84 | 60,32 68,18 82,22 82,40 58,82 88,82",
    "7 in a corner": "4,4 14,4 11,12 8,22",
    "dot": "1,1 1,1",
}


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
    """Strokes in pixels of the page; ``strokes`` is a name in `STROKES`, or strokes as it has."""
    box = pad_of(page).bounding_box()
    assert box is not None
    return [
        [
            (box["x"] + box["width"] * x / 100, box["y"] + box["height"] * y / 100)
            for x, y in (map(float, point.split(",")) for point in stroke.split())
        ]
        for stroke in STROKES.get(strokes, strokes).split("|")
    ]


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
