"""Finds the weights and example pictures inside this package, and checks the weights' SHA-256."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lenet_digits import __version__
from lenet_digits.storage.files import WeightsError, read_weights

WEIGHTS_FILE = "model.safetensors"
REPO = "lenet-digits/lenet-5"  # the repository on the Hub with the same weights
REVISION = f"v{__version__}"  # the tag in REPO of the weights that this version ships
# SHA-256 of the weights file that this version ships; REPO has the same file under REVISION.
SHIPPED_SHA256 = "890da01928f3cc40f59aa9faa1a4542fc8d377772117f2a1170f94c672643ce9"

PACKAGE = Path(__file__).parent.parent


def weights_directory() -> Path:
    """The folder of the shipped weights: inside an installed package, beside it in a checkout."""
    return _folder("weights")


def examples_directory() -> Path:
    """The folder of example pictures: inside an installed package, beside it in a checkout."""
    return _folder("examples")


def shipped_weights() -> bytes:
    """The bytes of the shipped weights file, checked against `SHIPPED_SHA256`.

    Raises:
        WeightsError: the file is not the one that this version shipped with.
        FileNotFoundError: the file is missing.
    """
    path = weights_directory() / WEIGHTS_FILE
    content = read_weights(path)
    if hashlib.sha256(content).hexdigest() != SHIPPED_SHA256:
        raise WeightsError(
            f"{path} is not the file this version of lenet-digits shipped with (its SHA-256 "
            "differs). Reinstall: pip install --force-reinstall --no-deps lenet-digits"
        )
    return content


def _folder(name: str) -> Path:
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name
