"""Measures the front end and the network on digits by real people; trains and tunes nothing.

PATH holds a folder per set with a ``manifest.csv`` (columns file, label, notes; label ``none`` for
what is no digit) and ``mnist_c`` with one ``.npy`` per corruption and ``labels.npy``.

python -m tests.benchmarks.realworld PATH [--sheets FOLDER] [--json FILE] [--limit N]
       [--sets canvas scans ...] [--weights FILE] [--adapter NAME="command"]...

An adapter is a command that reads one path a line from its input and answers each with one digit a
line (anything else counts as wrong), so that another system can run in an environment of its own:
``tests/benchmarks/adapters`` has some, each with what it needs. With adapters, they alone are read.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import platform
import shlex
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw

from lenet_digits.model import LeNet5, load_model
from lenet_digits.reading.canvas import CanvasSteps, canvas_steps
from lenet_digits.reading.prediction import Prediction, predict_steps
from lenet_digits.storage.shipped import WEIGHTS_FILE, weights_directory
from lenet_digits.training.evaluation import Reliability, wilson

HEADLINE = ("sketch", "sketch2", "sketch3", "canvas", "tiny28", "scans", "photos")
DIAGNOSTIC = (
    "photo_cells",
    "synthetic_photos",
    "scans_small",
    "usps",
    "optdigits",
    "semeion",
    "printed",
)
REFUSAL = "notdigits"
CORRUPTED = "mnist_c"
TILE = 96  # pixels: side of one picture on a contact sheet
SHEET_ROWS = 40


@dataclass(frozen=True, eq=False)
class Answer:
    """What became of one picture; `steps` and `prediction` are None where it raised."""

    name: str
    truth: int | None
    notes: str
    seconds: float
    steps: CanvasSteps | None
    prediction: Prediction | None
    error: str = ""

    @property
    def digit(self) -> int | None:
        return self.prediction.digit if self.prediction else None

    @property
    def right(self) -> bool:
        return self.digit == self.truth

    @property
    def outlier_score(self) -> float:
        """Infinite for a picture without ink: to refuse one is to refuse it for certain."""
        if self.prediction is None:
            return float("inf")
        score = self.prediction.outlier_score
        return float("nan") if score is None else score  # unknown is neither refused nor accepted


def auroc(inside: Sequence[float], outside: Sequence[float]) -> float:
    """The chance that something outside scores higher than something inside, ties counting half."""
    scores = np.concatenate([inside, outside])
    _, where, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[where]
    n, m = len(inside), len(outside)
    return float((ranks[n:].sum() - m * (m + 1) / 2) / (n * m))


def read_manifest(folder: Path, limit: int | None) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if limit and limit < len(rows):
        rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[:limit]]
    return rows


def answer(folder: Path, row: dict[str, str], method: str, model: LeNet5) -> Answer:
    truth = None if row["label"] == "none" else int(row["label"])
    start = time.perf_counter()
    try:
        steps = canvas_steps(folder / row["file"], method=method)
    except ValueError as error:
        seconds = time.perf_counter() - start
        return Answer(row["file"], truth, row["notes"], seconds, None, None, str(error))
    seconds = time.perf_counter() - start
    prediction = predict_steps(steps, model=model)
    return Answer(row["file"], truth, row["notes"], seconds, steps, prediction)


def share(right: int, count: int) -> dict[str, float]:
    low, high = wilson(right, count)
    return {"n": count, "right": right, "share": right / count, "low": low, "high": high}


def measure_corrupted(folder: Path, model: LeNet5, limit: int | None) -> dict[str, dict]:
    """Accuracy per MNIST-C corruption, of the bare network and through the pipeline."""
    labels = np.load(folder / "labels.npy")[:limit]
    results = {}
    for path in sorted(folder.glob("*.npy")):
        if path.stem == "labels":
            continue
        pictures = np.load(path)[:limit]
        with torch.inference_mode():
            bare = model(torch.from_numpy(pictures[:, None] / np.float32(255))).argmax(1).numpy()
        piped = 0
        for picture, label in zip(pictures, labels, strict=True):
            try:
                piped += predict_steps(canvas_steps(picture), model=model).digit == label
            except ValueError:
                continue
        results[path.stem] = {
            "bare": share(int((bare == labels).sum()), len(labels)),
            "pipeline": share(int(piped), len(labels)),
        }
    return results


def measure_refusal(outside: list[Answer], inside: list[Answer]) -> dict:
    """How much of what is no digit is refused, by the first word of its notes, and AUROC."""
    kinds: dict[str, list[bool]] = {}
    for each in outside:
        kinds.setdefault(each.notes.split()[0].rstrip(";,:"), []).append(each.outlier_score > 1)
    scores = [min(each.outlier_score, 1e9) for each in inside]
    result = {kind: share(sum(refused), len(refused)) for kind, refused in sorted(kinds.items())}
    result["all"] = share(sum(each.outlier_score > 1 for each in outside), len(outside))
    return {
        "refused": result,
        "auroc": auroc(scores, [min(each.outlier_score, 1e9) for each in outside]),
        "digits_refused": share(sum(score > 1 for score in scores), len(scores)),
    }


def run_adapter(command: str, paths: list[Path]) -> list[str]:
    """What another system, run as a process, says of every picture."""
    done = subprocess.run(
        shlex.split(command),
        input="".join(f"{path.resolve()}\n" for path in paths),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    said = [line.strip() for line in done.stdout.splitlines()]
    if len(said) != len(paths):
        raise RuntimeError(f"{command} answered {len(said)} of {len(paths)} pictures.")
    return said


def measure_systems(options: argparse.Namespace) -> dict:
    """Accuracy of other systems, by name and set; prints each as it is known."""
    manifests = {
        name: read_manifest(options.path / name, options.limit)
        for name in options.sets
        if name not in (REFUSAL, CORRUPTED) and (options.path / name).is_dir()
    }
    labels = [(name, row["label"]) for name, rows in manifests.items() for row in rows]
    paths = [options.path / name / row["file"] for name, rows in manifests.items() for row in rows]
    results = {}
    for system, command in (each.split("=", 1) for each in options.adapter):
        right: Counter[str] = Counter()
        for (name, label), said in zip(labels, run_adapter(command, paths), strict=True):
            right[name] += said == label
        sets = {name: share(right[name], len(rows)) for name, rows in manifests.items()}
        for name, figures in sets.items():
            show(name, {system: figures})
        results[system] = {"limit": options.limit, "sets": sets} | headline(sets)
    return results


def headline(sets: dict[str, dict]) -> dict[str, float]:
    """The plain mean of the headline sets, where all of them were read."""
    if not set(HEADLINE) <= set(sets):
        return {}
    return {"headline": statistics.mean(sets[name]["share"] for name in HEADLINE)}


def milliseconds_per_picture(count: int = 200) -> float:
    """Median CPU time from a 512x512 array, a drawing or a noisy page in turn, to its canvas."""
    rng = np.random.default_rng(0)
    times = []
    for turn in range(count):
        drawing = np.full((512, 512, 3), 255, np.uint8)
        points = np.cumsum(rng.integers(-90, 91, (9, 2)), axis=0) + 256
        cv2.polylines(drawing, [points.clip(60, 450).astype(np.int32)], False, (40, 30, 20), 18)
        if turn % 2:
            light = np.linspace(0.5, 1, 512)[:, None, None]
            noisy = drawing * light + rng.normal(0, 4, drawing.shape)
            drawing = noisy.clip(0, 255).astype(np.uint8)
        start = time.process_time()  # other work on the machine does not count
        canvas_steps(drawing)
        times.append(time.process_time() - start)
    return 1000 * statistics.median(times)


def draw_sheet(misses: list[Answer], path: Path) -> None:
    """A contact sheet: every step, then what was said and what is true."""
    per_page = SHEET_ROWS * 3
    for page, start in enumerate(range(0, len(misses), per_page)):
        part = misses[start : start + per_page]
        rows = -(-len(part) // 3)
        sheet = Image.new("RGB", (3 * (4 * TILE + 20), rows * (TILE + 18)), (40, 40, 60))
        draw = ImageDraw.Draw(sheet)
        for place, miss in enumerate(part):
            left, top = place % 3 * (4 * TILE + 20), place // 3 * (TILE + 18)
            sure = f" at {miss.prediction.confidence:.0%}" if miss.prediction else ""
            said = miss.error or f"said {miss.digit}{sure}, is {miss.truth}"
            draw.text((left, top), f"{miss.name}: {said}"[:66], fill="white")
            for column, (_, step) in enumerate(miss.steps.named() if miss.steps else ()):
                grey = step if step.dtype == np.uint8 else (255 * step).astype(np.uint8)
                tile = Image.fromarray(grey).convert("RGB")
                tile = tile.resize(
                    (
                        max(1, TILE * tile.width // max(tile.size)),
                        max(1, TILE * tile.height // max(tile.size)),
                    )
                )
                sheet.paste(tile, (left + column * TILE, top + 14))
        sheet.save(path.with_stem(f"{path.stem}_{page}"))


def measure(options: argparse.Namespace) -> dict:
    """All figures asked for, as they go into the JSON file; prints each as it is known."""
    model = load_model(options.weights)
    sets: dict[str, dict] = {}
    results: dict = {
        "weights": weights_sha256(options.weights),
        "machine": platform.processor() or platform.machine(),
        "sets": sets,
    }
    inside: list[Answer] = []
    for name in options.sets:
        folder = options.path / name
        if name in (REFUSAL, CORRUPTED) or not folder.is_dir():
            continue
        rows = read_manifest(folder, options.limit)
        answers = [answer(folder, row, "mnist", model) for row in rows]
        plain = [replace(answer(folder, row, "center-crop", model), steps=None) for row in rows]
        sets[name] = {
            "mnist": share(sum(each.right for each in answers), len(rows)),
            "center-crop": share(sum(each.right for each in plain), len(rows)),
            "milliseconds": 1000 * statistics.median(each.seconds for each in answers),
        }
        if options.sheets:
            draw_sheet([each for each in answers if not each.right], options.sheets / f"{name}.png")
        if name in HEADLINE:
            inside += [replace(each, steps=None) for each in answers]
        show(name, sets[name])
    for method in ("mnist", "center-crop"):
        mean = headline({name: figures[method] for name, figures in sets.items()})
        if mean:
            results.setdefault("headline", {})[method] = mean["headline"]
            print(f"headline {method} {mean['headline']:.2%}")
    answered = [each for each in inside if each.prediction]
    if answered:
        reliability = Reliability.measure(
            [each.prediction.confidence for each in answered], [each.right for each in answered]
        )
        results["reliability"] = asdict(reliability)
        results["misses"] = count_misses(inside)
        print(f"expected calibration error on the headline sets: {reliability.error:.4f}")
    if REFUSAL in options.sets and inside and (options.path / REFUSAL).is_dir():
        folder = options.path / REFUSAL
        rows = read_manifest(folder, options.limit)
        outside = [answer(folder, row, "mnist", model) for row in rows]
        results["refusal"] = measure_refusal(outside, inside)
        if options.sheets:
            taken = [each for each in outside if each.outlier_score <= 1]
            draw_sheet(taken, options.sheets / "notdigits_taken_for_digits.png")
        for kind, figures in results["refusal"]["refused"].items():
            print(f"  refused {kind:12s} {figures['share']:7.2%} of {figures['n']}")
        wrongly = results["refusal"]["digits_refused"]
        print(f"AUROC {results['refusal']['auroc']:.4f}; digits refused {wrongly['share']:.2%}")
    if CORRUPTED in options.sets and (options.path / CORRUPTED).is_dir():
        corrupted = measure_corrupted(options.path / CORRUPTED, model, options.limit)
        results["mnist_c"] = corrupted
        for way in ("bare", "pipeline"):
            mean = statistics.mean(figures[way]["share"] for figures in corrupted.values())
            results[f"mnist_c_{way}"] = mean
            print(f"MNIST-C {way}: {mean:.2%}")
        for kind, both in corrupted.items():
            print(f"  {kind:14s} {both['bare']['share']:7.2%} {both['pipeline']['share']:7.2%}")
    results["milliseconds_512"] = milliseconds_per_picture()
    print(f"median time of one canvas from 512x512: {results['milliseconds_512']:.2f} ms")
    return results


def count_misses(answers: list[Answer]) -> list[dict]:
    """How often which digit was taken for which, or for no picture of one (None), most first."""
    pairs = Counter((each.truth, each.digit) for each in answers if not each.right)
    of = Counter(each.truth for each in answers)
    return [
        {"digit": truth, "read_as": said, "count": count, "of": of[truth]}
        for (truth, said), count in sorted(pairs.items(), key=lambda pair: (-pair[1], str(pair[0])))
    ]


def weights_sha256(source: str | None) -> str:
    """Which weights were measured: the hash of their file."""
    path = Path(source) if source else weights_directory() / WEIGHTS_FILE
    return hashlib.sha256(path.read_bytes()).hexdigest()


def show(name: str, figures: dict) -> None:
    shares = [
        f"{way} {v['share']:.2%} [{v['low']:.1%}, {v['high']:.1%}]"
        for way, v in figures.items()
        if isinstance(v, dict)
    ]
    count = next(iter(figures.values()))["n"]
    print(f"{name:17s} n {count:5d}  {'  '.join(shares)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="folder of the sets")
    every = [*HEADLINE, *DIAGNOSTIC, REFUSAL, CORRUPTED]
    parser.add_argument("--sets", nargs="+", default=every, choices=every)
    parser.add_argument("--limit", type=int, help="pictures a set, at most; drawn with seed 0")
    parser.add_argument("--weights", help="weights to load (default: the shipped ones)")
    parser.add_argument("--sheets", type=Path, help="folder for a contact sheet of every miss")
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--adapter", action="append", default=[], metavar="NAME=COMMAND")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if options.sheets:
        options.sheets.mkdir(parents=True, exist_ok=True)
    results = measure_systems(options) if options.adapter else measure(options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
