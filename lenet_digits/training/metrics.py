"""What ``metrics.json`` holds: the figures of a training run, and others measured with its weights.

`Metrics.read` is the only reader and `Metrics.write` the only writer. What was read has the right
types and ranges, so that no other code has to check. The app reads them without torch.
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
ABSENT: tuple[object, ...] = (None, "", (), {})  # what is not written
MOST = 2**63  # above every count, seed and time


class MetricsError(ValueError):
    """A file that does not hold the metrics of a training run."""


@dataclass(frozen=True)
class Share:
    """What was read right of some pictures.

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
    """What was read right of digits with one of MNIST-C's corruptions; shares in [0, 1].

    Attributes:
        bare: by the network alone.
        pipeline: by the whole package, which frames the digits again.
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
        digit: what was written, 0 to 9.
        read_as: the wrong answer, 0 to 9; None where the picture was refused.
        count: how many times.
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
    """Runs that differ in their seed only: accuracies on the test digits, in [0, 1].

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
    """The sheet of test digits that is published beside the weights.

    Attributes:
        count: number of digits on it, 1 or more.
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
        train_loss: the training cost, over the digits as the epoch showed them.
        test_loss: the loss on the test digits.
        test_accuracy: share of the test digits read right, in [0, 1].
        learning_rate: at the epoch's end.
        seconds: how long it took; below 0 where the clock was set back.
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
        recipe, seed: what the run was started with.
        data_sha256: of the training digits, see `MNIST_SHA256`.
        limit: number of training digits, if not all were used.
        holdout: number of training digits put aside, and evaluated on instead of the test digits.
        accuracy: share of the digits evaluated on that was read right, in [0, 1].
        loss: mean cross-entropy on them, in nats.
        confusion: 10 rows of 10, digits counted by label and answer.
        epochs: the record of each epoch.
        versions: of the package, torch and Python; machine, device and number of threads.
        evaluated_on: "the test digits", or the held-out digits in words.
        sha256: of the weights file; empty where none was written.
        sample: how the weights read the published sheet.
        real_input: what was read right, by name of the pictures.
        others: the same of other systems, by their names.
        numbers: of pictures of numbers, how many `read` reads right as a whole, by their name.
        mnist_c: what was read right, by name of the corruption.
        misses: the most frequent mistakes on real input.
        calibration: expected calibration errors, by name of the pictures.
        refusal: shares refused, by kind of picture; and ``AUROC``.
        seeds: runs of the same recipe with other seeds.
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
        """How many digits the run was evaluated on."""
        return sum(map(sum, self.confusion))

    @property
    def right(self) -> int:
        """How many of them were read right."""
        return sum(row[digit] for digit, row in enumerate(self.confusion))

    @property
    def trained_on_mnist(self) -> bool:
        """Whether the training digits were MNIST's 60,000, all of them."""
        return self.data_sha256 == MNIST_SHA256 and self.limit is None and not self.holdout

    @property
    def tested_on_mnist(self) -> bool:
        """Whether the digits evaluated on were MNIST's 10,000 test digits, by their counts."""
        return not self.holdout and tuple(map(sum, self.confusion)) == MNIST_TEST

    @classmethod
    def read(cls, path: Path) -> Metrics:
        """The metrics in a file.

        Raises:
            MetricsError: it does not hold the metrics of a training run; the message says why.
            OSError: it cannot be read.
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
        """The metrics in a JSON text. Raises ValueError, with the name of what is wrong."""
        try:
            value = json.loads(text)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        except json.JSONDecodeError as error:
            raise ValueError(f"it is not JSON in line {error.lineno}") from None
        except ValueError:  # Python's limit
            raise ValueError("a number in it has too many digits") from None
        metrics: Metrics = _checked(value, cls, "")
        return metrics

    def write(self, path: Path) -> None:
        """Write them to a file, which appears whole or not at all. Raises OSError."""
        values = asdict(self)
        for each in fields(self):
            if not _is_required(each) and values[each.name] in ABSENT:
                del values[each.name]
        text = json.dumps(values, indent=2)
        write_atomically(path, (text + "\n").encode())


def evaluated_on(holdout: int) -> str:
    """What a run was evaluated on, in words."""
    return f"{holdout:,} held-out training digits" if holdout else "the test digits"


def _checked(value: Any, wanted: Any, name: str) -> Any:
    """A value from JSON as the type that is wanted. Raises ValueError, with the value's name."""
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
    if wanted is float and type(value) in (int, float) and abs(value) <= MOST:
        return float(value)
    if wanted is int and type(value) is int and abs(value) <= MOST:
        return value
    if wanted in (str, bool) and type(value) is wanted:
        return value
    raise ValueError(f"{name} is {_shortened(value)}")


def _checked_fields(value: Any, wanted: type[Any], name: str) -> Any:
    if not isinstance(value, Mapping):
        holder = f"{name} is" if name else "the file holds"
        raise ValueError(f"{holder} {_shortened(value)}, not an object")
    hints = _type_hints(wanted)
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
