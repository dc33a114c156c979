"""Computes what the page's panel shows: the network's layers for one canvas, the ink that mattered.

Arrays travel as base64, with one byte for each value. The static site uses this module too.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from lenet_digits.reading.canvas import CanvasSteps
from lenet_digits.reading.framing import IMAGE_SIZE, Floats
from lenet_digits.reading.inside import activations, occlusion
from lenet_digits.reading.pictures import UnreadableImageError, read
from lenet_digits.storage.shipped import shipped_weights

if TYPE_CHECKING:
    from lenet_digits.model import LeNet5

SHOWN = ("c1", "s2", "c3", "s4", "c5", "f6")  # the output is on the page already, as bars
CONVOLVED = ("c1", "c3")  # layers whose kernels are shown; C5's are 1,920


def for_panel(
    canvas: bytes,
    *,
    digit: int | None = None,
    against: int | None = None,
    model: LeNet5 | None = None,
) -> dict[str, Any]:
    """The layers for one canvas, ready for JSON, in less than 12 KB.

    ``layers`` has each layer's activations as `Activations` has them, in bytes: 0 is -1, 255 is 1.
    With ``digit``, the ink that makes it that digit rather than another is added: ``ink`` has
    `occlusion` in signed bytes, of which 127 are ``reach`` nats, and ``against`` is the other.

    Args:
        canvas: a picture file of a canvas, light on dark, as an answer has it.
        digit: 0 to 9.
        against: the other digit, 0 to 9; by default the likeliest of the other nine.
        model: the network to look into; the shipped one by default.

    Raises:
        UnreadableImageError: ``canvas`` is not a picture of 28 by 28 pixels.
    """
    pixels = read(canvas)
    if pixels.shape != (IMAGE_SIZE, IMAGE_SIZE, 3):
        raise UnreadableImageError("This is not a canvas. Send one of 28 by 28 grey pixels.")
    ink = np.asarray(pixels[:, :, 0] / 255, np.float32)
    steps = CanvasSteps(pixels, ink, ink, (0, 0, IMAGE_SIZE, IMAGE_SIZE), ink, 0.0)
    seen = activations(steps, model=model)
    layers = {name: np.rint((getattr(seen, name) + 1) * 127.5) for name in SHOWN}
    answer: dict[str, Any] = {
        "layers": {name: _base64(layer.astype(np.uint8)) for name, layer in layers.items()}
    }
    if digit is not None and ink.any():
        if against in (None, digit):
            against = next(int(d) for d in np.argsort(-seen.output) if d != digit)
        mattered = occlusion(steps, digit=digit, against=against, model=model)
        values, reach = _signed(mattered)
        answer |= {"digit": digit, "against": against, "ink": values, "reach": round(reach, 4)}
    return answer


def kernels(*, model: LeNet5 | None = None) -> dict[str, str]:
    """The kernels of C1, (6, 1, 5, 5), and C3, (16, 6, 5, 5), in signed bytes.

    A layer's largest weight is 127 or -127. They are the same for every canvas: ask once.
    """
    if model is None:
        weights = load(shipped_weights())
    else:
        weights = {name: w.float().numpy(force=True) for name, w in model.state_dict().items()}
    return {name: _signed(weights[f"{name}.weight"])[0] for name in CONVOLVED}


def _signed(values: Floats) -> tuple[str, float]:
    """Values in signed bytes, and the value that 127 stands for."""
    reach = float(np.abs(values).max()) or 1.0
    return _base64(np.rint(values * (127 / reach)).astype(np.int8)), reach


def _base64(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode()
