"""LeNet-5's forward pass in NumPy: weights and canvases in, logits out; knows no torch or files.

The network is `lenet_digits.model.LeNet5`, which trains and is the truth. This is the same
arithmetic for those who only read digits: it is there in a tenth of the time that importing torch
takes, and on a CPU it is the faster of the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]

REACH = 5  # pixels: height and width of the kernels of C1, C3 and C5
CHUNK = 64  # canvases at a time: their activations fit into a processor's cache
ONE_THREAD = 2**18  # multiplications in a product that OpenBLAS does in the calling thread


class ForwardPass:
    """The network for one set of weights; it never changes, and any thread may call it."""

    def __init__(self, weights: Mapping[str, Floats]) -> None:
        """Takes the tensors of a `LeNet5`, by the names that its state dict gives them."""
        self.c1 = _by_strips(weights["c1.weight"], weights["c1.bias"], width=14)
        self.c3 = _by_strips(weights["c3.weight"], weights["c3.bias"], width=2)
        self.c5 = weights["c5.weight"].transpose(2, 3, 1, 0).reshape(400, 120)
        self.weights = weights

    def __call__(self, canvases: NDArray[Any]) -> Floats:
        """Logits: (N, 28, 28) in [0, 1], ink 1 on background 0, to (N, 10) float32."""
        chunks = [canvases[i : i + CHUNK] for i in range(0, len(canvases), CHUNK)]
        return np.concatenate([np.empty((0, 10), np.float32), *map(self._logits, chunks)])

    def _logits(self, canvases: NDArray[Any]) -> Floats:
        weights = self.weights
        x = np.pad(canvases.astype(np.float32), ((0, 0), (2, 2), (2, 2)))[..., None]
        x = _convolved_and_pooled(x, *self.c1)  # (N, 14, 14, 6)
        x = _convolved_and_pooled(x, *self.c3)  # (N, 5, 5, 16)
        x = np.tanh(_product(x.reshape(-1, 400), self.c5) + weights["c5.bias"])  # (N, 120)
        x = np.tanh(_product(x, weights["f6.weight"].T) + weights["f6.bias"])  # (N, 84)
        return _product(x, weights["output.weight"].T) + weights["output.bias"]  # (N, 10)


def _product(x: Floats, matrix: Floats) -> Floats:
    """``x @ matrix``, (M, K) by (K, N), in products small enough for one thread each.

    A larger one OpenBLAS gives to all of its threads. They wait for each other, which takes longer
    on a busy machine than it saves on an idle one, and a process cannot fork meanwhile.
    """
    most = min(len(x), ONE_THREAD // matrix.size)
    rows = next((size for size in range(most, most // 2, -1) if len(x) % size == 0), most)
    if missing := -len(x) % rows:
        x = np.concatenate([x, np.zeros((missing, len(matrix)), x.dtype)])
    product = (x.reshape(-1, rows, len(matrix)) @ matrix).reshape(-1, matrix.shape[1])
    return product[: len(product) - missing]


def _by_strips(kernels: Floats, bias: Floats, *, width: int) -> tuple[Floats, Floats]:
    """A convolution as one matrix product that makes strips of the output, `width` pixels of a row.

    Much of the matrix is 0. Yet the product takes a third of the time of one with the bare
    kernels, whose matrix is narrow and whose input has each pixel 25 times over.

    Args:
        kernels: (O, C, 5, 5); with `bias`, (O,), as torch keeps them.
        width: of a strip, in pixels; even.

    Returns:
        A matrix (5 * (width + 4) * C, width * O), whose even output pixels come before the odd
        ones, and a bias (width * O,).
    """
    outputs, inputs, _, _ = kernels.shape
    pixels = np.arange(width)
    matrix = np.zeros((REACH, width + REACH - 1, inputs, width, outputs), np.float32)
    for offset in range(REACH):
        matrix[:, pixels + offset, :, pixels] = kernels[:, :, :, offset].transpose(2, 1, 0)
    evens_first = np.concatenate([pixels[::2], pixels[1::2]])
    matrix = matrix[:, :, :, evens_first]
    return matrix.reshape(-1, width * outputs), np.tile(bias, width)


def _convolved_and_pooled(maps: Floats, matrix: Floats, bias: Floats) -> Floats:
    """Convolution, tanh and 2x2 average: (N, H, W, C) to (N, (H - 4) / 2, (W - 4) / 2, O)."""
    count, height, width, inputs = maps.shape
    across = len(matrix) // REACH  # values of the input in a row of what a strip is made from
    step = across - (REACH - 1) * inputs  # from one strip to the next
    rows = maps.reshape(count, height, width * inputs)
    strips = sliding_window_view(rows, (REACH, across), axis=(1, 2))[:, :, ::step]
    x = _product(strips.reshape(-1, len(matrix)), matrix)
    x += bias
    np.tanh(x, out=x)
    half = x.shape[1] // 2
    x = (x[:, :half] + x[:, half:]).reshape(count, (height - 4) // 2, 2, -1)  # pairs of pixels
    x = (x[:, :, 0] + x[:, :, 1]) * np.float32(0.25)  # of rows
    return x.reshape(count, (height - 4) // 2, (width - 4) // 2, -1)
