"""Batches of pictures become columns of answers, as engines for large data need them."""

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
NUMBERS = [ROOT / "examples" / "numbers" / name for name in ("page.png", "2024-drawn.png")]
KINDS = {  # NumPy's letters for the types of the columns that are added
    BatchPredictor: {
        "digit": "i", "confidence": "f", "is_digit": "i", "outlier_score": "f",
        "probabilities": "f", "error": "U",
    },
    BatchReader: {"text": "U", "confidence": "f", "lines": "i", "reading": "U", "error": "U"},
}  # fmt: skip


def column(values: list[Any]) -> np.ndarray:
    cells = np.empty(len(values), object)
    cells[:] = values
    return cells


def batch_of(files: list[Path]) -> dict[str, Any]:
    """Pictures, and after the first a file that is not a picture and a blank page."""
    contents = [file.read_bytes() for file in files]
    contents[1:1] = [b"not a picture", Image.new("RGB", (50, 50), "white")._repr_png_()]
    names = np.array([f"{n}.png" for n in range(len(contents))])
    return {"path": names, "bytes": column(contents)}


@pytest.fixture
def batch() -> dict[str, Any]:
    return batch_of(FILES)


@pytest.fixture
def numbers() -> dict[str, Any]:
    return batch_of(NUMBERS)


@pytest.mark.parametrize("answers", KINDS)
@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [1, 2], []])
def test_the_answers_take_the_place_of_the_pictures_and_have_their_types(
    batch: dict[str, Any], answers: type, rows: list[int]
) -> None:
    result = answers()({name: values[rows] for name, values in batch.items()})
    assert list(result) == ["path", *KINDS[answers]]
    assert result.pop("path").tolist() == batch["path"][rows].tolist()
    assert {name: values.dtype.kind for name, values in result.items()} == KINDS[answers]
    assert {len(values) for values in result.values()} == {len(rows)}
    if answers is BatchPredictor:
        assert result["probabilities"].shape == (len(rows), 10)


@pytest.mark.parametrize(
    ("answers", "name"), [(answers, name) for answers, names in KINDS.items() for name in names]
)
def test_other_columns_are_not_overwritten(batch: dict[str, Any], answers: type, name: str) -> None:
    with pytest.raises(ValueError, match=f"already has a column '{name}'"):
        answers()(batch | {name: np.arange(5)})


@pytest.mark.parametrize("answers", KINDS)
def test_a_batch_without_pictures_is_an_error_that_names_its_columns(answers: type) -> None:
    with pytest.raises(KeyError, match="no column 'bytes'; it has path, size"):
        answers()({"path": [], "size": []})


# BatchPredictor


def test_each_picture_gets_the_prediction_that_it_gets_alone(batch: dict[str, Any]) -> None:
    answers = BatchPredictor()(batch)
    for row, file in zip((0, 3, 4), FILES, strict=True):
        for name, value in predict(file).to_dict().items():
            value = int(value) if name == "is_digit" else value
            assert answers[name][row] == pytest.approx(value), name
        assert answers["error"][row] == ""


def test_a_picture_without_a_prediction_has_an_error_and_stops_nothing(
    batch: dict[str, Any],
) -> None:
    answers = BatchPredictor()(batch)
    assert "not a picture" in answers["error"][1]
    assert "no ink" in answers["error"][2]
    for row in (1, 2):
        assert (answers["digit"][row], answers["is_digit"][row]) == (-1, -1)
        for name in ("confidence", "outlier_score", "probabilities"):
            assert np.isnan(answers[name][row]).all()


def test_pictures_may_be_arrays_or_have_a_column_of_another_name(batch: dict[str, Any]) -> None:
    arrays = [np.asarray(Image.open(file).convert("RGB")) for file in FILES]
    expected = BatchPredictor()({"bytes": batch["bytes"][[0, 3, 4]]})["digit"].tolist()
    assert BatchPredictor()({"image": column(arrays)})["digit"].tolist() == expected
    assert BatchPredictor(column="scan")({"scan": arrays})["digit"].tolist() == expected
    same = np.stack([arrays[1]] * 2)
    assert BatchPredictor()({"image": same})["digit"].tolist() == [expected[1]] * 2


def test_weights_and_method_are_passed_on(batch: dict[str, Any], tmp_path: Path) -> None:
    model = load_model()
    with torch.no_grad():
        model.output.weight.zero_()
        model.output.bias.copy_(torch.eye(10)[3] * 4)
    save_weights(model, tmp_path / "three.pth")  # .pth: it cannot tell whether it is a digit
    answers = BatchPredictor(weights=str(tmp_path / "three.pth"))(batch)
    assert answers["digit"].tolist() == [3, -1, -1, 3, 3]
    assert answers["is_digit"].tolist() == [-1] * 5
    assert np.isnan(answers["outlier_score"]).all()
    cropped = BatchPredictor(method="center-crop")(batch)["confidence"]
    assert cropped[0] == pytest.approx(predict(FILES[0], method="center-crop").confidence)


# BatchReader


def test_each_picture_gets_the_reading_that_it_gets_alone(numbers: dict[str, Any]) -> None:
    answers = BatchReader()(numbers)
    for row, file in zip((0, 3), NUMBERS, strict=True):
        expected = read(file)
        assert answers["text"][row] == expected.text
        assert answers["confidence"][row] == min(line.confidence for line in expected.lines)
        assert answers["lines"][row] == len(expected.lines)
        assert json.loads(answers["reading"][row]) == expected.to_dict()
        assert answers["error"][row] == ""


def test_a_blank_page_has_no_lines_and_what_is_not_a_picture_has_an_error(
    numbers: dict[str, Any],
) -> None:
    answers = BatchReader()(numbers)
    assert answers["text"].tolist()[1:3] == ["", ""]
    assert answers["lines"].tolist()[1:3] == [0, 0]
    assert np.isnan(answers["confidence"][1:3]).all()
    assert "not a picture" in answers["error"][1]
    assert answers["error"][2] == ""
    assert json.loads(answers["reading"][2])["lines"] == []


def test_a_reader_takes_another_column_the_length_and_weights(
    numbers: dict[str, Any], tmp_path: Path
) -> None:
    assert BatchReader(column="scan", digits=4)({"scan": numbers["bytes"]})["text"][3] == "2024"
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
