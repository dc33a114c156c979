"""The forward pass in NumPy gives the answers of the network in torch, which is the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lenet_digits import LeNet5, load_mnist, load_model, predict_many
from lenet_digits.reading import prediction
from lenet_digits.reading.network import Network

DATA = Path(__file__).parents[1] / "data"


def by_torch(model: LeNet5, canvases: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        logits: np.ndarray = model(torch.tensor(canvases)[:, None].float()).numpy()
    return logits


def by_numpy(model: LeNet5) -> Network:
    return Network({name: value.numpy() for name, value in model.state_dict().items()})


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 28, 28), np.float32)


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return load_mnist(DATA, download=False)[1].images[:300].numpy() / np.float32(255)


@pytest.mark.parametrize("count", [0, 1, 7, 64, 65, 300])
def test_the_shipped_network_reads_any_number_of_digits_alike(
    digits: np.ndarray, count: int
) -> None:
    logits = prediction.shipped_network().logits(digits[:count])
    assert logits.shape == (count, 10)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, by_torch(load_model(), digits[:count]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("threads", "count"), [(2, 0), (2, 300), (3, 96), (20, 5)])
def test_threads_share_the_work_and_change_nothing(
    digits: np.ndarray, count: int, threads: int
) -> None:
    network = prediction.shipped_network()
    logits = network.logits(digits[:count], threads=threads)
    assert np.array_equal(logits, network.logits(digits[:count]))


def test_its_predictions_are_alike(digits: np.ndarray) -> None:
    pages = list((digits[:50] * 255).astype(np.uint8))
    for one, other in zip(
        predict_many(pages), predict_many(pages, model=load_model()), strict=True
    ):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
        assert one.outlier_score == pytest.approx(other.outlier_score, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0, 3.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_any_weights_are_read_alike(scale: float, seed: int) -> None:
    torch.manual_seed(seed)
    model = LeNet5()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    expected = by_torch(model, noise(70, seed))
    logits = by_numpy(model).logits(noise(70, seed))
    np.testing.assert_allclose(logits, expected, atol=1e-5 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize(
    "canvases",
    [
        noise(9).transpose(0, 2, 1),
        noise(18)[::2],
        np.pad(noise(9), 3)[3:-3, 3:-3, 3:-3],
        np.flip(noise(9), axis=2),
        np.broadcast_to(noise(1), (9, 28, 28)),
        noise(9).astype(np.float64),
        noise(9) > 0.5,
    ],
    ids=["turned", "every other", "cut out", "mirrored", "one repeated", "float64", "bool"],
)
def test_canvases_may_lie_in_memory_as_they_like_and_stay_as_they_are(
    canvases: np.ndarray,
) -> None:
    before = canvases.copy()
    model = load_model()
    np.testing.assert_allclose(
        by_numpy(model).logits(canvases), by_torch(model, canvases.copy()), rtol=1e-5, atol=1e-5
    )
    assert np.array_equal(canvases, before)


def test_a_network_with_one_weight_changed_answers_otherwise() -> None:
    """A twin of the tests above: every tensor counts."""
    canvases = noise(3)
    model = load_model()
    expected = by_numpy(model).logits(canvases)
    for name in model.state_dict():
        changed = load_model()
        with torch.no_grad():
            changed.state_dict()[name].view(-1)[-1] += 1.0
        assert np.abs(by_numpy(changed).logits(canvases) - expected).max() > 1e-3, name
