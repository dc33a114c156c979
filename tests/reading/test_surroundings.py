"""One digit is read in all drawn surroundings, and nothing else is taken for a digit."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from surroundings import ONE_DIGIT, Bytes, Floats, crossed_out, handwritten, several

from lenet_digits.reading.canvas import canvas_steps
from lenet_digits.reading.pictures import NoInkError
from lenet_digits.reading.prediction import Prediction, predict, predict_steps

EACH = 12  # pictures of a kind
# Of these, at least so many right and accepted; at most so many wrong and accepted.
RIGHT, WRONG = 10, 1
HARDER = {"struck": 8}  # least right


def answered(picture: Bytes) -> Prediction | None:
    """The answer to a picture; None where it is refused."""
    try:
        answer = predict(picture)
    except NoInkError:
        return None
    return answer if answer.is_digit else None


def legible(digit: int, rng: np.random.Generator) -> Floats:
    """A drawn digit that is read on a clean page; about one drawing in twenty is not."""
    while True:
        ink = handwritten(digit, rng)
        page = np.pad(np.uint8(255) - (255 * ink).astype(np.uint8), 40, constant_values=255)
        answer = answered(page)
        if answer is not None and answer.digit == digit:
            return ink


def drawn(kind: str) -> Iterator[tuple[int, Bytes]]:
    rng = np.random.default_rng(sum(map(ord, kind)))
    for number in range(EACH):
        yield number % 10, ONE_DIGIT[kind](legible(number % 10, rng), rng)


@pytest.mark.parametrize("kind", ONE_DIGIT)
def test_a_digit_is_read_in_its_surroundings(kind: str) -> None:
    answers = [(digit, answered(picture)) for digit, picture in drawn(kind)]
    right = sum(answer is not None and answer.digit == digit for digit, answer in answers)
    wrong = sum(answer is not None and answer.digit != digit for digit, answer in answers)
    assert right >= HARDER.get(kind, RIGHT)
    assert wrong <= WRONG


@pytest.mark.parametrize("stacked", [True, False], ids=["stacked", "side by side"])
def test_two_digits_are_refused_as_several(stacked: bool) -> None:
    rng = np.random.default_rng(3)
    answers = [
        predict(
            several([handwritten(d, rng), handwritten((d + 4) % 10, rng)], rng, stacked=stacked)
        )
        for d in range(10)
    ]
    assert sum(not answer.is_digit for answer in answers) >= 9
    assert sum(answer.reason == "several digits" for answer in answers) >= 8
    assert "several digits" in repr(next(answer for answer in answers if answer.reason))


def test_a_digit_that_is_crossed_out_is_not_read() -> None:
    rng = np.random.default_rng(6)
    answers = [answered(crossed_out(handwritten(digit, rng), rng)) for digit in range(10)]
    assert answers.count(None) >= 9


def test_the_stroke_in_a_slashed_zero_is_not_taken_for_a_circled_one() -> None:
    for angle in (20, 45, 70):
        page = np.full((240, 240, 3), 250, np.uint8)
        cv2.ellipse(page, (120, 120), (70, 80), 0, 0, 360, (30, 30, 30), 7)
        across, down = 90 * np.cos(np.radians(angle)), 90 * np.sin(np.radians(angle))
        ends = [(round(120 - k * across), round(120 + k * down)) for k in (-1, 1)]
        cv2.line(page, *ends, (30, 30, 30), 7)
        answer = answered(page)
        assert answer is None or answer.digit in (0, 8)


def test_one_digit_is_not_taken_for_several() -> None:
    rng = np.random.default_rng(4)
    for number in range(20):
        page = np.full((260, 260, 3), 250, np.uint8)
        ink = handwritten(number % 10, rng)
        page[30 : 30 + ink.shape[0], 20 : 20 + ink.shape[1]] -= (200 * ink[..., None]).astype(
            np.uint8
        )
        assert predict(page).reason == ""


def test_what_is_thrown_away_is_counted() -> None:
    rng = np.random.default_rng(5)
    ink = handwritten(3, rng)
    bare = np.full((300, 300, 3), 250, np.uint8)
    bare[40 : 40 + ink.shape[0], 60 : 60 + ink.shape[1]] -= (200 * ink[..., None]).astype(np.uint8)
    underlined = bare.copy()
    underlined[262:270, 30:270] = 50
    ruled = bare.copy()
    ruled[20:24] = ruled[255:259] = 50
    framed = bare.copy()
    framed[:6] = framed[-6:] = framed[:, :6] = framed[:, -6:] = 50
    assert canvas_steps(bare).discarded == 0
    for picture in (underlined, ruled, framed):
        steps = canvas_steps(picture)
        assert predict_steps(steps).digit == 3
        assert 0.05 < steps.discarded < 0.8
