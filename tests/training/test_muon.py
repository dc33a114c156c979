"""The optimiser alone: what a step is, and that it learns."""

from __future__ import annotations

import pytest
import torch

from lenet_digits.training.muon import Muon, orthogonalized


@pytest.mark.parametrize("shape", [(6, 25), (120, 400), (84, 40), (7, 7), (1, 5)])
def test_all_singular_values_come_near_one(shape):
    left, scales, right = torch.linalg.svd(
        torch.randn(shape, generator=torch.Generator().manual_seed(0)), full_matrices=False
    )
    uneven = left @ torch.diag(torch.linspace(0.05, 1, len(scales))) @ right
    values = torch.linalg.svdvals(orthogonalized(uneven))
    assert values.min() > 0.6
    assert values.max() < 1.3
    torch.testing.assert_close(  # it turns nothing: only the lengths change
        orthogonalized(uneven), orthogonalized(1000 * uneven), rtol=1e-3, atol=1e-4
    )


def test_a_step_goes_down_the_gradient_by_the_rate_whatever_the_gradients_size():
    sizes = []
    for scale in (1e-3, 1e3):
        weight = torch.zeros(4, 1, 3, 3, requires_grad=True)
        target = torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(0))
        optimizer = Muon([weight], lr=0.1)
        (-scale * (weight * target).sum()).backward()
        optimizer.step()
        assert (weight * target).sum() > 0
        sizes.append(float(torch.linalg.svdvals(weight.detach().flatten(1)).max()))
    assert sizes == pytest.approx([0.1, 0.1], rel=0.3)


def test_weight_decay_shrinks_a_weight_without_a_gradients_pull():
    weight = torch.ones(2, 2, requires_grad=True)
    weight.grad = torch.zeros(2, 2)
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(weight.detach(), torch.full((2, 2), 0.95))


def test_it_solves_a_least_squares_problem():
    generator = torch.Generator().manual_seed(0)
    inputs, truth = torch.randn(200, 8, generator=generator), torch.randn(8, 5, generator=generator)
    weight = torch.zeros(8, 5, requires_grad=True)
    optimizer = Muon([weight])
    for rate in torch.linspace(0.1, 0.001, 200).tolist():
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        (inputs @ weight - inputs @ truth).square().mean().backward()
        optimizer.step()
    torch.testing.assert_close(weight.detach(), truth, rtol=0.05, atol=0.05)
