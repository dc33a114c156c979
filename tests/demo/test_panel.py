"""The panel "Inside the network": what it is sent, and what a visitor then sees and hears."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import answered, clear, draw, headline, points
from conftest import ROOT
from PIL import Image
from playwright.sync_api import Locator, Page, Request, Route, expect
from safetensors.numpy import load

from lenet_digits import LeNet5, activations, canvas_steps, occlusion
from lenet_digits.demo.answers import digit_of
from lenet_digits.demo.inside import SHOWN, for_panel, kernels
from lenet_digits.reading.canvas import CanvasSteps
from lenet_digits.reading.pictures import UnreadableImageError
from lenet_digits.reading.prediction import likeliest, predict_steps
from lenet_digits.storage.shipped import shipped_weights

EXAMPLES = sorted((ROOT / "examples").glob("[0-9]-*.*g"))
MOST = 12 * 1024  # bytes more an answer
STEP = 1 / 255  # of an activation in a byte: half of 2 / 255 is lost at most


def canvas_of(path: Path) -> tuple[CanvasSteps, bytes]:
    """The steps of an example, and its canvas as the page has it."""
    steps = likeliest(canvas_steps(path))
    url = digit_of(predict_steps(steps), steps)["canvas"]
    return steps, base64.b64decode(url.partition(",")[2])


def decoded(text: str, kind: Any = np.uint8) -> Any:
    return np.frombuffer(base64.b64decode(text), kind)


# What is sent ----------------------------------------------------------------------------------


def test_the_layers_are_the_activations_in_bytes() -> None:
    for path in EXAMPLES:
        steps, canvas = canvas_of(path)
        seen, sent = activations(steps), for_panel(canvas)["layers"]
        assert list(sent) == list(SHOWN)
        for name in SHOWN:
            layer = getattr(seen, name)
            found = decoded(sent[name]).reshape(layer.shape) / 127.5 - 1
            assert np.abs(found - layer).max() <= STEP + 1e-5, (path.name, name)


def test_another_canvas_has_other_layers() -> None:
    """The twin of the test above: its tolerance would tell one digit from another."""
    (steps, _), (_, other) = canvas_of(EXAMPLES[0]), canvas_of(EXAMPLES[-1])
    found = decoded(for_panel(other)["layers"]["f6"]) / 127.5 - 1
    assert np.abs(found - activations(steps).f6).max() > 0.5


def test_the_ink_that_mattered_is_weighed_against_the_runner_up_or_another() -> None:
    steps, canvas = canvas_of(EXAMPLES[0])
    logits = activations(steps).output
    digit, runner_up = (int(value) for value in np.argsort(-logits)[:2])
    third = int(np.argsort(-logits)[2])
    for asked, against in ((None, runner_up), (third, third), (digit, runner_up)):
        sent = for_panel(canvas, digit=digit, against=asked)
        assert (sent["digit"], sent["against"]) == (digit, against)
        found = decoded(sent["ink"], np.int8).reshape(28, 28) * sent["reach"] / 127
        wanted = occlusion(steps, digit=digit, against=against)
        assert np.abs(found - wanted).max() <= sent["reach"] / 254 + 1e-3


def test_an_answer_has_12_kb_more_at_most() -> None:
    for path in EXAMPLES:
        _, canvas = canvas_of(path)
        sizes = [len(json.dumps(for_panel(canvas, digit=digit))) for digit in (None, 8)]
        assert sizes[0] < sizes[1] <= MOST, path.name


def test_a_blank_canvas_has_layers_but_no_ink() -> None:
    file = io.BytesIO()
    Image.new("L", (28, 28)).save(file, "PNG")
    assert list(for_panel(file.getvalue(), digit=8)) == ["layers"]


def test_a_picture_that_is_not_a_canvas_gets_a_sentence() -> None:
    with pytest.raises(UnreadableImageError, match="28 by 28"):
        for_panel(EXAMPLES[0].read_bytes())
    with pytest.raises(UnreadableImageError):
        for_panel(b"")


@pytest.mark.parametrize("own", [False, True], ids=["shipped", "a model of the caller's"])
def test_the_kernels_are_the_networks(own: bool) -> None:
    model = LeNet5() if own else None
    if model is None:
        weights = load(shipped_weights())
    else:
        weights = {name: w.numpy(force=True) for name, w in model.state_dict().items()}
    for name, sent in kernels(model=model).items():
        kernel = weights[f"{name}.weight"]
        reach = np.abs(kernel).max()
        found = decoded(sent, np.int8).reshape(kernel.shape) * reach / 127
        assert np.abs(found - kernel).max() <= reach / 254 + 1e-6


# What a visitor sees and hears -----------------------------------------------------------------


def panel(page: Page) -> Locator:
    return page.locator(".inside:visible")


def mattered(page: Page) -> Locator:
    return panel(page).locator(".mattered")


def words(page: Page) -> Locator:
    return panel(page).locator(".map")


def option(page: Page, name: str) -> Locator:
    return panel(page).get_by_role("option", name=name)


def picture(canvas: Locator) -> str:
    return str(canvas.evaluate("canvas => canvas.toDataURL()"))


def open_panel(page: Page) -> None:
    panel(page).get_by_text("Inside the network").click()


def questions(page: Page) -> list[Request]:
    """The panel's requests from now on, as they are made."""
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request) if "/inside" in request.url else None)
    return asked


