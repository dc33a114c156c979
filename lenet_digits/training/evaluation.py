"""How well a model reads: accuracy, confusion, and how far its probabilities can be believed.

Calibration follows C. Guo, G. Pleiss, Y. Sun and K. Weinberger, "On Calibration of Modern Neural
Networks" (2017).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from lenet_digits.model import NUM_CLASSES, LeNet5
from lenet_digits.reading.network import Network
from lenet_digits.training.mnist import Digits

BINS = 15  # of equal width, from 0 to 1


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How a model did on labelled digits.

    Attributes:
        loss: mean cross-entropy, in nats.
        confusion: (10, 10) int64, digits counted by [true label, answer].
    """

    loss: float
    confusion: Tensor

    @property
    def count(self) -> int:
        """How many digits were read."""
        return int(self.confusion.sum())

    @property
    def errors(self) -> int:
        """How many were read wrong."""
        return self.count - int(self.confusion.trace())

    @property
    def accuracy(self) -> float:
        """Share read right, in [0, 1]."""
        return (self.count - self.errors) / self.count

    @property
    def per_digit(self) -> list[float]:
        """Share read right of each digit 0 to 9; NaN for one that is absent."""
        return (self.confusion.diagonal() / self.confusion.sum(dim=1)).tolist()


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


def as_canvases(images: Tensor) -> Tensor:
    """MNIST's bytes as canvases: (N, 28, 28) uint8 to (N, 1, 28, 28) float32 in [0, 1]."""
    return images[:, None].float() / 255


def evaluate(model: nn.Module, digits: Digits) -> Evaluation:
    """Read labelled digits; the model stays as it is.

    Raises ValueError where there are no digits.
    """
    if not len(digits):
        raise ValueError("There are no digits to evaluate on.")
    device = next(model.parameters()).device
    read = _on_cpu(model) if device.type == "cpu" and type(model) is LeNet5 else model
    loss = torch.zeros((), dtype=torch.float64, device=device)
    confusion = torch.zeros(NUM_CLASSES * NUM_CLASSES, dtype=torch.int64, device=device)
    with torch.inference_mode(), one_thread():
        for images, labels in zip(
            torch.split(digits.images, 5000), torch.split(digits.labels, 5000), strict=True
        ):
            truth = labels.to(device)
            logits = read(as_canvases(images.to(device)))
            loss += F.cross_entropy(logits.double(), truth, reduction="sum")
            confusion += torch.bincount(
                truth * NUM_CLASSES + logits.argmax(dim=1), minlength=len(confusion)
            )
    return Evaluation(
        loss=float(loss) / len(digits),
        confusion=confusion.view(NUM_CLASSES, NUM_CLASSES).cpu(),
    )


def _on_cpu(model: LeNet5) -> Callable[[Tensor], Tensor]:
    """The model as a function of canvases, several times as fast as it is itself."""
    network = Network({name: value.numpy() for name, value in model.state_dict().items()})
    threads = torch.get_num_threads()
    return lambda canvases: torch.from_numpy(
        network.logits(canvases[:, 0].numpy(), threads=threads)
    )


def calibrated(model: LeNet5, temperature: float, evidence: float = 0.0) -> LeNet5:
    """A copy, in eval mode, whose logits are divided by the temperature, and then raised evenly.

    Both fold into OUTPUT's weights. Temperature: Guo et al., "On Calibration of Modern Neural
    Networks" (2017), section 4.2. The rise changes no probability, only when `predict` refuses.
    """
    model = deepcopy(model)
    with torch.no_grad():
        model.output.weight.div_(temperature)
        model.output.bias.div_(temperature).add_(evidence)
    return model.eval()


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share, by Wilson's score (1927)."""
    z = 1.96
    centre = (right + z**2 / 2) / (count + z**2)
    half = z / (count + z**2) * (right * (count - right) / count + z**2 / 4) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


@contextmanager
def one_thread() -> Iterator[None]:
    """Has torch work in the calling thread.

    Its other threads, busy waiting for more to do, would take the processor from our own.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
