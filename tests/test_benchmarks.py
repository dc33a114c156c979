"""The benchmarks: other systems are asked for every picture, and runs are told apart by recipe."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks import mnist, realworld
from PIL import Image

from lenet_digits.training.metrics import METRICS_FILE, Metrics
from lenet_digits.training.recipes import RECIPES

ADAPTERS = Path(__file__).parent / "benchmarks" / "adapters"
RESULTS = Path(__file__).parent / "benchmarks" / "results"
ROOT = Path(__file__).parent.parent


@pytest.fixture
def protocol():
    """The module that the adapters import; they run as scripts in their own environments."""
    spec = importlib.util.spec_from_file_location("protocol", ADAPTERS / "protocol.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pictures(tmp_path):
    """A folder with the manifests of two sets; the name of each picture ends in its label."""
    for name, labels in {"canvas": "123", "photos": "40"}.items():
        (tmp_path / name).mkdir()
        rows = [f"{n}-{label}.png,{label},\n" for n, label in enumerate(labels)]
        (tmp_path / name / "manifest.csv").write_text("file,label,notes\n" + "".join(rows))
    return tmp_path


def ask(folder, code):
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"
    options = argparse.Namespace(
        path=folder, sets=["canvas", "photos"], limit=None, adapter=[f"It={command}"]
    )
    return realworld.measure_systems(options)["It"]["sets"]


def test_another_system_is_asked_for_every_picture_and_counted_by_set(pictures):
    sets = ask(pictures, "import sys\nfor line in sys.stdin: print(line.strip()[-5])")
    assert {name: (s["right"], s["n"]) for name, s in sets.items()} == {
        "canvas": (3, 3),
        "photos": (2, 2),
    }
    sets = ask(pictures, "import sys\nfor line in sys.stdin: print('-')")  # it could not read them
    assert {name: s["right"] for name, s in sets.items()} == {"canvas": 0, "photos": 0}
    with pytest.raises(RuntimeError, match="answered 1 of 5 pictures"):
        ask(pictures, "print(1)")


def test_other_systems_get_ink_as_they_want_it(protocol, tmp_path):
    path = tmp_path / "page.png"
    for ink, paper in ((0, 255), (255, 0)):
        layer = np.zeros((20, 20, 4), np.uint8)
        layer[5:15, 9:12] = (ink, ink, ink, 255)
        Image.fromarray(layer).save(path)  # ink on a transparent layer
        shown = np.asarray(protocol.open_picture(str(path)))
        assert (shown[0, 0].tolist(), shown[10, 10].tolist()) == ([paper] * 3, [ink] * 3)
        Image.fromarray(shown).save(path)
        grey = np.asarray(protocol.light_on_dark(str(path)))
        assert grey[10, 10] > 200
        assert grey[0, 0] < 50


@pytest.mark.parametrize("path", sorted(ADAPTERS.glob("[!p_]*.py")), ids=lambda path: path.stem)
def test_every_adapter_says_what_it_runs_and_how_to_install_it(path):
    said = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    version = re.match(r"Runs (\S+ \d\S+) \(", said)
    assert version
    assert "python -m venv ENV && ENV/bin/pip install" in said
    if (RESULTS / "systems" / f"{path.stem}.json").exists():
        assert list(json.loads((RESULTS / "systems" / f"{path.stem}.json").read_text())) == [
            version[1]
        ]


def finished(**changes):
    """The metrics of the shipped weights, as if their run had another recipe."""
    recipe = replace(RECIPES["best"], **changes)
    metrics = Metrics.read(ROOT / "weights" / METRICS_FILE)
    return replace(metrics, recipe=recipe, epochs=metrics.epochs[:1] * recipe.epochs)


SHIPPED = finished()


def test_runs_are_told_apart_by_the_recipe_that_they_followed():
    original = asdict(RECIPES["original"])
    assert mnist.recipe_of(Path("run"), finished(evidence=3.0), SHIPPED) == "best"
    assert mnist.recipe_of(Path("run"), finished(**original), SHIPPED) == "original"


@pytest.mark.parametrize(
    ("run", "complaint"),
    [
        (finished(distortion=0.5), "in distortion it differs from that of the shipped"),
        (replace(SHIPPED, epochs=SHIPPED.epochs[:1]), "not a finished run"),
        (replace(SHIPPED, limit=1000), "not a finished run on all of MNIST"),
        (
            replace(SHIPPED, holdout=5000, evaluated_on="5,000 held-out training digits"),
            "not a finished run on all of MNIST",
        ),
    ],
)
def test_other_runs_are_refused(run, complaint):
    with pytest.raises(SystemExit, match=complaint):
        mnist.recipe_of(Path("run"), run, SHIPPED)


@pytest.mark.parametrize("path", sorted(RESULTS.parent.glob("*.py")), ids=lambda path: path.stem)
def test_each_benchmark_finds_what_it_imports(path):
    if path.stem in ("site", "pen"):
        pytest.importorskip("playwright", reason="playwright is not installed")
    command = [sys.executable, "-c", f"import tests.benchmarks.{path.stem}"]
    subprocess.run(command, cwd=ROOT, check=True)