def test_it_is_folded_and_then_asks_nothing(page: Page) -> None:
    asked = questions(page)
    draw(page, "3")
    expect(headline(page)).to_have_text("3")
    expect(panel(page)).not_to_have_attribute("open", "")
    page.wait_for_load_state("networkidle")
    assert asked == []
    open_panel(page)
    expect(mattered(page)).to_contain_text("to make it a\xa03")
    sizes = [len(request.response().body()) for request in asked if request.method == "POST"]  # type: ignore[union-attr]
    assert len(sizes) == 1
    assert sizes[0] <= MOST
    open_panel(page)  # and folds it
    draw(page, "10,10 12,12")
    answered(page)
    page.wait_for_load_state("networkidle")
    assert len([request for request in asked if request.method == "POST"]) == 1


def test_its_maps_follow_the_pen_and_the_ink_waits_until_it_lifts(page: Page) -> None:
    open_panel(page)
    draw(page, "50,15 50,85")
    expect(mattered(page)).to_contain_text("to make it a\xa01")
    before = [picture(option(page, name)) for name in ("C1, map 1 of 6", "F6, 84 units")]
    (x, y), (to_x, to_y) = points("50,15 20,40", page)[0]
    page.mouse.move(x, y)
    page.mouse.down()
    page.wait_for_timeout(200)  # the pad asks ten times a second at most
    page.mouse.move(to_x, to_y, steps=3)
    expect(mattered(page)).to_have_text("Lift the pen to see which ink mattered.")
    assert before != [picture(option(page, name)) for name in ("C1, map 1 of 6", "F6, 84 units")]
    page.mouse.up()
    expect(mattered(page)).to_contain_text("to make it")
    clear(page)
    expect(mattered(page)).to_have_text("Nothing to look into yet.")
    blank = picture(option(page, "C1, map 1 of 6"))
    assert blank == picture(option(page, "C1, map 2 of 6"))


def test_another_digit_can_be_asked_for_in_place_of_the_runner_up(page: Page) -> None:
    draw(page, "8")
    open_panel(page)
    expect(mattered(page)).to_contain_text("an\xa08")
    choice = panel(page).get_by_role("combobox", name="Why an\xa08 and not")
    shown = picture(panel(page).locator(".view"))
    choice.select_option("1")
    expect(mattered(page)).to_contain_text("an\xa08 and not a\xa01")
    assert shown != picture(panel(page).locator(".view"))


def test_it_says_what_it_shows_and_is_reached_by_keys(page: Page) -> None:
    draw(page, "3")
    open_panel(page)
    expect(mattered(page)).to_contain_text("a\xa03")
    groups = panel(page).get_by_role("group")
    assert [group.get_attribute("aria-label") for group in groups.all()] == [
        "C1: 6 maps of 28×28", "S2: 6 maps of 14×14", "C3: 16 maps of 10×10",
        "S4: 16 maps of 5×5", "C5: 120 units", "F6: 84 units",
    ]  # fmt: skip
    assert panel(page).locator("[role=option][tabindex='0']").count() == 1
    view = panel(page).locator(".view")
    plain = picture(view)
    panel(page).get_by_role("combobox").focus()
    page.keyboard.press("Tab")
    steps = {
        "": "C1, map 1 of 6", "ArrowRight": "C1, map 2 of 6", "ArrowDown": "S2, map 2 of 6",
        "End": "F6, 84 units", "ArrowUp": "C5, 120 units", "ArrowLeft": "S4, map 16 of 16",
        "Home": "C1, map 1 of 6",
    }  # fmt: skip
    for key, name in steps.items():
        if key:
            page.keyboard.press(key)
        expect(option(page, name)).to_be_focused()
        expect(option(page, name)).to_have_attribute("aria-selected", "true")
        expect(words(page)).to_contain_text(re.split(", map|, ", name)[0])
        assert panel(page).locator("[role=option][aria-selected=true]").count() == 1
    expect(words(page)).to_have_attribute("aria-live", "polite")
    assert picture(view) != plain  # it marks what the unit sees
    said = words(page).inner_text()
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Shift+ArrowDown")
    expect(words(page)).not_to_have_text(said)
    expect(option(page, "C1, map 1 of 6")).to_be_focused()
    page.emulate_media(forced_colors="active")
    outline = "canvas => getComputedStyle(canvas).outlineStyle"
    assert option(page, "C1, map 1 of 6").evaluate(outline) == "solid"
    assert option(page, "C1, map 2 of 6").evaluate(outline) == "none"


