"""Computes LeNet-5's loss and gradients in NumPy, for training on a CPU.

They equal those of torch's autograd and take half of its time. The forward pass is that of
`lenet_digits.reading.network`; its activations are still in the CPU's cache on the way back.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lenet_digits.model import LeNet5
from lenet_digits.reading.network import FIELD, QUAD, Buffers, Floats, Network, multiply

PART = 64  # canvases that a thread takes at a time, at most; chosen by timing 32, 64 and 128


class Backpropagation:
    """Computes a batch's loss, and stores its gradients in the weights of a `LeNet5` on the CPU.

    There are as many threads as torch has. The gradients do not depend on their number: a batch is
    always cut into the same parts, whose gradients are summed in the same order.
    """

    def __init__(self, model: LeNet5, *, background: bool = False) -> None:
        """With `background`, an eleventh logit, which is always 0, stands for "not a digit"."""
        self.weights = dict(model.named_parameters())
        self.background = background
        self.threads = torch.get_num_threads()
        self.pool = ThreadPoolExecutor(self.threads)  # starts no thread before there is work
        self.buffers: dict[tuple[int, int], Buffers] = {}  # by thread and size of a part

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown()

    def __call__(self, canvases: Tensor, targets: Tensor) -> float:
        """The mean cross-entropy in nats. Afterwards each weight's `grad` holds its gradient.

        Canvases are (N, 1, 28, 28) float32 in [0, 1], targets (N,) int64.
        """
        network = Network({name: value.detach().numpy() for name, value in self.weights.items()})
        count = -(-len(canvases) // PART)
        canvases_of = np.array_split(canvases[:, 0].numpy(), count)
        targets_of = np.array_split(targets.numpy(), count)
        losses = [0.0] * count
        grads: list[dict[str, Floats]] = [{}] * count

        def work(thread: int) -> None:
            for i in range(thread, count, self.threads):
                size = len(canvases_of[i])
                if (thread, size) not in self.buffers:
                    self.buffers[thread, size] = Buffers(size)
                buffers = self.buffers[thread, size]
                network.forward(canvases_of[i], buffers)
                with np.errstate(all="ignore"):  # the caller sees a loss that is not finite
                    losses[i], grad_logits = self._cross_entropy(buffers.output, targets_of[i])
                    grad_logits /= np.float32(len(canvases))
                    grads[i] = matrix_gradients(network, buffers, grad_logits)

        others = [self.pool.submit(work, thread) for thread in range(1, self.threads)]
        work(0)
        for other in others:
            other.result()
        for layer in grads[0]:
            grad = reduce(np.add, [part[layer] for part in grads])
            weight, bias = _in_torchs_shapes(layer, grad)
            self.weights[f"{layer}.weight"].grad = torch.from_numpy(weight)
            self.weights[f"{layer}.bias"].grad = torch.from_numpy(bias)
        return sum(losses) / len(canvases)

    def _cross_entropy(self, logits: Floats, targets: NDArray[np.int64]) -> tuple[float, Floats]:
        """The summed cross-entropy of logits (10, N), and its gradient at the logits, (10, N)."""
        if self.background:
            logits = np.pad(logits, ((0, 1), (0, 0)))
        logits = logits - logits.max(axis=0)
        exps = np.exp(logits)
        sums = exps.sum(axis=0)
        at_targets = targets, np.arange(len(targets))
        loss = float((np.log(sums) - logits[at_targets]).sum())
        grad = exps / sums  # the probabilities
        grad[at_targets] -= 1
        return loss, grad[:10]


def matrix_gradients(network: Network, buffers: Buffers, grad_logits: Floats) -> dict[str, Floats]:
    """The loss's gradients at the network's matrices, by layer, from that at the logits, (10, N).

    Gradients overwrite the activations in the buffers.
    """
    grads = {}
    grad = grad_logits
    for layer, matrix, units in (
        ("output", network.output, buffers.f6),
        ("f6", network.f6, buffers.c5),
        ("c5", network.c5, buffers.s4),
    ):
        grads[layer] = _product(grad, units.T.copy())
        grad = _product(matrix[:, :-1].T, grad)
        if units is not buffers.s4:
            grad *= 1 - units[:-1] ** 2
    _through_average_and_tanh(buffers.c3, grad.reshape(5, 5, 16, -1))
    grads["c3"] = _at_kernels(buffers.c3_columns, buffers.c3)
    grad_columns = buffers.c3_columns[:, :, :-1]
    multiply(network.c3[:, :-1].T, buffers.c3, grad_columns)
    _through_average_and_tanh(buffers.c1, _sum_overlaps(grad_columns))
    grads["c1"] = _at_kernels(buffers.c1_columns, buffers.c1)
    return grads


def _product(left: Floats, right: Floats) -> Floats:
    out = np.empty((*left.shape[:-1], right.shape[-1]), np.float32)
    multiply(left, right, out)
    return out


def _at_kernels(columns: Floats, grad_quads: Floats) -> Floats:
    # BLAS takes twice as long if the right matrix is transposed: hence the copies, here and above.
    products = _product(columns, grad_quads.swapaxes(2, 3).copy())
    grad: Floats = products.sum(axis=(0, 1)).T
    return grad


def _through_average_and_tanh(quads: Floats, grad_pooled: Floats) -> None:
    """Replace outputs of tanh, (H, W, 4 * O, N), by the gradients at its inputs."""
    height, width, outputs, count = grad_pooled.shape
    np.square(quads, out=quads)
    np.subtract(1, quads, out=quads)
    parts = quads.reshape(height, width, 4, outputs, count)
    parts *= (grad_pooled * np.float32(0.25))[:, :, None]


def _sum_overlaps(grad_columns: Floats) -> Floats:
    """The gradients at S2, (14, 14, 6, N), from those at C3's columns, (5, 5, 6 * 6 * 6, N)."""
    count = grad_columns.shape[-1]
    fields = grad_columns.reshape(5, 5, 3, 2, 3, 2, 6, count)
    grad_s2 = np.zeros((7, 2, 7, 2, 6, count), np.float32)
    for row in range(3):
        for column in range(3):
            some = fields[:, :, row, :, column].transpose(0, 2, 1, 3, 4, 5)
            grad_s2[row : row + 5, :, column : column + 5] += some
    return grad_s2.reshape(14, 14, 6, count)


def _in_torchs_shapes(layer: str, grad: Floats) -> tuple[Floats, Floats]:
    """The gradients at torch's weight and bias, from that at a matrix of the NumPy network."""
    weight, bias = grad[:, :-1], grad[:, -1]
    if layer in ("c1", "c3"):
        quads = weight.reshape(4, len(grad) // 4, FIELD, FIELD, -1)
        weight = sum(
            part[:, row : row + 5, column : column + 5]
            for part, (row, column) in zip(quads, QUAD, strict=True)
        ).transpose(0, 3, 1, 2)
        bias = bias.reshape(4, -1).sum(axis=0)
    elif layer == "c5":
        weight = weight.reshape(120, 5, 5, 16).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(weight), np.ascontiguousarray(bias)
