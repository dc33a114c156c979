"""The page in a real browser: drawing, dropping pictures, and what a visitor then sees."""

from __future__ import annotations

import base64
import io
import itertools
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")
from conftest import App
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect

expect.set_options(timeout=60_000)  # milliseconds; a busy machine takes its time

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(p for p in (ROOT / "examples").glob("[0-9]-*.*") if p.suffix in (".png", ".jpg"))
WIDTHS = (390, 768, 1440)  # pixels: a phone, a tablet, a desk

# Strokes of digits, as points in percent of the pad's side.
STROKES: dict[str, str] = {
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
}
STRANGE_NAMES = (
    '<img src=x onerror="shot=1">.png',
    "a\nb\r\x1b[31m.png",
    "\u202egnp.7\u2066.png",
    "{{7*7}}${7*7}.png",
    '"><script>shot=1</script>.png',
)
SEVEN_IN_A_CORNER = "4,4 14,4 11,12 8,22"


@pytest.fixture(scope="module")
def visitor(browser: Browser) -> Iterator[BrowserContext]:
    """One visitor with a warm cache, for the tests that need no other."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield context
    context.close()


@pytest.fixture
def page(visitor: BrowserContext, app: App) -> Iterator[Page]:
    """The app, ready to draw."""
    page = visitor.new_page()
    open_app(page, app)
    yield page
    page.close()


@pytest.fixture
def new_page(browser: Browser, app: App) -> Iterator[Callable[..., Page]]:
    """Opens the app as another visitor, with the browser's options as given."""
    contexts = []

    def open_page(**options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}} | options)
        contexts.append(context)
        page = context.new_page()
        open_app(page, app)
        return page

    yield open_page
    for context in contexts:
        context.close()


def open_app(page: Page, app: App) -> None:
    page.set_default_timeout(60_000)
    page.goto(app.url)
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


def points(strokes: str, page: Page) -> list[list[tuple[float, float]]]:
    """Strokes in pixels of the page."""
    box = pad_of(page).bounding_box()
    assert box is not None
    return [
        [
            (box["x"] + box["width"] * x / 100, box["y"] + box["height"] * y / 100)
            for x, y in (map(float, point.split(",")) for point in stroke.split())
        ]
        for stroke in strokes.split("|")
    ]


def draw(page: Page, strokes: str) -> None:
    """Draws with the mouse."""
    for stroke in points(strokes, page):
        page.mouse.move(*stroke[0])
        page.mouse.down()
        for x, y in stroke[1:]:
            page.mouse.move(x, y, steps=2)
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


def open_upload(page: Page) -> Page:
    page.get_by_role("tab", name="Upload").click()
    page.locator("[data-ready] .drop").wait_for()
    still(page)
    return page


def give(page: Page, name: str, content: bytes) -> None:
    """Chooses a file, by the file chooser's back door."""
    file: Any = {"name": name, "mimeType": "image/png", "buffer": content}
    page.locator(".drop input").set_input_files(file)


