"""Looks inside the network: the activations of every layer, and which ink mattered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lenet_digits.reading.canvas import CanvasSteps, canvas_steps
from lenet_digits.reading.display import figures_html, mosaic
from lenet_digits.reading.framing import IMAGE_SIZE, Canvas, Floats
from lenet_digits.reading.pictures import ImageInput
from lenet_digits.reading.prediction import likeliest, network_of

if TYPE_CHECKING:
    from lenet_digits.model import LeNet5

PATCH = 5  # pixels: side of the square of ink that `occlusion` takes away; a C1 kernel's side


@dataclass(frozen=True, eq=False)
class Activations:
    """What every layer answers to one canvas: float32 arrays, named as in the 1998 paper.

    All but ``output`` have passed their tanh or are averages of such, so they lie in (-1, 1).

    Attributes:
        canvas: (28, 28) in [0, 1], what the network saw.
        c1: (6, 28, 28), maps of the first convolution.
        s2: (6, 14, 14), C1 averaged over squares of 2x2.
        c3: (16, 10, 10), maps of the second convolution.
        s4: (16, 5, 5), C3 averaged over squares of 2x2.
        c5: (120,), the third convolution, which sees all of S4.
        f6: (84,), the full connection.
        output: (10,), the logits of the digits 0 to 9.
    """

    canvas: Canvas
    c1: Floats
    s2: Floats
    c3: Floats
    s4: Floats
    c5: Floats
    f6: Floats
    output: Floats

    def __repr__(self) -> str:
        return f"<Activations: c1 to output; the output is {int(self.output.argmax())}>"

    def _repr_html_(self) -> str:
        columns = {"c1": 3, "s2": 3, "c3": 4, "s4": 4, "c5": 10, "f6": 7}
        maps = [(name.upper(), mosaic(getattr(self, name), n)) for name, n in columns.items()]
        answer = f"<div>Output: {int(self.output.argmax())}</div>"
        return figures_html([("Canvas", self.canvas), *maps]) + answer


def activations(image: ImageInput | CanvasSteps, *, model: LeNet5 | None = None) -> Activations:
    """The activations of every layer for the one digit in a picture.

    Args:
        image: what `predict` takes, or the steps of a picture (`canvas_steps`).
        model: the network to look into; by default the shipped one, which does not need torch.

    Raises:
        NoInkError: nothing is drawn or written there.
        UnreadableImageError: the input is not a picture, or the picture is too large.
    """
    canvas = _canvas(image, model)
    return Activations(canvas, **network_of(model).activations(canvas))


def occlusion(
    image: ImageInput | CanvasSteps,
    *,
    digit: int | None = None,
    against: int | None = None,
    model: LeNet5 | None = None,
) -> Floats:
    """How much the ink at each pixel speaks for the answer: (28, 28) float32, 0 where no ink is.

    A square of `PATCH` pixels is moved over the canvas, one pixel at a time, and the ink under it
    is taken away. The loss of evidence tells how much that ink mattered. A pixel's value is the
    mean loss over all squares that cover it, times its ink, in nats: above 0 the ink speaks for the
    digit, below 0 it speaks against it.

    The evidence for a digit is its logit minus the log-sum-exp of the other nine (the log-odds of
    the digit); with ``against``, it is its logit minus that digit's.
    M. Zeiler and R. Fergus, "Visualizing and Understanding Convolutional Networks" (2014),
    section 4.2, with ink taken away instead of a grey square put on top.

    Args:
        image: what `predict` takes, or the steps of a picture (`canvas_steps`).
        digit: 0 to 9, whose evidence to measure; by default the likeliest.
        against: another digit, 0 to 9, to compare it with; by default all the others.
        model: the network to ask; by default the shipped one, which does not need torch.

    Raises:
        ValueError: ``digit`` or ``against`` is not a digit, or they are the same.
        NoInkError: nothing is drawn or written there.
        UnreadableImageError: the input is not a picture, or the picture is too large.
    """
    for name, value in (("digit", digit), ("against", against)):
        if value is not None and value not in range(10):
            raise ValueError(f"{name} is {value!r}. It must be a digit, 0 to 9.")
    canvas = _canvas(image, model)
    network = network_of(model)
    logits = network.logits(canvas[None])
    chosen = int(logits[0].argmax()) if digit is None else digit
    if chosen == against:
        raise ValueError(f"digit and against are both {against}. Give two different digits.")
    squares = _squares()  # (784, 28, 28)
    covered = (squares & (canvas > 0)).any(axis=(1, 2))  # the other squares change nothing
    squares = squares[covered]
    evidence = _evidence(network.logits(np.where(squares, np.float32(0), canvas)), chosen, against)
    losses = _evidence(logits, chosen, against) - evidence
    covers = squares.reshape(len(squares), -1).astype(np.float32)
    mean_loss = losses @ covers / np.maximum(covers.sum(axis=0), 1)
    return np.asarray(mean_loss.reshape(IMAGE_SIZE, IMAGE_SIZE) * canvas, np.float32)


def _canvas(image: ImageInput | CanvasSteps, model: LeNet5 | None) -> Canvas:
    steps = image if isinstance(image, CanvasSteps) else canvas_steps(image)
    return likeliest(steps, model=model).canvas


def _squares() -> NDArray[np.bool_]:
    """A mask of the square around each pixel of a canvas: (784, 28, 28)."""
    place = np.arange(IMAGE_SIZE)
    near = np.abs(place[:, None] - place) <= PATCH // 2  # (28, 28)
    squares = near[:, None, :, None] & near[None, :, None, :]  # (28, 28, 28, 28)
    return np.reshape(squares, (-1, IMAGE_SIZE, IMAGE_SIZE))


def _evidence(logits: Floats, digit: int, against: int | None) -> Floats:
    """The evidence for a digit, (N,), from logits, (N, 10); see `occlusion`."""
    if against is not None:
        return logits[:, digit] - logits[:, against]
    others = np.delete(logits, digit, axis=1)
    peak = others.max(axis=1)
    return np.asarray(
        logits[:, digit] - peak - np.log(np.exp(others - peak[:, None]).sum(axis=1)), np.float32
    )
