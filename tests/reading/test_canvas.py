"""Any picture gives a canvas framed as MNIST framed its digits, or an error."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageDraw, ImageOps

from lenet_digits.reading.canvas import METHODS, canvas_steps, to_canvas
from lenet_digits.reading.framing import frame
from lenet_digits.reading.pictures import NoInkError, UnreadableImageError

SAMPLE = Path(__file__).parents[1] / "data" / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16", "F")


def mnist_digits(count: int = 100) -> np.ndarray:
    """(count, 28, 28) uint8 of the sample that travels with the tests."""
    return np.frombuffer(SAMPLE.read_bytes(), np.uint8, offset=16).reshape(-1, 28, 28)[:count]


def page(
    size: tuple[int, int] = (320, 320),
    *,
    at: tuple[float, float] = (0.3, 0.2),
    scale: float = 0.5,
    pen: int = 14,
    ink: str | tuple[int, ...] = "black",
    paper: str | tuple[int, ...] = "white",
    mode: str = "RGB",
) -> Image.Image:
    """A page with a 5 in two strokes, hat apart from the body, `scale` of the page high."""
    picture = Image.new(mode, size, paper)
    height = scale * size[1]
    left, top = at[0] * size[0], at[1] * size[1]
    body = [(0.1, 0.12), (0.08, 0.45), (0.4, 0.4), (0.6, 0.6), (0.5, 0.9), (0.25, 1), (0, 0.9)]
    for stroke in (body, [(0.22, 0.02), (0.6, 0)]):
        points = [(left + x * height, top + y * height) for x, y in stroke]
        ImageDraw.Draw(picture).line(points, fill=ink, width=pen, joint="curve")
    return picture


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Ink that is not in both, as a share of the ink in either."""
    return float(np.abs(a - b).sum() / max(a.sum(), b.sum()))


def encoded(picture: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


# Framing


def test_framing_an_mnist_digit_again_changes_nothing() -> None:
    for digit in mnist_digits():
        again = frame(digit.astype(np.float32) / 255)
        np.testing.assert_allclose(again, digit / 255, atol=1.01 / 255)


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 90), st.integers(1, 90)),
        elements=st.one_of(st.just(0.0), st.floats(0, 1, width=32)),
    )
)
def test_a_framed_canvas_has_mnists_numbers(ink: np.ndarray) -> None:
    if not ink.any():
        with pytest.raises(NoInkError):
            frame(ink)
        return
    canvas = frame(ink)
    assert canvas.shape == (28, 28)
    assert canvas.dtype == np.float32
    assert canvas.min() == 0
    assert 0 < canvas.max() <= 1  # below 1 where centring the mass moves the peak off the canvas


@given(st.integers(60, 400), st.integers(3, 12), st.floats(0.2, 0.8))
@settings(deadline=None)
def test_size_and_centre_of_mass_of_a_canvas_are_mnists(side: int, pen: int, scale: float) -> None:
    canvas = to_canvas(page((side, side), at=(0.15, 0.1), scale=scale, pen=pen))
    rows, columns = np.flatnonzero(canvas.any(axis=1)), np.flatnonzero(canvas.any(axis=0))
    assert 19 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 20
    for axis in (1, 0):
        assert 13.49 <= np.average(np.arange(28), weights=canvas.sum(axis=axis)) <= 14.51


def test_a_digit_framed_as_mnist_passes_through_untouched_in_either_polarity() -> None:
    for digit in mnist_digits():
        np.testing.assert_array_equal(to_canvas(digit), digit.astype(np.float32) / 255)
        np.testing.assert_array_equal(to_canvas(255 - digit), digit.astype(np.float32) / 255)


# Finding the digit


@given(st.sampled_from(MODES), st.integers(1, 70), st.integers(1, 70), st.randoms())
@settings(deadline=None)
def test_any_picture_of_any_mode_gives_a_canvas_or_our_error(mode, width, height, random) -> None:
    raw = np.random.default_rng(random.randrange(2**32)).integers(0, 256, (height, width, 4))
    source = Image.fromarray(raw.astype(np.uint8))  # RGBA
    for way in {"I": "L", "F": "L", "I;16": "LI", "CMYK": ["RGB"]}.get(mode, ()):
        source = source.convert(way)
    try:
        canvas = to_canvas(source.convert(mode))
    except (UnreadableImageError, NoInkError):
        return
    assert canvas.shape == (28, 28)
    assert canvas.dtype == np.float32
    assert 0 <= canvas.min() <= canvas.max() <= 1


