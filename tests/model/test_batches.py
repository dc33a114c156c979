"""A batch of pictures in, columns of predictions out, as engines for large data want them."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lenet_digits import BatchPredictor, BatchReader, load_model, predict, read, save_weights

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "examples" / name for name in ("7-photo.jpg", "0-marker.png", "9-tiny.png")]


def column(values: list[Any]) -> np.ndarray:
    cells = np.empty(len(values), object)
    cells[:] = values
    return cells


@pytest.fixture
def batch() -> dict[str, Any]:
    """Three pictures, and between them a file that is none, and a blank page."""
    blank = Image.new("RGB", (50, 50), "white")._repr_png_()
    contents = [file.read_bytes() for file in FILES]
    contents[1:1] = [b"no picture", blank]
    return {"path": np.array([f"{n}.png" for n in range(5)]), "bytes": column(contents)}


@pytest.mark.parametrize("name", ["BatchPredictor", "BatchReader"])
def test_without_torch_weights_say_what_to_install(name: str) -> None:
    code = (
        "import sys\nsys.modules['torch'] = None  # as in the light installation\n"
        f"from lenet_digits import {name}\n{name}(weights='x')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.stderr.endswith("Install everything: pip install lenet-digits\n")


def test_each_picture_gets_the_prediction_that_it_gets_alone(batch: dict[str, Any]) -> None:
    answers = BatchPredictor()(batch)
    assert list(answers) == [
        "path", "digit", "confidence", "is_digit", "outlier_score", "probabilities", "error",
    ]  # fmt: skip
    assert answers["path"].tolist() == batch["path"].tolist()
    for row, file in zip((0, 3, 4), FILES, strict=True):
        expected = predict(file).to_dict()
        for name, value in expected.items():
            value = int(value) if name == "is_digit" else value
            assert answers[name][row] == pytest.approx(value), name
        assert answers["error"][row] == ""


def test_what_cannot_be_read_says_why_and_stops_nothing(batch: dict[str, Any]) -> None:
    answers = BatchPredictor()(batch)
    assert "not a picture" in answers["error"][1]
    assert "no ink" in answers["error"][2]
    for row in (1, 2):
        assert (answers["digit"][row], answers["is_digit"][row]) == (-1, -1)
        assert np.isnan(answers["confidence"][row])
        assert np.isnan(answers["outlier_score"][row])
        assert np.isnan(answers["probabilities"][row]).all()


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4], [0], [1, 2], []])
def test_columns_have_their_types_whatever_the_batch(
    batch: dict[str, Any], rows: list[int]
) -> None:
    answers = BatchPredictor()({name: values[rows] for name, values in batch.items()})
    assert {name: answers[name].dtype.kind for name in answers if name != "path"} == {
        "digit": "i", "confidence": "f", "is_digit": "i", "outlier_score": "f",
        "probabilities": "f", "error": "U",
    }  # fmt: skip
    assert answers["probabilities"].shape == (len(rows), 10)


def test_pictures_may_be_arrays_or_have_a_column_of_another_name(batch: dict[str, Any]) -> None:
    arrays = [np.asarray(Image.open(file).convert("RGB")) for file in FILES]
    expected = BatchPredictor()({"bytes": batch["bytes"][[0, 3, 4]]})["digit"].tolist()
    assert BatchPredictor()({"image": column(arrays)})["digit"].tolist() == expected
    assert BatchPredictor(column="scan")({"scan": arrays})["digit"].tolist() == expected
    same = np.stack([arrays[1]] * 2)
    assert BatchPredictor()({"image": same})["digit"].tolist() == [expected[1]] * 2


def test_a_batch_without_pictures_is_an_error_that_names_its_columns() -> None:
    with pytest.raises(KeyError, match="no column 'bytes'; it has path, size"):
        BatchPredictor()({"path": [], "size": []})


@pytest.mark.parametrize("name", ["digit", "confidence", "is_digit", "outlier_score", "error"])
def test_a_column_of_the_callers_is_not_overwritten(batch: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=f"has a column '{name}' already"):
        BatchPredictor()(batch | {name: np.arange(5)})


def test_where_nobody_knows_the_column_says_so(batch: dict[str, Any], tmp_path: Path) -> None:
    save_weights(load_model(), tmp_path / "m.pth")
    answers = BatchPredictor(weights=str(tmp_path / "m.pth"))(batch)
    assert answers["is_digit"].tolist() == [-1] * 5
    assert answers["is_digit"].dtype == np.int8
    assert np.isnan(answers["outlier_score"]).all()
    assert answers["digit"].tolist() == BatchPredictor()(batch)["digit"].tolist()


def test_weights_and_method_are_passed_on(batch: dict[str, Any], tmp_path: Path) -> None:
    model = load_model()
    with torch.no_grad():
        model.output.weight.zero_()
        model.output.bias.copy_(torch.eye(10)[3] * 4)
    save_weights(model, tmp_path / "three.safetensors")
    three = BatchPredictor(weights=str(tmp_path / "three.safetensors"))
    assert three(batch)["digit"].tolist() == [3, -1, -1, 3, 3]
    cropped = BatchPredictor(method="center-crop")(batch)["confidence"]
    assert cropped[0] == pytest.approx(predict(FILES[0], method="center-crop").confidence)


# BatchReader


NUMBERS = [ROOT / "examples" / "numbers" / name for name in ("page.png", "2024-drawn.png")]


@pytest.fixture
def numbers() -> dict[str, Any]:
    """Two pictures of numbers, and between them a file that is none, and a blank page."""
    blank = Image.new("RGB", (50, 50), "white")._repr_png_()
    contents = [file.read_bytes() for file in NUMBERS]
    contents[1:1] = [b"no picture", blank]
    return {"path": np.array([f"{n}.png" for n in range(4)]), "bytes": column(contents)}


def test_each_picture_gets_the_reading_that_it_gets_alone(numbers: dict[str, Any]) -> None:
    answers = BatchReader()(numbers)
    assert list(answers) == ["path", "text", "confidence", "lines", "reading", "error"]
    assert answers["path"].tolist() == numbers["path"].tolist()
    for row, file in zip((0, 3), NUMBERS, strict=True):
        expected = read(file)
        assert answers["text"][row] == expected.text
        assert answers["confidence"][row] == min(line.confidence for line in expected.lines)
        assert answers["lines"][row] == len(expected.lines)
        assert json.loads(answers["reading"][row]) == expected.to_dict()
        assert answers["error"][row] == ""


def test_a_blank_page_has_no_lines_and_a_file_that_is_no_picture_says_so(
    numbers: dict[str, Any],
) -> None:
    answers = BatchReader()(numbers)
    assert answers["text"].tolist()[1:3] == ["", ""]
    assert answers["lines"].tolist()[1:3] == [0, 0]
    assert np.isnan(answers["confidence"][1:3]).all()
    assert "not a picture" in answers["error"][1]
    assert answers["error"][2] == ""
    assert json.loads(answers["reading"][2])["lines"] == []


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [1, 2], []])
def test_columns_of_readings_have_their_types_whatever_the_batch(
    numbers: dict[str, Any], rows: list[int]
) -> None:
    answers = BatchReader()({name: values[rows] for name, values in numbers.items()})
    assert {name: answers[name].dtype.kind for name in answers if name != "path"} == {
        "text": "U", "confidence": "f", "lines": "i", "reading": "U", "error": "U",
    }  # fmt: skip
    assert all(len(values) == len(rows) for values in answers.values())


@pytest.mark.parametrize("name", ["text", "confidence", "lines", "reading", "error"])
def test_a_reader_does_not_overwrite_a_column_of_the_callers(
    numbers: dict[str, Any], name: str
) -> None:
    with pytest.raises(ValueError, match=f"has a column '{name}' already"):
        BatchReader()(numbers | {name: np.arange(4)})


def test_a_reader_takes_another_column_the_length_and_weights(
    numbers: dict[str, Any], tmp_path: Path
) -> None:
    scans = {"scan": numbers["bytes"]}
    with pytest.raises(KeyError, match="no column 'bytes'; it has scan"):
        BatchReader()(scans)
    assert BatchReader(column="scan")(scans)["text"][3] == "2024"
    assert BatchReader(column="scan", digits=4)(scans)["text"][3] == "2024"
    with pytest.raises(ValueError, match="digits is 0"):
        BatchReader(digits=0)
    save_weights(load_model(), tmp_path / "same.safetensors")
    same = BatchReader(weights=str(tmp_path / "same.safetensors"))(numbers)
    assert same["text"].tolist() == BatchReader()(numbers)["text"].tolist()


@pytest.mark.skipif(find_spec("ray") is None, reason='needs Ray: pip install ".[ray]"')
def test_a_reader_reads_a_directory_in_ray() -> None:
    code = """if True:
        import json, ray, lenet_digits
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
        pictures = ray.data.read_binary_files("examples/numbers", include_paths=True)
        answers = pictures.map_batches(
            lenet_digits.BatchReader, batch_size=2, compute=ray.data.ActorPoolStrategy(size=1)
        )
        print(json.dumps({row["path"]: row["text"] for row in answers.take_all()}))
    """
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    expected = {file.name: read(file).text for file in (ROOT / "examples/numbers").iterdir()}
    assert {Path(path).name: text for path, text in found.items()} == expected
