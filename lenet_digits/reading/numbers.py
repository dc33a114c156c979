"""Reads the numbers in a picture: `read` gives a `Reading` of lines of digits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lenet_digits.reading.canvas import canvas_steps
from lenet_digits.reading.framing import IMAGE_SIZE, Floats
from lenet_digits.reading.lattice import COSTS, Arcs, Costs, Path, best_paths, log_shares
from lenet_digits.reading.page import PAGE_SIZE, Box, Page, page_of
from lenet_digits.reading.pictures import Bytes, ImageInput, NoInkError, read as read_picture
from lenet_digits.reading.prediction import Prediction, percent, predict_steps, shipped_network
from lenet_digits.reading.segmentation import (
    Pieces,
    candidates_of,
    canvas_of,
    lines_of,
)

if TYPE_CHECKING:
    from lenet_digits.model import LeNet5

SPACE = 0.75  # digit heights: a gap that a space stands for
MOST_CANVASES = 8000  # of one picture


def arcs_of(image: ImageInput, model: LeNet5 | None = None) -> tuple[Page | None, list[Arcs]]:
    try:
        picture = read_picture(image, fine_size=PAGE_SIZE)
    except NoInkError:
        return None, []
    page = page_of(picture)
    if page is None:
        return None, []
    lines = lines_of(page)
    found = [(pieces, candidates_of(pieces)) for pieces in lines]
    canvases = [
        canvas_of(pieces, first, stop)
        for pieces, candidates in found
        for first, stop in candidates.spans.tolist()
    ]
    network = shipped_network() if model is None else model
    batch = np.stack(canvases) if canvases else np.zeros((0, IMAGE_SIZE, IMAGE_SIZE), np.float32)
    logits = network.logits(batch) if canvases else np.zeros((0, 10), np.float32)
    digit_logs, other_logs = log_shares(logits)
    arcs, start = [], 0
    whole = _whole(picture, found[0][0], network) if len(found) == 1 else None
    for pieces, candidates in found:
        stop = start + len(candidates.spans)
        arcs.append(Arcs(pieces, candidates, digit_logs[start:stop], other_logs[start:stop], whole))
        start = stop
    return page, arcs


def _whole(picture: Bytes, pieces: Pieces, network) -> Floats | None:
    left, top = pieces.boxes[:, :2].min(axis=0)
    right, bottom = pieces.boxes[:, 2:].max(axis=0)
    if right - left > 1.6 * (bottom - top):
        return None
    try:
        steps = canvas_steps(picture)
    except NoInkError:
        return None
    return log_shares(network.logits(steps.canvas[None]))[0][0]
