"""Fits the constants of `read` to a set of weights: costs, what is a number, and the confidence.

Uses the tune half of the numbers and of the single digits, and pages of letters that it draws. It
prints `COSTS`, `NUMBER` and `SURE` for ``lenet_digits/reading/lattice.py``, and how well they do.

python -m tests.benchmarks.fit_numbers PATH --digits PATH_OF_SINGLE_DIGITS [--weights FILE]
       [--minutes 20] [--cache FILE] [--limit N]

PATH and PATH_OF_SINGLE_DIGITS are as for ``tests.benchmarks.numbers``; the weights are the shipped
ones, or a safetensors file. One step of the search changes one cost, and keeps it if more labels
are right. ``--minutes 0`` leaves the costs as they are. A second run with ``--cache`` takes the
network's answers from that file.
"""

from __future__ import annotations

import argparse
import contextlib
import pickle
import re
import time
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from safetensors.numpy import load

from lenet_digits.reading.lattice import (
    COSTS,
    Arcs,
    Costs,
    Evidence,
    best_paths,
    evidence_of,
)
from lenet_digits.reading.lattice import Path as Reading
from lenet_digits.reading.network import Network
from lenet_digits.reading.numbers import read_upright
from lenet_digits.reading.page_ink import picture_of
from lenet_digits.reading.pictures import NoInkError
from lenet_digits.reading.prediction import predict, shipped_network
from lenet_digits.storage.header import sees_nondigits

from .numbers import FALSE_DIGITS, HEADLINE, SETS, marked_text, part_of, read_manifest, rows_of

# Of each set: how much one picture counts, and how many pictures of the set are used, at most.
WEIGHTS = {
    "pen_rows": 1.2, "pen_pages": 1.0, "pen_numbers": 1.2, "composed": 1.0, "tiny_pairs": 1.0,
    "photos": 1.0, "forms": 0.6, "logbook": 0.7, "cheques": 0.8,
    "single": 1.5, "letters": 1.0, "text": 0.5,
}  # fmt: skip
SINGLE, LETTERS, PAGES = 40, 200, 60  # pictures: of each set of single digits, of letters, drawn
REFUSED = 0.005  # share of lines that are read right and may be refused as no number
RIDGE = 1e-3  # of the logistic regressions, on measures of variance 1
SOFT = 0.12  # what a natural logarithm of the right label's probability counts, in labels
LEAST = -5.0  # what counts of such a logarithm that is lower
TEXT = (
    "the quick brown fox jumps over lazy dog measurement patient visit name signature please write "
    "clearly within box office total amount village district hospital minimum illness silly little "
    "bill hello world notes meeting agenda coffee between mountain river"
)


@dataclass(eq=False)
class Case:
    """One picture: its set, label, marked label, and its lines before a path is chosen."""

    kind: str
    name: str
    label: str
    marked: str | None
    lines: list[Arcs]


def case_of(kind: str, path: Path | np.ndarray, row: dict[str, str], network: Any) -> Case:
    lines: list[Arcs] = []
    with contextlib.suppress(NoInkError, ValueError):
        lines = read_upright(picture_of(path), network, original=path).arcs
    return Case(kind, row["file"], row["label"], marked_text(row.get("notes", "")), lines)


def text_pages(count: int) -> list[np.ndarray]:
    """Pages of words in the fonts of OpenCV and Pillow."""
    rng, all_words = np.random.default_rng(7), TEXT.split()
    pages = []
    for number in range(count):
        width, height = int(rng.integers(300, 900)), int(rng.integers(120, 500))
        page = np.full((height, width), 255, np.uint8)
        if number % 2:
            size = rng.integers(18, 60)
            image = Image.fromarray(page)
            draw, font = ImageDraw.Draw(image), ImageFont.load_default(float(size))
            for y in range(10, height - 40, int(1.4 * size)):
                draw.text((10, y), " ".join(rng.choice(all_words, 4)), font=font, fill=40)
            page = np.asarray(image)
        else:
            size = rng.uniform(0.7, 2.2)
            for y in range(int(30 * size) + 10, height, int(42 * size)):
                words, font = " ".join(rng.choice(all_words, 3)), int(rng.integers(0, 8))
                cv2.putText(page, words, (8, y), font, size, 0, int(1 + 1.6 * size), cv2.LINE_AA)
        pages.append(page)
    return pages


