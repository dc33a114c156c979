"""Runs neural-network-digits 1.2.2 (PyPI) as an adapter; measures nothing.

    python -m venv ENV && ENV/bin/pip install neural-network-digits==1.2.2
    ENV/bin/neural-network-digits download --all
    ENV/bin/neural-network-digits train --no-plot

It ships no weights: those are its own training's, with its defaults, on the whole of MNIST, which
its README calls best. It reads its own drawing board alone, light strokes on pure black, so paper
is made black here: what differs from the border by less than half of what the most does. The rest
is its ``prepare_drawing`` and network.
"""

from __future__ import annotations

import numpy as np
from nn_digits.neural_net.data import normalize, prepare_drawing
from nn_digits.neural_net.network import NeuralNetwork
from PIL import Image
from protocol import answer, open_picture


def drawing(path: str) -> Image.Image:
    """The picture as on the drawing board."""
    grey = np.asarray(open_picture(path).convert("L"), float)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    ink = np.abs(grey - np.median(border))
    ink *= 255 / max(ink.max(), 1)
    return Image.fromarray(np.where(ink < 128, 0, ink).astype(np.uint8))


if __name__ == "__main__":
    network = NeuralNetwork.load()
    answer(lambda path: network.predict(normalize(prepare_drawing(drawing(path))[None])).argmax())