def bomb(side: int) -> bytes:
    """A small PNG file of a white square with a large side, in pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    pixels = zlib.compressobj(9)
    rows = b"".join(pixels.compress(b"\0" + b"\xff" * (side // 8)) for _ in range(side))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
        + chunk(b"IDAT", rows + pixels.flush())
        + chunk(b"IEND", b"")
    )


# Drawing ---------------------------------------------------------------------------------------


def test_each_digit_drawn_with_the_mouse_is_read(page: Page) -> None:
    for digit, strokes in STROKES.items():
        draw(page, strokes)
        expect(headline(page)).to_have_text(digit)
        page.get_by_role("button", name="Clear").click()
        expect(note(page)).to_have_text("Nothing drawn yet")


def test_a_seven_in_a_corner_with_a_thin_pen_is_read(page: Page) -> None:
    page.get_by_label("Width").fill("6")
    draw(page, SEVEN_IN_A_CORNER)
    expect(headline(page)).to_have_text("7")


def test_digits_drawn_with_a_finger_are_read_and_the_page_does_not_scroll(
    new_page: Callable[..., Page],
) -> None:
    page = new_page(viewport={"width": 390, "height": 500}, has_touch=True, is_mobile=True)
    for digit in "137":
        draw_with_finger(page, STROKES[digit])
        expect(headline(page)).to_have_text(digit)
        assert page.evaluate("scrollY") == 0
        # A tap would scroll there, and race with scrolling back: this is not about the button.
        page.get_by_role("button", name="Clear").dispatch_event("click")
        expect(note(page)).to_have_text("Nothing drawn yet")
        still(page)


def test_the_page_scrolls_under_a_finger_beside_the_pad(new_page: Callable[..., Page]) -> None:
    """The twin of the test above: the finger would scroll if the pad let it."""
    page = new_page(viewport={"width": 390, "height": 500}, has_touch=True, is_mobile=True)
    pad_of(page).evaluate("pad => { pad.style.touchAction = 'auto' }")
    draw_with_finger(page, "50,95 50,60 50,5")
    page.wait_for_function("scrollY > 0")


def test_a_drawing_in_the_dark_is_read_and_shown_as_light_ink(
    new_page: Callable[..., Page],
) -> None:
    page = new_page(color_scheme="dark")
    draw(page, STROKES["3"])
    expect(headline(page)).to_have_text("3")
    expect(pad_of(page)).to_have_css("filter", "invert(1)")


def test_undo_redo_and_clear_follow_the_drawing_and_its_answer(page: Page) -> None:
    draw(page, STROKES["1"])
    expect(headline(page)).to_have_text("1")
    draw(page, "30,20 50,15")
    draw(page, "30,85 70,85")
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Undo").click()
    expect(headline(page)).to_have_text("1")
    page.keyboard.press("Control+z")
    expect(note(page)).to_have_text("Nothing drawn yet")
    expect(page.get_by_role("button", name="Undo")).to_have_attribute("aria-disabled", "true")
    page.keyboard.press("Control+Shift+z")
    expect(headline(page)).to_have_text("1")
    page.get_by_role("button", name="Clear").click()
    expect(note(page)).to_have_text("Nothing drawn yet")
    expect(page.locator(".seen img:visible")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(headline(page)).to_have_text("1")


def test_an_undone_drawing_is_restored_to_the_pixel(page: Page) -> None:
    def pixels() -> str:
        return str(pad_of(page).evaluate("pad => pad.toDataURL()"))

    draw(page, STROKES["4"])
    before = pixels()
    draw(page, "10,10 90,90")
    assert pixels() != before
    page.keyboard.press("Control+z")
    assert pixels() == before


def test_the_eraser_takes_ink_away_until_nothing_is_drawn(page: Page) -> None:
    draw(page, STROKES["1"])
    expect(headline(page)).to_have_text("1")
    page.get_by_role("button", name="Eraser").click()
    page.get_by_label("Width").fill("90")
    draw(page, "50,5 50,95")
    expect(note(page)).to_have_text("Nothing drawn yet")


def test_keys_choose_the_tool_and_its_width_and_clear(page: Page) -> None:
    draw(page, STROKES["1"])
    pad_of(page).focus()
    page.keyboard.press("e")
    expect(page.get_by_role("button", name="Eraser")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("p")
    expect(page.get_by_role("button", name="Pen", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    before = int(page.get_by_label("Width").input_value())
    page.keyboard.press("]")
    assert int(page.get_by_label("Width").input_value()) > before
    page.keyboard.press("c")
    expect(note(page)).to_have_text("Nothing drawn yet")


def test_an_older_drawings_answer_is_never_shown(page: Page) -> None:
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/read?*", hold_the_first)
    with page.expect_request("**/read?*"):
        draw(page, STROKES["1"])
    page.get_by_role("button", name="Clear").click()
    draw(page, STROKES["7"])
    expect(headline(page)).to_have_text("7")
    held[0].fulfill(json={"verdict": "digit", "headline": "1", "note": ""})
    draw(page, "1,1 1,1")  # a later answer has been through the page: the late one would show
    expect(page.locator(".answer:visible")).not_to_have_attribute("data-asking", "")
    page.keyboard.press("Control+z")
    expect(headline(page)).to_have_text("7")


def test_a_cleared_pad_shows_no_answer_that_was_still_under_way(page: Page) -> None:
    held: list[Route] = []
    page.route("**/read?*", lambda route: held.append(route))
    with page.expect_request("**/read?*"):
        draw(page, STROKES["1"])
    page.get_by_role("button", name="Clear").click()
    for route in held:
        route.fulfill(json={"verdict": "digit", "headline": "1", "note": ""})
    page.evaluate("new Promise(requestAnimationFrame)")
    expect(note(page)).to_have_text("Nothing drawn yet")


def test_a_server_that_is_gone_is_said_in_words(page: Page) -> None:
    page.route("**/read?*", lambda route: route.abort())
    draw(page, STROKES["1"])
    expect(note(page)).to_contain_text("The server does not answer")


# The answer ------------------------------------------------------------------------------------


def test_ten_meters_in_order_carry_the_probabilities(page: Page) -> None:
    draw(page, STROKES["3"])
    expect(headline(page)).to_have_text("3")
    meters = page.get_by_role("meter")
    labels = [meter.get_attribute("aria-label") for meter in meters.all()]
    values = [float(meter.get_attribute("aria-valuenow") or "nan") for meter in meters.all()]
    assert labels == [str(digit) for digit in range(10)]
    assert sum(values) == pytest.approx(100, abs=0.6)
    assert max(values) == values[3]
    expect(page.locator(".bars [data-winner] [role=meter]")).to_have_attribute("aria-label", "3")


def test_the_canvas_is_shown_crisp_beside_the_answer(page: Page) -> None:
    draw(page, STROKES["5"])
    seen = page.locator(".seen img:visible")
    expect(seen).to_have_css("image-rendering", "pixelated")
    assert seen.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [28, 28]


def test_one_click_opens_the_steps_and_a_new_stroke_leaves_them_open(page: Page) -> None:
    draw(page, STROKES["1"])
    page.get_by_text("Steps to the canvas").click()
    steps = page.locator(".steps:visible li")
    expect(steps.first).to_be_visible()
    assert steps.count() >= 4
    draw(page, "30,20 50,15")
    expect(page.locator(".answer:visible")).not_to_have_attribute("data-asking", "")
    expect(steps.first).to_be_visible()


# Pictures --------------------------------------------------------------------------------------


@pytest.mark.skipif(not EXAMPLES, reason="the examples are only in a checkout")
def test_each_example_given_by_file_chooser_is_read(page: Page) -> None:
    open_upload(page)
    for example in EXAMPLES:
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Choose", exact=True).click()
        chooser.value.set_files(example)
        expect(headline(page), example.name).to_have_text(example.name[0])
        expect(page.locator(".preview"), example.name).to_be_visible()
        page.get_by_role("button", name="Clear").click()
        expect(note(page)).to_have_text("No picture yet")


@pytest.mark.skipif(not EXAMPLES, reason="the examples are only in a checkout")
def test_a_click_reads_an_example_in_both_tabs(page: Page) -> None:
    for tab in ("Sketchpad", "Upload"):
        page.get_by_role("tab", name=tab).click()
        examples = page.locator(".examples button:visible")
        expect(examples.first).to_be_visible()
        for example in examples.all():
            digit = (example.get_attribute("title") or "")[0]
            example.click()
            expect(headline(page), f"{tab}: {digit}").to_have_text(digit)
            page.get_by_role("button", name="Clear").click()


HAND_OVER = """async ([event, source]) => {
    const content = typeof source === "number"
        ? new Uint8Array(source) : await (await fetch(source)).blob();
    const data = new DataTransfer();
    data.items.add(new File([content], "picture.png", { type: "image/png" }));
    const [kind, field] = event === "paste"
        ? [ClipboardEvent, "clipboardData"] : [DragEvent, "dataTransfer"];
    document.querySelector(".drop").dispatchEvent(
        new kind(event, { [field]: data, bubbles: true, cancelable: true }));
}"""  # a data URL, or so many bytes of nothing


@pytest.mark.parametrize("event", ["paste", "drop"])
def test_a_picture_pasted_or_dropped_is_read(page: Page, event: str) -> None:
    draw(page, STROKES["2"])
    expect(headline(page)).to_have_text("2")
    picture = pad_of(page).evaluate("pad => pad.toDataURL()")
    open_upload(page)
    page.evaluate(HAND_OVER, [event, picture])
    expect(headline(page)).to_have_text("2")


def test_the_camera_takes_a_picture_and_is_switched_off(new_page: Callable[..., Page]) -> None:
    page = open_upload(new_page(permissions=["camera"]))
    page.get_by_role("button", name="Camera").click()
    expect(page.locator("video")).to_be_visible()
    page.get_by_role("button", name="Take it").click()
    expect(page.locator("video")).to_be_hidden()
    expect(page.locator(".answer:visible")).not_to_have_attribute("data-asking", "")
    expect(note(page)).not_to_have_text("No picture yet")
    assert page.locator("video").evaluate("video => video.srcObject") is None


def test_a_camera_that_is_refused_is_said_in_a_sentence(page: Page) -> None:
    open_upload(page)
    page.get_by_role("button", name="Camera").click()
    expect(note(page)).to_contain_text("The camera cannot be used")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"only a letter to my aunt", "not a picture"),
        (b"", "not a picture"),
        (b"\x89PNG\r\n\x1a\n and then nothing", "picture"),
        (bomb(12_000), "megapixels"),
    ],
    ids=["text", "empty", "damaged", "bomb"],
)
def test_what_cannot_be_read_gets_one_sentence(page: Page, content: bytes, sentence: str) -> None:
    open_upload(page)
    give(page, "digit.png", content)
    expect(headline(page)).to_have_text("No answer")
    expect(note(page)).to_contain_text(sentence)
    assert (note(page).text_content() or "").count(". ") == 0
    expect(page.locator(".preview")).to_be_hidden()
    expect(page.locator(".toast-body")).to_have_count(0)


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(page: Page) -> None:
    open_upload(page)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.evaluate(HAND_OVER, ["drop", 20 * 2**20 + 1])
    expect(note(page)).to_contain_text("larger than 20 MB")
    assert sent == []


def test_a_blank_picture_has_no_digit(page: Page) -> None:
    from PIL import Image

    file = io.BytesIO()
    Image.new("L", (200, 200), 255).save(file, "PNG")
    open_upload(page)
    give(page, "blank.png", file.getvalue())
    expect(note(page)).to_have_text("No ink found in this picture")


def test_the_name_of_a_file_is_nothing_to_the_page(page: Page) -> None:
    open_upload(page)
    picture = (ROOT / "examples" / "7-corner.png").read_bytes()
    for name in STRANGE_NAMES:
        give(page, name, picture)
        expect(headline(page)).to_have_text("7")
        assert page.evaluate("typeof shot") == "undefined"
        assert ".png" not in page.locator("body").inner_text()
        assert page.locator("img[src=x]").count() == 0
        page.get_by_role("button", name="Clear").click()
        expect(note(page)).to_have_text("No picture yet")


# Everyone --------------------------------------------------------------------------------------


def test_the_tab_key_goes_from_tabs_to_pad_to_tools(page: Page) -> None:
    draw(page, STROKES["1"])
    expect(headline(page)).to_have_text("1")
    page.evaluate("document.activeElement.blur()")
    page.get_by_role("tab", name="Sketchpad").focus()
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        name = page.evaluate("""() => {
            const at = document.activeElement;
            return at.getAttribute("aria-label") ?? at.title.split(" (")[0] ?? at.textContent;
        }""")
        reached.append(name)
    wanted = ["Sketchpad: draw", "Pen", "Eraser", "Undo", "Redo", "Clear", "Width of the pen"]
    order = [next(i for i, name in enumerate(reached) if name.startswith(w)) for w in wanted]
    assert order == sorted(order), reached
    assert order[-1] - order[0] == len(order) - 1, reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(new_page: Callable[..., Page], scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = new_page(color_scheme=scheme, reduced_motion="reduce")
    draw(page, STROKES["3"])
    expect(headline(page)).to_have_text("3")
    page.get_by_text("Steps to the canvas").click()
    page.get_by_text("Inside the network").click()
    expect(page.locator(".mattered:visible")).not_to_be_empty()
    for tab in ("Sketchpad", "Upload", "About"):
        page.get_by_role("tab", name=tab).click()
        violations = [
            (rule["id"], [node["html"][:120] for node in rule["nodes"]])
            for rule in axe.run(page).response["violations"]
            if rule["impact"] in ("serious", "critical")
        ]
        assert violations == [], tab


def test_nothing_sticks_out_at_any_width(page: Page) -> None:
    draw(page, STROKES["8"])
    expect(headline(page)).to_have_text("8")
    page.get_by_text("Steps to the canvas").click()
    for tab in ("Sketchpad", "Upload", "About"):
        page.get_by_role("tab", name=tab).click()
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 844})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (tab, width)


def test_no_request_leaves_this_machine_and_no_cookie_is_set(browser: Browser, app: App) -> None:
    context = browser.new_context()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    open_app(page, app)
    draw(page, STROKES["3"])
    expect(headline(page)).to_have_text("3")
    for tab in ("Upload", "About"):
        page.get_by_role("tab", name=tab).click()
    page.wait_for_load_state("networkidle")
    outside = [url for url in asked if not url.startswith((app.url, "data:", "blob:"))]
    assert len(asked) > 5
    assert outside == []
    assert context.cookies() == []
    context.close()


def test_nothing_a_visitor_draws_or_drops_is_kept_on_disk(page: Page, app: App) -> None:
    def files() -> set[Path]:
        return {path for path in app.temporary.rglob("*") if path.is_file()}

    before = files()
    draw(page, STROKES["3"])
    expect(headline(page)).to_have_text("3")
    picture = str(pad_of(page).evaluate("pad => pad.toDataURL()"))
    open_upload(page)
    give(page, "three.png", base64.b64decode(picture.partition(",")[2]))
    expect(headline(page)).to_have_text("3")
    assert files() <= before


def test_two_visitors_do_not_see_each_others_drawings(new_page: Callable[..., Page]) -> None:
    one, seven = new_page(), new_page()
    draw(one, STROKES["1"])
    draw(seven, STROKES["7"])
    expect(headline(one)).to_have_text("1")
    expect(headline(seven)).to_have_text("7")
    one.get_by_role("button", name="Clear").click()
    expect(note(one)).to_have_text("Nothing drawn yet")
    expect(headline(seven)).to_have_text("7")


# One view ---------------------------------------------------------------------------------------

WINDOWS = [(390, 664), (375, 553), (360, 660), (844, 390), (640, 400), (1366, 600)]  # pixels


@pytest.mark.parametrize(("width", "height"), WINDOWS, ids=str)
def test_pad_headline_and_note_are_in_one_view(
    new_page: Callable[..., Page], width: int, height: int
) -> None:
    page = new_page(viewport={"width": width, "height": height})
    draw(page, STROKES["3"])
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
    page = new_page(viewport={"width": 390, "height": 664})
    draw(page, STROKES["7"])
    expect(headline(page)).to_have_text("7")
    page.set_viewport_size({"width": 844, "height": 390})
    still(page)
    inked = """pad => {
        const { data } = pad.getContext("2d").getImageData(0, 0, pad.width, pad.height);
        return data.filter((value, at) => at % 4 === 3 && value).length / (pad.height ** 2);
    }"""
    assert pad_of(page).evaluate(inked) > 0.03
    draw(page, "1,1 1,1")
    page.keyboard.press("Control+z")
    expect(headline(page)).to_have_text("7")


# Calm -------------------------------------------------------------------------------------------

WATCH = """() => {
    window.changes = [];
    const status = [...document.querySelectorAll("[role=status]")].find((s) => s.offsetParent);
    new MutationObserver(() => changes.push(status.innerText.trim()))
        .observe(status, { childList: true, characterData: true, subtree: true });
}"""


def test_the_status_changes_once_a_stroke_and_never_refuses_in_the_middle(page: Page) -> None:
    page.evaluate(WATCH)
    with page.expect_response("**/read?*"):  # a question in mid-stroke
        (stroke,) = points(STROKES["8"], page)
        page.mouse.move(*stroke[0])
        page.mouse.down()
        for x, y in stroke[1:4]:
            page.mouse.move(x, y, steps=12)
    still(page)
    assert page.evaluate("changes") == []
    for x, y in stroke[4:]:
        page.mouse.move(x, y, steps=3)
    page.mouse.up()
    expect(headline(page)).to_have_text("8")
    changes = page.evaluate("changes")
    assert len(changes) <= 2  # headline and note, in one task or two
    assert not [words for words in changes if "Not a digit" in words]


def test_the_bars_follow_the_pen(page: Page) -> None:
    (stroke,) = points(STROKES["1"], page)
    page.mouse.move(*stroke[0])
    page.mouse.down()
    page.mouse.move(*stroke[1], steps=30)
    expect(page.locator(".bars:visible [data-winner]")).to_have_count(1)
    page.mouse.up()


def test_the_headline_follows_a_pen_that_rests(page: Page) -> None:
    (stroke,) = points(STROKES["1"], page)
    page.mouse.move(*stroke[0])
    page.mouse.down()
    page.mouse.move(*stroke[1], steps=10)
    expect(headline(page)).to_have_text("1")  # and the pen is still down
    page.mouse.up()


def test_clear_returns_to_the_pen_and_an_empty_pad_says_that_it_cannot_be_erased(
    page: Page,
) -> None:
    draw(page, STROKES["1"])
    page.get_by_role("button", name="Eraser").click()
    page.get_by_role("button", name="Clear").click()
    pen = page.get_by_role("button", name="Pen", exact=True)
    expect(pen).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Eraser").click()
    draw(page, STROKES["1"])
    expect(note(page)).to_contain_text("The pad is empty")


def test_a_pad_full_of_ink_is_not_called_empty(page: Page) -> None:
    page.get_by_label("Width").fill("90")
    rows = " ".join(f"1,{y} 99,{y}" for y in range(1, 100, 7))
    draw(page, rows)
    expect(page.locator(".answer:visible")).not_to_have_attribute("data-asking", "")
    expect(note(page)).not_to_have_text("Nothing drawn yet")


# Uploads ----------------------------------------------------------------------------------------


def test_a_picture_is_shown_at_once_while_it_is_read(page: Page) -> None:
    held: list[Route] = []
    page.route("**/read?*", lambda route: held.append(route))
    open_upload(page)
    with page.expect_request("**/read?*"):
        give(page, "7.jpg", (ROOT / "examples" / "7-photo.jpg").read_bytes())
    expect(page.locator(".preview")).to_be_visible()
    expect(note(page)).to_have_text("Reading…")
    held[0].continue_()
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


def test_a_large_photo_is_made_smaller_before_it_travels(page: Page) -> None:
    from PIL import Image

    with Image.open(ROOT / "examples" / "7-photo.jpg") as photo:
        large = photo.resize((4000, 4000 * photo.height // photo.width))
    noise = Image.effect_noise(large.size, 60).convert("RGB")
    file = io.BytesIO()
    Image.blend(large, noise, 0.1).save(file, "JPEG", quality=95)
    assert len(file.getvalue()) > 1_000_000
    open_upload(page)
    page.evaluate(SPY)
    give(page, "7.jpg", file.getvalue())
    expect(headline(page)).to_have_text("7")
    size, longest, kind = page.evaluate(SENT)
    assert size < len(file.getvalue()) / 2
    assert longest == 2000
    assert kind == "image/jpeg"


def test_a_large_transparent_picture_stays_transparent(page: Page) -> None:
    from PIL import Image, ImageDraw

    layer = Image.effect_noise((2600, 2600), 50).convert("RGBA")
    layer.putalpha(0)
    ImageDraw.Draw(layer).line([(1300, 400), (1300, 2200)], "black", width=200)
    file = io.BytesIO()
    layer.save(file, "PNG")
    assert len(file.getvalue()) > 1_000_000
    open_upload(page)
    page.evaluate(SPY)
    give(page, "1.png", file.getvalue())
    expect(headline(page)).to_have_text("1")
    assert page.evaluate(SENT)[1:] == [2000, "image/png"]


@pytest.mark.parametrize("event", ["paste", "drop"])
def test_a_picture_pasted_or_dropped_on_the_sketchpad_is_read(page: Page, event: str) -> None:
    draw(page, STROKES["2"])
    expect(headline(page)).to_have_text("2")
    picture = pad_of(page).evaluate("pad => pad.toDataURL()")
    page.evaluate(HAND_OVER.replace(".drop", ".pad"), [event, picture])
    expect(page.get_by_role("tab", name="Upload")).to_have_attribute("aria-selected", "true")
    expect(headline(page)).to_have_text("2")


def test_a_heic_photo_that_the_browser_cannot_open_gets_a_way_out(page: Page) -> None:
    open_upload(page)
    file: Any = {"name": "IMG_1.HEIC", "mimeType": "image/heic", "buffer": b"\0\0\0\x18ftypheic"}
    page.locator(".drop input").set_input_files(file)
    expect(note(page)).to_contain_text("JPEG")
    expect(page.locator(".preview")).to_be_hidden()


# Keys and contrast ------------------------------------------------------------------------------


def draw_by_keys(page: Page, *moves: str) -> None:
    """Each move: a key and how often; a space lowers or lifts the pen."""
    for move in moves:
        key, _, times = move.partition("*")
        for _ in range(int(times or 1)):
            page.keyboard.press(key)


def test_a_one_and_a_seven_are_drawn_by_keys_alone(page: Page) -> None:
    pad_of(page).focus()
    draw_by_keys(page, "ArrowUp*10", " ", "ArrowDown*20", " ")
    expect(headline(page)).to_have_text("1")
    expect(page.locator(".position:visible")).to_contain_text("row 25, pen up")
    page.keyboard.press("c")
    draw_by_keys(page, "ArrowUp*20", "ArrowLeft*6", " ", "ArrowRight*12")
    for _ in range(9):
        draw_by_keys(page, "ArrowDown*2", "ArrowLeft")
    draw_by_keys(page, " ")
    expect(headline(page)).to_have_text("7")


def test_the_focus_stays_after_clear_and_undo(page: Page) -> None:
    draw(page, STROKES["1"])
    for name in ("Undo", "Redo", "Clear"):
        button = page.get_by_role("button", name=name)
        button.focus()
        page.keyboard.press("Enter")
        expect(button).to_be_focused()


def test_arrow_keys_move_within_the_toolbar(page: Page) -> None:
    page.get_by_role("button", name="Pen", exact=True).focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("button", name="Eraser")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("button", name="Pen", exact=True)).to_be_focused()
    page.keyboard.press("End")
    expect(page.get_by_label("Width")).to_be_focused()


def test_in_forced_colours_bars_tools_and_focus_can_be_told(new_page: Callable[..., Page]) -> None:
    page = new_page(forced_colors="active")
    draw(page, STROKES["3"])
    expect(headline(page)).to_have_text("3")
    colour = "e => getComputedStyle(e).backgroundColor"
    meter = page.locator(".bars:visible [data-winner] [role=meter]")
    assert meter.locator("i").evaluate(colour) != meter.evaluate(colour)
    pen = page.get_by_role("button", name="Pen", exact=True).evaluate(colour)
    assert pen != page.get_by_role("button", name="Eraser").evaluate(colour)
    pad_of(page).focus()
    page.keyboard.press("ArrowUp")
    assert pad_of(page).evaluate("pad => getComputedStyle(pad).outlineStyle") == "solid"


# Several digits ---------------------------------------------------------------------------------


def some(digit: int, left: float) -> dict[str, Any]:
    shares = [1.0 if value == digit else 0.0 for value in range(10)]
    pixel = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
    return {
        "digit": digit, "share": f"9{digit} %", "verdict": "digit", "probabilities": shares,
        "shares": [f"{share:.0%}" for share in shares], "canvas": pixel,
        "box": [left, 0.2, left + 0.2, 0.8],
    }  # fmt: skip


NUMBER = {
    "verdict": "number", "headline": "42", "note": "98 % sure", "text": "42\n7",
    "digits": [some(4, 0.2), some(2, 0.5), some(7, 0.7)],
    "lines": [
        {"text": "42", "share": "98 % sure", "confidence": 0.98},
        {"text": "7", "share": "99 % sure", "confidence": 0.99},
    ],
}  # fmt: skip


def test_a_number_has_a_chip_and_a_box_for_each_digit_and_shows_the_chosen_one(page: Page) -> None:
    page.route("**/read?*", lambda route: route.fulfill(json=NUMBER))
    draw(page, STROKES["4"])
    expect(headline(page)).to_have_text("42")
    chips = page.locator(".chips:visible button")
    expect(chips).to_have_count(3)
    expect(page.locator(".pad .boxes i")).to_have_count(3)
    winner = page.locator(".bars:visible [data-winner] [role=meter]")
    expect(winner).to_have_attribute("aria-label", "4")
    chips.nth(1).click()
    expect(winner).to_have_attribute("aria-label", "2")
    page.keyboard.press("ArrowRight")
    expect(winner).to_have_attribute("aria-label", "7")
    expect(chips.nth(2)).to_be_focused()
    expect(page.locator(".pad .boxes i[data-chosen]")).to_have_count(1)


def test_lines_can_be_copied_and_saved_as_csv(page: Page) -> None:
    page.route("**/read?*", lambda route: route.fulfill(json=NUMBER))
    draw(page, STROKES["4"])
    expect(page.locator(".lines:visible li")).to_have_count(2)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    assert Path(download.value.path()).read_bytes() == (
        b'line,text,confidence\r\n1,"42",0.98\r\n2,"7",0.99\r\n'
    )
    page.evaluate("document.addEventListener('copy', () => { copied = getSelection().toString() })")
    page.evaluate("window.copied = ''")
    page.get_by_role("button", name="Copy").click()
    page.wait_for_function("copied === '42\\n7'")


def test_the_boxes_lie_on_the_digits_of_an_uploaded_page(page: Page) -> None:
    """Each box, cut out of what the page shows, holds ink; beside the picture there is none."""
    from PIL import Image

    open_upload(page)
    give(page, "page.png", (ROOT / "examples" / "numbers" / "page.png").read_bytes())
    expect(page.locator(".lines:visible li")).to_have_count(4)
    boxes = page.locator(".frame .boxes i")
    assert boxes.count() > 10
    shown = Image.open(io.BytesIO(page.screenshot())).convert("L")
    for box in boxes.all():
        place = box.bounding_box()
        assert place is not None
        left, top = place["x"] + 3, place["y"] + 3
        right, bottom = place["x"] + place["width"] - 3, place["y"] + place["height"] - 3
        dark = shown.crop((int(left), int(top), int(right), int(bottom))).point(lambda v: v < 110)
        assert (dark.getbbox() or (0, 0, 0, 0))[3] > 0.7 * (bottom - top)  # ink, nearly as high


# For the README ----------------------------------------------------------------------------------


def test_screenshots_for_the_readme(
    new_page: Callable[..., Page], pytestconfig: pytest.Config
) -> None:
    if not (folder := pytestconfig.getoption("--screenshots")):
        pytest.skip("only with --screenshots FOLDER")
    page = new_page(viewport={"width": 1060, "height": 800}, reduced_motion="reduce")
    draw(page, "30,23 37,16 46,13 56,13 64,17 68,24 67,31 62,38 54,42 45,44")
    draw(page, "45,44 56,45 66,50 71,58 71,67 67,76 58,83 47,85 36,83 27,77")
    expect(headline(page)).to_have_text("3")
    page.get_by_text("Steps to the canvas").click()
    take_screenshot(page, Path(folder) / "sketchpad.png")
    open_upload(page)
    page.locator(".examples button[title*=photo]:visible").click()
    expect(headline(page)).to_have_text("7")
    page.get_by_text("Steps to the canvas").locator("visible=true").click()
    take_screenshot(page, Path(folder) / "upload.png")


def take_screenshot(page: Page, path: Path) -> None:
    page.mouse.move(0, 0)
    page.screenshot(path=path)
    assert path.stat().st_size < 200_000  # bytes: README's readers load it
