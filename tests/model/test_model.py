"""LeNet-5 is the network of README's table: its layers, its parameters, its arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden import GOLDEN
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, nn
from torch.nn import functional

from lenet_digits import LeNet5, load_model
from lenet_digits.reading.canvas import to_canvas


@pytest.fixture
def model() -> LeNet5:
    torch.manual_seed(0)
    return LeNet5()


def canvases(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(seed))


def test_each_layer_has_the_papers_number_of_parameters(model):
    parameters = {
        "c1": 156,
        "s2": 0,
        "c3": 2_416,
        "s4": 0,
        "c5": 48_120,
        "f6": 10_164,
        "output": 850,
    }
    found = {n: sum(p.numel() for p in layer.parameters()) for n, layer in model.named_children()}
    assert list(found.items()) == list(parameters.items())
    assert sum(p.numel() for p in model.parameters()) == 61_706
    assert not list(model.buffers())


@pytest.mark.parametrize("count", [0, 1, 7])
def test_canvases_go_in_and_logits_come_out(model, count):
    logits = model(canvases(count))
    assert logits.shape == (count, 10)
    assert logits.dtype == torch.float32


def test_a_hook_on_each_layer_sees_what_the_paper_calls_by_its_name(model):
    seen: dict[str, Tensor] = {}
    for name, layer in model.named_children():
        layer.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
    logits = model(canvases(3))
    assert {name: tuple(out.shape[1:]) for name, out in seen.items()} == {
        "c1": (6, 28, 28),
        "s2": (6, 14, 14),
        "c3": (16, 10, 10),
        "s4": (16, 5, 5),
        "c5": (120,),
        "f6": (84,),
        "output": (10,),
    }
    assert list(seen) == ["c1", "s2", "c3", "s4", "c5", "f6", "output"]  # called in this order
    assert all(seen[name].abs().max() < 1 for name in ("c1", "c3", "c5", "f6"))  # tanh included
    weight, bias = model.c1.weight, model.c1.bias
    c1 = torch.tanh(functional.conv2d(canvases(3), weight, bias, padding=2))
    torch.testing.assert_close(seen["c1"], c1)
    torch.testing.assert_close(seen["s2"], functional.avg_pool2d(c1, 2))
    torch.testing.assert_close(
        seen["c5"],
        torch.tanh(functional.conv2d(seen["s4"], model.c5.weight, model.c5.bias)).flatten(1),
    )
    assert seen["output"] is logits


def test_logits_of_arrays_are_those_of_tensors(model):
    expected = model(canvases(3)).detach().numpy()
    assert np.array_equal(model.logits(canvases(3)[:, 0].numpy()), expected)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_the_network_can_be_compiled_by_torchscript(model):
    compiled = torch.jit.script(model)
    torch.testing.assert_close(compiled(canvases(3)), model(canvases(3)))


def test_a_canvas_gets_the_same_logits_alone_and_in_a_batch(model):
    batch = canvases(9)
    alone = torch.cat([model(canvas[None]) for canvas in batch])
    torch.testing.assert_close(model(batch), alone, rtol=1e-5, atol=1e-6)


def test_the_canvases_given_stay_as_they_are(model):
    given = canvases(2)
    model(given)
    assert torch.equal(given, canvases(2))


def numpy_forward(state: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """The table, layer by layer, in NumPy: (N, 1, 28, 28) to (N, 10), in float64."""

    def convolve(x: np.ndarray, layer: str) -> np.ndarray:
        windows = sliding_window_view(x, (5, 5), axis=(2, 3))  # (N, C, H, W, 5, 5)
        kernel, bias = state[f"{layer}.weight"], state[f"{layer}.bias"]
        return np.einsum("nchwij,ocij->nohw", windows, kernel) + bias[:, None, None]

    def pool(x: np.ndarray) -> np.ndarray:
        count, maps, height, width = x.shape
        return x.reshape(count, maps, height // 2, 2, width // 2, 2).mean(axis=(3, 5))

    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (2, 2), (2, 2)))
    x = pool(np.tanh(convolve(x, "c1")))
    assert x.shape[1:] == (6, 14, 14)
    x = pool(np.tanh(convolve(x, "c3")))
    assert x.shape[1:] == (16, 5, 5)
    x = np.tanh(convolve(x, "c5"))
    assert x.shape[1:] == (120, 1, 1)
    x = x.reshape(len(x), 120)
    x = np.tanh(x @ state["f6.weight"].T + state["f6.bias"])
    return np.asarray(x @ state["output.weight"].T + state["output.bias"])


def arrays(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.double().numpy() for name, value in model.state_dict().items()}


def test_the_forward_pass_is_the_tables_in_numpy(model):
    with torch.inference_mode():
        logits = model(canvases(5)).numpy()
    expected = numpy_forward(arrays(model), canvases(5).numpy())
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_the_comparison_with_numpy_notices_one_changed_weight(model):
    with torch.inference_mode():
        model.c3.weight[7, 2, 4, 1] += 0.1
        logits = model(canvases(5)).numpy()
        model.c3.weight[7, 2, 4, 1] -= 0.1
    expected = numpy_forward(arrays(model), canvases(5).numpy())
    assert np.abs(logits - expected).max() > 1e-4


# Golden tensors: to store them anew after new weights, run `python -m tests.golden`.


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as stored:
        return dict(stored)


def test_the_shipped_network_answers_as_it_did(golden):
    with torch.inference_mode():
        logits = load_model()(torch.from_numpy(golden["canvases"])).numpy()
    np.testing.assert_allclose(logits, golden["logits"], rtol=1e-4, atol=1e-4)


def test_numpy_agrees_on_the_shipped_network(golden):
    expected = numpy_forward(arrays(load_model()), golden["canvases"])
    np.testing.assert_allclose(golden["logits"], expected, rtol=1e-4, atol=1e-4)


def test_pictures_become_the_canvases_they_did(golden):
    for picture, framed in zip(golden["pictures"], golden["framed"], strict=True):
        difference = np.abs(to_canvas(picture) - framed)
        assert difference.mean() < 0.02
        assert difference.max() < 0.5
