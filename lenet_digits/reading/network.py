"""LeNet-5 in NumPy, its layers by their names in the 1998 paper: C1, S2, C3, S4, C5, F6, OUTPUT.

It does the arithmetic of `lenet_digits.model.LeNet5`, which defines the network. It starts in a
tenth of the time that importing torch takes, and on a CPU it is several times as fast. Three
things make it fast:

1. The last axis of every array counts the canvases. What is done to one pixel is done to 32
   canvases that lie side by side in memory.
2. A convolution and the average after it are computed by quads. A quad is the 2x2 outputs that one
   average is taken of. They are one matrix product of the 6x6 inputs below them (im2col, with
   columns of 6x6 inputs instead of 5x5).
3. A bias is the weight of one more input, which is always 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]

QUAD = ((0, 0), (0, 1), (1, 0), (1, 1))  # rows and columns of the outputs that S2 and S4 average
FIELD = 6  # pixels: height and width of a quad's receptive field, with kernels of 5x5
CHUNK = 32  # canvases at a time, at most: all that is computed of them fits into a CPU's cache
ONE_THREAD = 2**18  # multiplications in a product that OpenBLAS computes in the calling thread


class Buffers:
    """Memory for the activations of all layers, (..., N) each, for N canvases.

    It is used again for every chunk: to ask the system for memory takes as long as the arithmetic.
    Where units feed a matrix product, the last row stays 1 and is multiplied by the bias.
    """

    def __init__(self, count: int) -> None:
        def ones(*shape: int) -> Floats:
            return np.ones((*shape, count), np.float32)

        self.canvases = np.zeros((32, 32, 1, count), np.float32)  # with C1's padding of 2
        self.c1_columns, self.c1, self.s2 = ones(14, 14, 37), ones(14, 14, 24), ones(14, 14, 6)
        self.c3_columns, self.c3, self.s4 = ones(5, 5, 217), ones(5, 5, 64), ones(401)
        self.c5, self.f6, self.output = ones(121), ones(85), ones(10)
        self.c1_fields, self.c3_fields = _fields(self.canvases), _fields(self.s2)


class Network:
    """LeNet-5 with one set of weights. It never changes, so any thread may use it."""

    def __init__(self, weights: Mapping[str, Floats], *, sees_nondigits: bool = False) -> None:
        """Takes the tensors of a `LeNet5` as arrays, by their names in its state dict.

        `sees_nondigits` says whether the weights learned what is not a digit, too.
        """
        self.sees_nondigits = sees_nondigits

        def with_bias(matrix: Floats, layer: str, times: int = 1) -> Floats:
            return np.hstack([matrix, np.tile(weights[f"{layer}.bias"], times)[:, None]])

        self.c1 = with_bias(quad_matrix(weights["c1.weight"]), "c1", times=4)  # (24, 37)
        self.c3 = with_bias(quad_matrix(weights["c3.weight"]), "c3", times=4)  # (64, 217)
        # S4 lies in memory by rows, columns and maps.
        self.c5 = with_bias(weights["c5.weight"].transpose(0, 2, 3, 1).reshape(120, 400), "c5")
        self.f6 = with_bias(weights["f6.weight"], "f6")  # (84, 121)
        self.output = with_bias(weights["output.weight"], "output")  # (10, 85)

    def logits(self, canvases: NDArray[Any], *, threads: int = 1) -> Floats:
        """Logits: (N, 28, 28) in [0, 1], ink 1 on background 0, to (N, 10) float32."""
        logits = np.empty((len(canvases), 10), np.float32)
        buffers_of = [Buffers(min(CHUNK, len(canvases))) for _ in range(threads)]

        def read_every(begin: int, buffers: Buffers) -> None:
            for first in range(begin, len(canvases), CHUNK * threads):
                chunk = canvases[first : first + CHUNK]
                if len(chunk) < buffers.output.shape[-1]:  # the last one
                    buffers = Buffers(len(chunk))
                self.forward(chunk, buffers)
                logits[first : first + CHUNK] = buffers.output.T

        begins = range(0, CHUNK * threads, CHUNK)
        if threads == 1:
            read_every(0, buffers_of[0])
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(read_every, begins, buffers_of))
        return logits

    def activations(self, canvas: NDArray[Any]) -> dict[str, Floats]:
        """The activations of every layer for a canvas (28, 28), by name, in natural shapes.

        They are c1 (6, 28, 28), s2 (6, 14, 14), c3 (16, 10, 10), s4 (16, 5, 5), c5 (120,),
        f6 (84,) and output (10,), all float32.
        """
        buffers = Buffers(1)
        self.forward(canvas[None], buffers)
        maps = {
            "c1": _unfold(buffers.c1),
            "s2": buffers.s2[..., 0].transpose(2, 0, 1),
            "c3": _unfold(buffers.c3),
            "s4": buffers.s4[:-1, 0].reshape(5, 5, 16).transpose(2, 0, 1),
            "c5": buffers.c5[:-1, 0],
            "f6": buffers.f6[:-1, 0],
            "output": buffers.output[:, 0],
        }
        return {name: np.ascontiguousarray(values) for name, values in maps.items()}

    def forward(self, canvases: NDArray[Any], buffers: Buffers) -> None:
        """Compute all activations of canvases (N, 28, 28); logits are `buffers.output`, (10, N)."""
        with np.errstate(all="ignore"):  # as in torch: infinite weights give NaN, not a warning
            buffers.canvases[2:30, 2:30, 0] = canvases.transpose(1, 2, 0)
            _convolve(self.c1, buffers.c1_fields, buffers.c1_columns, buffers.c1)
            _average(buffers.c1, buffers.s2)
            _convolve(self.c3, buffers.c3_fields, buffers.c3_columns, buffers.c3)
            _average(buffers.c3, buffers.s4[:-1].reshape(5, 5, 16, -1))
            multiply(self.c5, buffers.s4, buffers.c5[:-1])
            np.tanh(buffers.c5[:-1], out=buffers.c5[:-1])
            multiply(self.f6, buffers.c5, buffers.f6[:-1])
            np.tanh(buffers.f6[:-1], out=buffers.f6[:-1])
            multiply(self.output, buffers.f6, buffers.output)


def quad_matrix(kernels: Floats) -> Floats:
    """The matrix (4 * O, 6 * 6 * C) that computes quads with a convolution's kernels (O, C, 5, 5).

    A third of it is 0. Still it is much faster than a matrix of the bare kernels: BLAS handles its
    shape better, and each input is copied into 9 columns instead of 25.
    """
    outputs, inputs = kernels.shape[:2]
    matrix = np.zeros((4, outputs, FIELD, FIELD, inputs), np.float32)
    for part, (row, column) in zip(matrix, QUAD, strict=True):
        part[:, row : row + 5, column : column + 5] = kernels.transpose(0, 2, 3, 1)
    return matrix.reshape(4 * outputs, -1)


def _fields(maps: Floats) -> Floats:
    """Each quad's receptive field, a view: (H, W, C, N) to ((H-4)/2, (W-4)/2, 6, 6, C, N)."""
    height, width, *rest = maps.shape
    row, column, *steps = maps.strides
    shape = ((height - 4) // 2, (width - 4) // 2, FIELD, FIELD, *rest)
    return np.ndarray(shape, maps.dtype, maps, strides=(2 * row, 2 * column, row, column, *steps))


def _convolve(matrix: Floats, fields: Floats, columns: Floats, quads: Floats) -> None:
    """Convolution and tanh: `_fields`, copied into ``columns``, to quads (H, W, 4 * O, N)."""
    columns[:, :, :-1].reshape(fields.shape)[:] = fields
    multiply(matrix, columns, quads)
    np.tanh(quads, out=quads)


def _average(quads: Floats, pooled: Floats) -> None:
    """The mean of each quad: (H, W, 4 * O, N) to (H, W, O, N)."""
    height, width = pooled.shape[:2]
    quarters = np.full((1, 4), 0.25, np.float32)
    np.matmul(
        quarters, quads.reshape(height, width, 4, -1), out=pooled.reshape(height, width, 1, -1)
    )


def _unfold(quads: Floats) -> Floats:
    """One canvas's quads, (H, W, 4 * O, 1), as maps (O, 2 * H, 2 * W)."""
    height, width, count, _ = quads.shape
    maps = quads.reshape(height, width, 2, 2, count // 4).transpose(4, 0, 2, 1, 3)
    return maps.reshape(count // 4, 2 * height, 2 * width)


def multiply(left: Floats, right: Floats, out: Floats) -> None:
    """``left @ right``, (..., M, K) by (..., K, N), in products small enough for one thread each.

    OpenBLAS gives a larger product to all of its threads. On a busy machine they wait for each
    other longer than they save on an idle one, and a process cannot fork in the meantime.
    """
    *stack, rows, columns = out.shape
    inner = left.shape[-1]
    some = _rows_at_once(rows, inner * columns)
    parts = left.reshape(*left.shape[:-2], rows // some, some, inner)
    np.matmul(parts, right[..., None, :, :], out=out.reshape(*stack, rows // some, some, columns))


@lru_cache
def _rows_at_once(rows: int, each: int) -> int:
    """The largest divisor of `rows` that one thread may compute, at `each` products a row."""
    most = max(1, min(rows, ONE_THREAD // each))
    return next(size for size in range(most, 0, -1) if rows % size == 0)
