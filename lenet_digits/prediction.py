"""From a picture to a `Prediction`, "not a digit" included; knows nothing of files or plots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from lenet_digits.checkpoint import load_model
from lenet_digits.images import CanvasSteps, ImageInput, canvas_steps, to_canvas
from lenet_digits.model import LeNet5


@dataclass(frozen=True)
class Prediction:
    """What the network makes of one picture.

    Attributes:
        probabilities: of the digits 0 to 9, calibrated; ten numbers in [0, 1] that sum to 1.
        outlier_score: how unlike a digit the picture is, 0 or more; above 1 it is refused.
    """

    probabilities: tuple[float, ...]
    outlier_score: float

    @property
    def digit(self) -> int:
        """The likeliest digit, 0 to 9, whether or not the picture is one (see `is_digit`)."""
        return self.probabilities.index(self.confidence)

    @property
    def confidence(self) -> float:
        """The likeliest digit's probability, given that the picture is a digit at all."""
        return max(self.probabilities)

    @property
    def is_digit(self) -> bool:
        """Whether the picture looks like a digit."""
        return self.outlier_score <= 1

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "digit": self.digit,
            "confidence": self.confidence,
            "is_digit": self.is_digit,
            "outlier_score": self.outlier_score,
            "probabilities": list(self.probabilities),
        }

    def __repr__(self) -> str:
        doubt = "" if self.is_digit else ", but it looks like no digit"
        return f"<Prediction: {self.digit} at {self.confidence:.1%}{doubt}>"

    def _repr_html_(self) -> str:
        bar = '<div style="width:{:.2%};height:0.8em;background:{}"></div>'
        bars = "".join(
            f'<tr><td>{digit}</td><td style="width:12em">'
            f"{bar.format(share, '#2f6f6a' if digit == self.digit else '#b9c7c5')}</td>"
            f'<td style="text-align:right">{share:.1%}</td></tr>'
            for digit, share in enumerate(self.probabilities)
        )
        verdict = f"<b>{self.digit}</b>" if self.is_digit else "not a digit"
        return f"<div>{verdict}<table>{bars}</table></div>"


_loading = Lock()  # without it, threads that begin together would each load a network


def default_model() -> LeNet5:
    """The shipped network, loaded at the first call; shared by all threads, never changed."""
    with _loading:
        return _shipped_model()


@lru_cache(maxsize=1)
def _shipped_model() -> LeNet5:
    return load_model().requires_grad_(False)


def preprocess(image: ImageInput, *, method: str = "mnist") -> Tensor:
    """Any picture as the network wants it: (1, 1, 28, 28) float32 in [0, 1], ink 1 on 0.

    Args:
        image: path, bytes, open file, PIL image, NumPy array or tensor; see `canvas_steps`.
        method: ``"mnist"`` finds the digit and frames it as MNIST framed its own;
            ``"center-crop"`` is the plain crop, grey, invert and resize of the original demo.

    Raises:
        NoInkError: nothing is drawn or written there.
        UnreadableImageError: it is no picture, or too large a one.
    """
    return torch.from_numpy(to_canvas(image, method=method))[None, None]


def predict(image: ImageInput, *, model: LeNet5 | None = None, method: str = "mnist") -> Prediction:
    """Read the digit in a picture.

    ``model`` is the shipped network unless given; for the rest, and errors, see `preprocess`.
    """
    return predict_steps(canvas_steps(image, method=method), model=model)


def predict_steps(steps: CanvasSteps, *, model: LeNet5 | None = None) -> Prediction:
    """`predict` for a picture whose steps to the canvas are already made."""
    return _predictions(torch.from_numpy(steps.canvas)[None, None], model or default_model())[0]


def predict_many(
    images: Iterable[ImageInput],
    *,
    model: LeNet5 | None = None,
    batch_size: int = 256,
    method: str = "mnist",
) -> Iterator[Prediction]:
    """`predict` for many pictures, in order and in bounded memory.

    Raises what `predict` raises, at the picture that causes it, after the predictions before it.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be 1 or more.")
    network = model or default_model()
    pictures = iter(images)
    error: Exception | None = None
    while error is None:
        canvases: list[Tensor] = []
        try:
            for image in islice(pictures, batch_size):
                canvases.append(preprocess(image, method=method))
        except Exception as caught:
            error = caught
        if canvases:
            yield from _predictions(torch.cat(canvases), network)
        elif error is None:
            return
    raise error


def _predictions(canvases: Tensor, model: LeNet5) -> list[Prediction]:
    device = next(model.parameters()).device
    with torch.inference_mode():
        logits = model(canvases.to(device)).cpu().double()  # (N, 10)
        probabilities = logits.softmax(dim=1).tolist()
        # The network learned non-digits as an eleventh class whose logit is always 0, so this is
        # the odds against the picture being a digit, up to the factor folded into the weights.
        outlier_scores = (-logits.logsumexp(dim=1)).exp().tolist()
    return [
        Prediction(tuple(row), score)
        for row, score in zip(probabilities, outlier_scores, strict=True)
    ]
