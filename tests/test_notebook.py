"""The notebook runs, and its stored outputs come from a full run of its code."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from conftest import others_litter
from notebook import MOST_BYTES, NOTEBOOK, code_of, problems, run, without_pictures

DATA = Path(__file__).parent / "data"
STORED = json.loads(NOTEBOOK.read_text("utf-8")) if NOTEBOOK.exists() else {}

pytestmark = pytest.mark.skipif(not STORED, reason="the notebook is only in a checkout")


def shown(cell: dict) -> list[str]:
    """What kinds of output a cell has."""
    return [min(output.get("data", {"text": ""})) for output in cell["outputs"]]


def test_the_stored_outputs_are_those_of_this_code_these_weights_and_all_digits():
    assert problems(STORED) == [], "run python -m tests.notebook"


def changed_code(notebook: dict) -> None:
    code_of(notebook)[-1]["source"] += "\nprint('something else')"


def other_weights(notebook: dict) -> None:
    notebook["metadata"]["lenet_digits"]["weights_sha256"] = "0" * 64


def small_sample(notebook: dict) -> None:
    for cell in code_of(notebook):
        for output in cell["outputs"]:
            if "60,000" in str(output.get("text")):
                output["text"] = "1,000 training digits, 500 test digits\n"


def cleared(notebook: dict) -> None:
    for cell in code_of(notebook):
        cell |= {"outputs": [], "execution_count": None}


def run_twice(notebook: dict) -> None:
    code_of(notebook)[0]["execution_count"] = 99


def failed(notebook: dict) -> None:
    error = {"output_type": "error", "ename": "ValueError", "evalue": "", "traceback": []}
    code_of(notebook)[2]["outputs"].append(error)


def warned(notebook: dict) -> None:
    text = {"output_type": "stream", "name": "stderr", "text": ["UserWarning: careful"]}
    code_of(notebook)[2]["outputs"].append(text)


def told_where(notebook: dict) -> None:
    text = {"output_type": "stream", "name": "stdout", "text": ["/home/ada/lenet-digits\n"]}
    code_of(notebook)[2]["outputs"].append(text)


def heavy(notebook: dict) -> None:
    notebook["metadata"]["weight"] = "x" * MOST_BYTES


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (changed_code, "not of this code"),
        (other_weights, "not of the shipped weights"),
        (small_sample, "not of a full run"),
        (cleared, "Outputs are missing"),
        (run_twice, "from top to bottom"),
        (failed, "A cell failed"),
        (warned, "A cell warned"),
        (told_where, "names a folder"),
        (heavy, "too large"),
    ],
)
def test_other_outputs_would_be_noticed(change, complaint):
    notebook = copy.deepcopy(STORED)
    change(notebook)
    assert complaint in " ".join(problems(notebook))


def test_it_runs_on_a_small_sample_and_shows_the_same_kinds_of_things():
    pytest.importorskip("nbclient", reason='needs pip install ".[test]"')
    with others_litter():
        fresh = run(STORED, data=DATA)
    assert "1,000 training digits, 500 test digits" in without_pictures(json.dumps(fresh))
    for cell, stored in zip(code_of(fresh), code_of(STORED), strict=True):
        assert shown(cell) == shown(stored), "".join(cell["source"])


def test_a_cell_that_fails_fails_the_run():
    errors = pytest.importorskip("nbclient.exceptions", reason='needs pip install ".[test]"')
    broken = copy.deepcopy(STORED)
    broken["cells"] = code_of(broken)[:1]
    broken["cells"][0]["source"] = "import lenet_digits\nlenet_digits.predict('nothing.png')"
    with others_litter(), pytest.raises(errors.CellExecutionError, match=r"nothing\.png"):
        run(broken)
