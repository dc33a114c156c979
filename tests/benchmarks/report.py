"""Writes the figures into README, RESULTS.md and the model card. It measures nothing.

Training wrote ``weights/metrics.json``. Benchmarks wrote the files in ``tests/benchmarks/results``:

- ``mnist.json``: ``tests.benchmarks.mnist``
- ``numbers.json``: ``tests.benchmarks.numbers``
- ``realworld.json``: ``tests.benchmarks.realworld`` with the shipped weights
- ``realworld-original.json``: the same with weights of the original recipe
- ``systems/*.json``: the same with the adapters of other systems
- ``app.json``: ``tests.benchmarks.load``; a list of objects with ``what``, ``result`` and ``how``

Usage: python -m tests.benchmarks.report
"""

from __future__ import annotations

import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from lenet_digits.figures import plot_reliability, save_figure
from lenet_digits.publishing import RELIABILITY_FILE, prepare, weaknesses
from lenet_digits.training.evaluation import Reliability, wilson
from lenet_digits.training.metrics import CorruptedShare, Metrics, Miss, Seeds, Share

ROOT = Path(__file__).parent.parent.parent
METRICS = ROOT / "weights/metrics.json"
PAGES = (
    ROOT / "README.md",
    Path(__file__).parent / "RESULTS.md",
    Path(__file__).parent / "NUMBERS.md",
)
RESULTS = Path(__file__).parent / "results"
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
NUMBERS = {
    "pen_rows": "one line of 2 to 12 digits, pen strokes",
    "pen_pages": "two to five such lines",
    "pen_numbers": "numbers with hyphens, slashes, colons, points",
    "composed": "digits of one writer set side by side, touching in part",
    "tiny_pairs": "two digits drawn in 28×28 pixels",
    "photos": "photos of people's own handwriting",
    "forms": "fields of forms, one digit in a printed box",
    "logbook": "cells of a clinic's logbook, digits 10 to 15 pixels high",
    "cheques": "amounts on bank cheques",
    "sudoku_pencil": "photos of whole sudoku grids, in part printed",
    "sudoku_news": "the same, in a newspaper",
}
SETS = {name: f"{name}: {what}" for name, what in (HEADLINE | DIAGNOSTIC).items()}
ORIGINAL, CROPPED = "original pipeline", "our weights, centre-crop"
MISSES_SHOWN = 8


