"""Measures the shipped weights and finished training runs on MNIST's test digits.

A run is a directory that ``lenet-digits train --output RUN`` made, with the original recipe or that
of the shipped weights. Its accuracy is that of its last epoch. Writes ``results/mnist.json``, and
``mistakes.png`` beside the shipped weights: the digits that they read wrong.

python -m tests.benchmarks.mnist DATA RUN [RUN ...]
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lenet_digits.figures import plot_mistakes, save_figure
from lenet_digits.model import load_model
from lenet_digits.storage.shipped import WEIGHTS_FILE
from lenet_digits.training.evaluation import Reliability, as_canvases
from lenet_digits.training.metrics import METRICS_FILE, Metrics
from lenet_digits.training.mnist import Digits, load_mnist
from lenet_digits.training.recipes import RECIPES

RESULTS = Path(__file__).parent / "results" / "mnist.json"
WEIGHTS = Path(__file__).parent.parent.parent / "weights"
# Fitted on held-out digits after a run, so that runs of one recipe may differ in them.
FITTED = ("temperature", "evidence")


def recipe_of(folder: Path, metrics: Metrics, shipped: Metrics) -> str:
    """Which recipe a finished run on all of MNIST followed, "original" or "best"."""
    if metrics.limit or metrics.holdout or len(metrics.epochs) < metrics.recipe.epochs:
        raise SystemExit(f"{folder} is not a finished run on all of MNIST.")
    recipe = asdict(metrics.recipe)
    differing = []
    for name, other in (
        ("original", asdict(RECIPES["original"])),
        ("best", asdict(shipped.recipe)),
    ):
        differing = [key for key in other if key not in FITTED and recipe[key] != other[key]]
        if not differing:
            return name
    raise SystemExit(
        f"{folder} follows neither recipe: in {', '.join(differing)} it differs from that of the "
        "shipped weights."
    )


def read_digits(source: Path, digits: Digits) -> tuple[Reliability, Tensor]:
    """Read the digits with a file of weights: its reliability, and its answers, (N,) int64."""
    with torch.inference_mode():
        model = load_model(source)
        parts = [model(as_canvases(part)).softmax(dim=1) for part in digits.images.split(1000)]
    confidence, answers = torch.cat(parts).max(dim=1)
    right = (answers == digits.labels).tolist()
    return Reliability.measure(confidence.tolist(), right), answers


def measure(folders: list[Path], digits: Digits) -> tuple[dict[str, Any], Tensor]:
    """All figures, and the answers of the shipped weights."""
    shipped = Metrics.read(WEIGHTS / METRICS_FILE)
    reliability, answers = read_digits(WEIGHTS / WEIGHTS_FILE, digits)
    results: dict[str, Any] = {
        "weights": hashlib.sha256((WEIGHTS / WEIGHTS_FILE).read_bytes()).hexdigest(),
        "reliability": asdict(reliability),
        "runs": {"best": [], "original": []},
    }
    for folder in folders:
        metrics = Metrics.read(folder / METRICS_FILE)
        run = {
            "seed": metrics.seed,
            "accuracy": metrics.accuracy,
            "calibration_error": read_digits(folder / WEIGHTS_FILE, digits)[0].error,
        }
        runs = results["runs"][recipe_of(folder, metrics, shipped)]
        if run["seed"] in [other["seed"] for other in runs]:
            raise SystemExit(f"{folder} has the seed of another run of its recipe.")
        runs.append(run)
    return results, answers


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of MNIST")
    parser.add_argument("runs", type=Path, nargs="*", help="directories of finished runs")
    given = parser.parse_args()
    test_digits = load_mnist(given.data, download=False)[1]
    figures, read_as = measure(given.runs, test_digits)
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    save_figure(plot_mistakes(test_digits, read_as), WEIGHTS / "mistakes.png")
