"""Loads MNIST as uint8 tensors, through torchvision."""

from __future__ import annotations

import os
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import platformdirs
import torch
from torch import Tensor


class DatasetNotFoundError(FileNotFoundError):
    """MNIST is not complete on this disk and could not be downloaded."""


@dataclass(frozen=True, eq=False)
class Digits:
    """Labelled digits: images (N, 28, 28) uint8, ink 255 on 0; labels (N,) int64 in 0..9."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: slice | Tensor) -> Digits:
        return Digits(self.images[index], self.labels[index])

    def checked(self) -> Digits:
        """The same digits with int64 labels. Raises ValueError if they are not as described."""
        images, labels = self.images, self.labels
        if images.dtype != torch.uint8 or images.shape[1:] != (28, 28):
            raise ValueError(
                f"images have the shape {tuple(images.shape)} and the type {images.dtype}; they "
                "must be (N, 28, 28) and torch.uint8."
            )
        if labels.shape != images.shape[:1] or (len(labels) and labels.is_floating_point()):
            raise ValueError(
                f"labels have the shape {tuple(labels.shape)} and the type {labels.dtype}; they "
                f"must be ({len(images)},) whole numbers, one for each image."
            )
        if len(labels) and (int(labels.min()) < 0 or int(labels.max()) > 9):
            raise ValueError(
                f"labels are from {int(labels.min())} to {int(labels.max())}; they must be from 0 "
                "to 9."
            )
        return Digits(images, labels.long())


def default_root() -> Path:
    """Where MNIST is kept: ``LENET_DIGITS_DATA`` if set, else the user's cache directory."""
    if configured := os.environ.get("LENET_DIGITS_DATA"):
        return Path(configured).expanduser()
    return platformdirs.user_cache_path("lenet-digits")


def load_mnist(
    root: str | PathLike[str] | None = None, *, download: bool = True
) -> tuple[Digits, Digits]:
    """The 60,000 training and 10,000 test digits of MNIST (LeCun, Cortes and Burges, 1998).

    ``root`` is the folder that holds torchvision's ``MNIST/raw/``; by default see `default_root`.
    Missing files are downloaded there, with a progress bar, unless ``download`` is False.

    Raises:
        DatasetNotFoundError: the files are not there and could not be downloaded, or are damaged.
        ImportError: torchvision does not work with the torch that is installed.
    """
    folder = Path(root) if root is not None else default_root()
    raw = folder / "MNIST" / "raw"
    try:
        from torchvision.datasets import MNIST
    except (ImportError, RuntimeError) as error:  # RuntimeError: mismatched binary operators
        raise ImportError(
            f"torchvision does not work with the torch {torch.__version__} installed here "
            f"({error}). Reinstall both together: pip install --force-reinstall torch torchvision"
        ) from error
    try:
        return _split(MNIST, folder, True, download), _split(MNIST, folder, False, download)
    # torchvision raises RuntimeError for "not found", and any of these on a damaged file.
    except (RuntimeError, OSError, ValueError, TypeError, KeyError, AssertionError) as error:
        names = [name.removesuffix(".gz") for name, _ in MNIST.resources]
        if all((raw / name).is_file() for name in names):
            raise DatasetNotFoundError(
                f"MNIST in {raw} is damaged ({error!r}). Delete that folder and run again, online."
            ) from error
        reason = " ".join(str(error).split())
        raise DatasetNotFoundError(
            f"MNIST is not in {raw} and was not downloaded ({reason}). "
            "Three ways out: connect to the internet and run again; copy the four MNIST files "
            "there; or name a folder that has them, with the data argument (--data) or the "
            "environment variable LENET_DIGITS_DATA."
        ) from error


def _split(dataset: Any, folder: Path, train: bool, download: bool) -> Digits:
    split = dataset(str(folder), train=train, download=download)
    images, labels = split.data, split.targets
    if images.shape != (len(labels), 28, 28) or not len(labels) or int(labels.max()) > 9:
        raise ValueError(f"images {tuple(images.shape)} and labels {tuple(labels.shape)}")
    return Digits(images, labels)
