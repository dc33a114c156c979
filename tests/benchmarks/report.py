"""Fills the figures of README and model card from files that commands wrote; measures nothing.

``weights/metrics.json`` is training's. In ``tests/benchmarks/results``, ``realworld.json`` and
``realworld-original.json`` are from ``tests.benchmarks.realworld``, with the shipped weights and
with those of the original recipe, ``app.json`` is from ``tests.benchmarks.load``, and ``rows.json``
from ``tests.benchmarks.mnist``; the last two hold objects with ``what``, ``result`` and ``how``.

python -m tests.benchmarks.report
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lenet_digits.publishing import prepare

ROOT = Path(__file__).parent.parent.parent
README, METRICS = ROOT / "README.md", ROOT / "weights/metrics.json"
RESULTS = Path(__file__).parent / "results"
BEGIN, END = "<!-- results -->", "<!-- /results -->"
HEADLINE = {
    "sketch": "sketchpad drawings of 200 writers, every pen, colour and place",
    "sketch2": "stylus drawings of 44 writers, European hands",
    "sketch3": "tablet drawings of 55 people",
    "canvas": "drawings people made to test their own recognisers",
    "tiny28": "painted by hand at 28×28",
    "scans": "pen on scanned forms, about 140 writers",
    "photos": "phone photos of pen, pencil and marker",
}
DIAGNOSTIC = {
    "photo_cells": "cells of hand-filled sudokus, phone photos",
    "synthetic_photos": "real strokes on synthetic paper: shadow, ruling, blur",
    "scans_small": "scans at 16×16 and 32×32",
    "usps": "USPS, 16×16",
    "optdigits": "UCI optdigits, 32×32 bitmaps",
    "semeion": "Semeion, 16×16, squeezed to a square",
    "printed": "printed digits, phone photos: not what it is for",
}


def read(name: str) -> Any:
    """A file of results."""
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _percent(share: float) -> str:
    return f"{share * 100:.1f}"


def real_input() -> list[str]:
    """The table of real input: a row a set, what it is, and how two systems read it."""
    ours, original = read("realworld.json"), read("realworld-original.json")
    lines = [
        _row("Set", "What it is", "Pictures", "Right, %", "95 % interval", "Original pipeline, %"),
        _row("---", "---", "--:", "--:", "--:", "--:"),
    ]
    for sets in (HEADLINE, DIAGNOSTIC):
        for name, what in sets.items():
            result, then = ours["sets"][name]["mnist"], original["sets"][name]["center-crop"]
            low, high = _percent(result["low"]), _percent(result["high"])
            right = f"**{_percent(result['share'])}**"
            lines.append(
                _row(name, what, result["n"], right, f"{low} to {high}", _percent(then["share"]))
            )
        if sets is HEADLINE:
            mean, then = ours["headline"]["mnist"], original["headline"]["center-crop"]
            what = "plain mean of the seven sets above"
            lines.append(
                _row("**mean**", what, "", f"**{_percent(mean)}**", "", f"**{_percent(then)}**")
            )
    return lines


def other_figures() -> list[str]:
    """The table of everything else."""
    metrics, ours = json.loads(METRICS.read_text(encoding="utf-8")), read("realworld.json")
    refusal = ours["refusal"]
    rows = [
        _row_of_metrics(metrics),
        *read("rows.json"),
        {
            "what": "Not a digit: letters, signs, scribbles, blanks, numbers, things",
            "result": f"{refusal['refused']['all']['share']:.1%} refused, AUROC "
            f"{refusal['auroc']:.4f}; of the digits in the first seven sets, "
            f"{refusal['digits_refused']['share']:.2%}",
            "how": f"{refusal['refused']['all']['n']} pictures; threshold chosen on them",
        },
        {
            "what": "Probabilities: expected calibration error, 15 bins",
            "result": f"{ours['ece']:.4f}",
            "how": "the first seven sets",
        },
        {
            "what": "MNIST-C, mean of fifteen corruptions",
            "result": f"bare network {ours['mnist_c_bare']:.1%}, through the pipeline "
            f"{ours['mnist_c_pipeline']:.1%}",
            "how": "first 1,000 test digits of each; training knows noise, lines, bands and haze",
        },
        {
            "what": "A 512×512 picture to its canvas",
            "result": f"{ours['milliseconds_512']:.1f} ms, median",
            "how": "one core of a shared cloud machine",
        },
        *read("app.json"),
    ]
    return [
        _row("Measured", "Result", "How"),
        _row("---", "---", "---"),
        *(_row(row["what"], row["result"], row["how"]) for row in rows),
    ]


def filled(readme: str) -> str:
    """The README with both tables between its two marks."""
    before, rest = readme.split(BEGIN)
    after = rest.split(END)[1]
    tables = "\n".join([*real_input(), "", *other_figures()])
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


def measured_metrics(metrics: dict[str, Any]) -> dict[str, Any]:
    """Training's metrics with the figures on real input that the model card shows."""
    ours = read("realworld.json")
    refusal = ours["refusal"]
    return metrics | {
        "real_input": {
            f"{name}: {what}": {
                "accuracy": ours["sets"][name]["mnist"]["share"],
                "count": ours["sets"][name]["mnist"]["n"],
            }
            for name, what in (HEADLINE | DIAGNOSTIC).items()
        },
        "calibration": {
            "expected calibration error, 15 bins, seven sets of real input": ours["ece"]
        },
        "refusal": {
            **{kind: result["share"] for kind, result in refusal["refused"].items()},
            "real digits, seven sets": refusal["digits_refused"]["share"],
            "AUROC": refusal["auroc"],
        },
    }


def _row_of_metrics(metrics: dict[str, Any]) -> dict[str, str]:
    count = sum(map(sum, metrics["confusion"]))
    wrong = count - sum(row[digit] for digit, row in enumerate(metrics["confusion"]))
    epochs, torch = len(metrics["epochs"]), metrics["versions"]["torch"]
    return {
        "what": "MNIST's test digits, as they are",
        "result": f"{1 - wrong / count:.2%} right ({wrong} of {count:,} wrong)",
        "how": f"shipped weights: `--recipe best`, {epochs} epochs, seed {metrics['seed']} "
        f"(one run, no choice among seeds), torch {torch}",
    }


if __name__ == "__main__":
    metrics = measured_metrics(json.loads(METRICS.read_text(encoding="utf-8")))
    METRICS.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    prepare(METRICS.parent)
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
