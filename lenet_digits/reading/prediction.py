"""One digit: from a picture to a `Prediction`, which may also say "not a digit"."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load as load_safetensors

from lenet_digits.reading.canvas import CanvasSteps, canvas_steps, two_canvases
from lenet_digits.reading.framing import Canvas
from lenet_digits.reading.network import Network
from lenet_digits.reading.pictures import ImageInput, NoInkError, UnreadableImageError
from lenet_digits.storage.header import sees_nondigits
from lenet_digits.storage.shipped import shipped_weights

SMALLEST_SHARE = 0.001  # probability: no smaller one is shown, nor one so near to 1
WORTH_MENTION = 0.05  # share of the ink left aside, from which it is shown beside the answer
SEVERAL = "several digits"  # the reason of a refusal
ANSWER, REFUSED = "#2f8f86", "#c2573c"  # colours in a notebook; visible on white and on black
# Odds against a digit, tuned on the open real-world sets and on drawn pairs, 2026-11:
NOT_SURE = 1e-3  # of all ink: below this it is one digit, and no second one is searched for
PART_APART = 0.1  # of the less likely of two shapes with a gap between them
PART_TOUCHING = 0.03  # of the less likely of two shapes that touch
APART_TO_ONE, TOUCHING_TO_ONE = 3.0, 0.05  # times the odds of all ink

if TYPE_CHECKING:
    from lenet_digits.model import LeNet5


def percent(share: float) -> str:
    """A probability in words that never claim certainty: "99.2 %", "> 99.9 %", "< 0.1 %"."""
    if share > 1 - SMALLEST_SHARE:
        return "> 99.9 %"
    if share < SMALLEST_SHARE:
        return "< 0.1 %"
    return f"{share:.1%}".replace("%", " %")


@dataclass(frozen=True)
class Prediction:
    """What the network makes of one picture.

    Attributes:
        probabilities: of the digits 0 to 9, calibrated; ten numbers in [0, 1] that sum to 1.
        outlier_score: how unlike a digit the picture is, 0 or more; above 1 it is refused. None
            where the weights cannot tell, because they were never trained on pictures of other
            things.
        reason: why the picture is refused, where more is known than that it is not a digit:
            "several digits".
        discarded: the share of the picture's ink, in [0, 1], that was left aside as not part of the
            digit; see `CanvasSteps`.
    """

    probabilities: tuple[float, ...]
    outlier_score: float | None
    reason: str = ""
    discarded: float = 0.0

    @property
    def digit(self) -> int:
        """The likeliest digit, 0 to 9, whether or not the picture is one (see `is_digit`)."""
        return self.probabilities.index(self.confidence)

    @property
    def confidence(self) -> float:
        """The likeliest digit's probability, given that the picture is a digit at all."""
        return max(self.probabilities)

    @property
    def is_digit(self) -> bool | None:
        """Whether the picture looks like a digit; None where the weights cannot tell."""
        return None if self.outlier_score is None else self.outlier_score <= 1

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
        return f"<Prediction: {self._in_words()}>"

    def _in_words(self) -> str:
        refusal = "does not look like a digit"
        if self.reason:
            refusal = f"shows {self.reason}: use read()"
        doubt = {
            True: "",
            False: f", but it {refusal}",
            None: ", if it is a digit: unknown",
        }
        return f"{self.digit} at {percent(self.confidence)}{doubt[self.is_digit]}"

    def _repr_html_(self) -> str:
        cell = "padding:0 0.4em;line-height:1.3"
        answer = f"background:{REFUSED if self.is_digit is False else ANSWER}"
        other = "background:currentColor;opacity:0.3"  # the notebook's own colour, light or dark
        rows = "".join(
            f'<tr style="background:none"><td style="{cell}">{digit}</td>'
            f'<td style="{cell};width:12em"><div style="width:{share:.2%};height:0.7em;'
            f'{answer if digit == self.digit else other}"></div></td>'
            f'<td style="{cell};text-align:right">{html.escape(percent(share))}</td></tr>'
            for digit, share in enumerate(self.probabilities)
        )
        words = html.escape(self._in_words())
        return f'<div><b>{words}</b><table style="margin:0.4em 0">{rows}</table></div>'


@lru_cache(maxsize=1)
def shipped_network() -> Network:
    """The network with the shipped weights; all threads share it.

    There is no lock, on purpose: first calls that overlap may load the weights twice, which takes a
    millisecond, while a lock held during `os.fork` would stay locked in the child for ever.
    """
    content = shipped_weights()
    return Network(load_safetensors(content), sees_nondigits=sees_nondigits(content))


