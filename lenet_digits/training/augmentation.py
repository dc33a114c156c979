"""Distorts batches of canvases at random, on any device.

Canvases are (N, 1, 28, 28) float32 in [0, 1], on the device of the generator given. Every random
number comes from that generator, so a resumed run draws the same ones. The limits below were set
by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

ROTATION = 14.0  # degrees, at most, either way
SCALE = 0.14  # share of the size, at most, larger or smaller, for each axis
SHEAR = 0.2  # horizontal pixels per vertical pixel, at most
SHIFT = 2.0  # pixels, at most, each axis
ELASTIC = 0.7  # pixels, standard deviation of the smooth random field
ELASTIC_CELLS = 5  # random displacements a side, upsampled to the whole canvas
PEN = 0.6  # pixels, at most, that a stroke becomes thicker or thinner on each side
SPOIL_PERIOD = 32  # each way to spoil canvases takes one canvas of this many


def distort(canvases: Tensor, *, generator: Generator, strength: float = 1.0) -> Tensor:
    """Change canvases as hands, pens and cameras do: `warp`, `change_pen`, `spoil`.

    ``strength`` scales every limit above; with 0 the canvases do not change.
    """
    if not strength:
        return canvases
    canvases = warp(canvases, generator=generator, strength=strength)
    canvases = change_pen(canvases, generator=generator, strength=strength)
    return spoil(canvases, generator=generator, strength=strength)


def _uniform(shape: tuple[int, ...], limit: float, generator: Generator) -> Tensor:
    unit = torch.rand(shape, generator=generator, device=generator.device)
    return (2 * unit - 1) * limit


def warp(canvases: Tensor, *, generator: Generator, strength: float = 1.0) -> Tensor:
    """Rotate, scale, shear, shift and bend each canvas, in one bilinear resampling.

    The elastic part follows Simard, Steinkraus and Platt, "Best Practices for Convolutional Neural
    Networks" (2003), section 2, with a coarse random grid in place of a Gaussian-smoothed field.
    """
    count, size = len(canvases), canvases.shape[-1]
    pixel = 2 / size  # one pixel in the [-1, 1] coordinates of grid_sample
    angle = _uniform((count,), math.radians(ROTATION) * strength, generator)
    shear = _uniform((count,), SHEAR * strength, generator)
    stretch = 1 / (1 + _uniform((count, 2), SCALE * strength, generator))
    shift = _uniform((count, 2), SHIFT * pixel * strength, generator)
    cos, sin = angle.cos(), angle.sin()
    across = torch.stack([cos, sin + cos * shear], dim=1) * stretch[:, :1]
    down = torch.stack([-sin, cos - sin * shear], dim=1) * stretch[:, 1:]
    theta = torch.cat([torch.stack([across, down], dim=1), shift[:, :, None]], dim=2)  # (N, 2, 3)
    grid = F.affine_grid(theta, list(canvases.shape), align_corners=False)  # (N, 28, 28, 2)
    coarse = torch.randn(
        (count, 2, ELASTIC_CELLS, ELASTIC_CELLS), generator=generator, device=generator.device
    )
    # Bicubic upsampling as one matrix product: ten times faster than interpolating each field.
    eye = torch.eye(ELASTIC_CELLS, device=generator.device)[None, None]
    up = F.interpolate(eye, size=(size, ELASTIC_CELLS), mode="bicubic", align_corners=True)[0, 0]
    bend = (coarse.flatten(2) @ torch.kron(up, up).T).view(count, 2, size, size)
    grid.add_(bend.permute(0, 2, 3, 1), alpha=ELASTIC * pixel * strength)
    return F.grid_sample(canvases, grid, mode="bilinear", align_corners=False)


def change_pen(canvases: Tensor, *, generator: Generator, strength: float = 1.0) -> Tensor:
    """Make strokes thicker or thinner, by blending each canvas with its dilation or erosion."""
    amount = _uniform((len(canvases), 1, 1, 1), PEN * strength, generator)
    thicker, thinner = _thicker(canvases), _extreme(canvases, torch.minimum)
    return torch.lerp(canvases, torch.where(amount > 0, thicker, thinner), amount.abs())


def _thicker(canvases: Tensor) -> Tensor:
    return _extreme(canvases, torch.maximum)


def _extreme(canvases: Tensor, choose: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """3x3 dilation or erosion; on a CPU ten times faster than max_pool2d, which keeps indices."""
    padded = F.pad(canvases, (1, 1, 1, 1))
    rows = choose(choose(padded[..., :-2], padded[..., 1:-1]), padded[..., 2:])
    return choose(choose(rows[:, :, :-2], rows[:, :, 1:-1]), rows[:, :, 2:])


def spoil(canvases: Tensor, *, generator: Generator, strength: float = 1.0) -> Tensor:
    """Spoil some canvases: with noise, specks, blur, a line or zigzag, an inverted band, haze or
    strokes so thick that loops close, or by drawing only the outline of their strokes.

    Each way takes one canvas in `SPOIL_PERIOD`, at fixed places, so no shape depends on chance.
    """
    device, size = canvases.device, canvases.shape[-1]
    canvases = canvases.clone()

    def rand(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=device)

    noisy, specked, blurred, lined, banded, hazy, fat, fatter, hollow = (
        canvases[place::SPOIL_PERIOD] for place in range(9)
    )
    noisy += torch.randn(noisy.shape, generator=generator, device=device) * (
        0.3 * strength * rand(len(noisy), 1, 1, 1)
    )
    dice = rand(*specked.shape)
    share = 0.18 * strength * rand(len(specked), 1, 1, 1)
    specked.copy_(torch.where(dice < share, (dice < share / 2).float(), specked))
    mean = F.avg_pool2d(blurred, 3, stride=1, padding=1)
    blurred.lerp_(mean, strength * rand(len(blurred), 1, 1, 1))
    angle = math.pi * rand(len(lined), 1, 1, 1)
    offset = _uniform((len(lined), 1, 1, 1), size / 2, generator)
    at = torch.arange(size, device=device) - (size - 1) / 2
    along = at[:, None] * angle.sin() - at * angle.cos()  # (n, 1, 28, 28)
    zigzag = 8 * rand(len(lined), 1, 1, 1) * rand(len(lined), 1, 1, 1).round()  # pixels; half: 0
    offset = offset + zigzag * ((along / 4).remainder(2) - 1).abs()
    distance = (at[:, None] * angle.cos() + at * angle.sin() - offset).abs()
    width = 0.5 + 0.7 * rand(len(lined), 1, 1, 1)
    lined.copy_(torch.maximum(lined, strength * (width + 0.5 - distance).clamp(0, 1)))
    edge = size * 0.3 * strength * rand(len(banded), 1, 1, 1)
    column = torch.arange(size, device=device)
    band = (column < edge) | (column >= size - edge)  # (n, 1, 1, 28)
    banded.copy_(torch.where(band, 1 - banded, banded))
    clouds = F.interpolate(rand(len(hazy), 1, 4, 4), size=size, mode="bilinear")
    level = 0.5 * strength * rand(len(hazy), 1, 1, 1)
    hazy.copy_(torch.maximum(hazy, hazy * (1 - level) + level * (0.5 + clouds)))
    for thin in (fat, fatter):
        thin.lerp_(_thicker(thin), strength)
    outline = (1.5 * (_thicker(hollow) - hollow)).clamp(0, 1)
    hollow.lerp_(outline, strength * rand(len(hollow), 1, 1, 1).sqrt())
    return canvases.clamp_(0, 1)
