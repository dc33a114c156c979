"""Stores what the shipped weights answer today: `python -m tests.golden` writes data/golden.npz.

There are canvases with their logits, compared tightly: if they differ, the network or its weights
have changed. And there are pictures with their canvases, compared loosely: if they differ, the
preprocessing or a library that it uses has changed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lenet_digits import load_mnist, load_model
from lenet_digits.reading.canvas import to_canvas

DATA = Path(__file__).parent / "data"
GOLDEN = DATA / "golden.npz"
COUNT = 20  # test digits


def as_photo(digit: np.ndarray) -> np.ndarray:
    """A (28, 28) uint8 digit as a (112, 140, 3) uint8 photo: blue ink, uneven light."""
    ink = np.zeros((112, 140))
    ink[10:94, 40:124] = np.kron(digit / 255, np.ones((3, 3)))
    light = np.linspace(0.75, 1, 140) * np.linspace(1, 0.9, 112)[:, None]
    paper = np.stack([235 - 195 * ink, 230 - 170 * ink, 220 - 100 * ink], axis=2)
    return np.rint(paper * light[:, :, None]).astype(np.uint8)


def write() -> None:
    _, test = load_mnist(DATA, download=False)
    digits = test.images[:COUNT].numpy()
    canvases = (digits / 255).astype(np.float32)[:, None]
    with torch.inference_mode():
        logits = load_model()(torch.from_numpy(canvases)).numpy()
    pictures = np.stack([as_photo(digit) for digit in digits[:5]])
    np.savez_compressed(
        GOLDEN,
        canvases=canvases,
        logits=logits,
        pictures=pictures,
        framed=np.stack([to_canvas(picture) for picture in pictures]),
    )


if __name__ == "__main__":
    write()
