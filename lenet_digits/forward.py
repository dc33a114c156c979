"""LeNet-5's forward pass in NumPy: weights and canvases in, logits out; knows no torch or files.

The network is `lenet_digits.model.LeNet5`, which is the truth. This is the same arithmetic, there
in a tenth of the time that importing torch takes, and on a CPU several times as fast.

Three things make it so. Arrays have the canvases as their last axis: what is done to a pixel is
done to 32 canvases, side by side in memory. A convolution and the average after it are made quad
by quad: the 2x2 outputs of which one average is taken are one matrix product of the 6x6 inputs
that they look at. And a bias is the weight of one more input, which is always 1.
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
REACH = 6  # pixels: height and width of what a quad looks at, with kernels of 5x5
CHUNK = 32  # canvases at a time, at most: what is made of them fits into a processor's cache
ONE_THREAD = 2**18  # multiplications in a product that OpenBLAS does in the calling thread


class Activations:
    """Room for what the layers make of so many canvases, (..., N) each.

    It is used again and again: asking the system for memory takes as long as the arithmetic.
    Where units feed a matrix product, a last row, which no one writes to, is the bias's 1.
    """

    def __init__(self, count: int) -> None:
        def room(*shape: int) -> Floats:
            return np.ones((*shape, count), np.float32)

        self.canvases = np.zeros((32, 32, 1, count), np.float32)  # C1's padding is 2
        self.c1_sees, self.c1, self.s2 = room(14, 14, 37), room(14, 14, 24), room(14, 14, 6)
        self.c3_sees, self.c3, self.s4 = room(5, 5, 217), room(5, 5, 64), room(401)
        self.c5, self.f6, self.output = room(121), room(85), room(10)
        self.c1_windows, self.c3_windows = _windows(self.canvases), _windows(self.s2)


class ForwardPass:
    """The network for one set of weights; it never changes, and any thread may call it."""

    def __init__(self, weights: Mapping[str, Floats]) -> None:
        """Takes the tensors of a `LeNet5`, by the names that its state dict gives them."""

        def with_bias(matrix: Floats, layer: str, times: int = 1) -> Floats:
            return np.hstack([matrix, np.tile(weights[f"{layer}.bias"], times)[:, None]])

        self.c1 = with_bias(by_quads(weights["c1.weight"]), "c1", times=4)  # (24, 37)
        self.c3 = with_bias(by_quads(weights["c3.weight"]), "c3", times=4)  # (64, 217)
        # S4 lies in memory by rows, columns and maps.
        self.c5 = with_bias(weights["c5.weight"].transpose(0, 2, 3, 1).reshape(120, 400), "c5")
        self.f6 = with_bias(weights["f6.weight"], "f6")  # (84, 121)
        self.output = with_bias(weights["output.weight"], "output")  # (10, 85)

    def __call__(self, canvases: NDArray[Any], *, threads: int = 1) -> Floats:
        """Logits: (N, 28, 28) in [0, 1], ink 1 on background 0, to (N, 10) float32."""
        logits = np.empty((len(canvases), 10), np.float32)
        rooms = [Activations(min(CHUNK, len(canvases))) for _ in range(threads)]

        def read_every(begin: int, room: Activations) -> None:
            for first in range(begin, len(canvases), CHUNK * threads):
                chunk = canvases[first : first + CHUNK]
                if len(chunk) < room.output.shape[-1]:  # the last one
                    room = Activations(len(chunk))
                self.fill(room, chunk)
                logits[first : first + CHUNK] = room.output.T

        begins = range(0, CHUNK * threads, CHUNK)
        if threads == 1:
            read_every(0, rooms[0])
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(read_every, begins, rooms))
        return logits

    def fill(self, room: Activations, canvases: NDArray[Any]) -> None:
        """Makes all activations of canvases (N, 28, 28); the logits are `room.output`, (10, N)."""
        with np.errstate(all="ignore"):  # as torch: weights may be infinite, answers no numbers
            room.canvases[2:30, 2:30, 0] = canvases.transpose(1, 2, 0)
            _convolve(self.c1, room.c1_windows, room.c1_sees, room.c1)
            _average(room.c1, room.s2)
            _convolve(self.c3, room.c3_windows, room.c3_sees, room.c3)
            _average(room.c3, room.s4[:-1].reshape(5, 5, 16, -1))
            multiply(self.c5, room.s4, room.c5[:-1])
            np.tanh(room.c5[:-1], out=room.c5[:-1])
            multiply(self.f6, room.c5, room.f6[:-1])
            np.tanh(room.f6[:-1], out=room.f6[:-1])
            multiply(self.output, room.f6, room.output)


def by_quads(kernels: Floats) -> Floats:
    """A convolution's kernels, (O, C, 5, 5), as the matrix (4 * O, 6 * 6 * C) that makes quads.

    A third of it is 0. Yet with a shape that BLAS likes, and inputs of which each is copied 9
    times, not 25, the product takes a fraction of the time of one with the bare kernels.
    """
    outputs, inputs = kernels.shape[:2]
    matrix = np.zeros((4, outputs, REACH, REACH, inputs), np.float32)
    for part, (row, column) in zip(matrix, QUAD, strict=True):
        part[:, row : row + 5, column : column + 5] = kernels.transpose(0, 2, 3, 1)
    return matrix.reshape(4 * outputs, -1)


def _windows(maps: Floats) -> Floats:
    """What each quad looks at, a view: (H, W, C, N) to ((H - 4) / 2, (W - 4) / 2, 6, 6, C, N)."""
    height, width, *rest = maps.shape
    row, column, *steps = maps.strides
    shape = ((height - 4) // 2, (width - 4) // 2, REACH, REACH, *rest)
    return np.ndarray(shape, maps.dtype, maps, strides=(2 * row, 2 * column, row, column, *steps))


def _convolve(matrix: Floats, windows: Floats, sees: Floats, quads: Floats) -> None:
    """Convolution and tanh: `_windows`, copied into ``sees``, to quads (H, W, 4 * O, N)."""
    sees[:, :, :-1].reshape(windows.shape)[:] = windows
    multiply(matrix, sees, quads)
    np.tanh(quads, out=quads)


def _average(quads: Floats, pooled: Floats) -> None:
    """The mean of each quad: (H, W, 4 * O, N) to (H, W, O, N)."""
    height, width = pooled.shape[:2]
    quarters = np.full((1, 4), 0.25, np.float32)
    np.matmul(
        quarters, quads.reshape(height, width, 4, -1), out=pooled.reshape(height, width, 1, -1)
    )


def multiply(left: Floats, right: Floats, out: Floats) -> None:
    """``left @ right``, (..., M, K) by (..., K, N), in products small enough for one thread each.

    A larger one OpenBLAS gives to all of its threads. They wait for each other, which takes longer
    on a busy machine than it saves on an idle one, and a process cannot fork meanwhile.
    """
    *stack, rows, columns = out.shape
    inner = left.shape[-1]
    some = _rows_at_once(rows, inner * columns)
    parts = left.reshape(*left.shape[:-2], rows // some, some, inner)
    np.matmul(parts, right[..., None, :, :], out=out.reshape(*stack, rows // some, some, columns))


@lru_cache
def _rows_at_once(rows: int, each: int) -> int:
    """A divisor of `rows`: as many as one thread may take, at so many multiplications each."""
    most = max(1, min(rows, ONE_THREAD // each))
    return next(size for size in range(most, 0, -1) if rows % size == 0)
