"""The ONNX file: ONNX Runtime answers with it as the network in NumPy does."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from safetensors.numpy import load as load_safetensors

from lenet_digits import canvas_steps, predict_steps
from lenet_digits.onnx_file import ONNX_FILE, onnx_of
from lenet_digits.reading.network import Floats, Network
from lenet_digits.reading.prediction import likeliest, shipped_network
from lenet_digits.storage.shipped import shipped_weights

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "weights" / ONNX_FILE
EXAMPLES = sorted(path for path in (ROOT / "examples").iterdir() if path.suffix in (".png", ".jpg"))


def run(content: bytes, canvases: Floats) -> dict[str, Any]:
    """The outputs by name for canvases (N, 28, 28)."""
    session = onnxruntime.InferenceSession(content)
    names = [output.name for output in session.get_outputs()]
    values = session.run(None, {"pixel_values": canvases[:, None]})
    return dict(zip(names, values, strict=True))


def noise(count: int) -> Floats:
    return np.random.default_rng(0).random((count, 28, 28), np.float32)


@pytest.fixture
def weights() -> dict[str, Floats]:
    return load_safetensors(shipped_weights())


def test_it_answers_the_examples_as_predict_does() -> None:
    assert len(EXAMPLES) >= 12
    steps = [likeliest(canvas_steps(path)) for path in EXAMPLES]
    outputs = run(SHIPPED.read_bytes(), np.stack([each.canvas for each in steps]))
    predictions = [predict_steps(each) for each in steps]
    assert outputs["probabilities"].argmax(axis=1).tolist() == [int(p.name[0]) for p in EXAMPLES]
    for row, score, prediction in zip(
        outputs["probabilities"], outputs["outlier_score"], predictions, strict=True
    ):
        np.testing.assert_allclose(row, prediction.probabilities, atol=1e-5)
        assert prediction.is_digit
        assert score == pytest.approx(prediction.outlier_score, rel=1e-4)


@pytest.mark.parametrize("count", [0, 1, 7, 200])
def test_it_answers_any_number_of_any_canvases_as_the_network_in_numpy_does(count: int) -> None:
    canvases = noise(count) * np.random.default_rng(1).random((count, 1, 1), np.float32)
    outputs = run(SHIPPED.read_bytes(), canvases)
    logits = shipped_network().logits(canvases).astype(np.float64)
    sums = np.exp(logits).sum(axis=1)
    assert [values.dtype for values in outputs.values()] == [np.float32] * 3
    np.testing.assert_allclose(outputs["logits"], logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        outputs["probabilities"], np.exp(logits) / sums.reshape(-1, 1), atol=1e-5
    )
    np.testing.assert_allclose(outputs["outlier_score"], 1 / sums, rtol=1e-4)


def test_the_shipped_file_has_the_shipped_weights(weights: dict[str, Floats]) -> None:
    made = onnx_of(weights, sees_nondigits=shipped_network().sees_nondigits)
    assert made == SHIPPED.read_bytes(), "make it again: python -m tests.benchmarks.report"


def test_other_weights_would_be_noticed(weights: dict[str, Floats]) -> None:
    canvases = noise(3)
    expected = run(SHIPPED.read_bytes(), canvases)["logits"]
    for name, tensor in weights.items():
        changed = tensor.copy()
        changed.flat[-1] += 1
        content = onnx_of(weights | {name: changed}, sees_nondigits=True)
        assert content != SHIPPED.read_bytes()
        logits = run(content, canvases)["logits"]
        assert np.abs(logits - expected).max() > 1e-3, name
        by_numpy = Network(weights | {name: changed}).logits(canvases)
        np.testing.assert_allclose(logits, by_numpy, rtol=1e-5, atol=1e-5)


def test_it_is_a_file_that_old_readers_take_with_the_names_of_the_hub() -> None:
    model = onnx.load(SHIPPED)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version <= 8
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 13)]
    session = onnxruntime.InferenceSession(SHIPPED)
    (canvases,) = session.get_inputs()
    assert (canvases.name, canvases.type) == ("pixel_values", "tensor(float)")
    assert canvases.shape == ["batch_size", 1, 28, 28]
    assert {output.name: output.shape for output in session.get_outputs()} == {
        "logits": ["batch_size", 10],
        "probabilities": ["batch_size", 10],
        "outlier_score": ["batch_size"],
    }


def test_weights_that_never_saw_a_nondigit_have_no_outlier_score(
    weights: dict[str, Floats],
) -> None:
    assert list(run(onnx_of(weights), noise(2))) == ["logits", "probabilities"]


def test_the_code_in_the_model_card_reads_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = (ROOT / "weights" / "README.md").read_text("utf-8")
    (code,) = (c for c in re.findall(r"```python\n(.*?)```", card, re.DOTALL) if "onnx" in c)
    shutil.copytree(SHIPPED.parent, tmp_path / "onnx")
    shutil.copy(ROOT / "examples" / "9-felt-pen.png", tmp_path / "digit.png")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == "9\n"
