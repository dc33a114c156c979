"""LeNet-5's cost and its gradients in NumPy, for training on a CPU; knows no optimiser and no data.

They are those of torch's autograd, in half of its time: the way forward is that of
`lenet_digits.forward`, whose activations are still in the processor's cache on the way back.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lenet_digits.forward import QUAD, REACH, Activations, Floats, ForwardPass, multiply
from lenet_digits.model import LeNet5

PART = 64  # canvases at a time, at most


class Backpropagation:
    """Finds the cost of a batch, and gives the weights of a `LeNet5` on the CPU its gradients.

    A batch is cut into the same parts however many threads there are (as many as torch's), and
    their gradients are summed in the parts' order: so they do not depend on the number of threads.
    """

    def __init__(self, model: LeNet5, *, background: bool = False) -> None:
        """Prepares for the model's own weights.

        With `background`, a logit of 0 for "no digit" stands beside those of the ten digits.
        """
        self.weights = dict(model.named_parameters())
        self.background = background
        self.threads = torch.get_num_threads()
        self.pool = ThreadPoolExecutor(self.threads)  # begins none before there is work
        self.rooms: dict[tuple[int, int], Activations] = {}  # by thread, and size of a part

    def close(self) -> None:
        """Ends the threads."""
        self.pool.shutdown()

    def __call__(self, canvases: Tensor, labels: Tensor) -> float:
        """The mean cross-entropy in nats; the weights' `grad` is then its gradient.

        Takes canvases (N, 1, 28, 28) float32 in [0, 1], and labels (N,) int64.
        """
        way = ForwardPass({name: value.detach().numpy() for name, value in self.weights.items()})
        count = -(-len(canvases) // PART)
        inputs = np.array_split(canvases[:, 0].numpy(), count)
        answers = np.array_split(labels.numpy(), count)
        costs = [0.0] * count
        found: list[dict[str, Floats]] = [{}] * count

        def work(thread: int) -> None:
            for i in range(thread, count, self.threads):
                size = len(inputs[i])
                if (thread, size) not in self.rooms:
                    self.rooms[thread, size] = Activations(size)
                room = self.rooms[thread, size]
                way.fill(room, inputs[i])
                with np.errstate(all="ignore"):  # the caller sees a cost that is no number
                    costs[i], at_logits = self._cost(room.output, answers[i])
                    found[i] = gradients(way, room, at_logits / np.float32(len(canvases)))

        others = [self.pool.submit(work, thread) for thread in range(1, self.threads)]
        work(0)
        for other in others:
            other.result()
        for layer in found[0]:
            weight, bias = _as_torch(layer, reduce(np.add, [part[layer] for part in found]))
            self.weights[f"{layer}.weight"].grad = torch.from_numpy(weight)
            self.weights[f"{layer}.bias"].grad = torch.from_numpy(bias)
        return sum(costs) / len(canvases)

    def _cost(self, logits: Floats, labels: NDArray[np.int64]) -> tuple[float, Floats]:
        """The sum of cross-entropies for logits (10, N), and its gradient at them."""
        if self.background:
            logits = np.pad(logits, ((0, 1), (0, 0)))
        rest = logits - logits.max(axis=0)
        odds = np.exp(rest)
        total = odds.sum(axis=0)
        right = labels, np.arange(len(labels))
        cost = float((np.log(total) - rest[right]).sum())
        shares = odds / total
        shares[right] -= 1
        return cost, shares[:10]


def gradients(way: ForwardPass, room: Activations, at_output: Floats) -> dict[str, Floats]:
    """A loss's gradients at the matrices of a forward pass, from that at its logits, (10, N).

    The room's activations are used up: gradients take their place.
    """
    found = {}
    at = at_output
    for layer, matrix, units in (
        ("output", way.output, room.f6),
        ("f6", way.f6, room.c5),
        ("c5", way.c5, room.s4),
    ):
        found[layer] = _product(at, units.T.copy())
        at = _product(matrix[:, :-1].T, at)
        if units is not room.s4:
            at *= 1 - units[:-1] ** 2
    _through_tanh(room.c3, at.reshape(5, 5, 16, -1))
    found["c3"] = _at_kernels(room.c3_sees, room.c3)
    at_windows = room.c3_sees[:, :, :-1]
    multiply(way.c3[:, :-1].T, room.c3, at_windows)
    _through_tanh(room.c1, _put_back(at_windows))
    found["c1"] = _at_kernels(room.c1_sees, room.c1)
    return found


def _product(left: Floats, right: Floats) -> Floats:
    out = np.empty((*left.shape[:-1], right.shape[-1]), np.float32)
    multiply(left, right, out)
    return out


def _at_kernels(sees: Floats, at_quads: Floats) -> Floats:
    # BLAS takes twice as long for a turned matrix on the right: hence the copies, here and above.
    found: Floats = _product(sees, at_quads.swapaxes(2, 3).copy()).sum(axis=(0, 1)).T
    return found


def _through_tanh(quads: Floats, at_pooled: Floats) -> None:
    """Outputs of tanh, (H, W, 4 * O, N), become the gradients at its inputs."""
    height, width, outputs, count = at_pooled.shape
    np.square(quads, out=quads)
    np.subtract(1, quads, out=quads)
    parts = quads.reshape(height, width, 4, outputs, count)
    parts *= (at_pooled * np.float32(0.25))[:, :, None]


def _put_back(at_windows: Floats) -> Floats:
    """Gradients at the windows of C3, (5, 5, 6 * 6 * 6, N), summed where they overlap."""
    count = at_windows.shape[-1]
    windows = at_windows.reshape(5, 5, 3, 2, 3, 2, 6, count)
    at_s2 = np.zeros((7, 2, 7, 2, 6, count), np.float32)
    for row in range(3):
        for column in range(3):
            some = windows[:, :, row, :, column].transpose(0, 2, 1, 3, 4, 5)
            at_s2[row : row + 5, :, column : column + 5] += some
    return at_s2.reshape(14, 14, 6, count)


def _as_torch(layer: str, matrix: Floats) -> tuple[Floats, Floats]:
    """The gradient at a matrix of the forward pass, as those at torch's weight and bias."""
    weight, bias = matrix[:, :-1], matrix[:, -1]
    if layer in ("c1", "c3"):
        quads = weight.reshape(4, len(matrix) // 4, REACH, REACH, -1)
        weight = sum(
            part[:, row : row + 5, column : column + 5]
            for part, (row, column) in zip(quads, QUAD, strict=True)
        ).transpose(0, 3, 1, 2)
        bias = bias.reshape(4, -1).sum(axis=0)
    elif layer == "c5":
        weight = weight.reshape(120, 5, 5, 16).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(weight), np.ascontiguousarray(bias)
