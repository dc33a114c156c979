"""Reads and writes ``metrics.json``: the figures of a training run and others of its weights.

All code reads the file with `Metrics.read` and writes it with `Metrics.write`. `Metrics.read`
checks types and ranges, so that no other code has to. It does not need torch.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from lenet_digits.storage.files import write_atomically
from lenet_digits.training.recipes import Recipe

METRICS_FILE = "metrics.json"
NUM_CLASSES = 10  # digits 0 to 9
# Of MNIST's 60,000 training digits: SHA-256 of the images' bytes and then the labels' (int64).
MNIST_SHA256 = "d18cfd466eb143ac1097fde604dba9eec4116885869d04cc648b510949f9e88c"
MNIST_TEST = (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)  # test digits, by label
ABSENT: tuple[object, ...] = (None, "", (), {})  # values that are not written
MAX_NUMBER = 2**63  # larger than any count, seed or time


class MetricsError(ValueError):
    """The file does not contain the metrics of a training run."""


@dataclass(frozen=True)
class Share:
    """The share of some pictures that was read right.

    Attributes:
        accuracy: share read right, in [0, 1].
        count: number of pictures, 1 or more.
    """

    accuracy: float
    count: int

    def __post_init__(self) -> None:
        _in_unit("accuracy", self.accuracy)
        _at_least(1, "count", self.count)


@dataclass(frozen=True)
class CorruptedShare:
    """The shares of digits with one of MNIST-C's corruptions that were read right, in [0, 1].

    Attributes:
        bare: share that the network alone reads right.
        pipeline: share that the whole package reads right, which frames the digits again.
        count: number of digits, 1 or more.
    """

    bare: float
    pipeline: float
    count: int

    def __post_init__(self) -> None:
        _in_unit("bare", self.bare)
        _in_unit("pipeline", self.pipeline)
        _at_least(1, "count", self.count)


@dataclass(frozen=True)
class Miss:
    """A mistake that was made several times.

    Attributes:
        digit: the digit in the picture, 0 to 9.
        read_as: the wrong answer, 0 to 9; None where the picture was refused.
        count: how many times this happened.
        of: number of pictures of that digit.
    """

    digit: int
    read_as: int | None
    count: int
    of: int

    def __post_init__(self) -> None:
        for name, value in (("digit", self.digit), ("read_as", self.read_as or 0)):
            if not 0 <= value < NUM_CLASSES:
                raise ValueError(f"{name} is {value}; it must be from 0 to 9")
        _at_least(1, "count", self.count)
        _at_least(self.count, "of", self.of)


@dataclass(frozen=True)
class Seeds:
    """Accuracies on the test digits, in [0, 1], of runs that differ only in their seed.

    Attributes:
        count: number of runs, 2 or more.
        mean, deviation, lowest, highest: of the accuracies; `deviation` is the standard deviation.
        calibration_error: mean of the expected calibration errors.
    """

    count: int
    mean: float
    deviation: float
    lowest: float
    highest: float
    calibration_error: float

    def __post_init__(self) -> None:
        _at_least(2, "count", self.count)
        for name in ("mean", "deviation", "lowest", "highest", "calibration_error"):
            _in_unit(name, getattr(self, name))


@dataclass(frozen=True)
class Sample:
    """The answers to the sheet of test digits that is published with the weights.

    Attributes:
        count: number of digits on the sheet, 1 or more.
        errors: how many of them the weights read wrong.
    """

    count: int
    errors: int

    def __post_init__(self) -> None:
        _at_least(0, "errors", self.errors)
        _at_least(max(1, self.errors), "count", self.count)


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch; the losses are mean cross-entropies in nats.

    Attributes:
        epoch: its number, counted from 1.
        train_loss: the loss on the training digits, as the epoch showed them.
        test_loss: the loss on the test digits.
        test_accuracy: share of the test digits read right, in [0, 1].
        learning_rate: the rate at the end of the epoch.
        seconds: how long the epoch took; negative if the clock was set back.
    """

    epoch: int
    train_loss: float
    test_loss: float
    test_accuracy: float
    learning_rate: float
    seconds: float

    def __post_init__(self) -> None:
        _at_least(1, "epoch", self.epoch)
        for name in ("train_loss", "test_loss", "learning_rate"):
            _at_least(0, name, getattr(self, name))
        _in_unit("test_accuracy", self.test_accuracy)