def network_of(model: LeNet5 | None) -> LeNet5 | Network:
    """The model given, or else the shipped network. TypeError if the model cannot read pictures."""
    network = shipped_network() if model is None else model
    if not hasattr(network, "logits") or isinstance(network, type):
        raise TypeError(
            f"{getattr(network, '__name__', type(network).__name__)} cannot read pictures: give a "
            "LeNet5 object, as load_model returns it. A wrapped one is in the wrapper's .module."
        )
    return network


def predict(image: ImageInput, *, model: LeNet5 | None = None, method: str = "mnist") -> Prediction:
    """Read the one digit in a picture.

    Args:
        image: a path, encoded bytes, an open binary file, a Pillow image, a NumPy array or a
            tensor; see `canvas_steps` for shapes and ranges. An array of three planes, (3, H, W),
            is refused where the planes look like three grey pictures. The order (H, W, 3) is not
            checked: it is always read as one picture in colour.
        model: the network that reads it; by default the one with the shipped weights, which does
            not need torch.
        method: ``"mnist"`` finds the digit and frames it as MNIST framed its own;
            ``"center-crop"`` is the plain crop, grey, invert and resize of the original demo.

    Raises:
        NoInkError: nothing is drawn or written there.
        UnreadableImageError: the input is not a picture, or the picture is too large.
    """
    return predict_steps(canvas_steps(image, method=method), model=model)


def predict_steps(steps: CanvasSteps, *, model: LeNet5 | None = None) -> Prediction:
    """`predict` for a picture whose steps to the canvas are already made."""
    return _predictions([steps], model)[0]


def likeliest(steps: CanvasSteps, *, model: LeNet5 | None = None) -> CanvasSteps:
    """The steps that `predict_steps` goes by, of these and their alternatives."""
    return _chosen([steps], network_of(model))[0][0] if steps.alternatives else steps


@overload
def predict_many(
    images: Iterable[ImageInput],
    *,
    model: LeNet5 | None = None,
    batch_size: int = 256,
    method: str = "mnist",
    on_error: Literal["raise"] = "raise",
) -> Iterator[Prediction]: ...


@overload
def predict_many(
    images: Iterable[ImageInput],
    *,
    model: LeNet5 | None = None,
    batch_size: int = 256,
    method: str = "mnist",
    on_error: Literal["return"],
) -> Iterator[Prediction | NoInkError | UnreadableImageError]: ...


def predict_many(
    images: Iterable[ImageInput],
    *,
    model: LeNet5 | None = None,
    batch_size: int = 256,
    method: str = "mnist",
    on_error: Literal["raise", "return"] = "raise",
) -> Iterator[Prediction | NoInkError | UnreadableImageError]:
    """`predict` for many pictures, in order and in bounded memory.

    Args:
        images: several pictures, each as `predict` takes it.
        model: as for `predict`.
        batch_size: how many pictures the network reads at once, 1 or more.
        method: as for `predict`.
        on_error: ``"raise"`` raises what `predict` raises, at the picture that causes it, after
            the predictions before it. ``"return"`` gives the `NoInkError` or
            `UnreadableImageError` in the place of that picture's prediction, and goes on.

    Raises:
        TypeError: `images` is one picture.
        ValueError: another argument is out of range.
    """
    pictures = several_pictures(images, "predict_many", single="predict")
    if not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(f"batch_size is {batch_size!r}; it must be a whole number of 1 or more.")
    if on_error not in ("raise", "return"):
        raise ValueError(f'on_error is {on_error!r}; it must be "raise" or "return".')
    return _answers(pictures, model, batch_size, method, on_error)


def several_pictures(
    images: Iterable[ImageInput], function: str, *, single: str
) -> Iterator[ImageInput]:
    """The pictures one by one. Raises TypeError where `images` is one picture.

    `function` is the name of the function that got them, `single` that of the one for one picture.
    """
    one = (str, bytes, bytearray, memoryview, os.PathLike, Image.Image)
    if isinstance(images, one) or hasattr(images, "read"):
        raise TypeError(
            f"{function} takes several pictures, in a list, say, and got one "
            f"{type(images).__name__}. Read one picture with {single}."
        )
    try:
        return iter(images)
    except TypeError:
        raise TypeError(
            f"{function} takes several pictures, in a list, say, and got {type(images).__name__}."
        ) from None


