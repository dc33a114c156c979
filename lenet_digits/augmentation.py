"""Batched distortions of canvases, on any device; knows nothing of labels, models or files.

Every random number comes from the generator given, so a resumed training run draws the same ones.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

ROTATION = 15.0  # degrees, at most, either way
SCALE = 0.15  # share of the size, at most, up or down, each axis for itself
SHEAR = 0.25  # horizontal pixels per vertical pixel, at most
SHIFT = 2.0  # pixels, at most, each axis
ELASTIC = 1.0  # pixels, standard deviation of the smooth random field
ELASTIC_CELLS = 5  # random displacements a side, upsampled to the whole canvas


def _uniform(shape: tuple[int, ...], limit: float, generator: Generator) -> Tensor:
    unit = torch.rand(shape, generator=generator, device=generator.device)
    return (2 * unit - 1) * limit


def warp(canvases: Tensor, *, generator: Generator, strength: float = 1.0) -> Tensor:
    """Rotate, scale, shear, shift and bend each canvas, in one bilinear resampling.

    Args:
        canvases: (N, 1, 28, 28) float32 in [0, 1], on the generator's device.
        generator: where the random numbers come from.
        strength: factor on every limit above; 0 returns the canvases as they are.

    Returns:
        (N, 1, 28, 28) float32 in [0, 1].

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
    across = torch.stack([cos, sin * 1.0 + cos * shear], dim=1) * stretch[:, :1]
    down = torch.stack([-sin, cos - sin * shear], dim=1) * stretch[:, 1:]
    matrix = torch.stack([across, down], dim=1)  # (N, 2, 2)
    theta = torch.cat([matrix, shift[:, :, None]], dim=2)  # (N, 2, 3)
    grid = F.affine_grid(theta, list(canvases.shape), align_corners=False)  # (N, 28, 28, 2)
    coarse = torch.randn(
        (count, 2, ELASTIC_CELLS, ELASTIC_CELLS), generator=generator, device=generator.device
    )
    bend = F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True)
    grid = grid + bend.permute(0, 2, 3, 1) * (ELASTIC * pixel * strength)
    return F.grid_sample(canvases, grid, mode="bilinear", align_corners=False)