def test_a_unit_sees_the_pixels_that_are_marked_and_no_others(page: Page) -> None:
    draw(page, "3")
    open_panel(page)
    expect(mattered(page)).to_contain_text("a\xa03")
    noise = np.random.default_rng(0)
    canvas = noise.random((28, 28), np.float32) * 0.1

    def unit(canvas: Any) -> float:
        """What the network answers there."""
        steps = CanvasSteps(
            np.zeros((28, 28, 3), np.uint8), canvas, canvas, (0, 0, 28, 28), canvas, 0.0
        )
        return float(getattr(activations(steps), name.lower())[1, row, column])

    for name in ("C1", "S2", "C3", "S4"):
        a_map = option(page, f"{name}, map 2 of ")
        box = a_map.bounding_box()
        assert box is not None
        a_map.hover(position={"x": 0.5 * box["width"], "y": 0.3 * box["height"]})
        expect(words(page)).to_contain_text(f"{name}, map 2")
        said = words(page).inner_text()
        row, column = (
            int(n) - 1 for n in re.findall(r"its unit, row (\d+), column (\d+)", said)[0]
        )
        marked = re.findall(r"rows (\d+) to (\d+), columns (\d+) to (\d+)", said)[0]
        top, bottom, left, right = (int(number) - 1 for number in marked)
        inside = (slice(top, bottom + 1), slice(left, right + 1))
        around = noise.random((28, 28), np.float32)
        around[inside] = canvas[inside]
        assert unit(around) == pytest.approx(unit(canvas), abs=1e-6)
        for corner in ((top, left), (bottom, right)):
            changed = canvas.copy()
            changed[corner] = 1
            assert abs(unit(changed) - unit(canvas)) > 1e-6


def test_the_browser_remembers_that_it_is_open(page: Page) -> None:
    open_panel(page)
    page.reload()
    page.locator("[data-ready] .pad canvas").wait_for()
    draw(page, "7")
    expect(mattered(page)).to_contain_text("to make it a\xa07")
    open_panel(page)
    page.reload()
    page.locator("[data-ready] .pad canvas").wait_for()
    expect(panel(page)).not_to_have_attribute("open", "")


def test_it_opens_where_the_browser_remembers_nothing(page: Page) -> None:
    page.add_init_script("""Object.defineProperty(window, "localStorage", {
        get() { throw new DOMException("denied", "SecurityError"); } })""")
    page.reload()
    page.locator("[data-ready] .pad canvas").wait_for()
    draw(page, "7")
    open_panel(page)
    expect(mattered(page)).to_contain_text("to make it a\xa07")


def test_it_shows_the_chosen_digit_of_a_number(page: Page) -> None:
    draw(page, "25,20 25,80 | 55,20 80,20 72,50 66,80")
    expect(headline(page)).to_have_text("17")
    open_panel(page)
    expect(mattered(page)).to_contain_text("to make it a\xa01")
    shown = picture(option(page, "S2, map 1 of 6"))
    page.locator(".chips:visible button").nth(1).click()
    expect(mattered(page)).to_contain_text("to make it a\xa07")
    assert picture(option(page, "S2, map 1 of 6")) != shown


def test_an_older_drawings_inside_is_never_shown(page: Page) -> None:
    held: list[Route] = []
    page.route("**/inside?*", lambda route: held.append(route))
    open_panel(page)
    with page.expect_request("**/inside?*"):
        draw(page, "50,15 50,85")
    expect(headline(page)).to_have_text("1")
    clear(page)
    expect(mattered(page)).to_have_text("Nothing to look into yet.")
    draw(page, "30,18 70,18 46,85")
    expect(headline(page)).to_have_text("7")
    with page.expect_request("**/inside?*"):  # the older answer has been through the page
        held[0].continue_()
    expect(mattered(page)).to_have_text("Nothing to look into yet.")
    blank = picture(option(page, "C1, map 1 of 6"))
    assert blank == picture(option(page, "C1, map 2 of 6"))
    held[-1].continue_()
    expect(mattered(page)).to_contain_text("to make it a\xa07")


def test_a_server_that_is_gone_is_said_in_words(page: Page) -> None:
    page.route("**/inside*", lambda route: route.abort())
    open_panel(page)
    draw(page, "1")
    expect(mattered(page)).to_contain_text("The network does not answer")
    expect(headline(page)).to_have_text("1")


def test_nothing_sticks_out_and_a_finger_can_point_at_each_map(page: Page) -> None:
    draw(page, "3")
    open_panel(page)
    option(page, "C3, map 2 of 16").focus()  # its six kernels are the widest of all
    expect(panel(page).locator(".kernel")).to_be_visible()
    for width in (320, 390, 768, 1440):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        tile = option(page, "S4, map 16 of 16").bounding_box()
        assert tile is not None
        assert min(tile["width"], tile["height"]) >= 20  # pixels
