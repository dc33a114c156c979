"""Muon: an optimiser that makes the momentum of each weight matrix orthogonal."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

MOMENTUM = 0.95  # this and the next two are those of the paper below
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of the quintic x -> a x + b x^3 + c x^5
NEWTON_SCHULZ_STEPS = 5


class Muon(torch.optim.Optimizer):
    """Steps along the Nesterov momentum after all its singular values are brought near 1.

    So a step goes as far in rare directions as in frequent ones, and LeNet-5 learns in half of the
    epochs. Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024).
    torch's own Muon (2.9 and later) refuses convolutions; here their weights are flattened to
    (outputs, inputs x height x width).

    Args:
        params: weights with two dimensions or more.
        lr: about the singular values of a step. Those of a matrix with more rows than columns are
            larger by the root of rows / columns.
        weight_decay: decoupled, as AdamW's.
    """

    def __init__(
        self, params: Iterable[Tensor], *, lr: float = 0.02, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
                direction = orthogonalized(weight.grad.lerp(momentum, MOMENTUM).flatten(1))
                tall = max(1.0, direction.shape[0] / direction.shape[1]) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(direction.view_as(weight), alpha=-group["lr"] * tall)


def orthogonalized(matrix: Tensor) -> Tensor:
    """The nearest matrix, roughly, with all singular values between 0.7 and 1.2 (Newton-Schulz).

    Each step multiplies x by a polynomial of its Gram matrix. Where x is wide, those polynomials
    are multiplied with each other first: they are small, and one product with x is left.
    """
    a, b, c = NEWTON_SCHULZ
    wide: Tensor = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x: Tensor = wide / (wide.norm() + 1e-7)
    gram = x @ x.T
    whole = torch.eye(len(x), dtype=x.dtype, device=x.device)
    for _ in range(NEWTON_SCHULZ_STEPS):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal().add_(a)
        whole = factor @ whole
        gram = factor @ gram @ factor
    x = whole @ x
    return x if wide is matrix else x.T