@dataclass(frozen=True)
class Metrics:
    """The figures of a training run, and others measured with its weights.

    Attributes:
        recipe, seed: the run was started with these.
        data_sha256: hash of the training digits, see `MNIST_SHA256`.
        limit: number of training digits that were used; None for all.
        holdout: number of training digits that were kept for evaluation, in place of the test
            digits.
        accuracy: share of the evaluated digits that was read right, in [0, 1].
        loss: mean cross-entropy on the evaluated digits, in nats.
        confusion: 10 rows of 10 counts of evaluated digits: a row for each label, a column for each
            answer.
        epochs: the record of each epoch.
        versions: versions of the package, torch and Python; machine, device and number of threads.
        evaluated_on: the evaluated digits in words, see the function `evaluated_on`.
        sha256: hash of the weights file; empty if none was written.
        sample: how the weights read the published sheet.
        real_input: shares read right, by name of the set of pictures.
        others: the same of other systems, by name of the system.
        numbers: shares of pictures of numbers that `read` reads right as a whole, by name of set.
        mnist_c: shares read right, by name of the corruption.
        misses: the most frequent mistakes on real input.
        calibration: expected calibration errors, by name of the set of pictures.
        refusal: shares that were refused, by kind of picture; and the area under the ROC curve
            under the name ``AUROC``.
        seeds: summary of runs of the same recipe with other seeds.
    """

    recipe: Recipe
    seed: int
    data_sha256: str
    holdout: int
    evaluated_on: str
    accuracy: float
    loss: float
    confusion: tuple[tuple[int, ...], ...]
    epochs: tuple[EpochRecord, ...]
    versions: dict[str, str | int]
    limit: int | None = None
    sha256: str = ""
    sample: Sample | None = None
    real_input: dict[str, Share] = field(default_factory=dict)
    others: dict[str, dict[str, Share]] = field(default_factory=dict)
    numbers: dict[str, Share] = field(default_factory=dict)
    mnist_c: dict[str, CorruptedShare] = field(default_factory=dict)
    misses: tuple[Miss, ...] = ()
    calibration: dict[str, float] = field(default_factory=dict)
    refusal: dict[str, float] = field(default_factory=dict)
    seeds: Seeds | None = None

    def __post_init__(self) -> None:
        _at_least(0, "seed", self.seed)
        _at_least(0, "holdout", self.holdout)
        _at_least(0, "loss", self.loss)
        _in_unit("accuracy", self.accuracy)
        if self.evaluated_on != evaluated_on(self.holdout):
            raise ValueError("holdout and evaluated_on disagree")
        if self.limit is not None:
            _at_least(1, "limit", self.limit)
        if [len(row) for row in self.confusion] != [NUM_CLASSES] * NUM_CLASSES:
            raise ValueError("confusion must be ten rows of ten counts")
        for count in (count for row in self.confusion for count in row):
            _at_least(0, "a count in confusion", count)
        if not math.isclose(self.accuracy, self.right / max(1, self.count), abs_tol=1e-6):
            raise ValueError("accuracy and confusion disagree")
        for name in ("calibration", "refusal"):
            for kind, share in getattr(self, name).items():
                _in_unit(f"{name} of {kind}", share)

    @property
    def count(self) -> int:
        """Number of digits that the run was evaluated on."""
        return sum(map(sum, self.confusion))

    @property
    def right(self) -> int:
        """Number of these digits that were read right."""
        return sum(row[digit] for digit, row in enumerate(self.confusion))

    @property
    def trained_on_mnist(self) -> bool:
        """Whether the run trained on all of MNIST's 60,000 training digits."""
        return self.data_sha256 == MNIST_SHA256 and self.limit is None and not self.holdout

    @property
    def tested_on_mnist(self) -> bool:
        """Whether the counts of the evaluated digits are those of MNIST's 10,000 test digits."""
        return not self.holdout and tuple(map(sum, self.confusion)) == MNIST_TEST

    @classmethod
    def read(cls, path: Path) -> Metrics:
        """The metrics in a file.

        Raises:
            MetricsError: the file does not contain the metrics of a training run. The message says
                why.
            OSError: the file cannot be read.
        """
        try:
            return cls.parse(path.read_text("utf-8"))
        except UnicodeDecodeError:
            raise MetricsError(
                f"{path} does not hold the metrics of a training run: it is not UTF-8 text."
            ) from None
        except ValueError as error:
            raise MetricsError(
                f"{path} does not hold the metrics of a training run: {error}."
            ) from error

    @classmethod
    def parse(cls, text: str) -> Metrics:
        """The metrics in a JSON text. Raises ValueError, which names the wrong field."""
        try:
            value = json.loads(text)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        except json.JSONDecodeError as error:
            raise ValueError(f"it is not JSON in line {error.lineno}") from None
        except ValueError:  # Python limits the digits of a number
            raise ValueError("a number in it has too many digits") from None
        metrics: Metrics = _checked(value, cls, "")
        return metrics

    def write(self, path: Path) -> None:
        """Write the metrics to a file, which appears whole or not at all. Raises OSError."""
        values = asdict(self)
        for each in fields(self):
            if not _is_required(each) and values[each.name] in ABSENT:
                del values[each.name]
        text = json.dumps(values, indent=2)
        write_atomically(path, (text + "\n").encode())


