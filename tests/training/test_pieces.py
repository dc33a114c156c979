"""Pieces of numbers: not one digit each, framed as pictures are, made from the digits given."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lenet_digits import load_mnist, load_model
from lenet_digits.training.pieces import add_slivers, cut_pieces

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    train, _ = load_mnist(DATA, download=False)
    return train.images.numpy(), train.labels.numpy()


@pytest.fixture(scope="module")
def pieces(digits) -> np.ndarray:
    return cut_pieces(*digits, 400, rng=np.random.default_rng(1))


@pytest.fixture(scope="module")
def crowded(digits) -> np.ndarray:
    return add_slivers(digits[0][:400], rng=np.random.default_rng(1))


def right(canvases: np.ndarray, labels: np.ndarray) -> float:
    with torch.inference_mode():
        logits = load_model()(torch.from_numpy(canvases[:, None] / np.float32(255)))
    return float((logits.argmax(dim=1).numpy() == labels).mean())


def test_pieces_are_framed_as_pictures_are(pieces, crowded):
    for canvases in (pieces, crowded):
        assert canvases.dtype == np.uint8
        assert canvases.shape == (400, 28, 28)
        assert canvases.max(axis=(1, 2)).min() >= 254
        tall = (canvases > 0).any(axis=2).sum(axis=1)
        wide = (canvases > 0).any(axis=1).sum(axis=1)
        longest = np.maximum(tall, wide)
        assert longest.max() == 20
        assert np.median(longest) == 20


def test_pieces_are_wider_or_higher_made_of_more_parts_than_digits(digits, pieces):
    def parts(canvases: np.ndarray) -> float:
        return float(
            np.mean([cv2.connectedComponents((c > 100).astype(np.uint8))[0] - 1 for c in canvases])
        )

    assert parts(digits[0]) < 1.2
    assert parts(pieces) > 1.6


def test_the_same_generator_state_makes_the_same(digits, pieces, crowded):
    assert (cut_pieces(*digits, 400, rng=np.random.default_rng(1)) == pieces).all()
    assert (add_slivers(digits[0][:400], rng=np.random.default_rng(1)) == crowded).all()
    assert (cut_pieces(*digits, 400, rng=np.random.default_rng(2)) != pieces).any()


def test_the_digits_given_stay_as_they_are(digits):
    images = digits[0].copy()
    cut_pieces(images, digits[1], 50, rng=np.random.default_rng(0))
    add_slivers(images[:50], rng=np.random.default_rng(0))
    assert (images == digits[0]).all()


def test_a_digit_with_slivers_is_changed_but_mostly_still_read(digits, crowded):
    labels = digits[1][:400]
    assert (crowded != digits[0][:400]).any(axis=(1, 2)).mean() > 0.95
    assert right(crowded, labels) > 0.75


def test_that_measure_notices_digits_that_are_no_longer_themselves(digits, crowded):
    assert right(crowded[::-1], digits[1][:400]) < 0.3


def test_any_count_can_be_cut(digits):
    for count in (0, 1, 7):
        made = cut_pieces(*digits, count, rng=np.random.default_rng(0))
        assert made.shape == (count, 28, 28)
