"""The digits and non-digits that our own code draws."""

from __future__ import annotations

import re

import numpy as np
import pytest

from lenet_digits.training import drawing
from lenet_digits.training.drawing import DIGITS, EXAMPLES, GLYPHS, draw_digits, draw_nondigits

LOOKALIKES = set("CGIJLOQSTUZabcgijloqsz0123456789&^()/|")


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    return draw_digits(500, rng=np.random.default_rng(1))


@pytest.fixture(scope="module")
def nondigits() -> np.ndarray:
    return draw_nondigits(200, rng=np.random.default_rng(1))


def stroke_widths(canvases: np.ndarray) -> np.ndarray:
    """Ink over half its outline, in pixels: the width of a long thin stroke."""
    ink = canvases.astype(float) / 255
    padded = np.pad(ink, ((0, 0), (1, 1), (1, 1)))
    slopes = np.hypot(np.diff(padded, axis=1)[..., :-1], np.diff(padded, axis=2)[:, :-1])
    return 2 * ink.sum(axis=(1, 2)) / slopes.sum(axis=(1, 2))


def test_each_digit_is_drawn_equally_often(digits):
    canvases, labels = digits
    assert canvases.shape == (500, 28, 28)
    assert canvases.dtype == np.uint8
    assert labels.dtype == np.int64
    assert np.bincount(labels).tolist() == [50] * 10


def test_labels_come_in_random_order(digits):
    _, labels = digits
    assert len(set(labels[:40].tolist())) > 5
    assert labels[:10].tolist() != labels[10:20].tolist()


def test_drawings_are_framed_as_mnist_framed_its_digits(digits, nondigits):
    canvases = np.concatenate([digits[0], nondigits]).astype(float)
    assert canvases.max(axis=(1, 2)).min() >= 254
    tall = (canvases > 0).any(axis=2).sum(axis=1)
    wide = (canvases > 0).any(axis=1).sum(axis=1)
    longest = np.maximum(tall, wide)
    assert longest[:500].min() >= 19
    assert longest.max() == 20
    mass = canvases.sum(axis=(1, 2))
    index = np.arange(28)
    for axis in (1, 2):
        centre = (canvases.sum(axis=axis) * index).sum(axis=1) / mass
        assert np.abs(centre - 14)[:500].max() < 0.55


def test_the_same_generator_state_draws_the_same():
    first, second = (
        (*draw_digits(50, rng=rng), draw_nondigits(50, rng=rng))
        for rng in (np.random.default_rng(1), np.random.default_rng(1))
    )
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert (first[0] != draw_digits(50, rng=np.random.default_rng(2))[0]).any()


def test_no_two_drawings_are_alike(digits):
    assert len(np.unique(digits[0], axis=0)) == 500


@pytest.mark.parametrize("count", [0, 1, 13])
def test_any_count_can_be_drawn(count):
    canvases, labels = draw_digits(count, rng=np.random.default_rng(2))
    assert canvases.shape == (count, 28, 28)
    assert labels.shape == (count,)
    assert draw_nondigits(count, rng=np.random.default_rng(2)).shape == (count, 28, 28)


def test_pens_range_from_hairline_to_marker_around_mnists_own_width(digits):
    widths = stroke_widths(digits[0])
    assert 1.7 < np.median(widths) < 2.5
    assert np.quantile(widths, 0.02) < 1.6
    assert np.quantile(widths, 0.98) > 3


def test_every_style_names_its_digit_and_stays_in_the_box():
    assert {name[0] for name, _, _ in DIGITS} == set("0123456789")
    point = re.compile(r"\d{4}!?")
    for name, _, strokes in DIGITS + GLYPHS:
        for stroke in strokes.split("|"):
            assert len(stroke.split()) >= 2, name
            assert all(point.fullmatch(word) for word in stroke.split()), name


def test_the_shapes_of_the_examples_are_not_training_data():
    assert {name[0] for name in EXAMPLES} == set("0123456789")
    assert not set(EXAMPLES.values()) & {strokes for _, _, strokes in DIGITS}
    assert all(weight > 0 for _, weight, _ in DIGITS)


def test_the_styles_mnist_hardly_has_are_there():
    names = {name for name, _, _ in DIGITS}
    assert {"0 slashed", "1 up-stroke", "4 open", "7 crossed", "9 hooked", "6 curled"} <= names


def test_no_letter_that_passes_for_a_digit_teaches_refusal():
    letters = {name for name, _, _ in GLYPHS if len(name) == 1}
    assert letters
    assert not letters & LOOKALIKES


def test_a_curve_passes_through_its_points_and_a_corner_stays_sharp():
    points, corner = drawing.read_stroke("0000 5099! 9900")
    _, smooth = drawing.read_stroke("0000 5099 9900")
    middle = drawing.CURVE_STEPS
    for curve in (corner, smooth):
        assert (curve @ points)[[0, middle, -1]] == pytest.approx(points)
    before, after = np.diff((smooth @ points)[middle - 1 : middle + 2], axis=0)
    assert before @ after > 0  # goes on the way it came
    before, after = np.diff((corner @ points)[middle - 1 : middle + 2], axis=0)
    assert before @ after < 0  # turns back
