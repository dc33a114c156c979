"""Distortions vary a digit, never what it says, and draw only from the generator given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor

from lenet_digits import load_mnist, load_model
from lenet_digits.training import augmentation
from lenet_digits.training.augmentation import change_pen, distort, spoil, warp

DATA = Path(__file__).parents[1] / "data"
KINDS = [distort, warp, change_pen, spoil]
Kind = Callable[..., Tensor]


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """320 canvases, and their labels."""
    train, _ = load_mnist(DATA, download=False)
    return train.images[:320, None] / 255, train.labels[:320]


@pytest.fixture
def canvases(digits: tuple[Tensor, Tensor]) -> Tensor:
    return digits[0].clone()


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def centres(canvases: Tensor) -> Tensor:
    """Centres of mass, (N, 2), in pixels."""
    mass = canvases[:, 0].clamp(min=0)
    total = mass.sum(dim=(1, 2))
    at = torch.arange(28.0)
    return torch.stack([(mass.sum(2) @ at) / total, (mass.sum(1) @ at) / total], dim=1)


@pytest.mark.parametrize("kind", KINDS)
def test_canvases_stay_canvases(kind, canvases):
    varied = kind(canvases, generator=seeded())
    assert varied.shape == canvases.shape
    assert varied.dtype == torch.float32
    assert varied.device == canvases.device
    assert varied.isfinite().all()
    assert float(varied.min()) >= 0
    assert float(varied.max()) <= 1 + 1e-6
    assert not varied.requires_grad


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 31, 33])
def test_any_number_of_canvases_will_do(kind, canvases, count):
    assert kind(canvases[:count], generator=seeded()).shape == (count, 1, 28, 28)


@pytest.mark.parametrize("kind", KINDS)
def test_more_strength_changes_more_and_no_strength_nothing(kind, canvases):
    changes = [
        float((kind(canvases, generator=seeded(), strength=strength) - canvases).abs().mean())
        for strength in (0.0, 0.1, 0.5, 1.0)
    ]
    assert changes == sorted(changes)
    assert changes[0] < 1e-5
    assert changes[1] < changes[3] / 2
    assert changes[3] > 0.001


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_decides_and_nothing_else(kind, canvases):
    before = torch.get_rng_state()
    first = kind(canvases, generator=seeded(1))
    torch.rand(10)
    assert torch.equal(first, kind(canvases, generator=seeded(1)))
    assert not torch.equal(first, kind(canvases, generator=seeded(2)))
    torch.set_rng_state(before)
    kind(canvases, generator=seeded(1))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", KINDS)
def test_how_much_chance_is_drawn_does_not_depend_on_the_digits(kind, canvases):
    generators = seeded(), seeded()
    kind(canvases, generator=generators[0])
    kind(torch.zeros_like(canvases), generator=generators[1])
    assert torch.equal(*(generator.get_state() for generator in generators))


@pytest.mark.parametrize("kind", KINDS)
def test_the_canvases_given_stay_as_they_are(kind, canvases, digits):
    kind(canvases, generator=seeded())
    assert torch.equal(canvases, digits[0])


def test_a_warp_moves_digits_a_little_and_evenly(canvases):
    moved = centres(warp(canvases, generator=seeded())) - centres(canvases)
    limit = augmentation.SHIFT + 2  # scale and bend move the centre too
    assert moved.abs().max() < limit
    assert moved.mean(dim=0).abs().max() < 0.4
    assert (moved.std(dim=0) > 0.5).all()


def test_a_warp_keeps_about_as_much_ink(canvases):
    ratio = warp(canvases, generator=seeded()).sum() / canvases.sum()
    assert 0.85 < float(ratio) < 1.15


@pytest.mark.parametrize("name", ["ROTATION", "SCALE", "SHEAR", "SHIFT", "ELASTIC"])
def test_each_part_of_a_warp_warps(canvases, monkeypatch, name):
    for other in {"ROTATION", "SCALE", "SHEAR", "SHIFT", "ELASTIC"} - {name}:
        monkeypatch.setattr(augmentation, other, 0.0)
    assert (warp(canvases, generator=seeded()) - canvases).abs().mean() > 0.005


def test_a_rotation_is_a_rotation(monkeypatch):
    for other in ("SCALE", "SHEAR", "SHIFT", "ELASTIC"):
        monkeypatch.setattr(augmentation, other, 0.0)
    bar = torch.zeros(200, 1, 28, 28)
    bar[:, :, 4:24, 13:15] = 1
    turned = warp(bar, generator=seeded())[:, 0]
    assert centres(turned[:, None]).sub(13.5).abs().max() < 0.2
    at = torch.arange(28.0) - 13.5
    mass = turned.sum(dim=(1, 2))
    down = (turned.sum(2) * at**2).sum(1) / mass
    across = (turned.sum(1) * at**2).sum(1) / mass
    mixed = (turned * at[:, None] * at).sum(dim=(1, 2)) / mass
    angle = torch.rad2deg(0.5 * torch.atan2(2 * mixed, down - across))
    assert angle.abs().max() < augmentation.ROTATION + 0.5
    assert angle.min() < -0.8 * augmentation.ROTATION
    assert angle.max() > 0.8 * augmentation.ROTATION


def test_a_pen_gets_thicker_for_some_and_thinner_for_others(canvases):
    ratio = change_pen(canvases, generator=seeded()).sum((1, 2, 3)) / canvases.sum((1, 2, 3))
    assert (ratio > 1.1).float().mean() > 0.2
    assert (ratio < 0.9).float().mean() > 0.2


def test_most_canvases_are_not_spoiled_and_each_way_has_its_share(canvases):
    changed = (spoil(canvases, generator=seeded()) != canvases).flatten(1).any(dim=1)
    places = changed.view(-1, augmentation.SPOIL_PERIOD).float().mean(dim=0)
    assert (places > 0.7).sum() == 9
    assert (places == 0).sum() == augmentation.SPOIL_PERIOD - 9


def test_a_distorted_digit_is_still_that_digit(digits):
    canvases, labels = digits
    with torch.inference_mode():
        answers = load_model()(distort(canvases, generator=seeded())).argmax(dim=1)
    assert (answers == labels).float().mean() > 0.9
