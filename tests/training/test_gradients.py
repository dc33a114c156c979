"""The gradients in NumPy are those of torch's autograd, whatever the batch and the threads."""

from __future__ import annotations

from contextlib import closing

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lenet_digits import LeNet5
from lenet_digits.training.gradients import PART, Backpropagation

NONDIGIT = 10  # the label of what is not a digit


def network(scale: float = 1.0) -> LeNet5:
    torch.manual_seed(0)
    model = LeNet5()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(scale)
    return model


def batch(count: int, *, kinds: int = 10) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(count)
    canvases = torch.rand(count, 1, 28, 28, generator=generator)
    return canvases, torch.randint(0, kinds, (count,), generator=generator)


def by_autograd(model: LeNet5, canvases: Tensor, labels: Tensor, background: bool = False) -> float:
    model.zero_grad()
    loss = F.cross_entropy(F.pad(model(canvases), (0, int(background))), labels)
    loss.backward()
    return loss.item()


def by_us(model: LeNet5, *batches: tuple[Tensor, Tensor], background: bool = False) -> float:
    """The loss of the last batch, whose gradients the weights then have."""
    with closing(Backpropagation(model, background=background)) as backpropagation:
        return [backpropagation(*one) for one in batches][-1]


def assert_same_gradients(one: LeNet5, other: LeNet5) -> None:
    for (name, mine), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        largest = float(theirs.grad.abs().max())
        assert largest > 0, name
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-5 * largest)


@pytest.mark.parametrize("count", [1, 2, 37, PART, PART + 1, 100, 3 * PART])
def test_loss_and_gradients_of_any_batch_are_autograds(count):
    ours, truth = network(), network()
    canvases, labels = batch(count)
    loss = by_us(ours, (canvases, labels))
    assert loss == pytest.approx(by_autograd(truth, canvases, labels), rel=1e-5)
    assert_same_gradients(ours, truth)


@pytest.mark.parametrize("scale", [0.2, 3.0])
def test_with_nondigits_they_are_too(scale):
    ours, truth = network(scale), network(scale)
    canvases, labels = batch(100, kinds=11)
    assert (labels == NONDIGIT).any()
    loss = by_us(ours, (canvases, labels), background=True)
    assert loss == pytest.approx(by_autograd(truth, canvases, labels, True), rel=1e-5)
    assert_same_gradients(ours, truth)


def test_one_batch_after_another_leaves_nothing_of_itself_behind():
    ours, truth = network(), network()
    by_us(ours, batch(128), batch(31), batch(100))
    by_autograd(truth, *batch(100))
    assert_same_gradients(ours, truth)


def test_gradients_are_bit_for_bit_the_same_with_any_number_of_threads():
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            model = network()
            loss = by_us(model, batch(300))
            found.append((loss, [weight.grad for weight in model.parameters()]))
    finally:
        torch.set_num_threads(before)
    for loss, gradients in found[1:]:
        assert loss == found[0][0]
        assert all(map(torch.equal, gradients, found[0][1]))


def test_canvases_and_labels_stay_as_they_are():
    canvases, labels = batch(70)
    copies = canvases.clone(), labels.clone()
    by_us(network(), (canvases, labels))
    assert torch.equal(canvases, copies[0])
    assert torch.equal(labels, copies[1])


def test_weights_that_are_not_numbers_give_a_loss_that_is_not_a_number():
    loss = by_us(network(float("nan")), batch(10))
    assert loss != loss


def test_an_error_in_a_thread_reaches_the_caller():
    canvases, labels = batch(300)
    with pytest.raises(IndexError):
        by_us(network(), (canvases, labels + 10))