def read(name: str) -> Any:
    """A file of results."""
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def read_systems() -> dict[str, dict[str, Any]]:
    """The results of other systems, best first, then those of two simpler pipelines."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((RESULTS / "systems").glob("*.json")):
        found |= read(f"systems/{path.name}")
    systems = dict(sorted(found.items(), key=lambda item: -item[1]["headline"]))
    for title, file in ((CROPPED, "realworld.json"), (ORIGINAL, "realworld-original.json")):
        results = read(file)
        systems[title] = {
            "limit": None,
            "headline": results["headline"]["center-crop"],
            "sets": {name: figures["center-crop"] for name, figures in results["sets"].items()},
        }
    return systems


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _percent(share: float) -> str:
    return f"{share * 100:.1f}"


def real_input() -> list[str]:
    """The table of real input: a row for each headline set, a column for each system."""
    ours, systems = read("realworld.json"), read_systems()
    titles = [f"{name}\\*" if result["limit"] else name for name, result in systems.items()]
    lines = [
        _row("Digits by real people", "Pictures", "Right, %", "95 % interval", *titles),
        _row("---", *["--:"] * (3 + len(systems))),
    ]
    for name, what in HEADLINE.items():
        result = ours["sets"][name]["mnist"]
        others = (_percent(system["sets"][name]["share"]) for system in systems.values())
        interval = f"{_percent(result['low'])} to {_percent(result['high'])}"
        lines.append(_row(what, result["n"], f"**{_percent(result['share'])}**", interval, *others))
    means = (_percent(system["headline"]) for system in systems.values())
    lines.append(
        _row(
            "**mean of the seven sets**",
            "",
            f"**{_percent(ours['headline']['mnist'])}**",
            "",
            *means,
        )
    )
    if any(result["limit"] for result in systems.values()):
        most = max(result["limit"] or 0 for result in systems.values())
        lines += ["", f"\\* on {most} pictures of each set at most, drawn at random."]
    return lines


def other_figures() -> list[str]:
    """The table of the other figures."""
    metrics, ours, mnist = (
        Metrics.read(METRICS),
        read("realworld.json"),
        read("mnist.json"),
    )
    refusal = ours["refusal"]
    errors = [Reliability(**result["reliability"]).error for result in (mnist, ours)]
    rows = [
        _row_of_metrics(metrics),
        *_rows_of_runs(mnist["runs"]),
        {
            "what": "Probabilities: expected calibration error, 15 bins",
            "result": f"{errors[0]:.4f} on MNIST's test digits, {errors[1]:.4f} on the pictures "
            "above",
            "how": "the shipped weights; diagrams in the model card",
        },
        {
            "what": "Not a digit: letters, signs, scribbles, blanks, numbers, things",
            "result": f"{refusal['refused']['all']['share']:.1%} refused, AUROC "
            f"{refusal['auroc']:.4f}; of the digits above, "
            f"{refusal['digits_refused']['share']:.2%}",
            "how": f"{refusal['refused']['all']['n']} pictures; threshold chosen on them",
        },
        {
            "what": "MNIST-C, mean of fifteen corruptions",
            "result": f"bare network {ours['mnist_c_bare']:.1%}, through the pipeline "
            f"{ours['mnist_c_pipeline']:.1%}",
            "how": "first 1,000 test digits of each; training draws noise, lines, zigzags, bands, "
            "haze and outlines of its own",
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


def filled(text: str) -> str:
    """README or the page of results, with the figures between their two marks."""
    parts = {
        "headline": [headline()],
        "results": [*real_input(), "", *other_figures()],
        "numbers": [*numbers(), "", *single_digits()],
        "limits": [
            f"- {sentence}" for sentence in weaknesses(measured_metrics(Metrics.read(METRICS)))
        ],
    }
    for mark, lines in parts.items():
        begin, end = f"<!-- {mark} -->\n", f"\n<!-- /{mark} -->"
        if begin in text:
            before, rest = text.split(begin)
            text = before + begin + "\n".join(lines) + end + rest.split(end)[1]
    return text


def numbers() -> list[str]:
    """The table of numbers by real people."""
    lines = [
        _row("Pictures", "n", "Right, %", "95 % interval", "Digits right, %", "With marks, %",
             "Accepted at 1 % error, %", "ms a picture"),
        _row("---", *["--:"] * 7),
    ]  # fmt: skip
    for name, what in NUMBERS.items():
        each = read("numbers.json")["sets"][name]
        right, marks = each["right"], each.get("marks_right")
        lines.append(
            _row(
                what,
                right["n"],
                f"**{_percent(right['share'])}**",
                f"{_percent(right['low'])} to {_percent(right['high'])}",
                _percent(each["digits"]),
                _percent(marks["share"]) if marks and marks["n"] == right["n"] else "",
                f"{100 * each['accepted_at_1_percent']:.0f}",
                f"{each['milliseconds']:.0f}",
            )
        )
    return lines


def single_digits() -> list[str]:
    """What `read` makes of single digits, and of letters."""
    single = read("numbers.json")["single"]
    letters = single["false_digits"]
    ours, alone = (_percent(single[name]) for name in ("mean_read", "mean_predict"))
    return [
        f"Of single digits (mean of seven sets) `read` reads {ours} % right, `predict` {alone} %.",
        f"Digits are seen in {_percent(letters['share'])} % of {letters['n']} letters and words.",
    ]


def headline() -> str:
    """One sentence on digits and numbers by real people."""
    sets = [read("realworld.json")["sets"][name]["mnist"] for name in HEADLINE]
    count = sum(each["n"] for each in sets)
    right = sum(round(each["share"] * each["n"]) for each in sets)
    numbers = read("numbers.json")["sets"]
    rows, cheques = (numbers[name]["right"]["share"] for name in ("pen_rows", "cheques"))
    return (
        f"Of {count:,} single digits by real people that no weight has learned from, it reads "
        f"{right / count:.1%} right;\n"
        f"of their numbers {rows:.1%} (one clean line) to {cheques:.1%} (bank cheques): "
        "[all results](tests/benchmarks/RESULTS.md)."
    )


def measured_metrics(metrics: Metrics) -> Metrics:
    """Training's metrics, with the figures on other input and of other runs added."""
    ours, mnist = read("realworld.json"), read("mnist.json")
    refusal = ours["refusal"]
    return replace(
        metrics,
        real_input=_accuracies({name: s["mnist"] for name, s in ours["sets"].items()}),
        others={name: _accuracies(system["sets"]) for name, system in read_systems().items()},
        numbers={
            what: Share(accuracy=result["share"], count=result["n"])
            for name, what in NUMBERS.items()
            for result in [read("numbers.json")["sets"][name]["right"]]
        },
        mnist_c={
            kind: CorruptedShare(
                bare=both["bare"]["share"],
                pipeline=both["pipeline"]["share"],
                count=both["bare"]["n"],
            )
            for kind, both in ours["mnist_c"].items()
        },
        misses=tuple(Miss(**miss) for miss in ours["misses"][:MISSES_SHOWN]),
        calibration={
            "MNIST's test digits": Reliability(**mnist["reliability"]).error,
            "real input, first seven sets": Reliability(**ours["reliability"]).error,
        },
        refusal={
            **{kind: result["share"] for kind, result in refusal["refused"].items()},
            "digits": refusal["digits_refused"]["share"],
            "AUROC": refusal["auroc"],
        },
        seeds=_summary(mnist["runs"]["best"]),
    )


