"""Chooses the best reading of a line among all ways to put its pieces together.

Nodes are the places between pieces, arcs are digits and marks. An arc's score is a log probability:
what LeNet-5 makes of the canvas, what height, width and place say, and the costs of the cuts. As in
section VI of LeCun et al. (1998), the best path is the reading, and the sum over all paths says how
sure it is.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import astuple, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lenet_digits.reading.framing import Canvas, Floats
from lenet_digits.reading.segmentation import MOST_IN_ONE, Candidates, Pieces

KEPT = 6  # readings kept at each node: the limit on time
TRIED = 3  # digits tried for each candidate: the same

# How marks look, in digit heights where nothing else is said. Tuned on the tune split of the open
# number sets, 2026-11.
POINT = 0.2  # a smaller piece is a point
COMMA_WIDTH = 0.4  # the widest comma
COMMA_AT = 0.6  # where its middle is, at least: from 0, the line's top, to 1, its bottom
COMMA_HEIGHT, COMMA_DROP = 0.35, 0.3  # of a usual comma, and how far below the line it counts
COMMA_LOW = 0.8  # the middle of a usual comma is as low as this, see `COMMA_AT`
COMMA_EXTRA = 8.0  # log probability: what each digit height off these measures costs
DASH_LEAST, DASH_HEIGHT, DASH_RATIO = 0.15, 0.35, 1.3  # least width, most height, width to height
DASH_AT = (0.15, 0.85)  # of its middle, see `COMMA_AT`
DASH_WIDTH, DASH_PEN = 1.1, 0.25  # the most width and height of a usual dash
DASH_EXTRA = 6.0  # log probability: see `COMMA_EXTRA`
SLASH_LEAST = 0.8  # the height of a slash
SLASH_PENS = 1.6  # pen widths: the most that a slash is wide
SLASH_LEANS = (0.1, 0.4)  # tangents, against the other pieces: from where to where a lean counts
SLASH_HEIGHTS = (1.15, 1.4)  # from where to where its height counts
RESCALED = (0.6, 1.5)  # of the line's height: the least and most that its digits may measure
LEAST_OTHER_LOG = -6.0  # what counts of a log probability not to be a digit that is lower


@dataclass(frozen=True)
class Costs:
    """The weights of the lattice, in units of log probability.

    Fitted on the tune split of the open number sets, 2026-11, by coordinate search.
    """

    network: float = 1.35  # times the log probability of the digit
    geometry: float = 0.319  # times the log density of height, width and place
    digit: float = 0.459  # for each digit
    cut: float = 0.54  # for each cut through ink
    severed: float = 0.837  # for each pen width of ink that a cut severs
    sliver: float = 1.625  # for a 1 on either side of such a cut: it may be a part of a 0 or a 4
    short: float = 4.0  # for a 1 for each digit height that it is shorter than `SHORTEST_ONE`
    gap: float = 9.60  # for each digit height of gap inside a digit
    joined: float = 1.175  # for each gap inside a digit
    point: float = 0.315  # for a point
    hangs: float = 1.0  # gain of a comma that touches a digit and looks like one
    dash: float = 1.403  # for a dash
    slash: float = 2.14  # for a slash
    lean: float = 7.02  # gain of a slash for the tangent of its lean against the digits'
    tall: float = 14.215  # gain of a slash for each digit height that it is higher than they are
    other: float = 4.31  # for any other mark
    size: float = 5.47  # for each square digit height of any other mark
    one: float = 0.351  # gain of a reading that takes all ink as one digit, as `predict` does
    letter: float = 5.4  # for a mark that is all there is, times its width squared if above 1
    temperature: float = 1.14  # times the whole score, so that the sums are probabilities


COSTS = Costs()


@dataclass(frozen=True)
class Evidence:
    """Measures of a reading of a line, or their weights in a logistic regression."""

    digits: float = 0.0  # mean log probability of its digits to be digits
    weakest: float = 0.0  # the least log probability of a digit, `LEAST_LOG` at least
    strokes: float = 0.0  # share of ones and sevens, which strokes of letters look like
    cuts: float = 0.0  # share of arcs that begin at a cut through ink
    share: float = 0.0  # log odds of the reading among all readings, within `MOST_ODDS`
    others: float = 0.0  # share of arcs that are marks of no known kind
    uneven: float = 0.0  # mean misfit of the digits' height, width and place, see `SPREAD`
    count: float = 0.0  # logarithm of the number of digits
    offset: float = 1.0

    def score(self, weights: Evidence) -> float:
        """The log odds that the weights give to it."""
        return float(np.dot(astuple(self), astuple(weights)))


# Fitted on the tune split of the open number sets and on letters, 2026-11, by
# tests/benchmarks/fit_numbers.py.
NUMBER = Evidence(  # tells a number from a line of letters
    digits=2.374, weakest=0.622, strokes=-4.283, cuts=-2.448, share=0.388, others=-5.148,
    uneven=0.914, count=0.294, offset=6.199,
)  # fmt: skip
SURE = Evidence(  # gives the probability that all of a line is right
    digits=0.018, weakest=0.789, strokes=0.196, cuts=-1.588, share=0.33, others=-4.15,
    uneven=-0.221, count=0.327, offset=1.054,
)  # fmt: skip
LEAST_SHARE_LOG = -20.0  # what counts of the log probability of a reading that is lower
LEAST_LOG = -8.0  # what counts of a log probability that is lower
MOST_ODDS = 9.0  # what counts of log odds that are farther from 0
FEW_STROKES = 0.2  # the share of ones and sevens that a single digit counts as

# Of each digit, as written in a line: width, top and bottom, in digit heights. Top and bottom count
# from the line's own, downwards. Medians of forced alignments on the tune split, 2026-11.
GEOMETRY = np.array(
    [
        [0.75, 0.06, 0.00],
        [0.30, 0.00, 0.00],
        [0.85, 0.00, 0.00],
        [0.70, 0.00, 0.02],
        [0.75, 0.00, 0.04],
        [0.83, -0.02, 0.02],
        [0.68, 0.00, 0.02],
        [0.74, 0.02, 0.04],
        [0.70, -0.02, 0.02],
        [0.66, 0.00, 0.06],
    ],
    np.float32,
)
SPREAD = np.array([0.20, 0.12, 0.10], np.float32)  # standard deviations of the same
SHORTEST_ONE = 0.65  # digit heights: a shorter stroke at the bottom may be a comma
FARTHEST = 9.0  # squared standard deviations, at most, that one measure counts


@dataclass(frozen=True, eq=False)
class Arcs:
    """A line's pieces and candidates, with the network's answers to the candidates."""

    pieces: Pieces
    candidates: Candidates
    digit_logs: Floats  # (M, 10) log probability: it is a digit, and this one
    other_logs: Floats  # (M,) log probability that it is not a digit
    canvases: list[Canvas]  # (28, 28) each, of the M candidates; then that of `whole`, if any
    whole: Floats | None  # (11,) of all ink together, as `predict` frames it; the last is "other"


@dataclass(frozen=True)
class Step:
    """One arc of a path: a digit 0 to 9 or a mark's kind, and its pieces."""

    label: int | str
    first: int
    stop: int
    candidate: int  # its number; -1 for all ink, and for marks
    share: float = 1.0  # probability that it stands here, by all readings, where that is known


