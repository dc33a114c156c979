"""Figures on figures: calibration errors and intervals are what their definitions say."""

from __future__ import annotations

import pytest

from lenet_digits.training.evaluation import BINS, Reliability, wilson


def test_answers_are_counted_in_the_bin_of_their_confidence():
    result = Reliability.measure([0.0, 0.1, 0.99, 1.0], [False, True, True, False])
    assert result.counts == (1, 1, *[0] * (BINS - 3), 2)
    assert result.right == (0, 1, *[0] * (BINS - 3), 1)
    assert result.expected[-1] == pytest.approx(1.99)


def test_the_error_is_the_mean_gap_between_confidence_and_accuracy():
    # In one bin 0.9 is said of four and three are right; in another 0.5 of one that is right.
    result = Reliability.measure([0.9] * 4 + [0.5], [True, True, True, False, True])
    assert result.error == pytest.approx((4 * abs(0.75 - 0.9) + 1 * abs(1 - 0.5)) / 5)


def test_true_probabilities_have_no_error():
    assert Reliability.measure([0.75] * 8, [True] * 6 + [False] * 2).error == pytest.approx(0)


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(97, 100, 0.9155, 0.9897), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0)],
)
def test_intervals_are_wilsons(right, count, low, high):
    assert wilson(right, count) == pytest.approx((low, high), abs=5e-5)