def _answers(
    pictures: Iterator[ImageInput],
    model: LeNet5 | None,
    batch_size: int,
    method: str,
    on_error: str,
) -> Iterator[Prediction | NoInkError | UnreadableImageError]:
    error: Exception | None = None
    while error is None:
        canvases: list[CanvasSteps] = []
        faults: dict[int, NoInkError | UnreadableImageError] = {}  # by place in the batch
        try:
            for place, image in enumerate(islice(pictures, batch_size)):
                try:
                    canvases.append(canvas_steps(image, method=method))
                except (NoInkError, UnreadableImageError) as fault:
                    if on_error == "raise":
                        raise
                    faults[place] = fault
        except Exception as caught:
            error = caught
        if not canvases and not faults and error is None:
            return
        predictions = iter(_predictions(canvases, model) if canvases else ())
        for place in range(len(canvases) + len(faults)):
            yield faults[place] if place in faults else next(predictions)
    raise error


def _predictions(pictures: list[CanvasSteps], model: LeNet5 | None) -> list[Prediction]:
    network = network_of(model)
    chosen, logits = _chosen(pictures, network)
    with np.errstate(under="ignore"):  # a probability may be smaller than a float can hold
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = (shares / shares.sum(axis=1, keepdims=True)).tolist()
    if not getattr(network, "sees_nondigits", False):  # then the odds mean nothing
        return [
            Prediction(tuple(row), None, discarded=steps.discarded)
            for row, steps in zip(probabilities, chosen, strict=True)
        ]
    odds = _odds(logits).tolist()
    several = [
        _odds_of_several(steps, score, network) if score > NOT_SURE else 0.0
        for steps, score in zip(chosen, odds, strict=True)
    ]
    return [
        Prediction(tuple(row), max(score, two), SEVERAL if two else "", steps.discarded)
        for row, score, two, steps in zip(probabilities, odds, several, chosen, strict=True)
    ]


def _chosen(
    pictures: list[CanvasSteps], network: Network | LeNet5
) -> tuple[list[CanvasSteps], NDArray[np.float64]]:
    """Of each picture, the steps with the most evidence for a digit, and their logits, (N, 10)."""
    candidates = [(steps, *steps.alternatives) for steps in pictures]
    canvases = [steps.canvas for some in candidates for steps in some]
    logits, chosen, rows, place = _logits(canvases, network), [], [], 0
    for some in candidates:
        best = _best(logits[place : place + len(some)], network) if len(some) > 1 else 0
        chosen.append(some[best])
        rows.append(place + best)
        place += len(some)
    return chosen, logits[rows]


def _odds(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The odds, (N,), against each canvas being a digit, from its logits, (N, 10).

    The network learned non-digits as an eleventh class whose logit is always 0; that gives the odds
    up to the factor folded into the weights.
    """
    with np.errstate(over="ignore", under="ignore"):  # they may exceed what a float can hold
        return np.asarray(np.exp(-np.logaddexp.reduce(logits, axis=1)))


def _odds_of_several(steps: CanvasSteps, score: float, network: Network | LeNet5) -> float:
    """The odds against one digit, because the ink is two digits; 0 where it is not.

    It is where two parts of it look like digits on their own; if they touch, they must do so much
    more than the whole does.
    """
    canvases, apart = two_canvases(steps)
    if not canvases:
        return 0.0
    parts = float(_odds(_logits(canvases, network)).max())
    limit = (PART_APART, APART_TO_ONE) if apart else (PART_TOUCHING, TOUCHING_TO_ONE)
    two = parts < min(limit[0], limit[1] * score)
    return max(1 / parts, np.nextafter(1, 2)) if two and parts > 0 else 0.0


def _logits(canvases: list[Canvas], network: Network | LeNet5) -> NDArray[np.float64]:
    logits = np.asarray(network.logits(np.stack(canvases)), np.float64)  # (N, 10)
    if logits.shape != (len(canvases), 10) or not np.isfinite(logits).all():
        raise ValueError("The model's answers are not ten finite numbers: are its weights damaged?")
    return logits


def _best(logits: NDArray[np.float64], network: Network | LeNet5) -> int:
    """Which of several canvases of one picture the network takes for a digit above all.

    The log-sum-exp of its logits, (N, 10), is its evidence for that, if it learned what is not a
    digit. Else the first one counts, which geometry prefers.
    """
    if not getattr(network, "sees_nondigits", False):
        return 0
    return int(np.logaddexp.reduce(logits, axis=1).argmax())