@dataclass(frozen=True)
class Path:
    """A reading of a line: its arcs from the left, and its log probability among all readings."""

    steps: tuple[Step, ...]
    log_share: float

    @property
    def digits(self) -> str:
        """The digits alone, in order."""
        return "".join(str(step.label) for step in self.steps if isinstance(step.label, int))

    def without_digits(self) -> Path:
        """The same arcs, but marks in the place of the digits."""
        steps = (
            replace(step, label="other") if isinstance(step.label, int) else step
            for step in self.steps
        )
        return Path(tuple(steps), self.log_share)


def log_shares(logits: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Log probabilities of the ten digits (N, 10) and of not being a digit (N,).

    The network learned non-digits as an eleventh class whose logit is always 0.
    """
    values = logits.astype(np.float64)
    peak = np.maximum(values.max(axis=1, initial=0.0), 0.0)
    total = peak + np.log(np.exp(-peak) + np.exp(values - peak[:, None]).sum(axis=1))
    return np.asarray(values - total[:, None], np.float32), np.asarray(-total, np.float32)


def best_paths(
    arcs: Arcs, costs: Costs = COSTS, *, digits: int | None = None, any_line: bool = False
) -> list[Path]:
    """The best few readings of a line, the best one first; empty if none has so many digits.

    The line's height and place are measured again on the digits of the first answer. A line that
    is not a number has no digits, unless `any_line` is asked for.
    """
    pieces = arcs.pieces
    frame = (pieces.height, pieces.top, pieces.bottom)
    scored = _scored(arcs, costs, frame)
    paths, total = _search(arcs, scored, digits)
    if not paths:
        return []
    measured = _frame_of(arcs, paths[0])
    if measured is not None:
        scored_again = _scored(arcs, costs, measured)
        again, total_again = _search(arcs, scored_again, digits)
        if again:
            paths, scored, total = again, scored_again, total_again
    paths[0] = replace(paths[0], steps=_with_shares(paths[0].steps, scored, total))
    in_cells = bool((arcs.pieces.cells >= 0).any())  # boxes are printed for numbers
    if digits is None and not any_line and not in_cells and not is_number(arcs, paths[0]):
        return [paths[0].without_digits()]
    return paths


def evidence_of(arcs: Arcs, path: Path, log_share: float | None = None) -> Evidence | None:
    """The measures by which a reading is judged; None if it has no digit.

    `log_share` is its log probability among all readings, where that is not the path's own.
    """
    digit_logs, being_logs, misfits, strokes = [], [], [], 0
    pieces = arcs.pieces
    height = float(pieces.height)
    for step in path.steps:
        if isinstance(step.label, int):
            alone = step.candidate >= 0
            logs = arcs.digit_logs[step.candidate] if alone else arcs.whole
            other = arcs.other_logs[step.candidate] if alone else arcs.whole[10]  # type: ignore[index]
            digit_logs.append(float(logs[step.label]))  # type: ignore[index]
            being_logs.append(float(np.log1p(-min(float(np.exp(other)), 1 - 1e-9))))
            strokes += step.label in (1, 7)
            if alone:
                left, top, right, bottom = arcs.candidates.boxes[step.candidate].tolist()
                measures = np.array([right - left, top - pieces.top, bottom - pieces.bottom])
                off = ((measures / height - GEOMETRY[step.label]) / SPREAD) ** 2
                misfits.append(float(np.minimum(off, FARTHEST).mean()))
    if not digit_logs:
        return None
    count = len(path.steps)
    share = min(max(path.log_share if log_share is None else log_share, LEAST_SHARE_LOG), -1e-9)
    odds = share - np.log(-np.expm1(share))
    return Evidence(
        digits=float(np.mean(being_logs)),
        weakest=max(min(digit_logs), LEAST_LOG),
        strokes=strokes / len(digit_logs) if len(digit_logs) > 1 else FEW_STROKES,
        cuts=sum(bool(pieces.severed[step.first] > 0) for step in path.steps) / count,
        share=float(np.clip(odds, -MOST_ODDS, MOST_ODDS)),
        others=sum(step.label == "other" for step in path.steps) / count,
        uneven=float(np.mean(misfits)) if misfits else 0.0,
        count=float(np.log(len(digit_logs))),
    )


def is_number(arcs: Arcs, path: Path, weights: Evidence = NUMBER) -> bool:
    """Whether a line is a number, rather than letters or a drawing."""
    found = evidence_of(arcs, path)
    return found is None or found.score(weights) > 0


def _frame_of(arcs: Arcs, path: Path) -> tuple[float, float, float] | None:
    """A line's height, top and bottom, measured on the digits of a reading; None with one digit."""
    pieces = arcs.pieces
    known = [step for step in path.steps if isinstance(step.label, int) and step.candidate >= 0]
    if len(known) < 2:
        return None
    boxes = arcs.candidates.boxes[[step.candidate for step in known]]
    means = GEOMETRY[[int(step.label) for step in known]]
    height = float(np.median((boxes[:, 3] - boxes[:, 1]) / (1 + means[:, 2] - means[:, 1])))
    height = float(np.clip(height, RESCALED[0] * pieces.height, RESCALED[1] * pieces.height))
    top = float(np.median(boxes[:, 1] - means[:, 1] * height))
    bottom = float(np.median(boxes[:, 3] - means[:, 2] * height))
    return height, top, bottom


Scored = dict[int, list[tuple[int, int | str, float, int]]]  # by stop: first, label, score, number


def _scored(arcs: Arcs, costs: Costs, frame: tuple[float, float, float]) -> Scored:
    """All arcs with their scores, by the node where they end."""
    height, top, bottom = frame
    pieces, candidates = arcs.pieces, arcs.candidates
    found: Scored = defaultdict(list)
    t = costs.temperature
    if len(candidates.spans):
        boxes = candidates.boxes
        measures = np.stack(
            [
                (boxes[:, 2] - boxes[:, 0]) / height,
                (boxes[:, 1] - top) / height,
                (boxes[:, 3] - bottom) / height,
            ],
            axis=1,
        )
        off = ((measures[:, None, :] - GEOMETRY[None]) / SPREAD) ** 2  # (M, 10, 3)
        fit = -0.5 * np.minimum(off, FARTHEST).sum(axis=2)
        severed = pieces.severed[candidates.spans[:, 0]]
        cut = np.where(severed > 0, costs.cut + costs.severed * severed, 0.0)
        inside = np.maximum(candidates.gaps, 0)
        holes = costs.gap * inside + costs.joined * (candidates.gaps > 0)
        scores = costs.network * arcs.digit_logs + costs.geometry * fit
        scores = t * (scores - (costs.digit + cut + holes)[:, None])
        after = np.append(pieces.severed[1:], 0.0)[candidates.spans[:, 1] - 1]
        scores[:, 1] -= t * costs.sliver * ((severed > 0).astype(np.float32) + (after > 0))
        lacking = np.maximum(0.0, SHORTEST_ONE - (boxes[:, 3] - boxes[:, 1]) / height)
        scores[:, 1] -= t * costs.short * lacking
        tried = np.argsort(-scores, axis=1)[:, :TRIED]
        area = measures[:, 0] * (boxes[:, 3] - boxes[:, 1]) / height
        other = t * (
            costs.network * np.maximum(arcs.other_logs, LEAST_OTHER_LOG)
            - costs.other
            - costs.size * area
            - cut
            - 2 * holes
        )
        for number, (first, stop) in enumerate(candidates.spans.tolist()):
            for digit in tried[number].tolist():
                found[stop].append((first, digit, float(scores[number, digit]), number))
            found[stop].append((first, "other", float(other[number]), number))
    _add_marks(found, arcs, costs, frame)
    count = len(pieces.boxes)
    if arcs.whole is not None:
        for digit in np.argsort(-arcs.whole[:10])[:TRIED].tolist():
            score = costs.network * float(arcs.whole[digit]) - costs.digit + costs.one
            found[count].append((0, digit, t * score, -1))
        if len(set(pieces.parts.tolist())) == 1:  # a letter, as a rule, is one part; 11 is two
            wide = float(pieces.boxes[:, 2].max() - pieces.boxes[:, 0].min()) / pieces.height
            score = costs.network * float(arcs.whole[10]) - costs.letter * max(1.0, wide) ** 2
            found[count].append((0, "other", t * score, -1))
    return found


def _add_marks(found: Scored, arcs: Arcs, costs: Costs, frame: tuple[float, float, float]) -> None:
    """Points, dashes and slashes: single pieces, told by their size and place."""
    height, top, bottom = frame
    pieces, spans = arcs.pieces, arcs.candidates.spans
    alone = set(spans[spans[:, 1] - spans[:, 0] == 1, 0].tolist())
    for number, (left, up, right, down) in enumerate(pieces.boxes.tolist()):
        wide, tall = (right - left) / height, (down - up) / height
        middle = ((up + down) / 2 - top) / max(bottom - top, 1.0)
        severed = pieces.severed[number]
        cut = costs.cut + costs.severed * severed if severed > 0 else 0.0
        marks: list[tuple[str, float]] = []  # kinds and costs
        if pieces.hangs[number]:
            marks.append(("point", -costs.hangs))
        if max(wide, tall) < POINT:
            marks.append(("point", costs.point))
        elif max(wide, tall) < 1 and wide < COMMA_WIDTH and middle > COMMA_AT:
            drop = min(max((down - bottom) / height, 0.0), COMMA_DROP)
            extra = max(0.0, tall - COMMA_HEIGHT - 2 * drop) + max(0.0, COMMA_LOW - middle)
            marks.append(("point", costs.point + COMMA_EXTRA * extra))
        flat = wide > DASH_LEAST and tall < DASH_HEIGHT and wide > DASH_RATIO * tall
        if flat and DASH_AT[0] < middle < DASH_AT[1]:
            extra = max(0.0, wide - DASH_WIDTH) + max(0.0, tall - DASH_PEN)
            marks.append(("dash", costs.dash + DASH_EXTRA * extra))
        narrow = pieces.areas[number] < SLASH_PENS * pieces.pen * np.hypot(right - left, down - up)
        inner = severed == 0 and 0 < number < len(pieces.boxes) - 1
        if tall > SLASH_LEAST and narrow and inner:
            lean = min(float(pieces.leans[number]), SLASH_LEANS[1]) - SLASH_LEANS[0]
            higher = min(tall, SLASH_HEIGHTS[1]) - SLASH_HEIGHTS[0]
            marks.append(("other", costs.slash - costs.lean * lean - costs.tall * higher))
        if max(wide, tall) >= POINT and number not in alone:  # so that there is a path in any case
            marks.append(("other", costs.other + costs.size * wide * tall))
        for kind, cost in marks:
            found[number + 1].append((number, kind, -costs.temperature * (cost + cut), -1))


Arc = tuple[int | str, int, int, int]  # label, first, stop, number: what makes a `Step`
# By text: the log sum over all paths that spell it, and the score and arcs of the best of them.
Readings = dict[tuple[int | str, ...], tuple[float, float, tuple[Arc, ...]]]


def _search(arcs: Arcs, scored: Scored, digits: int | None) -> tuple[list[Path], list[float]]:
    """The best few readings of a line, by dynamic programming.

    Each has the log sum over all paths that spell it. The second result is, for each node, the log
    sum over all paths that lead there.
    """
    count = len(arcs.pieces.boxes)
    nodes: list[Readings] = [{(): (0.0, 0.0, ())}]
    total = [0.0]
    for stop in range(1, count + 1):
        merged: Readings = {}
        sum_here = -math.inf
        for first, label, score, number in scored.get(stop, ()):
            sum_here = _log_sum(sum_here, total[first] + score)
            for text, (sum_, best, steps) in nodes[first].items():
                spelled = (*text, label)
                sum_, best = sum_ + score, best + score
                known = merged.get(spelled)
                if known is not None:
                    sum_ = _log_sum(sum_, known[0])
                if known is None or best > known[1]:
                    merged[spelled] = sum_, best, (*steps, (label, first, stop, number))
                else:
                    merged[spelled] = sum_, *known[1:]
        total.append(sum_here)
        nodes.append(_pruned(merged, digits))
    final = nodes[count]
    if digits is not None:
        final = {text: value for text, value in final.items() if _digits_in(text) == digits}
    ranked = sorted(final.values(), key=lambda value: -value[0])
    paths = [
        Path(tuple(Step(*arc) for arc in steps), min(0.0, sum_ - total[count]))
        for sum_, _, steps in ranked
    ]
    return paths, total


def _log_sum(one: float, other: float) -> float:
    """The logarithm of the sum of two numbers, from their logarithms."""
    larger, smaller = (one, other) if one > other else (other, one)
    return larger if smaller == -math.inf else larger + math.log1p(math.exp(smaller - larger))


def _with_shares(steps: tuple[Step, ...], scored: Scored, forward: list[float]) -> tuple[Step, ...]:
    """The steps with the probability of each by all paths, by the forward-backward algorithm.

    An arc of the same label that covers half of a step's pieces counts as the same.
    """
    count = len(forward) - 1
    backward = [-math.inf] * count + [0.0]
    for stop in range(count, 0, -1):
        for first, _, score, _ in scored.get(stop, ()):
            backward[first] = _log_sum(backward[first], score + backward[stop])
    found = []
    for step in steps:
        share = 0.0
        for stop in range(step.first + 1, min(count, step.stop + MOST_IN_ONE) + 1):
            for first, label, score, _ in scored.get(stop, ()):
                common = min(stop, step.stop) - max(first, step.first)
                all_ = max(stop, step.stop) - min(first, step.first)
                if label == step.label and 2 * common >= all_:
                    share += math.exp(forward[first] + score + backward[stop] - forward[count])
        found.append(replace(step, share=min(1.0, share)))
    return tuple(found)


def _digits_in(text: tuple[int | str, ...]) -> int:
    return sum(isinstance(label, int) for label in text)


def _pruned(readings: Readings, digits: int | None) -> Readings:
    ranked = sorted(readings.items(), key=lambda item: -item[1][0])
    if digits is None:
        return dict(ranked[:KEPT])
    kept: dict[int, int] = defaultdict(int)
    chosen: Readings = {}
    for text, value in ranked:
        number = _digits_in(text)
        if number <= digits and kept[number] < KEPT:
            kept[number] += 1
            chosen[text] = value
    return chosen