def gather(
    path: Path, digits: Path, weights: Path | None, *, part: str = "tune", limit: int | None = None
) -> list[Case]:
    """The pictures of one half, at most `limit` a set, with what the network says of each."""
    network: Any = shipped_network()
    if weights:
        content = weights.read_bytes()
        network = Network(load(content), sees_nondigits=sees_nondigits(content))
    cases: list[Case] = []
    for name in SETS:
        if name in WEIGHTS:
            rows = rows_of(path / name, part, limit)
            cases += [case_of(name, path / name / row["file"], row, network) for row in rows]
    for name in HEADLINE:
        rows = _with_writers(read_manifest(digits / name, None))
        rows = [row for row in rows if part_of(name, row) == part]
        for place in np.random.default_rng(0).permutation(len(rows))[: limit or SINGLE][:SINGLE]:
            row = rows[place]
            try:  # it shall be read as `predict` reads it
                label = str(predict(digits / name / row["file"], model=network).digit)
            except ValueError:
                continue
            row = row | {"label": label}
            cases.append(case_of("single", digits / name / row["file"], row, network))
    folder = digits / "notdigits"
    rows = [
        row
        for row in _with_writers(read_manifest(folder, None))
        if row["notes"].split()[0].rstrip(";,:s") in FALSE_DIGITS
        and part_of("notdigits", row) == part
    ][:LETTERS]
    blank = {"label": "", "notes": ""}
    cases += [case_of("letters", folder / row["file"], row | blank, network) for row in rows]
    cases += [
        case_of("text", page, {"file": f"page {number}", **blank}, network)
        for number, page in enumerate(text_pages(PAGES))
    ]
    return cases


