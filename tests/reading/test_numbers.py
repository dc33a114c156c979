"""What `read` promises: digits in order, no mark lost, blanks in place, and no surprise."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import runpy
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from lenet_digits import Reading, UnreadableImageError, predict, read, read_many
from lenet_digits.reading.page_ink import parts_in

EXAMPLES = Path(__file__).parents[2] / "examples"
SINGLE = sorted(path for path in EXAMPLES.iterdir() if path.suffix in (".png", ".jpg"))
PAGE = 640, 240  # width and height in pixels of what is drawn here
PEN = 9


@pytest.fixture(scope="module")
def number():
    """Draws the ink of digits; see `examples/make_pictures.py`."""
    return runpy.run_path(str(EXAMPLES / "make_pictures.py"))["number"]


def drawn(number, text, *, page=PAGE, top=70.0, step=100, seed=3):
    rng = np.random.default_rng(seed)
    ink = number(text, rng, page=page, left=90, top=top, size=(66, 104), step=step, pen=PEN)
    return np.asarray(255 * (1 - ink), np.uint8)


def digits_of(reading):
    return [[digit.digit for digit in line.digits] for line in reading.lines]


def test_a_number_is_read_in_order_with_boxes_inside_the_picture(number):
    reading = read(drawn(number, "90217"))
    assert reading.text == "90217"
    (line,) = reading.lines
    lefts = [digit.box[0] for digit in line.digits]
    assert lefts == sorted(lefts)
    for left, top, right, bottom in [line.box, *(digit.box for digit in line.digits)]:
        assert 0 <= left < right <= PAGE[0]
        assert 0 <= top < bottom <= PAGE[1]
    for place, digit in enumerate(line.digits):  # each box lies where the digit was drawn
        middle = (digit.box[0] + digit.box[2]) / 2
        assert abs(middle - (90 + 100 * place + 33)) < 30
        assert 0 <= digit.confidence <= 1
    assert 0 <= line.confidence <= 1
    assert line.text not in {other.text for other in line.alternatives}


def test_leading_zeros_are_kept(number):
    assert read(drawn(number, "00510")).text == "00510"


@pytest.mark.parametrize(
    ("text", "mark", "kind", "expected"),
    [
        ("12 5", (280, 172, 268, 196), "point", "12·5"),  # a comma
        ("12 5", (290, 168, 290, 169), "point", "12·5"),
        (" 64 ", (100, 120, 150, 120), "dash", "·64"),  # a minus
        ("64 2", (300, 122, 352, 120), "dash", "64·2"),
    ],
)
def test_a_mark_is_never_lost(number, text, mark, kind, expected):
    picture = drawn(number, text)
    digits = "".join(text.split())
    assert "·" not in read(picture).text  # the twin: without the mark there is none
    cv2.line(picture, mark[:2], mark[2:], 0, PEN + 2)
    reading = read(picture)
    assert reading.text == expected
    assert "".join(char for char in reading.text if char.isdigit()) == digits
    (found,) = reading.lines[0].marks
    assert found.kind == kind
    assert found.box[0] <= (mark[0] + mark[2]) / 2 <= found.box[2]


@pytest.mark.parametrize(("text", "place"), [("12 5", 1), ("48 5", 1), ("16 5", 1)])
def test_a_comma_that_touches_a_digit_is_not_lost(number, text, place):
    picture = drawn(number, text, seed=4)
    assert "·" not in read(picture).text  # the twin
    left = 90 + 100 * place
    rows, columns = np.nonzero(picture[:, left - 10 : left + 85] < 128)
    bottom = int(rows.max())
    right = int(columns[rows >= bottom - 12].max()) + left - 10
    cv2.line(picture, (right + 2, bottom - 2), (right - 8, bottom + 24), 0, PEN + 1)
    reading = read(picture)
    assert reading.text == text.replace(" ", "·")
    assert [mark.kind for mark in reading.lines[0].marks] == ["point"]


def test_what_is_left_of_a_frame_is_not_a_1_but_a_1_at_the_edge_is(number):
    page = drawn(number, "157")
    top, bottom, left, right = 60, 185, 80, 400
    rows, columns = np.nonzero(page < 128)
    tight = page[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert read(np.ascontiguousarray(tight)).text == "157"
    framed = np.ascontiguousarray(page[top - 30 : bottom, left : right + 10])
    framed[:60, -6:-1] = 0  # the right side of a printed box, cut off below
    assert read(framed).text == "157"


def test_cuts_lie_on_the_ink_and_part_touching_digits():
    path = EXAMPLES / "numbers" / "853-touching.png"
    (line,) = read(path).lines
    assert sum(cut.used for cut in line.cuts) == 2  # three digits that touch
    left, top, right, bottom = line.box
    for cut in line.cuts:
        x1, y1, x2, y2 = cut.ends
        assert left <= min(x1, x2) <= max(x1, x2) <= right
        assert top <= y1 <= y2 <= bottom


def test_nothing_is_cut_where_nothing_is_wide(number):
    assert not any(line.cuts for line in read(drawn(number, "1 1")).lines)


def test_the_confidences_of_a_line_and_its_alternatives_are_one_probability():
    (line,) = read(EXAMPLES / "numbers" / "853-touching.png").lines
    assert line.alternatives
    assert line.confidence + sum(other.confidence for other in line.alternatives) <= 1 + 1e-6


def test_a_slash_between_digits_is_not_a_1(number):
    reading = read(drawn(number, "24/98"))
    assert reading.text == "24·98"
    assert read(drawn(number, "24198")).text == "24198"


def test_a_wide_gap_is_a_space_and_a_line_is_a_line(number):
    page = PAGE[0], 480
    both = np.minimum(
        drawn(number, "31 42", page=page, top=60), drawn(number, "505", page=page, top=300)
    )
    assert read(both).text == "31 42\n505"


@pytest.mark.parametrize("path", SINGLE, ids=lambda path: path.name)
def test_one_digit_is_read_as_predict_reads_it(path):
    reading = read(path)
    assert digits_of(reading) == [[int(path.name[0])]]
    assert reading.lines[0].digits[0].prediction == predict(path)


@pytest.mark.parametrize("count", [2, 3])
def test_the_number_of_digits_can_be_told(count):
    reading = read(EXAMPLES / "numbers" / "853-touching.png", digits=count)
    assert [len(line.digits) for line in reading.lines] == [count]


def test_blank_cells_are_kept_in_place():
    reading = read(EXAMPLES / "numbers" / "5073-boxed.png")
    assert [cell.text for cell in reading.cells] == ["", "5", "0", "7", "3"]
    assert [(cell.row, cell.column) for cell in reading.cells] == [(0, n) for n in range(5)]
    assert reading.text == "5073"
    assert not read(EXAMPLES / "numbers" / "2024-drawn.png").cells


@pytest.mark.parametrize("turns", [1, 3])
def test_a_page_scanned_sideways_is_turned(turns):
    with Image.open(EXAMPLES / "numbers" / "page.png") as file:
        upright = np.asarray(file.convert("RGB"))
    reading = read(np.ascontiguousarray(np.rot90(upright, turns)))
    assert reading.text == read(upright).text
    assert reading.turned == 90 * turns
    assert read(upright).turned == 0


@pytest.mark.parametrize("picture", [np.full((200, 300), 255, np.uint8), np.zeros((90, 90, 4))])
def test_a_blank_picture_gives_an_empty_reading(picture):
    assert read(picture) == Reading()
    assert read(picture).text == ""


def test_what_is_not_a_picture_raises(tmp_path):
    path = tmp_path / "not a picture.png"
    path.write_bytes(b"digits")
    with pytest.raises(UnreadableImageError):
        read(path)
    with pytest.raises(ValueError, match="must be a whole number"):
        read(np.zeros((28, 28)), digits=0)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 190, 40)])
def test_a_layer_of_ink_is_read_by_its_alpha_whatever_its_colour(number, colour):
    picture = drawn(number, "90217")
    layer = np.empty((*picture.shape, 4), np.uint8)
    layer[..., :3], layer[..., 3] = colour, 255 - picture
    assert read(layer).text == read(picture).text == "90217"
    layer[..., 3] = 255  # a twin: without its alpha the layer shows nothing
    assert read(layer).text == ""


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4, 0.9, 1.0])
def test_parts_are_measured_as_opencv_measures_them(share):
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (1, 30), (30, 1), (40, 57)):
        mask = (rng.random(shape) < share).astype(np.uint8)
        labels, stats, centres = parts_in(mask)
        _, *expected = cv2.connectedComponentsWithStats(mask, connectivity=8)
        assert np.array_equal(labels, expected[0])
        assert np.array_equal(stats[1:], expected[1][1:])
        assert np.allclose(centres[1:], expected[2][1:])


def test_words_hold_no_digits():
    page = np.full((160, 700), 255, np.uint8)
    cv2.putText(page, "measurement", (40, 100), cv2.FONT_HERSHEY_SIMPLEX, 2.5, 0, 5)
    assert read(page).lines == ()


def test_many_pictures_are_read_in_order_and_the_error_comes_at_its_picture(number):
    pictures = [drawn(number, "18"), np.full((50, 50), 255, np.uint8), drawn(number, "27"), b"?"]
    readings = read_many(iter(pictures))
    assert [next(readings).text for _ in range(3)] == ["18", "", "27"]
    with pytest.raises(UnreadableImageError):
        next(readings)


@pytest.mark.parametrize("one", ["page.png", b"", None, 5])
def test_one_picture_for_read_many_is_refused_at_once(one):
    with pytest.raises(TypeError, match="read_many takes several pictures"):
        read_many(one)


@pytest.mark.parametrize("digits", [0, -1, 2.5, "3", 10**20])
def test_a_number_of_digits_that_no_line_has_is_refused(digits):
    with pytest.raises(ValueError, match="a whole number from 1 to 100"):
        read(EXAMPLES / "numbers" / "page.png", digits=digits)


def test_a_reading_cannot_change_and_fits_into_json(number):
    reading = read(drawn(number, "46"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        reading.lines = ()
    copy = json.loads(json.dumps(reading.to_dict()))
    assert copy["text"] == "46"
    assert [digit["digit"] for digit in copy["lines"][0]["digits"]] == [4, 6]


def test_an_open_file_is_read_as_its_path_is():
    path = EXAMPLES / "1-ballpoint.png"
    with path.open("rb") as file:
        assert read(file) == read(path)


def hostile_pictures():
    rng = np.random.default_rng(0)
    dots = np.full((2000, 2000), 255, np.uint8)
    for y in range(10, 2000, 20):
        for x in range(10, 2000, 20):
            cv2.circle(dots, (x, y), 5, 0, -1)
    hatched = np.full((1500, 1500), 255, np.uint8)
    for x in range(-1500, 3000, 12):
        cv2.line(hatched, (x, 0), (x + 1500, 1500), 0, 2)
        cv2.line(hatched, (x, 0), (x - 1500, 1500), 0, 2)
    text = np.full((1800, 1800), 255, np.uint8)
    for y in range(30, 1800, 30):
        letters = "".join(chr(97 + int(letter)) for letter in rng.integers(0, 26, 120))
        cv2.putText(text, letters, (5, y), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 0, 2)
    return {
        "noise": rng.integers(0, 256, (1500, 1500), dtype=np.uint8),
        "dots": dots,
        "hatched": hatched,
        "text": text,
    }


@pytest.mark.parametrize(("name", "picture"), hostile_pictures().items())
def test_a_hostile_picture_is_answered_or_refused_in_bounded_time(name, picture):
    start = time.process_time()
    with contextlib.suppress(UnreadableImageError):
        assert isinstance(read(picture), Reading), name
    assert time.process_time() - start < 6  # 2 s on a quiet machine


@pytest.mark.parametrize("kind", ["bytes", "Pillow", "array"])
def test_boxes_count_in_pixels_of_the_whole_picture_however_large(kind: str) -> None:
    path = Path(__file__).parents[2] / "examples" / "numbers" / "2024-drawn.png"
    with Image.open(path) as small:
        small = small.convert("RGB")
        times = -(-5000 // max(small.size))
        large = small.resize((small.width * times, small.height * times))
    file = io.BytesIO()
    large.save(file, "JPEG", quality=80)
    image: Any = {"bytes": file.getvalue(), "Pillow": large, "array": np.asarray(large)}[kind]
    one, other = read(small), read(image)
    assert other.text == one.text == "2024"
    for digit, expected in zip(other.lines[0].digits, one.lines[0].digits, strict=True):
        edges = np.array(expected.box) * times
        assert np.abs(np.array(digit.box) - edges).max() < 0.02 * max(large.size)


def test_a_point_in_a_cell_is_kept_as_a_mark() -> None:
    """12,5 is never 125, in a box either."""
    path = Path(__file__).parents[2] / "examples" / "numbers" / "5073-boxed.png"
    cells = read(path).cells
    assert "".join(cell.text for cell in cells) == "5073"
    left, top, _, bottom = cells[3].box  # the cell of the 7
    with Image.open(path) as page:
        page = page.convert("RGB")
    side = bottom - top
    x, y, size = left + round(0.10 * side), bottom - round(0.30 * side), round(side / 7)
    ImageDraw.Draw(page).ellipse((x, y, x + size, y + size), fill=(20, 20, 40))
    marked = read(page)
    assert marked.text == "50·73"
    assert [cell.text for cell in marked.cells] == ["", "5", "0", "·7", "3"]
