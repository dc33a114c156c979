"""Draws figures from results: curves, samples, confusion, reliability, steps, mistakes.

Every function returns a `matplotlib.figure.Figure` and uses neither pyplot nor a screen.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray
from torch import Tensor

from lenet_digits.model import NUM_CLASSES, LeNet5
from lenet_digits.reading.canvas import CanvasSteps
from lenet_digits.reading.framing import Canvas, Floats
from lenet_digits.reading.inside import Activations, activations, occlusion
from lenet_digits.reading.numbers import Reading
from lenet_digits.reading.page_ink import Box
from lenet_digits.reading.pictures import Bytes
from lenet_digits.reading.prediction import Prediction, percent
from lenet_digits.storage.files import write_atomically
from lenet_digits.training.evaluation import BINS, Evaluation, Reliability, wilson
from lenet_digits.training.metrics import EpochRecord
from lenet_digits.training.mnist import Digits

PAPER, INK, TEAL, PALE, RED = "#fbfaf7", "#1d2b2a", "#2f6f6a", "#b9c7c5", "#b5482f"
INK_ON_PAPER = LinearSegmentedColormap.from_list("ink on paper", [PAPER, INK])
RIGHT_ANSWERS = LinearSegmentedColormap.from_list("right answers", [PAPER, "#8fb8b2"])
ACTIVATION = LinearSegmentedColormap.from_list("activation", [RED, PAPER, INK])  # from -1 to 1
EVIDENCE = LinearSegmentedColormap.from_list("evidence", [RED, "#f1ece0", TEAL])  # against and for
WRONG_ANSWERS = LinearSegmentedColormap.from_list("wrong answers", ["#f7e3dc", RED])

DPI = 150  # a figure 7 inches wide has 1,050 pixels: sharp at the width of a README
STYLE: Any = {
    "axes.edgecolor": PALE,
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": "large",
    "axes.axisbelow": True,
    "figure.constrained_layout.use": True,
    "figure.facecolor": PAPER,
    "figure.titlesize": "large",
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "grid.color": "#e3e8e6",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}
FORMATS = ("pdf", "png", "svg")  # by the suffix of the file's name
MISTAKES_SHOWN = 150


def save_figure(figure: Figure, path: str | PathLike[str]) -> None:
    """Write a figure in the format that the file name ends in. It appears whole or not at all.

    Raises ValueError if the name ends in none of `FORMATS`, OSError if it cannot be written.
    """
    target = Path(path)
    if target.suffix[1:].lower() not in FORMATS:
        raise ValueError(
            f"{target.name} does not end in a format for figures: use .{', .'.join(FORMATS)}."
        )
    buffer = io.BytesIO()
    figure.savefig(buffer, format=target.suffix[1:].lower(), dpi=DPI)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, buffer.getvalue())


@matplotlib.rc_context(STYLE)
def plot_epochs(
    title: str, epochs: Sequence[EpochRecord], values: Sequence[float], *, unit: str = ""
) -> Figure:
    """A value of each epoch as a curve, with the last value beside it.

    Args:
        title: what the values are.
        epochs: one or more.
        values: one for each epoch; shares, from 0 to 1, where ``unit`` is left out.
        unit: what the values are counted in, for instance "mean cross-entropy (nats)".
    """
    figure = Figure(figsize=(7, 3.6))
    axes = figure.add_subplot(title=title, xlabel="epoch", ylabel=unit)
    numbers = [record.epoch for record in epochs]
    axes.plot(numbers, values, color=TEAL, linewidth=2)
    axes.plot(numbers[-1], values[-1], "o", color=TEAL)
    axes.annotate(
        f"{values[-1]:.4f}" if unit else f"{values[-1]:.2%}",
        (numbers[-1], values[-1]),
        xytext=(7, 0),
        textcoords="offset points",
        va="center",
        color=TEAL,
        weight="bold",
        annotation_clip=False,
    )
    if not unit:
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.margins(x=0.02)
    return figure


@matplotlib.rc_context(STYLE)
def plot_samples(digits: Digits, *, title: str = "", columns: int = 10) -> Figure:
    """A grid of digits, each with its label above it."""
    labels = [str(label) for label in digits.labels.tolist()]
    return _page(digits.images.numpy(), labels, title, columns, TEAL)


@matplotlib.rc_context(STYLE)
def plot_mistakes(digits: Digits, answers: Tensor) -> Figure:
    """A page of the digits that were read wrong, each below its label and the answer.

    ``answers``: (N,) integers in 0..9. The first `MISTAKES_SHOWN` are shown.
    """
    wrong = (answers.cpu() != digits.labels).nonzero().flatten()
    title = f"{len(wrong):,} of {len(digits):,} digits read wrong  (label → answer)"
    if len(wrong) > MISTAKES_SHOWN:
        title += f", the first {MISTAKES_SHOWN}"
    shown = wrong[:MISTAKES_SHOWN]
    pairs = zip(digits.labels[shown].tolist(), answers.cpu()[shown].tolist(), strict=True)
    captions = [f"{label} → {answer}" for label, answer in pairs]
    return _page(digits.images[shown].numpy(), captions, title, 10, RED)


def _page(
    images: NDArray[np.uint8], captions: Sequence[str], title: str, columns: int, color: str
) -> Figure:
    """Digits, (N, 28, 28) uint8, side by side in rows, each under its caption."""
    columns = max(1, min(columns, len(images)))
    rows = max(1, math.ceil(len(images) / columns))
    wide, high = 34, 40  # pixels of a cell: the digit, air, and above it the caption
    page = np.zeros((rows * high, columns * wide), np.uint8)
    figure = Figure(figsize=(max(3.5, 0.7 * columns), 0.82 * rows + 0.5))
    axes = figure.add_subplot(title=title)
    axes.set_axis_off()
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        top, left = index // columns * high + 10, index % columns * wide + 3
        page[top : top + 28, left : left + 28] = image
        axes.text(left + 14, top - 1, caption, ha="center", va="bottom", color=color, size=9)
    axes.imshow(page, cmap=INK_ON_PAPER, vmin=0, vmax=255)
    return figure


def _bars(axes: Axes, prediction: Prediction) -> None:
    answer = RED if prediction.is_digit is False else TEAL
    colors = [answer if digit == prediction.digit else PALE for digit in range(NUM_CLASSES)]
    axes.bar(range(NUM_CLASSES), prediction.probabilities, color=colors)
    axes.set(xticks=range(NUM_CLASSES), ylim=(0, 1), yticks=(0, 0.5, 1))


def _verdict(prediction: Prediction) -> str:
    best = f"{prediction.digit} at {percent(prediction.confidence)}"
    if prediction.is_digit is False:
        return f"not a digit (closest: {best})"
    return best if prediction.is_digit else f"{best} (whether it is a digit: unknown)"


@matplotlib.rc_context(STYLE)
def plot_confusion(evaluation: Evaluation) -> Figure:
    """The confusion matrix: right answers in one colour, mistakes in another, both counted."""
    counts: NDArray[Any] = evaluation.confusion.numpy()
    right = np.eye(NUM_CLASSES, dtype=bool)
    figure = Figure(figsize=(7, 6.4))
    axes = figure.add_subplot(
        title=f"{evaluation.count - evaluation.errors:,} of {evaluation.count:,} digits read right:"
        f" {evaluation.accuracy:.2%}",
        xlabel="read as",
        ylabel="label",
        xticks=range(NUM_CLASSES),
        yticks=range(NUM_CLASSES),
    )
    axes.grid(False)
    most = max(1, int(counts[~right].max()))
    axes.imshow(np.where(right, counts, np.nan), cmap=RIGHT_ANSWERS, vmin=0)
    axes.imshow(
        np.where(~right & (counts > 0), counts, np.nan), cmap=WRONG_ANSWERS, vmax=most, vmin=1
    )
    for (label, answer), count in np.ndenumerate(counts):
        dark = label != answer and count > most / 2
        axes.text(
            answer,
            label,
            f"{count:,}" if count else "·",
            ha="center",
            va="center",
            color=PAPER if dark else INK if count else PALE,
        )
    return figure


@matplotlib.rc_context(STYLE)
def plot_reliability(results: Mapping[str, Reliability]) -> Figure:
    """Reliability diagrams side by side, by name: accuracy against confidence, `BINS` bins.

    Below each, on a logarithmic scale, the share of answers in every bin. The lines through the
    points are 95 % intervals: a bin of three answers says little.
    """
    figure = Figure(figsize=(4.2 * len(results), 4.8))
    grid = figure.add_gridspec(2, len(results), height_ratios=[3, 1])
    edges = np.linspace(0, 1, BINS + 1)
    for column, (name, result) in enumerate(results.items()):
        upper = figure.add_subplot(grid[0, column])
        upper.set_title(f"{name}: ECE {result.error:.4f}", size="medium")
        upper.plot((0, 1), (0, 1), color=PALE, linewidth=1, zorder=1)
        for count, expected, right in zip(
            result.counts, result.expected, result.right, strict=True
        ):
            if count:
                where, low_high = expected / count, wilson(right, count)
                upper.plot((where, where), low_high, color=TEAL, alpha=0.45, linewidth=2)
                upper.plot(where, right / count, "o", color=TEAL, markersize=5)
        upper.set(xlim=(0, 1.02), ylim=(-0.02, 1.02), ylabel="share right" if not column else "")
        upper.xaxis.set_major_formatter(PercentFormatter(1))
        upper.yaxis.set_major_formatter(PercentFormatter(1))
        lower = figure.add_subplot(grid[1, column])
        total = sum(result.counts)
        shares = [count / total for count in result.counts]
        lower.bar(edges[:-1], shares, width=0.9 / BINS, align="edge", color=PALE)
        lower.bar(edges[-2], shares[-1], width=0.9 / BINS, align="edge", color=TEAL)
        lower.annotate(
            f"{shares[-1]:.1%}",
            (edges[-2], shares[-1]),
            xytext=(-4, -1),
            textcoords="offset points",
            ha="right",
            va="top",
            color=TEAL,
        )
        lower.set_yscale("log")
        lower.set(xlim=(0, 1.02), ylim=(0.5 / total, 1.5), xlabel="confidence")
        lower.set_ylabel("share of\nthe digits" if not column else "")
        lower.set_yticks([10**-n for n in range(math.ceil(math.log10(total)))], minor=False)
        lower.minorticks_off()
        lower.xaxis.set_major_formatter(PercentFormatter(1))
        lower.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    return figure


@matplotlib.rc_context(STYLE)
def plot_steps(
    pictures: Sequence[tuple[str, CanvasSteps, Prediction]], *, model: LeNet5 | None = None
) -> Figure:
    """How pictures were read: a row for each, with the steps to its canvas and its probabilities.

    Between them are the six maps of C1, and the ink that mattered to the answer.

    Args:
        pictures: name, steps and prediction of each.
        model: the network that read them; by default the shipped one.
    """
    count = len(pictures[0][1].named()) + 2
    figure = Figure(figsize=(1.75 * count + 3, 2.1 * len(pictures)))
    grid = figure.add_gridspec(len(pictures), count + 1, width_ratios=[1.0] * count + [1.6])
    for row, (title, steps, prediction) in enumerate(pictures):
        for column, (name, step) in enumerate(steps.named()):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(step, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set_title(name, size=9)
            axes.set(xticks=(), yticks=())
            axes.spines[:].set_visible(False)
            if column == 0:
                left, top, right, bottom = steps.box
                axes.add_patch(
                    Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=TEAL)
                )
                short = title if len(title) <= 26 else f"{title[:12]}…{title[-13:]}"
                axes.set_xlabel(short, size=8, loc="left", parse_math=False)
        c1 = figure.add_subplot(grid[row, -3])
        c1.set_title("C1", size=9)
        maps = activations(steps, model=model).c1.reshape(2, 3, 28, 28)
        page = np.pad(maps, [(0, 0), (0, 0), (1, 1), (1, 1)]).swapaxes(1, 2).reshape(60, 90)
        c1.imshow(page, cmap=ACTIVATION, vmin=-1, vmax=1, interpolation="nearest")
        mattered = figure.add_subplot(grid[row, -2])
        mattered.set_title("Ink that mattered", size=9)
        _show_evidence(mattered, steps.canvas, occlusion(steps, model=model))
        for axes in (c1, mattered):
            axes.set(xticks=(), yticks=())
            axes.spines[:].set_visible(False)
        axes = figure.add_subplot(grid[row, -1])
        axes.set_title(_verdict(prediction), size=9, weight="bold")
        _bars(axes, prediction)
        axes.set(yticks=())
    return figure


READ_SIDE = 8.0  # inches: the longer side of a picture in `plot_reading`
CUT = "#8a2be2"  # of cuts in `plot_reading`: neither ink's nor a box's colour
SURE_DIGIT = 0.9  # probability below which a digit is drawn in the colour of mistakes


@matplotlib.rc_context(STYLE)
def plot_reading(pages: Sequence[tuple[str, Bytes, Reading]]) -> Figure:
    """Pictures, one below the other, with their lines, digits and marks drawn over them.

    A line has a pale box with its text and confidence above it; a digit has its own box, with the
    digit below it, red where the network is less than 90 % sure of it; a mark has a dotted box.
    Cuts through ink are strokes across it: solid where a digit ends in the reading, dotted where
    one was only tried.

    Args:
        pages: title, picture, (H, W, 3) uint8, and reading of each. The picture is upright, and
            turned by `Reading.turned`: boxes count in its pixels.
    """
    sizes = [_size_of_page(picture) for _, picture, _ in pages]
    heights = [height + 0.45 for _, height in sizes]
    figure = Figure(figsize=(max(width for width, _ in sizes) + 0.3, sum(heights)))
    grid = figure.add_gridspec(len(pages), 1, height_ratios=heights)
    for row, (title, picture, reading) in enumerate(pages):
        axes = figure.add_subplot(grid[row])
        axes.imshow(picture, interpolation="nearest", cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
        short = title if len(title) <= 60 else f"{title[:28]}…{title[-31:]}"
        axes.set_title(short, size=9, parse_math=False)
        for cell in reading.cells:
            _outline(axes, cell.box, color=PALE, linewidth=0.6)
        for mark in reading.marks:
            _outline(axes, mark.box, color=RED, linewidth=0.8, linestyle=":")
        for line in reading.lines:
            _outline(axes, line.box, color=PALE, linewidth=2.0)
            words = f"{line.text}  {percent(line.confidence)}"
            _label(axes, words, line.box[0], line.box[1], "bottom", INK)
            for mark in line.marks:
                _outline(axes, mark.box, color=RED, linewidth=0.8, linestyle=":")
            for cut in line.cuts:
                x1, y1, x2, y2 = cut.ends
                style = {"linewidth": 1.6} if cut.used else {"linewidth": 0.8, "linestyle": ":"}
                axes.plot([x1 - 0.5, x2 - 0.5], [y1 - 0.5, y2 - 0.5], color=CUT, **style)
            for digit in line.digits:
                color = TEAL if digit.prediction.confidence >= SURE_DIGIT else RED
                left, _, right, bottom = digit.box
                _outline(axes, digit.box, color=color, linewidth=1.2)
                _label(axes, str(digit.digit), (left + right) / 2, bottom, "top", color)
    return figure


def _size_of_page(picture: Bytes) -> tuple[float, float]:
    """Width and height of a picture in a figure, in inches."""
    high, wide = picture.shape[:2]
    scale = READ_SIDE / max(high, wide)
    return wide * scale, high * scale


def _outline(axes: Axes, box: Box, **style: Any) -> None:
    left, top, right, bottom = (edge - 0.5 for edge in box)
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, **style))


def _label(axes: Axes, words: str, x: float, y: float, side: str, color: str) -> None:
    """Words above ("bottom") or below ("top") a box, readable on any picture."""
    axes.text(
        x, y, words, size=7, color=color, va=side, ha="center" if side == "top" else "left",
        bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
    )  # fmt: skip


# Of `plot_activations`: layer, columns of its maps, and inches of one of its pixels. The maps keep
# the proportions of their sizes, but the small ones are enlarged so that they can be seen.
LAYOUT = (
    ("canvas", 1, 0.042),
    ("c1", 2, 0.030),
    ("s2", 2, 0.034),
    ("c3", 4, 0.036),
    ("s4", 4, 0.056),
    ("c5", 10, 0.115),
    ("f6", 7, 0.150),
)
GAP = 0.09  # inches between two maps of a layer


@matplotlib.rc_context(STYLE)
def plot_activations(seen: Activations) -> Figure:
    """Every layer's answer to one canvas, from left to right, as in figure 2 of the 1998 paper.

    Ink and positive activations are dark, negative ones red, 0 is paper. C5's 120 units are a block
    of 12 rows of 10, F6's 84 one of 12 rows of 7, as the paper arranges them. The ten bars are the
    probabilities of the digits.
    """
    width, height, space, bottom = 14.2, 4.4, 0.42, 0.35
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("none")
    left = 0.25
    middle = (height - 0.5 - bottom) / 2 + bottom
    for name, columns, pixel in LAYOUT:
        maps = np.asarray(getattr(seen, name))
        if maps.ndim == 1:  # single units, side by side
            page = maps.reshape(-1, columns)
            maps, columns, gap = page[None], 1, 0.0
        else:
            maps, gap = maps.reshape(-1, *maps.shape[-2:]), GAP
        count, high, wide = maps.shape
        rows = -(-count // columns)
        tall = rows * high * pixel + (rows - 1) * gap
        for index, image in enumerate(maps):
            row, column = divmod(index, columns)
            x = left + column * (wide * pixel + gap)
            y = middle + tall / 2 - row * (high * pixel + gap) - high * pixel
            box = (x / width, y / height, wide * pixel / width, high * pixel / height)
            axes = figure.add_axes(box, label=f"{name} {index}")
            axes.imshow(image, cmap=ACTIVATION, vmin=-1, vmax=1, interpolation="nearest")
            axes.set(xticks=(), yticks=())
            axes.spines[:].set(visible=True, color=PALE, linewidth=0.6)
        across = columns * wide * pixel + (columns - 1) * gap
        size = f"{count} of {wide}×{high}" if count > 1 else f"{wide}×{high}"
        if name in ("c5", "f6"):
            size = f"{maps.size} units"
        title = "Canvas" if name == "canvas" else name.upper()
        _head(figure, left + across / 2, f"{title}\n{size}")
        left += across + space
    axes = figure.add_axes((left / width, bottom / height, 0.9 / width, (height - 1.0) / height))
    exps = np.exp(seen.output - seen.output.max())
    best = int(seen.output.argmax())
    colors = [TEAL if digit == best else PALE for digit in range(NUM_CLASSES)]
    axes.barh(range(NUM_CLASSES), exps / exps.sum(), color=colors)
    axes.set(xlim=(0, 1), xticks=(), yticks=range(NUM_CLASSES))
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    _head(figure, left + 0.45, "Output\n10 digits")
    return figure


def _head(figure: Figure, inches: float, words: str) -> None:
    width, height = figure.get_size_inches()
    figure.text(inches / width, 1 - 0.08 / height, words, ha="center", va="top")


@matplotlib.rc_context(STYLE)
def plot_occlusion(canvas: Canvas, evidence: Floats, *, title: str = "") -> Figure:
    """Which ink mattered: the canvas, and beside it what `occlusion` says of its ink.

    Args:
        canvas: (28, 28) in [0, 1].
        evidence: (28, 28), in nats, as `occlusion` gives it.
        title: above both, for instance "Which ink makes it a 3 and not an 8".
    """
    figure = Figure(figsize=(6.4, 3.2))
    if title:
        figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    left.imshow(canvas, cmap=INK_ON_PAPER, vmin=0, vmax=1, interpolation="nearest")
    left.set_title("Canvas", size=10)
    shown = _show_evidence(right, canvas, evidence)
    right.set_title("Ink that mattered", size=10)
    for axes in (left, right):
        axes.set(xticks=(), yticks=())
        axes.spines[:].set_visible(False)
    bar = figure.colorbar(shown, ax=right, shrink=0.8)
    bar.set_label("nats: for it above 0, against it below", size=8)
    bar.outline.set_visible(False)
    return figure


def _show_evidence(axes: Axes, canvas: Canvas, evidence: Floats) -> AxesImage:
    """Ink in the colour of its evidence, and paper where there is no ink."""
    reach = max(float(np.abs(evidence).max()), 1e-6)
    axes.imshow(np.zeros_like(canvas), cmap=INK_ON_PAPER, vmin=0, vmax=1)
    ink = np.ma.masked_where(canvas < 0.1, evidence)
    return axes.imshow(ink, cmap=EVIDENCE, vmin=-reach, vmax=reach, interpolation="nearest")


@matplotlib.rc_context(STYLE)
def plot_kernels(model: LeNet5) -> Figure:
    """The kernels of 5×5 that the network learned: C1's six, and C3's 16 for each map of S2."""
    figure = Figure(figsize=(8.2, 3.9))
    grid = figure.add_gridspec(6, 19)
    c1, c3 = model.c1.weight.detach().numpy(), model.c3.weight.detach().numpy()
    for row in range(6):
        for column, kernel in [(0, c1[row, 0]), *((2 + o, c3[o, row]) for o in range(16))]:
            axes = figure.add_subplot(grid[row, column])
            reach = float(np.abs(c1 if column == 0 else c3).max())
            axes.imshow(kernel, cmap=ACTIVATION, vmin=-reach, vmax=reach)
            axes.set(xticks=(), yticks=())
            axes.spines[:].set(visible=True, color=PALE, linewidth=0.6)
            if row == 0:
                axes.set_title("C1" if column == 0 else f"{column - 1}", size=8)
            if column == 2:
                axes.set_ylabel(f"S2 {row + 1}", size=7, rotation=0, ha="right", va="center")
    figure.suptitle("Kernels: C1's, and those of C3's 16 maps over the six of S2")
    return figure