@given(
    hnp.arrays(
        st.sampled_from(
            [np.uint8, np.int16, np.uint16, np.int64, np.float32, np.float64, np.bool_]
        ),
        hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=40),
    ),
    st.sampled_from(METHODS),
)
@settings(deadline=None)
def test_any_array_gives_a_canvas_or_our_error(array: np.ndarray, method: str) -> None:
    try:
        canvas = to_canvas(array, method=method)
    except (UnreadableImageError, NoInkError):
        return
    assert canvas.shape == (28, 28)
    assert canvas.dtype == np.float32
    assert 0 <= canvas.min() <= canvas.max() <= 1


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes_give_our_error(data: bytes) -> None:
    with pytest.raises(UnreadableImageError):
        to_canvas(data)


def test_white_on_black_equals_black_on_white() -> None:
    picture = page()
    np.testing.assert_allclose(to_canvas(ImageOps.invert(picture)), to_canvas(picture), atol=0.02)


@given(st.floats(0.05, 0.45), st.floats(0.05, 0.45))
@settings(deadline=None)
def test_moving_a_drawing_on_its_page_hardly_changes_the_canvas(x: float, y: float) -> None:
    assert difference(to_canvas(page(at=(x, y))), to_canvas(page())) < 0.15


@given(st.integers(150, 900))
@settings(deadline=None)
def test_scaling_a_page_hardly_changes_the_canvas(side: int) -> None:
    scaled = page((side, side), pen=max(2, round(14 * side / 320)))
    assert difference(to_canvas(scaled), to_canvas(page())) < 0.25


@pytest.mark.parametrize(
    ("ink", "paper"),
    [("blue", "white"), ("gold", "white"), ("red", "green"), ("yellow", "black"), ("#333", "#666")],
)
def test_ink_of_any_colour_is_found_on_paper_of_any_colour(ink: str, paper: str) -> None:
    assert difference(to_canvas(page(ink=ink, paper=paper)), to_canvas(page())) < 0.1


def test_an_uneven_light_is_divided_out() -> None:
    light = np.linspace(0.35, 1, 320)[None, :, None] * np.ones((320, 1, 1))
    light[:, 200:] *= 0.6  # the hard edge of a shadow
    shaded = np.asarray(page()) * 0.9 * light
    assert difference(to_canvas(shaded.astype(np.uint8)), to_canvas(page())) < 0.3


@pytest.mark.parametrize("angle", [0, 1.5, -3])
def test_ruled_lines_and_cell_borders_are_not_ink(angle: float) -> None:
    ruled = Image.new("RGB", (460, 460), "white")
    draw = ImageDraw.Draw(ruled)
    for edge in (80, 380):
        draw.line([(0, edge), (460, edge)], fill="black", width=6)
        draw.line([(edge, 0), (edge, 460)], fill="black", width=6)
    ruled.paste(page((280, 280), at=(0.3, 0.25)), (90, 90))
    cell = ruled.rotate(angle, fillcolor="white").crop((70, 70, 390, 390))
    plain = page((280, 280), at=(0.3, 0.25)).rotate(angle, fillcolor="white")
    assert difference(to_canvas(cell), to_canvas(plain)) < 0.25


def test_specks_are_thrown_away_and_counted() -> None:
    dirty = page()
    for x, y in ((30, 300), (300, 20), (250, 290)):
        ImageDraw.Draw(dirty).rectangle([x, y, x + 4, y + 4], fill="black")
    steps = canvas_steps(dirty)
    assert difference(steps.canvas, to_canvas(page())) < 0.05
    assert 0 < steps.discarded < 0.1
    assert canvas_steps(page()).discarded == 0


def test_all_parts_of_a_digit_are_kept() -> None:
    steps = canvas_steps(page(pen=8))
    components, _ = cv2.connectedComponents((steps.ink > 0.5).astype(np.uint8))
    assert components == 3  # the ground, the body, the hat


@pytest.mark.parametrize("pen", [1, 3, 30])
def test_a_hairline_stays_and_a_marker_does_not_fill_the_canvas(pen: int) -> None:
    canvas = to_canvas(page((800, 800), pen=pen * 2))
    assert 38 < canvas.sum() < 199  # MNIST, 1st to 99th percentile


def test_a_digit_cut_out_along_its_box_is_framed_as_the_whole() -> None:
    for digit in mnist_digits(20):
        rows, columns = np.flatnonzero(digit.any(axis=1)), np.flatnonzero(digit.any(axis=0))
        cut = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        if cut.shape[1] < 14:
            continue  # hardly any paper is left round a cut-out 1
        big = 255 - cv2.resize(cut, None, fx=6, fy=6, interpolation=cv2.INTER_LINEAR)
        assert difference(to_canvas(big), digit / 255) < 0.5


# Reading


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_page_shows_no_ink(value: int) -> None:
    with pytest.raises(NoInkError, match="no ink"):
        to_canvas(np.full((200, 300, 3), value, np.uint8))


