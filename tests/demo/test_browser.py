"""The page in a real browser: drawing, giving pictures, and what a visitor then sees and hears."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browsing import (
    DOT,
    answered,
    clear,
    draw,
    draw_with_finger,
    give,
    headline,
    note,
    open_page,
    open_upload,
    pad_of,
    still,
)
from conftest import ROOT, App
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page, Route, expect

PHOTO = ROOT / "examples" / "7-photo.jpg"
LINES = ROOT / "examples" / "numbers" / "page.png"
PHONE = {"width": 390, "height": 664}  # pixels
WINDOWS = [(390, 664), (375, 553), (360, 660), (844, 390), (640, 400), (1366, 600)]
WIDTHS = (320, 390, 768, 1440)
STRANGE_NAMES = (
    '<img src=x onerror="shot=1">.png',
    "a\nb\r\x1b[31m.png",
    "\u202egnp.7\u2066.png",
    "{{7*7}}${7*7}.png",
    '"><script>shot=1</script>.png',
)


def press(page: Page, *keys: str) -> None:
    """Presses keys; ``Key*3`` is pressed three times."""
    for each in keys:
        key, _, times = each.partition("*")
        for _ in range(int(times or 1)):
            page.keyboard.press(key)


def button(page: Page, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)


# Drawing ---------------------------------------------------------------------------------------


def test_each_digit_drawn_with_the_mouse_is_read(page: Page) -> None:
    for digit in "0123456789":
        draw(page, digit)
        expect(headline(page)).to_have_text(digit)
        clear(page)
    page.get_by_label("Width").fill("6")
    draw(page, "7 in a corner")
    expect(headline(page)).to_have_text("7")


def test_digits_drawn_with_a_finger_are_read_and_the_page_does_not_scroll(
    new_page: Callable[..., Page],
) -> None:
    page = new_page(viewport={"width": 390, "height": 500}, has_touch=True, is_mobile=True)
    for digit in "137":
        draw_with_finger(page, digit)
        expect(headline(page)).to_have_text(digit)
        assert page.evaluate("scrollY") == 0
        # A tap would scroll to the button, and this test is not about that.
        button(page, "Clear").dispatch_event("click")
        expect(note(page)).to_have_text("Nothing drawn yet")
        still(page)


def test_the_page_scrolls_under_a_finger_beside_the_pad(new_page: Callable[..., Page]) -> None:
    """The twin of the test above: the finger would scroll if the pad let it."""
    page = new_page(viewport={"width": 390, "height": 500}, has_touch=True, is_mobile=True)
    pad_of(page).evaluate("pad => { pad.style.touchAction = 'auto' }")
    draw_with_finger(page, "50,95 50,60 50,5")
    page.wait_for_function("scrollY > 0")


def test_undo_redo_and_clear_follow_the_drawing_and_its_answer(page: Page) -> None:
    def pixels() -> str:
        return str(pad_of(page).evaluate("pad => pad.toDataURL()"))

    draw(page, "1")
    expect(headline(page)).to_have_text("1")
    before = pixels()
    draw(page, "30,20 50,15 | 30,85 70,85")
    button(page, "Undo").click()
    assert pixels() != before
    button(page, "Undo").click()
    assert pixels() == before
    expect(headline(page)).to_have_text("1")
    press(page, "Control+z")
    expect(note(page)).to_have_text("Nothing drawn yet")
    expect(button(page, "Undo")).to_have_attribute("aria-disabled", "true")
    press(page, "Control+Shift+z")
    expect(headline(page)).to_have_text("1")
    clear(page)
    expect(page.locator(".seen img:visible")).to_have_count(0)
    button(page, "Undo").click()
    expect(headline(page)).to_have_text("1")


def test_the_eraser_takes_ink_away_and_clear_returns_to_the_pen(page: Page) -> None:
    draw(page, "50,15 50,85")
    expect(headline(page)).to_have_text("1")
    button(page, "Eraser").click()
    page.get_by_label("Width").fill("90")
    draw(page, "50,5 50,95")
    expect(note(page)).to_have_text("Nothing drawn yet")
    button(page, "Clear").click()
    expect(button(page, "Pen")).to_have_attribute("aria-pressed", "true")
    button(page, "Eraser").click()
    draw(page, "1")
    expect(note(page)).to_contain_text("The pad is empty")


def test_a_pad_full_of_ink_is_not_called_empty(page: Page) -> None:
    page.get_by_label("Width").fill("90")
    draw(page, " ".join(f"1,{y} 99,{y}" for y in range(1, 100, 7)))
    answered(page)
    expect(note(page)).not_to_have_text("Nothing drawn yet")


def test_an_older_drawings_answer_is_never_shown(page: Page) -> None:
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/read?*", hold_the_first)
    with page.expect_request("**/read?*"):
        draw(page, "1")
    clear(page)
    draw(page, "7")
    expect(headline(page)).to_have_text("7")
    held[0].fulfill(json={"verdict": "digit", "headline": "1", "note": ""})
    draw(page, DOT)  # a later answer has been through the page: the late one would show
    answered(page)
    press(page, "Control+z")
    expect(headline(page)).to_have_text("7")


def test_a_server_that_is_gone_is_said_in_words(page: Page) -> None:
    page.route("**/read?*", lambda route: route.abort())
    draw(page, "1")
    expect(note(page)).to_contain_text("The server does not answer")


def test_two_visitors_do_not_see_each_others_drawings(new_page: Callable[..., Page]) -> None:
    one, seven = new_page(), new_page()
    draw(one, "1")
    draw(seven, "7")
    expect(headline(one)).to_have_text("1")
    expect(headline(seven)).to_have_text("7")
    clear(one)
    expect(headline(seven)).to_have_text("7")


# The answer ------------------------------------------------------------------------------------


def test_an_answer_has_ten_meters_in_order_the_canvas_and_its_steps(page: Page) -> None:
    draw(page, "3")
    expect(headline(page)).to_have_text("3")
    meters = page.get_by_role("meter").all()
    values = [float(meter.get_attribute("aria-valuenow") or "nan") for meter in meters]
    assert [meter.get_attribute("aria-label") for meter in meters] == list("0123456789")
    assert sum(values) == pytest.approx(100, abs=0.6)
    assert max(values) == values[3]
    expect(page.locator(".bars [data-winner] [role=meter]")).to_have_attribute("aria-label", "3")
    seen = page.locator(".seen img:visible")
    expect(seen).to_have_css("image-rendering", "pixelated")
    assert seen.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [28, 28]
    page.get_by_text("Steps to the canvas").click()
    steps = page.locator(".steps:visible li")
    assert steps.count() >= 4
    draw(page, DOT)
    answered(page)
    expect(steps.first).to_be_visible()  # a new stroke leaves them open


WATCH = """() => {
    window.changes = [];
    const status = [...document.querySelectorAll("[role=status]")].find((s) => s.offsetParent);
    new MutationObserver(() => changes.push(status.innerText.trim()))
        .observe(status, { childList: true, characterData: true, subtree: true });
}"""


def test_the_status_changes_once_a_stroke_and_never_refuses_in_the_middle(page: Page) -> None:
    page.evaluate(WATCH)
    with page.expect_response("**/read?*"):  # a question in mid-stroke
        draw(page, "64,25 50,15 37,26 50,47", lift=False)
    still(page)
    assert page.evaluate("changes") == []
    for x, y in ((65, 65), (50, 85), (35, 66), (50, 47), (63, 32), (64, 25)):
        box = pad_of(page).bounding_box()
        assert box is not None
        page.mouse.move(
            box["x"] + box["width"] * x / 100, box["y"] + box["height"] * y / 100, steps=3
        )
    page.mouse.up()
    expect(headline(page)).to_have_text("8")
    changes = page.evaluate("changes")
    assert len(changes) <= 2  # headline and note, in one task or two
    assert not [words for words in changes if "Not a digit" in words]


def test_bars_follow_the_pen_and_the_headline_follows_a_pen_that_rests(page: Page) -> None:
    draw(page, "1", lift=False)
    expect(page.locator(".bars:visible [data-winner]")).to_have_count(1)
    expect(headline(page)).to_have_text("1")  # and the pen is still down
    page.mouse.up()


# Pictures --------------------------------------------------------------------------------------


def test_a_picture_is_shown_at_once_while_it_is_read(page: Page) -> None:
    held: list[Route] = []
    page.route("**/read?*", lambda route: held.append(route))
    open_upload(page)
    with page.expect_request("**/read?*"), page.expect_file_chooser() as chooser:
        button(page, "Choose").click()
        chooser.value.set_files(PHOTO)
    expect(page.locator(".preview")).to_be_visible()
    expect(note(page)).to_have_text("Reading…")
    held[0].continue_()
    expect(headline(page)).to_have_text("7")
    button(page, "Clear").click()
    expect(note(page)).to_have_text("No picture yet")


def test_a_click_reads_an_example_in_both_tabs(page: Page) -> None:
    for tab in ("Sketchpad", "Upload"):
        page.get_by_role("tab", name=tab).click()
        examples = page.locator(".examples button:visible")
        expect(examples.first).to_be_visible()
        for example in examples.all():
            digit = (example.get_attribute("title") or "")[0]
            example.click()
            expect(headline(page), f"{tab}: {digit}").to_have_text(digit)
            button(page, "Clear").click()


HAND_OVER = """async ([event, place, source]) => {
    const content = typeof source === "number"
        ? new Uint8Array(source) : await (await fetch(source)).blob();
    const data = new DataTransfer();
    data.items.add(new File([content], "picture.png", { type: "image/png" }));
    const [kind, field] = event === "paste"
        ? [ClipboardEvent, "clipboardData"] : [DragEvent, "dataTransfer"];
    document.querySelector(place).dispatchEvent(
        new kind(event, { [field]: data, bubbles: true, cancelable: true }));
}"""  # a data URL, or so many bytes of nothing


@pytest.mark.parametrize("event", ["paste", "drop"])
@pytest.mark.parametrize("place", [".pad", ".drop"])
def test_a_picture_pasted_or_dropped_anywhere_is_read(page: Page, event: str, place: str) -> None:
    draw(page, "2")
    expect(headline(page)).to_have_text("2")
    picture = pad_of(page).evaluate("pad => pad.toDataURL()")
    if place == ".drop":
        open_upload(page)
    page.evaluate(HAND_OVER, [event, place, picture])
    expect(page.get_by_role("tab", name="Upload")).to_have_attribute("aria-selected", "true")
    expect(headline(page)).to_have_text("2")


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(page: Page) -> None:
    open_upload(page)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.evaluate(HAND_OVER, ["drop", ".drop", 20 * 2**20 + 1])
    expect(note(page)).to_contain_text("larger than 20 MB")
    assert sent == []


@pytest.mark.parametrize(
    ("name", "kind", "content", "sentence"),
    [
        ("7.png", "image/png", b"only a letter to my aunt", "not a picture"),
        ("7.HEIC", "image/heic", b"\0\0\0\x18ftypheic", "Send it as JPEG"),
    ],
)
def test_what_cannot_be_read_gets_a_sentence(
    page: Page, name: str, kind: str, content: bytes, sentence: str
) -> None:
    open_upload(page)
    file: Any = {"name": name, "mimeType": kind, "buffer": content}
    page.locator(".drop input").set_input_files(file)
    expect(headline(page)).to_have_text("No answer")
    expect(note(page)).to_contain_text(sentence)
    expect(page.locator(".preview")).to_be_hidden()
    expect(page.locator(".toast-body")).to_have_count(0)


def test_the_camera_takes_a_picture_and_is_switched_off(new_page: Callable[..., Page]) -> None:
    page = new_page(permissions=["camera"])
    open_upload(page)
    button(page, "Camera").click()
    expect(page.locator("video")).to_be_visible()
    button(page, "Take it").click()
    expect(page.locator("video")).to_be_hidden()
    answered(page)
    expect(note(page)).not_to_have_text("No picture yet")
    assert page.locator("video").evaluate("video => video.srcObject") is None


def test_a_camera_that_is_refused_is_said_in_a_sentence(page: Page) -> None:
    open_upload(page)
    button(page, "Camera").click()
    expect(note(page)).to_contain_text("The camera cannot be used")


def test_on_a_phone_the_camera_button_opens_its_own_camera(new_page: Callable[..., Page]) -> None:
    page = new_page(has_touch=True, is_mobile=True)
    open_upload(page)
    with page.expect_file_chooser() as chooser:
        button(page, "Camera").click()
    assert chooser.value.element.get_attribute("capture") == "environment"
    chooser.value.set_files(PHOTO)
    expect(headline(page)).to_have_text("7")


SPY = """() => {
    const send = window.fetch;
    window.fetch = (address, options) => {
        if (options?.body instanceof Blob) window.sent = options.body;
        return send(address, options);
    };
}"""
SENT = """async () => {
    const { width, height } = await createImageBitmap(sent);
    return [sent.size, Math.max(width, height), sent.type];
}"""


@pytest.mark.parametrize("kind", ["image/jpeg", "image/png"])
def test_a_large_picture_is_made_smaller_before_it_travels_and_keeps_its_transparency(
    page: Page, kind: str
) -> None:
    large = Image.effect_noise((3000, 3000), 40).point(lambda v: 120 + v).convert("RGBA")
    if kind == "image/png":
        large.putalpha(0)
    ImageDraw.Draw(large).line([(1500, 400), (1500, 2600)], "black", width=200)
    file = io.BytesIO()
    large.convert("RGBA" if kind == "image/png" else "RGB").save(file, kind[6:], quality=95)
    assert len(file.getvalue()) > 1_000_000
    open_upload(page)
    page.evaluate(SPY)
    give(page, "1", file.getvalue())
    expect(headline(page)).to_have_text("1")
    size, longest, sent = page.evaluate(SENT)
    assert size < len(file.getvalue()) / 2
    assert (longest, sent) == (2000, kind)


def test_a_transparent_picture_lies_on_white_paper_in_the_dark(
    new_page: Callable[..., Page],
) -> None:
    page = new_page(color_scheme="dark")
    open_upload(page)
    give(page, "3.png", (ROOT / "examples" / "3-transparent.png").read_bytes())
    expect(headline(page)).to_have_text("3")
    box = page.locator(".frame .sheet").bounding_box()
    assert box is not None
    shown = Image.open(io.BytesIO(page.screenshot())).convert("L")
    assert shown.getpixel((int(box["x"]) + 9, int(box["y"]) + 9)) == 255


def test_the_name_of_a_file_is_nothing_to_the_page(page: Page) -> None:
    open_upload(page)
    picture = (ROOT / "examples" / "7-corner.png").read_bytes()
    for name in STRANGE_NAMES:
        give(page, name, picture)
        expect(headline(page)).to_have_text("7")
        assert page.evaluate("typeof shot") == "undefined"
        assert ".png" not in page.locator("body").inner_text()
        assert page.locator("img[src=x]").count() == 0
        button(page, "Clear").click()
        expect(note(page)).to_have_text("No picture yet")


def test_nothing_a_visitor_draws_or_drops_is_kept_on_disk(page: Page, app: App) -> None:
    def files() -> set[Path]:
        return {path for path in app.temporary.rglob("*") if path.is_file()}

    before = files()
    draw(page, "3")
    expect(headline(page)).to_have_text("3")
    picture = str(pad_of(page).evaluate("pad => pad.toDataURL()"))
    open_upload(page)
    give(page, "three.png", base64.b64decode(picture.partition(",")[2]))
    expect(headline(page)).to_have_text("3")
    assert files() <= before


# Several digits --------------------------------------------------------------------------------


def test_a_number_has_a_chip_and_a_box_for_each_digit_and_shows_the_chosen_one(page: Page) -> None:
    draw(page, "42")
    expect(headline(page)).to_have_text("42")
    chips = page.locator(".chips:visible button")
    expect(chips).to_have_count(2)
    expect(page.locator(".pad .boxes i")).to_have_count(2)
    winner = page.locator(".bars:visible [data-winner] [role=meter]")
    expect(winner).to_have_attribute("aria-label", "4")
    canvas = page.locator("img.canvas:visible")
    steps = page.locator(".steps li:last-child img")
    first = canvas.get_attribute("src")
    chips.nth(1).click()
    expect(winner).to_have_attribute("aria-label", "2")
    assert canvas.get_attribute("src") != first
    expect(steps).to_have_attribute("src", canvas.get_attribute("src") or "")
    press(page, "ArrowLeft")
    expect(winner).to_have_attribute("aria-label", "4")
    expect(chips.first).to_be_focused()
    expect(page.locator(".pad .boxes i[data-chosen]")).to_have_count(1)


def test_a_page_of_lines_has_boxes_on_its_digits_and_can_be_copied_and_saved(page: Page) -> None:
    open_upload(page)
    give(page, "page.png", LINES.read_bytes())
    expect(page.locator(".lines:visible li")).to_have_count(4)
    text = page.locator(".lines:visible li strong").all_inner_texts()
    with page.expect_download() as download:
        button(page, "Save as CSV").click()
    rows = Path(download.value.path()).read_bytes().decode().split("\r\n")
    assert rows[0] == "line,text,confidence"
    assert [row.rpartition(",")[0] for row in rows[1:-1]] == [
        f'{number},"{line}"' for number, line in enumerate(text, 1)
    ]
    page.evaluate("document.addEventListener('copy', () => { copied = getSelection().toString() })")
    page.evaluate("window.copied = ''")
    button(page, "Copy").click()
    page.wait_for_function("text => copied === text", arg="\n".join(text))
    boxes = page.locator(".frame .boxes i")
    assert boxes.count() == sum(len(line.replace(" ", "")) for line in text)
    page.evaluate("scrollTo(0, 0)")
    shown = Image.open(io.BytesIO(page.screenshot())).convert("L")
    for box in boxes.all():
        place = box.bounding_box()
        assert place is not None
        left, top = place["x"] + 3, place["y"] + 3
        right, bottom = place["x"] + place["width"] - 3, place["y"] + place["height"] - 3
        dark = shown.crop((int(left), int(top), int(right), int(bottom))).point(lambda v: v < 110)
        assert (dark.getbbox() or (0, 0, 0, 0))[3] > 0.7 * (bottom - top)  # ink, nearly as high


# One view --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), WINDOWS, ids=str)
def test_pad_headline_and_note_are_in_one_view(
    new_page: Callable[..., Page], width: int, height: int
) -> None:
    page = new_page(viewport={"width": width, "height": height})
    draw(page, "3")
    expect(headline(page)).to_have_text("3")
    for part in (page.locator(".pad:visible"), headline(page), note(page)):
        box = part.bounding_box()
        assert box is not None
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= height
        assert box["x"] + box["width"] <= width
    assert page.evaluate("scrollY") == 0


def test_a_projector_is_used(new_page: Callable[..., Page]) -> None:
    page = new_page(viewport={"width": 1920, "height": 1080})
    pad = pad_of(page).bounding_box()
    assert pad is not None
    assert min(pad["width"], pad["height"]) >= 650
    size = page.locator(".bars:visible li").first.evaluate("bar => getComputedStyle(bar).fontSize")
    assert float(size.removesuffix("px")) >= 22


def test_a_drawing_stays_when_the_window_changes_its_shape(new_page: Callable[..., Page]) -> None:
    page = new_page(viewport=PHONE)
    draw(page, "7")
    expect(headline(page)).to_have_text("7")
    page.set_viewport_size({"width": 844, "height": 390})
    still(page)
    inked = """pad => {
        const { data } = pad.getContext("2d").getImageData(0, 0, pad.width, pad.height);
        return data.filter((value, at) => at % 4 === 3 && value).length / (pad.height ** 2);
    }"""
    assert pad_of(page).evaluate(inked) > 0.03
    draw(page, DOT)
    press(page, "Control+z")
    expect(headline(page)).to_have_text("7")


def test_nothing_sticks_out_at_any_width(page: Page) -> None:
    draw(page, "8")
    expect(headline(page)).to_have_text("8")
    page.get_by_text("Steps to the canvas").click()
    for tab in ("Sketchpad", "Upload", "About"):
        page.get_by_role("tab", name=tab).click()
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 844})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (tab, width)


# Keys and contrast -----------------------------------------------------------------------------


def test_a_one_and_a_seven_are_drawn_by_keys_alone(page: Page) -> None:
    pad_of(page).focus()
    press(page, "ArrowUp*10", " ", "ArrowDown*20")
    expect(headline(page)).to_have_text("1")  # while the pen is down
    press(page, " ")
    expect(headline(page)).to_have_text("1")
    expect(page.locator(".position:visible")).to_contain_text("row 25, pen up")
    press(page, "c", "ArrowUp*20", "ArrowLeft*6", " ", "ArrowRight*12")
    for _ in range(9):
        press(page, "ArrowDown*2", "ArrowLeft")
    press(page, " ")
    expect(headline(page)).to_have_text("7")


def test_the_tab_key_goes_from_the_tabs_to_the_pad_to_the_tools(page: Page) -> None:
    draw(page, "1")
    expect(headline(page)).to_have_text("1")
    page.get_by_role("tab", name="Sketchpad").focus()
    press(page, "Tab")
    expect(pad_of(page)).to_be_focused()
    for name in ("Pen", "Eraser", "Undo", "Redo", "Clear"):
        press(page, "Tab")
        expect(button(page, name)).to_be_focused()
    press(page, "Tab")
    expect(page.get_by_label("Width")).to_be_focused()


def test_arrow_keys_move_within_the_tabs_and_within_the_tools(page: Page) -> None:
    page.get_by_role("tab", name="Sketchpad").focus()
    for key, name in (
        ("ArrowRight", "Upload"), ("End", "About"), ("ArrowRight", "Sketchpad"),
        ("ArrowLeft", "About"), ("Home", "Sketchpad"),
    ):  # fmt: skip
        press(page, key)
        tab = page.get_by_role("tab", name=name)
        expect(tab).to_be_focused()
        expect(tab).to_have_attribute("aria-selected", "true")
    press(page, "Tab", "Tab", "ArrowRight")  # over the pad to the pen
    expect(button(page, "Eraser")).to_be_focused()
    press(page, "ArrowLeft")
    expect(button(page, "Pen")).to_be_focused()
    press(page, "End")
    expect(page.get_by_label("Width")).to_be_focused()


def test_letters_choose_the_tool_and_its_width_and_clear(page: Page) -> None:
    draw(page, "1")
    pad_of(page).focus()
    press(page, "e")
    expect(button(page, "Eraser")).to_have_attribute("aria-pressed", "true")
    press(page, "p")
    expect(button(page, "Pen")).to_have_attribute("aria-pressed", "true")
    before = int(page.get_by_label("Width").input_value())
    press(page, "]")
    assert int(page.get_by_label("Width").input_value()) > before
    press(page, "c")
    expect(note(page)).to_have_text("Nothing drawn yet")


def test_the_focus_stays_after_clear_and_undo(page: Page) -> None:
    draw(page, "1")
    for name in ("Undo", "Redo", "Clear"):
        button(page, name).focus()
        press(page, "Enter")
        expect(button(page, name)).to_be_focused()


def test_in_forced_colours_bars_tools_tabs_and_focus_can_be_told(
    new_page: Callable[..., Page],
) -> None:
    page = new_page(forced_colors="active")
    draw(page, "3")
    expect(headline(page)).to_have_text("3")
    colour = "e => getComputedStyle(e).backgroundColor"
    line = 'e => getComputedStyle(e, "::after").backgroundColor'
    meter = page.locator(".bars:visible [data-winner] [role=meter]")
    assert meter.locator("i").evaluate(colour) != meter.evaluate(colour)
    assert button(page, "Pen").evaluate(colour) != button(page, "Eraser").evaluate(colour)
    tab = page.get_by_role("tab", name="Sketchpad")
    assert tab.evaluate(line) != page.locator("body").evaluate(colour)
    pad_of(page).focus()
    press(page, "ArrowUp")
    assert pad_of(page).evaluate("pad => getComputedStyle(pad).outlineStyle") == "solid"


@pytest.fixture(scope="module")
def axe() -> Any:
    return pytest.importorskip("axe_playwright_python.sync_playwright").Axe()


def violations(axe: Any, page: Page) -> list[tuple[str, list[str]]]:
    return [
        (rule["id"], [node["html"][:120] for node in rule["nodes"]])
        for rule in axe.run(page).response["violations"]
    ]


@pytest.mark.parametrize("size", [{"width": 1440, "height": 900}, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_with_forced_colours_or_without(
    new_page: Callable[..., Page], axe: Any, scheme: str, size: Any
) -> None:
    page = new_page(color_scheme=scheme, reduced_motion="reduce", viewport=size)
    draw(page, "3")
    expect(headline(page)).to_have_text("3")
    page.get_by_text("Steps to the canvas").click()
    page.get_by_text("Inside the network").click()
    expect(page.locator(".mattered:visible")).not_to_be_empty()
    for tab in ("Sketchpad", "Upload", "About"):
        page.get_by_role("tab", name=tab).click()
        if tab == "Upload":
            give(page, "page.png", LINES.read_bytes())
            expect(page.locator(".lines:visible li")).to_have_count(4)
        for forced in ("active", "none"):
            page.emulate_media(forced_colors=forced)  # type: ignore[arg-type]
            assert violations(axe, page) == [], (tab, forced)


def test_axe_finds_what_is_wrong(page: Page, axe: Any) -> None:
    """The twin of the test above."""
    page.locator(".note:visible").evaluate("e => { e.innerHTML = '<img src=x>' }")
    assert [rule for rule, _ in violations(axe, page)] == ["image-alt"]


# Outside ---------------------------------------------------------------------------------------


def test_no_request_leaves_this_machine_and_no_cookie_is_set(browser: Browser, app: App) -> None:
    context = browser.new_context()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    open_page(page, app.url)
    draw(page, "3")
    expect(headline(page)).to_have_text("3")
    for tab in ("Upload", "About"):
        page.get_by_role("tab", name=tab).click()
    page.wait_for_load_state("networkidle")
    outside = [url for url in asked if not url.startswith((app.url, "data:", "blob:"))]
    assert len(asked) > 5
    assert outside == []
    assert context.cookies() == []
    context.close()


def test_the_footer_leads_to_source_licence_model_card_and_api(page: Page) -> None:
    footer = page.locator(".colophon a")
    assert footer.all_inner_texts() == ["Source", "Model card", "Apache 2.0", "API"]
    page.get_by_role("link", name="API", exact=True).click()
    expect(page.get_by_text("/predict_image", exact=True).first).to_be_visible()


# For the README --------------------------------------------------------------------------------


def test_screenshots_for_the_readme(
    new_page: Callable[..., Page], pytestconfig: pytest.Config
) -> None:
    if not (folder := pytestconfig.getoption("--screenshots")):
        pytest.skip("only with --screenshots FOLDER")
    page = new_page(viewport={"width": 1060, "height": 800}, reduced_motion="reduce")
    draw(page, "3")
    expect(headline(page)).to_have_text("3")
    page.get_by_text("Steps to the canvas").click()
    take_screenshot(page, Path(folder) / "sketchpad.png")
    open_upload(page)
    page.locator(".examples button[title*=photo]:visible").click()
    expect(headline(page)).to_have_text("7")
    page.get_by_text("Steps to the canvas").locator("visible=true").click()
    take_screenshot(page, Path(folder) / "upload.png")
    page = new_page(viewport={"width": 1200, "height": 630}, reduced_motion="reduce")
    draw(page, "42")
    expect(headline(page)).to_have_text("42")
    take_screenshot(page, Path(folder) / "card.png")  # for those who share a link


def take_screenshot(page: Page, path: Path) -> None:
    page.mouse.move(0, 0)
    page.screenshot(path=path)
    assert path.stat().st_size < 200_000  # bytes: README's readers load it
