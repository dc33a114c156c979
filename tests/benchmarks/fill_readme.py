"""Fills the README's table of results from files that commands wrote; measures nothing itself.

The first row comes from ``weights/metrics.json``, which training wrote; the others from
``tests/benchmarks/results/*.json``, in order of their names: lists of objects with ``what`` was
measured, the ``result``, and ``how`` (n, seed, hardware, versions), all of them text.

python tests/benchmarks/fill_readme.py
"""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
README = ROOT / "README.md"
BEGIN, END = "<!-- results -->", "<!-- /results -->"


def table() -> str:
    """The table as Markdown."""
    rows = [
        _row_of_metrics(json.loads((ROOT / "weights/metrics.json").read_text(encoding="utf-8")))
    ]
    for path in sorted((ROOT / "tests/benchmarks/results").glob("*.json")):
        rows += json.loads(path.read_text(encoding="utf-8"))
    lines = [f"| {row['what']} | {row['result']} | {row['how']} |" for row in rows]
    return "\n".join(["| Measured | Result | How |", "| --- | --- | --- |", *lines])


def filled(readme: str) -> str:
    """The README with the table between its two marks."""
    before, rest = readme.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _row_of_metrics(metrics: dict) -> dict[str, str]:
    count = sum(map(sum, metrics["confusion"]))
    wrong = count - sum(row[digit] for digit, row in enumerate(metrics["confusion"]))
    epochs, torch = len(metrics["epochs"]), metrics["versions"]["torch"]
    return {
        "what": "MNIST's test digits, as they are",
        "result": f"{1 - wrong / count:.2%} right ({wrong} of {count:,} wrong)",
        "how": f"shipped weights, {epochs} epochs, seed {metrics['seed']}, torch {torch}",
    }


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