def evaluated_on(holdout: int) -> str:
    """The digits that a run was evaluated on, in words."""
    return f"{holdout:,} held-out training digits" if holdout else "the test digits"


def _checked(value: Any, wanted: Any, name: str) -> Any:
    """Convert a value from JSON to the type `wanted`. Raises ValueError, with the value's name."""
    origin, parts = get_origin(wanted), get_args(wanted)
    if isinstance(wanted, type) and is_dataclass(wanted):
        return _checked_fields(value, wanted, name)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in parts:
            return None
        for part in parts:
            if type(value) is part:
                return _checked(value, part, name)
        return _checked(value, parts[0], name)
    if origin is dict and isinstance(value, dict):
        return {key: _checked(each, parts[1], f"{name}: {key}") for key, each in value.items()}
    if origin is tuple and isinstance(value, list):
        return tuple(_checked(each, parts[0], f"{name} {i}") for i, each in enumerate(value, 1))
    if wanted is float and type(value) in (int, float) and abs(value) <= MAX_NUMBER:
        return float(value)
    if wanted is int and type(value) is int and abs(value) <= MAX_NUMBER:
        return value
    if wanted in (str, bool) and type(value) is wanted:
        return value
    raise ValueError(f"{name} is {_shortened(value)}")


def _checked_fields(value: Any, wanted: type[Any], name: str) -> Any:
    if not isinstance(value, Mapping):
        holder = f"{name} is" if name else "the file holds"
        raise ValueError(f"{holder} {_shortened(value)}, not an object")
    hints = _type_hints(wanted)  # type: ignore[arg-type]  # a class is hashable
    if unknown := sorted(set(value) - set(hints)):
        raise ValueError(f"{name or 'it'} has an unknown field {_shortened(unknown[0])}")
    found = {}
    for each in fields(wanted):
        inner = f"{name}: {each.name}" if name else each.name
        if each.name in value:
            found[each.name] = _checked(value[each.name], hints[each.name], inner)
        elif _is_required(each):
            raise ValueError(f"{inner} is missing")
    try:
        return wanted(**found)
    except ValueError as error:
        raise ValueError(f"{name}: {error}".removeprefix(": ").rstrip(".")) from error


@cache
def _type_hints(wanted: type[Any]) -> dict[str, Any]:
    return get_type_hints(wanted)  # it evaluates the hints, which are text, anew


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _shortened(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:36]} ..."


def _in_unit(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; it must be from 0 to 1")


def _at_least(least: int, name: str, value: float) -> None:
    if not least <= value < math.inf:
        raise ValueError(f"{name} is {value}; it must be {least} or more")
