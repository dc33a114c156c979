"""Measures how well a model reads: accuracy, confusion, and whether its probabilities are true.

Calibration follows C. Guo, G. Pleiss, Y. Sun and K. Weinberger, "On Calibration of Modern Neural
Networks" (2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from lenet_digits.model import NUM_CLASSES, LeNet5, input_type
from lenet_digits.reading.network import Network
from lenet_digits.training.mnist import Digits
from lenet_digits.training.threads import one_thread

BINS = 15  # of equal width, from 0 to 1; the number in that paper's tables


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How a model read labelled digits.

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


def evaluate(model: LeNet5, digits: Digits) -> Evaluation:
    """Measure how a model reads labelled digits. It calls ``model(canvases)``, and changes nothing.

    Raises:
        TypeError: the model is not a torch module, or the digits are not `Digits`.
        ValueError: there are no digits, they are not as `Digits` describes them, or the model does
            not give ten finite logits for each.
    """
    if not isinstance(model, nn.Module):
        kind = getattr(model, "__name__", type(model).__name__)
        raise TypeError(
            f"{kind} cannot be evaluated: give a LeNet5 object, as load_model returns it."
        )
    if not isinstance(digits, Digits):
        raise TypeError(
            f"{type(digits).__name__} is not labelled digits: give a Digits object, as load_mnist "
            "returns two of them."
        )
    result = _by_calling(model, digits.checked())
    if not math.isfinite(result.loss):
        raise ValueError("The model's answers are not ten finite numbers: are its weights damaged?")
    return result


def _by_calling(model: nn.Module, digits: Digits) -> Evaluation:
    device, dtype = input_type(model)
    return measure(lambda canvases: model(canvases.to(device, dtype)), digits)


def evaluate_quickly(model: LeNet5, digits: Digits) -> Evaluation:
    """Evaluate a plain `LeNet5` with its NumPy twin, several times as fast on a CPU.

    It does not call the model, so hooks and a replaced `forward` have no effect.
    """
    device, _ = input_type(model)
    if device.type != "cpu":
        return _by_calling(model, digits)
    network = Network({name: value.numpy() for name, value in model.state_dict().items()})
    threads = torch.get_num_threads()
    with one_thread():
        return measure(
            lambda canvases: torch.from_numpy(
                network.logits(canvases[:, 0].numpy(), threads=threads)
            ),
            digits,
        )


def measure(read: Callable[[Tensor], Tensor], digits: Digits) -> Evaluation:
    """Evaluate a function that takes canvases, (N, 1, 28, 28), and gives logits, (N, 10)."""
    if not len(digits):
        raise ValueError("There are no digits to evaluate on.")
    loss = 0.0
    confusion = torch.zeros(NUM_CLASSES * NUM_CLASSES, dtype=torch.int64)
    with torch.inference_mode():
        for images, labels in zip(
            torch.split(digits.images, 5000), torch.split(digits.labels, 5000), strict=True
        ):
            logits = read(as_canvases(images)).double().cpu()
            if logits.shape != (len(labels), NUM_CLASSES):
                raise ValueError(
                    f"The model gives answers of shape {tuple(logits.shape)} for {len(labels)} "
                    "digits; LeNet-5 gives ten logits for each."
                )
            truth = labels.cpu()
            loss += float(F.cross_entropy(logits, truth, reduction="sum"))
            confusion += torch.bincount(
                truth * NUM_CLASSES + logits.argmax(dim=1), minlength=len(confusion)
            )
    return Evaluation(loss=loss / len(digits), confusion=confusion.view(NUM_CLASSES, NUM_CLASSES))


def calibrated(model: LeNet5, temperature: float, evidence: float = 0.0) -> LeNet5:
    """A copy in eval mode whose logits are divided by the temperature; then evidence is added.

    OUTPUT's weights take up both. For the temperature see section 4.2 of the paper above. The
    evidence changes no probability; it changes when `predict` says "not a digit".
    """
    model = deepcopy(model)
    with torch.no_grad():
        model.output.weight.div_(temperature)
        model.output.bias.div_(temperature).add_(evidence)
    return model.eval()


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share, by Wilson's score (1927)."""
    z = 1.96  # standard deviations: 95 % of a normal distribution lie within
    centre = (right + z**2 / 2) / (count + z**2)
    half = z / (count + z**2) * (right * (count - right) / count + z**2 / 4) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)