def test_sixteen_bits_are_read_in_full() -> None:
    grey = np.asarray(page().convert("L"), np.uint16)
    faint = Image.fromarray(30_000 + grey * 20)  # contrast of 5100 in 65535
    data = encoded(faint)
    assert difference(to_canvas(data), to_canvas(page())) < 0.1


@pytest.mark.parametrize("ink", [(0, 0, 0, 255), (255, 255, 255, 255), (200, 30, 30, 255)])
def test_alpha_is_ink_of_any_colour_on_a_transparent_layer(ink: tuple[int, ...]) -> None:
    layer = page(mode="RGBA", paper=(0, 0, 0, 0), ink=ink)
    assert difference(to_canvas(layer), to_canvas(page())) < 0.05


def test_a_cut_out_photo_keeps_its_own_paper() -> None:
    photo = page().convert("RGBA")
    photo.putalpha(Image.new("L", photo.size, 0))
    photo.paste(page((280, 280)).convert("RGBA"), (20, 20))
    assert difference(to_canvas(photo), to_canvas(page((280, 280)))) < 0.15


@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_orientation_is_obeyed(orientation: int) -> None:
    undo = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    undo |= {6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}
    stored = page().transpose(Image.Transpose[undo[orientation]])
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, "JPEG", quality=95, exif=exif)
    assert difference(to_canvas(data), to_canvas(page())) < 0.1


def test_an_animation_is_read_by_its_first_frame() -> None:
    data = encoded(page(), "GIF", save_all=True, append_images=[page(at=(0, 0), scale=0.9)])
    assert difference(to_canvas(data), to_canvas(page())) < 0.05


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF"])
def test_a_truncated_file_is_unreadable(format: str) -> None:
    data = encoded(page(), format)
    with pytest.raises(UnreadableImageError):
        to_canvas(data[: len(data) // 2])


@pytest.mark.parametrize("source", [b"", b"not a picture", "no/such/file.png", None, 7, ["a"]])
def test_what_is_not_a_picture_is_refused_in_one_sentence(source: object) -> None:
    with pytest.raises(UnreadableImageError, match=r"^[A-Z][^\n]*\.$"):
        to_canvas(source)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError):
        to_canvas(tmp_path)


def test_nan_is_refused() -> None:
    with pytest.raises(UnreadableImageError, match="finite"):
        to_canvas(np.full((28, 28), np.nan))


@pytest.mark.parametrize("side", [9_000, 12_000, 60_000])
def test_a_bomb_is_refused_by_its_header_alone(side: int, monkeypatch) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(UnreadableImageError, match="megapixels"):
        to_canvas(bomb)


def test_reading_leaves_the_callers_picture_as_it_was() -> None:
    array = np.asarray(page()).copy()
    before = array.copy()
    picture = page().convert("P")
    to_canvas(array)
    to_canvas(picture)
    np.testing.assert_array_equal(array, before)
    assert picture.mode == "P"


# Steps and methods


def test_the_steps_fit_together() -> None:
    steps = canvas_steps(page((500, 400)))
    assert [name for name, _ in steps.named()] == ["Picture", "Contrast", "Ink", "Canvas"]
    height, width = steps.ink.shape
    assert steps.picture.shape == (height, width, 3)
    assert steps.contrast.shape == (height, width)
    left, top, right, bottom = steps.box
    outside = steps.ink.copy()
    outside[top:bottom, left:right] = 0
    assert steps.ink.any()
    assert not outside.any()


def test_center_crop_is_the_plain_pipeline() -> None:
    picture = page((400, 300), at=(0.3, 0.2))
    crop = picture.crop((50, 0, 350, 300)).convert("L")
    expected = 1 - np.asarray(crop.resize((28, 28), Image.Resampling.BILINEAR)) / 255
    np.testing.assert_allclose(to_canvas(picture, method="center-crop"), expected, atol=1.01 / 255)


def test_an_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="mnist, center-crop"):
        to_canvas(page(), method="magic")


def test_no_pen_is_looked_for_that_is_wider_than_the_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Found by fuzzing: faint ink over all of a picture made one take seconds."""
    sizes: list[int] = []
    element = cv2.getStructuringElement

    def noted(shape: int, size: tuple[int, int]) -> np.ndarray:
        sizes.append(max(size))
        return element(shape, size)

    monkeypatch.setattr(cv2, "getStructuringElement", noted)
    for period in (41, 43, 44, 45, 46, 47):
        speckled = np.full(255 * 255, 255, np.uint8)
        speckled[30::period] = 239
        to_canvas(speckled.reshape(255, 255))
    assert all(size <= 192 for size in sizes), sizes