def _accuracies(sets: dict[str, dict[str, Any]]) -> dict[str, Share]:
    return {
        what: Share(accuracy=sets[name]["share"], count=sets[name]["n"])
        for name, what in SETS.items()
        if name in sets
    }


def _summary(runs: list[dict[str, Any]]) -> Seeds | None:
    """Mean, standard deviation and range of runs that differ in their seed; None for one run."""
    if len(runs) < 2:
        return None
    accuracies = [run["accuracy"] for run in runs]
    return Seeds(
        count=len(runs),
        mean=statistics.mean(accuracies),
        deviation=statistics.stdev(accuracies),
        lowest=min(accuracies),
        highest=max(accuracies),
        calibration_error=statistics.mean(run["calibration_error"] for run in runs),
    )


def _rows_of_runs(runs: dict[str, list[dict[str, Any]]]) -> list[dict[str, str]]:
    rows = []
    for recipe, what, note in (
        ("best", "The same recipe, this seed and others", ""),
        ("original", "The network trained by the original recipe", "; its author reports 98.56%"),
    ):
        summary = _summary(runs[recipe])
        if summary:
            rows.append(
                {
                    "what": what,
                    "result": f"{summary.mean:.2%} ± {100 * summary.deviation:.2f} "
                    f"({summary.lowest:.2%} to {summary.highest:.2%}), calibration error "
                    f"{summary.calibration_error:.4f}{note}",
                    "how": f"`--recipe {recipe}`, mean ± standard deviation of "
                    f"{summary.count} seeds, last epoch",
                }
            )
    return rows


def _row_of_metrics(metrics: Metrics) -> dict[str, str]:
    count, wrong = metrics.count, metrics.count - metrics.right
    low, high = wilson(metrics.right, count)
    epochs, torch = len(metrics.epochs), metrics.versions["torch"]
    return {
        "what": "MNIST's test digits, as they are",
        "result": f"{1 - wrong / count:.2%} right ({wrong} of {count:,} wrong; 95 % interval "
        f"{_percent2(low)} to {_percent2(high)})",
        "how": f"shipped weights: `--recipe best`, {epochs} epochs, seed {metrics.seed} (the "
        f"first, not the best of several), torch {torch}",
    }


def _percent2(share: float) -> str:
    return f"{share * 100:.2f}"


def draw_reliability() -> None:
    """Draw the two diagrams that the model card shows."""
    results = {
        "MNIST's test digits": read("mnist.json"),
        "Real input, first seven sets": read("realworld.json"),
    }
    diagrams = {name: Reliability(**each["reliability"]) for name, each in results.items()}
    path = METRICS.parent / RELIABILITY_FILE
    save_figure(plot_reliability(diagrams), path)
    with Image.open(path) as figure:  # few colours: a third of the bytes in every wheel
        figure.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    measured_metrics(Metrics.read(METRICS)).write(METRICS)
    draw_reliability()
    prepare(METRICS.parent)
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
