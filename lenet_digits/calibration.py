"""How far probabilities and shares can be believed; knows no network and no pictures.

C. Guo, G. Pleiss, Y. Sun and K. Weinberger, "On Calibration of Modern Neural Networks", 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15  # of equal width, from 0 to 1


@dataclass(frozen=True)
class Reliability:
    """Answers sorted by their confidence, the likeliest digit's probability.

    Attributes:
        counts: answers in each bin.
        expected: how many of them would be right if confidences were true: their sum.
        right: how many are.
    """

    counts: tuple[int, ...]
    expected: tuple[float, ...]
    right: tuple[int, ...]

    @classmethod
    def measure(cls, confidences: Sequence[float], right: Sequence[bool]) -> Reliability:
        """Sort answers, of confidence in [0, 1] and right or not, into `BINS` bins."""
        values = np.asarray(confidences, np.float64)
        bins = np.minimum((values * BINS).astype(np.int64), BINS - 1)

        def sums(weights: NDArray[np.float64] | None) -> list[float]:
            return list(np.bincount(bins, weights, minlength=BINS).tolist())

        hits = sums(np.asarray(right, np.float64))
        return cls(
            counts=tuple(map(int, sums(None))),
            expected=tuple(sums(values)),
            right=tuple(map(int, hits)),
        )

    @property
    def error(self) -> float:
        """Expected calibration error: |accuracy - confidence|, mean over all answers by bin."""
        gaps = (abs(r - e) for r, e in zip(self.right, self.expected, strict=True))
        return sum(gaps) / sum(self.counts)


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share, by Wilson's score (1927)."""
    z = 1.96
    centre = (right + z**2 / 2) / (count + z**2)
    half = z / (count + z**2) * (right * (count - right) / count + z**2 / 4) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)
