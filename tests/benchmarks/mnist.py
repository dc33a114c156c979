"""Measures what README says of MNIST beside the shipped weights' accuracy; trains nothing.

Calibration of the shipped weights on the test digits, and the last epoch's accuracy of runs that
``lenet-digits train --recipe original --seed N`` made. Writes ``results/rows.json``.

python -m tests.benchmarks.mnist DATA RUN [RUN ...]
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import torch

from lenet_digits.checkpoint import load_model
from lenet_digits.mnist import load_mnist
from lenet_digits.training import METRICS_FILE, RECIPES, as_canvases
from tests.benchmarks.realworld import calibration_error

RESULTS = Path(__file__).parent / "results" / "rows.json"


def original_runs(folders: list[Path]) -> dict[str, str]:
    """The row of the original recipe: mean, standard deviation and each run's accuracy."""
    runs = [json.loads((folder / METRICS_FILE).read_text(encoding="utf-8")) for folder in folders]
    for folder, run in zip(folders, runs, strict=True):
        if len(run["epochs"]) != RECIPES["original"].epochs or run["recipe"]["ema"]:
            raise SystemExit(f"{folder} is no finished run of the original recipe.")
    shares = [100 * run["accuracy"] for run in runs]
    each = ", ".join(f"{share:.2f}" for share in shares)
    return {
        "what": "The same, trained by the original recipe",
        "result": f"{statistics.mean(shares):.2f}% ± {statistics.stdev(shares):.2f} ({each}); "
        "its author reports 98.56%",
        "how": f"`--recipe original`, mean and standard deviation of {len(runs)} seeds, last epoch",
    }


def calibration(data: Path) -> dict[str, str]:
    """The row of the shipped weights' calibration."""
    _, digits = load_mnist(data, download=False)
    with torch.inference_mode():
        confidence, answers = load_model()(as_canvases(digits.images)).softmax(dim=1).max(dim=1)
    error = calibration_error(confidence.tolist(), (answers == digits.labels).tolist())
    return {
        "what": "Probabilities: expected calibration error, 15 bins",
        "result": f"{error:.4f}",
        "how": "the shipped weights on MNIST's test digits; no temperature was needed",
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of MNIST")
    parser.add_argument("runs", type=Path, nargs="+", help="directories of two runs or more")
    given = parser.parse_args()
    rows = [original_runs(given.runs), calibration(given.data)]
    RESULTS.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