def _with_writers(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [row | {"writer": row["writer_or_empty"]} for row in rows]


# Costs -------------------------------------------------------------------------------------------


def measured(cases: list[Case], costs: Costs) -> tuple[float, dict[str, float]]:
    """The weighted share of labels that are right, made smooth, and the plain share of each set.

    Of a wrong label, the probability that the lattice gave to the right one counts a little.
    """
    total = weight = 0.0
    right: dict[str, list[bool]] = {}
    for case in cases:
        paths = [best_paths(line, costs, any_line=True) for line in case.lines]
        lines = [some for some in paths if some and some[0].digits]
        said = "/".join(some[0].digits for some in lines)
        labels = case.label.split("/")
        soft = LEAST
        if not case.label:
            soft = 0.0 if not said else LEAST
        elif len(lines) == len(labels):
            soft = 0.0
            for some, label in zip(lines, labels, strict=True):
                share = sum(np.exp(path.log_share) for path in some if path.digits == label)
                soft += max(LEAST, float(np.log(share + 1e-9)))
        good = said == case.label
        if good and case.marked is not None and "/" not in case.label:
            good = marks_of(lines[0][0]) == case.marked
        total += WEIGHTS[case.kind] * (good + SOFT * max(LEAST, soft))
        weight += WEIGHTS[case.kind]
        right.setdefault(case.kind, []).append(good)
    return total / weight, {kind: float(np.mean(some)) for kind, some in right.items()}


def marks_of(path: Reading) -> str:
    """The digits of a reading, and ``·`` for marks before or between them."""
    signs = "".join(str(s.label) if isinstance(s.label, int) else "·" for s in path.steps)
    return re.sub("·+", "·", signs).rstrip("·")


def fit_costs(cases: list[Case], minutes: float) -> Costs:
    """Changes one cost after the other, up and down, by smaller and smaller steps."""
    cases = [case for case in cases if case.label]  # letters are `fit_number`'s
    costs, end = COSTS, time.monotonic() + 60 * minutes
    names = [each.name for each in fields(Costs)]
    steps = dict.fromkeys(names, 0.35)
    rng = np.random.default_rng(0)
    best, shares = measured(cases, costs)
    print(f"{best:.4f}", _shown(shares), flush=True)
    while time.monotonic() < end and max(steps.values()) > 0.03:
        for name in rng.permutation(names).tolist():
            value = getattr(costs, name)
            for sign in (1, -1):
                if time.monotonic() > end:
                    return costs
                changed = value + sign * max(abs(value), 0.3) * steps[name]
                tried = replace(costs, **{name: round(changed, 3)})
                found, shares = measured(cases, tried)
                if found > best + 1e-5:
                    costs, best = tried, found
                    print(f"{best:.4f} {name} {changed:.3f}", _shown(shares), flush=True)
                    break
            else:
                steps[name] /= 2
    return costs


def _shown(shares: dict[str, float]) -> str:
    return ", ".join(f"{kind} {share:.1%}" for kind, share in shares.items())


# Numbers and confidence --------------------------------------------------------------------------


def lines_of(cases: list[Case], costs: Costs) -> tuple[list[Evidence], list[bool], list[bool]]:
    """What speaks for each line that holds a digit, whether it is right, and whether a number."""
    found, right, number = [], [], []
    for case in cases:
        paths = [best_paths(line, costs, any_line=True) for line in case.lines]
        pairs = [
            (evidence, some[0])
            for line, some in zip(case.lines, paths, strict=True)
            if some and (evidence := evidence_of(line, some[0])) is not None
        ]
        labels = case.label.split("/") if case.label else []
        for place, (evidence, path) in enumerate(pairs):
            found.append(evidence)
            right.append(len(labels) == len(pairs) and path.digits == labels[place])
            number.append(bool(labels))
    return found, right, number


def regression(measures: list[Evidence], true: np.ndarray, weights: np.ndarray) -> Evidence:
    """Logistic regression with a small ridge, by Newton's method."""
    values = np.array([astuple(each) for each in measures])
    mean, deviation = values[:, :-1].mean(axis=0), values[:, :-1].std(axis=0) + 1e-6
    x = np.column_stack([(values[:, :-1] - mean) / deviation, np.ones(len(values))])
    ridge = RIDGE * weights.sum() * np.eye(x.shape[1])
    ridge[-1, -1] = 0
    found = np.zeros(x.shape[1])
    for _ in range(30):
        share = 1 / (1 + np.exp(-x @ found))
        gradient = x.T @ (weights * (true - share)) - ridge @ found
        curvature = (x * (weights * share * (1 - share))[:, None]).T @ x + ridge
        found = found + np.linalg.solve(curvature + 1e-9 * np.eye(len(found)), gradient)
    slopes = found[:-1] / deviation
    offset = float(found[-1] - slopes @ mean)
    return Evidence(*np.round(slopes, 3).tolist(), offset=round(offset, 3))


def fit_number(found: list[Evidence], right: np.ndarray, number: np.ndarray) -> Evidence:
    """What tells numbers from letters; `REFUSED` of the lines that are right score below 0."""
    used = right | ~number
    chosen = [each for each, use in zip(found, used, strict=True) if use]
    true = number[used].astype(float)
    balance = np.where(true > 0, 1 / max(1, true.sum()), 1 / max(1, (1 - true).sum()))
    weights = regression(chosen, true, balance * len(true) / 2)
    scores = np.array([each.score(weights) for each in chosen])
    shift = float(np.quantile(scores[true > 0], REFUSED))
    kept = float(np.mean(scores[true == 0] > shift))
    print(f"lines of letters taken for numbers: {kept:.1%} of {int((true == 0).sum())}")
    return replace(weights, offset=round(weights.offset - shift, 3))


def fit_sure(found: list[Evidence], right: np.ndarray, number: np.ndarray) -> Evidence:
    """What gives the probability that a line is right."""
    chosen = [each for each, use in zip(found, number, strict=True) if use]
    true = right[number].astype(float)
    weights = regression(chosen, true, np.ones(len(true)))
    scores = np.array([each.score(weights) for each in chosen])
    shares = 1 / (1 + np.exp(-scores))
    for low, high in ((0, 0.3), (0.3, 0.6), (0.6, 0.8), (0.8, 0.9), (0.9, 0.97), (0.97, 1.01)):
        within = (shares >= low) & (shares < high)
        if within.any():
            print(f"confidence {shares[within].mean():.1%}, right {true[within].mean():.1%}, "
                  f"n {int(within.sum())}")  # fmt: skip
    return weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="folder of the sets")
    parser.add_argument("--digits", type=Path, required=True, help="folder of single digits")
    parser.add_argument("--weights", type=Path, help="safetensors file; the shipped one by default")
    parser.add_argument("--minutes", type=float, default=20.0, help="time to fit the costs")
    parser.add_argument("--limit", type=int, help="pictures a set, at most; drawn with seed 0")
    parser.add_argument("--cache", type=Path, help="file to keep the network's answers in")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.cache and options.cache.exists():
        with options.cache.open("rb") as file:
            cases = pickle.load(file)
    else:
        cases = gather(options.path, options.digits, options.weights, limit=options.limit)
        if options.cache:
            with options.cache.open("wb") as file:
                pickle.dump(cases, file)
    costs = fit_costs(cases, options.minutes) if options.minutes else COSTS
    found, right, number = lines_of(cases, costs)
    kinds = np.array(right), np.array(number)
    print(f"COSTS = {_call(costs)}")
    print(f"NUMBER = {_call(fit_number(found, *kinds))}")
    print(f"SURE = {_call(fit_sure(found, *kinds))}")


def _call(values: Costs | Evidence) -> str:
    """The call that makes it, with what is not its default."""
    usual = type(values)()
    given = ", ".join(
        f"{name}={value}" for name, value in asdict(values).items() if value != getattr(usual, name)
    )
    return f"{type(values).__name__}({given})"


if __name__ == "__main__":
    main()
