"""Measures `read` on numbers written by real people; trains and tunes nothing.

PATH holds a folder per set with a ``manifest.csv`` (columns file, label, source, writer, notes).
The label is the digits in reading order, lines separated by ``/``; ``text=`` in the notes has the
marks between them, where they are known.

python -m tests.benchmarks.numbers PATH [--digits PATH_OF_SINGLE_DIGITS] [--part tune|check|all]
       [--sets pen_rows ...] [--limit N] [--sheets FOLDER] [--json FILE]
       [--adapter NAME="command"]...

Each set is parted by writer and source into one half to tune on and one to check with. An adapter
is another system; see ``tests/benchmarks/realworld.py``. What it says of a picture is reduced to
its digits.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import re
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lenet_digits.reading.numbers import Read, Reading, read, read_upright
from lenet_digits.reading.page_ink import picture_of
from lenet_digits.reading.prediction import predict, shipped_network
from lenet_digits.reading.segmentation import cuts_of

from .realworld import HEADLINE, read_manifest, run_adapter, share

SETS = (
    "pen_rows",
    "pen_pages",
    "pen_numbers",
    "composed",
    "tiny_pairs",
    "photos",
    "forms",
    "logbook",
    "cheques",
    "sudoku_news",
    "sudoku_pencil",
)
FALSE_DIGITS = ("letter", "word")  # kinds of `notdigits`
TILE = 360, 150  # pixels: one miss on a contact sheet
COLUMNS, ROWS = 4, 12  # of a contact sheet
COLOURS = np.array(
    [[200, 60, 60], [60, 160, 60], [60, 60, 220], [200, 140, 0], [160, 0, 160], [0, 150, 150]],
    np.float32,
)


@dataclass(frozen=True, eq=False)
class Answer:
    """What became of one picture."""

    name: str
    label: str
    marked: str | None  # the digits of one line, with `·` for marks, where that is known
    reading: Reading
    seconds: float
    error: str = ""

    @property
    def said(self) -> str:
        return "/".join(
            "".join(str(digit.digit) for digit in line.digits) for line in self.reading.lines
        )

    @property
    def right(self) -> bool:
        return self.said == self.label

    @property
    def marks_right(self) -> bool:
        return self.reading.text.replace(" ", "").replace("\n", "/") == self.marked

    @property
    def confidence(self) -> float:
        """That all lines are right; 0 without a line, which is no answer."""
        if not self.reading.lines:
            return 0.0
        return float(np.prod([line.confidence for line in self.reading.lines]))


def part_of(name: str, row: dict[str, str]) -> str:
    """The half of the set, "tune" or "check", that a picture's writer is in.

    Where the writer is unknown, each picture has one of its own.
    """
    writer = row["writer"] if row["writer"] not in ("", "unknown") else row["file"]
    digest = hashlib.sha256(f"{name}/{row['source']}/{writer}".encode()).digest()
    return "check" if digest[-1] % 2 else "tune"


def marked_text(notes: str) -> str | None:
    """The digits of ``text=`` without spaces, each run of marks before or between them as `·`."""
    found = re.search(r"text=([^;]*)", notes)
    if not found:
        return None
    text = re.sub(r"\(.*?\)", "", found[1]).replace(" ", "")
    return re.sub(r"[^0-9·]+", "·", text).rstrip("·")


def errors_in(said: str, label: str) -> int:
    """Digits inserted, left out or taken for another: the edit distance."""
    row = list(range(len(label) + 1))
    for count, char in enumerate(said, 1):
        before, row[0] = row[0], count
        for place, true in enumerate(label, 1):
            cost = min(row[place] + 1, row[place - 1] + 1, before + (char != true))
            before, row[place] = row[place], cost
    return row[-1]


def accepted(answers: list[Answer], most_wrong: float = 0.01) -> float:
    """The largest share of pictures that can be answered, the surest first, with so few wrong."""
    best = wrong = 0
    for count, each in enumerate(sorted(answers, key=lambda each: -each.confidence), 1):
        wrong += not each.right
        if wrong <= most_wrong * count:
            best = count
    return best / max(1, len(answers))


def answer(path: Path, row: dict[str, str]) -> Answer:
    start = time.process_time()  # other work on the machine does not count
    error = ""
    try:
        reading = read(path)
    except ValueError as caught:
        reading, error = Reading(), str(caught)
    seconds = time.process_time() - start
    return Answer(row["file"], row["label"], marked_text(row["notes"]), reading, seconds, error)


def measure_set(answers: list[Answer]) -> dict:
    digits = sum(len(each.label.replace("/", "")) for each in answers)
    wrong = sum(errors_in(each.said, each.label) for each in answers)
    marked = [each for each in answers if each.marked is not None]
    figures = {
        "right": share(sum(each.right for each in answers), len(answers)),
        "digits": max(0.0, 1 - wrong / max(1, digits)),
        "accepted_at_1_percent": accepted(answers),
        "milliseconds": 1000 * statistics.median(each.seconds for each in answers),
        "errors": sum(bool(each.error) for each in answers),
    }
    if marked:
        figures["marks_right"] = share(sum(each.marks_right for each in marked), len(marked))
    return figures


def show(name: str, figures: dict) -> None:
    right = figures["right"]
    line = (
        f"{name:14s} n {right['n']:4d}  {right['share']:6.1%} "
        f"[{right['low']:.1%}, {right['high']:.1%}]"
    )
    if "digits" in figures:
        marks = figures.get("marks_right")
        line += f"  digits {figures['digits']:6.1%}  marks too "
        line += f"{marks['share']:6.1%}" if marks else "     -"
        line += f"  at 1 % error {figures['accepted_at_1_percent']:5.1%}"
        line += f"  {figures['milliseconds']:6.1f} ms"
    print(line, flush=True)


def measure_single(folder: Path, limit: int | None) -> dict:
    """`read` and `predict` on single digits, and digits seen in letters and words."""
    results: dict = {}
    for name in HEADLINE:
        rows = read_manifest(folder / name, limit)
        read_right = predict_right = split = 0
        for row in rows:
            path = folder / name / row["file"]
            try:
                digit = str(predict(path).digit)
            except ValueError:
                digit = ""
            try:
                said = "".join(re.findall(r"\d", read(path).text))
            except ValueError:
                said = ""
            read_right += said == row["label"]
            predict_right += digit == row["label"]
            split += len(said) != 1
        results[name] = {
            "read": share(read_right, len(rows)),
            "predict": share(predict_right, len(rows)),
            "not_one_digit": share(split, len(rows)),
        }
        print(
            f"{name:14s} n {len(rows):4d}  read {read_right / len(rows):6.1%}  "
            f"predict {predict_right / len(rows):6.1%}  not one digit {split / len(rows):.1%}",
            flush=True,
        )
    for way in ("read", "predict"):
        mean = statistics.mean(results[name][way]["share"] for name in HEADLINE)
        results[f"mean_{way}"] = mean
        print(f"single digits, mean of the headline sets, {way}: {mean:.2%}")
    rows = [
        row
        for row in read_manifest(folder / "notdigits", None)
        if row["notes"].split()[0].rstrip(";,:s") in FALSE_DIGITS
    ][:limit]
    seen = sum(bool(_lines_of(folder / "notdigits" / row["file"])) for row in rows)
    results["false_digits"] = share(seen, len(rows))
    print(f"letters and words in which digits are seen: {seen / len(rows):.1%} of {len(rows)}")
    return results


def _lines_of(path: Path) -> int:
    try:
        return len(read(path).lines)
    except ValueError:
        return 0


def draw_sheets(misses: list[tuple[Path, Answer]], target: Path) -> None:
    """Contact sheets of misses: each piece in a colour, cuts, boxes of the path, what was said."""
    tiles = [_tile(path, miss) for path, miss in misses]
    for page, start in enumerate(range(0, len(tiles), COLUMNS * ROWS)):
        part = tiles[start : start + COLUMNS * ROWS]
        part += [np.full_like(part[0], 255)] * (-len(part) % COLUMNS)
        rows = [np.hstack(part[at : at + COLUMNS]) for at in range(0, len(part), COLUMNS)]
        cv2.imwrite(str(target.with_stem(f"{target.stem}_{page}")), np.vstack(rows))


def _tile(path: Path, miss: Answer) -> np.ndarray:
    width, height = TILE
    tile = np.full((height, width, 3), 255, np.uint8)
    try:
        done = read_upright(picture_of(path), shipped_network())
    except ValueError:
        done = Read(miss.reading)
    top = 0
    room = (height - 16) // max(1, len(done.arcs))
    for arcs, paths in zip(done.arcs, done.paths, strict=True):
        pieces = arcs.pieces
        colours = COLOURS[(pieces.labels.astype(int) - 1) % len(COLOURS)]
        ink = pieces.ink[:, :, None]
        line = (colours * ink + 255 * (1 - ink)).astype(np.uint8)
        for step in paths[0].steps if paths else ():
            left, upper = pieces.corners[step.first : step.stop, :2].min(axis=0).tolist()
            right, lower = pieces.corners[step.first : step.stop, 2:].max(axis=0).tolist()
            cv2.rectangle(line, (left, upper), (right - 1, lower - 1), (0, 0, 0), 1)
            place = ((left + right) // 2 - 4, max(12, upper + 12))
            cv2.putText(line, str(step.label)[0], place, 0, 0.5, (0, 0, 255), 1)
        chosen = {step.first for step in (paths[0].steps if paths else ())}
        for number, (upper_end, lower_end) in cuts_of(pieces):
            colour = (255, 0, 160) if number in chosen else (150, 150, 150)
            cv2.line(line, upper_end, lower_end, colour, 2 if number in chosen else 1)
        scale = min(1.0, width / line.shape[1], room / line.shape[0])
        small = cv2.resize(line, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        small = small[: height - 16 - top, :width]
        tile[top : top + small.shape[0], : small.shape[1]] = small
        top += small.shape[0]
    words = f"{miss.marked or miss.label}: said {miss.said} {miss.confidence:.0%} {miss.name}"
    cv2.putText(tile, words.replace("·", "."), (2, height - 4), 0, 0.36, (160, 0, 0), 1)
    return tile


def rows_of(folder: Path, part: str, limit: int | None) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if part in ("all", part_of(folder.name, row))]
    if limit and limit < len(rows):
        rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[:limit]]
    return rows


def measure(options: argparse.Namespace) -> dict:
    results: dict = {"part": options.part, "limit": options.limit, "sets": {}}
    names = [name for name in options.sets if (options.path / name).is_dir()]
    for name in names:
        folder = options.path / name
        rows = rows_of(folder, options.part, options.limit)
        if not rows:
            continue
        for system, command in (each.split("=", 1) for each in options.adapter):
            said = run_adapter(command, [folder / row["file"] for row in rows])
            right = sum(
                re.sub(r"\D", "", text) == row["label"].replace("/", "")
                for text, row in zip(said, rows, strict=True)
            )
            figures = {"right": share(right, len(rows))}
            results.setdefault("systems", {}).setdefault(system, {})[name] = figures
            show(f"{name}, {system}", figures)
        if options.adapter:
            continue
        answers = [answer(folder / row["file"], row) for row in rows]
        results["sets"][name] = measure_set(answers)
        show(name, results["sets"][name])
        if options.sheets:
            misses = [(folder / each.name, each) for each in answers if not each.right]
            draw_sheets(misses, options.sheets / f"{name}.png")
    if options.digits and not options.adapter:
        results["single"] = measure_single(options.digits, options.limit)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="folder of the sets")
    parser.add_argument("--digits", type=Path, help="folder of the sets of single digits")
    parser.add_argument("--part", default="all", choices=("tune", "check", "all"))
    parser.add_argument("--sets", nargs="*", default=SETS, choices=SETS)
    parser.add_argument("--limit", type=int, help="pictures a set, at most; drawn with seed 0")
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets of every miss")
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--adapter", action="append", default=[], metavar="NAME=COMMAND")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.sheets:
        options.sheets.mkdir(parents=True, exist_ok=True)
    results = measure(options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
