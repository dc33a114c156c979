"""Runs digitReader 0.1.0 (PyPI, with its own weights) as an adapter; measures nothing.

    python -m venv ENV && ENV/bin/pip install digitreader==0.1.0 pillow

It reads a file through its command line alone, whose function is called here, and wants what MNIST
is, light ink on dark; its weights are read once, not for every picture.
"""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

from digitReader import model, weightLoader
from digitReader.cli import readImage
from protocol import answer, light_on_dark


def read(path: str) -> int:
    """What it says of the picture, laid out as it wants it."""
    light_on_dark(path).save(copy)
    return model.predict(readImage(copy))


if __name__ == "__main__":
    weightLoader.loadWeights = lru_cache(weightLoader.loadWeights)
    with tempfile.TemporaryDirectory() as folder:
        copy = str(Path(folder, "picture.png"))
        answer(read)
