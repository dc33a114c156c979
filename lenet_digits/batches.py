"""Turns batches of pictures into columns of answers, as engines for large data need them.

It depends on no engine. It is made for Ray Data's ``map_batches``, and works with others.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lenet_digits.reading.numbers import check_digits, read
from lenet_digits.reading.pictures import ImageInput, NoInkError, UnreadableImageError
from lenet_digits.reading.prediction import predict

COLUMNS = ("bytes", "image")  # the names that Ray's read_binary_files and read_images use


class _BatchAnswers(ABC):
    """Replaces a column of pictures by columns of answers."""

    types: ClassVar[dict[str, Any]]  # of the columns that are added, without "error"
    without_answer: ClassVar[dict[str, Any]]  # their values for a picture that has no answer

    def __init__(self, *, column: str | None, weights: str | None) -> None:
        self.column = column
        self.model = None
        if weights is not None:
            import lenet_digits

            self.model = lenet_digits.load_model(weights)

    def __call__(self, batch: Mapping[str, Sequence[Any] | NDArray[Any]]) -> dict[str, Any]:
        """The batch with the columns of answers in place of the column of pictures.

        Raises:
            KeyError: the batch has no such column of pictures.
            ValueError: another column of the batch has the name of a column that is added.
        """
        types = self.types | {"error": np.str_}
        column = _column_of(batch, self.column, added=types)
        rows = []
        for picture in batch[column]:
            row = self.without_answer | {"error": ""}
            try:
                row |= self._answer(picture)
            except (NoInkError, UnreadableImageError) as error:
                row["error"] = str(error)
            rows.append(row)
        kept = {name: values for name, values in batch.items() if name != column}
        return kept | {
            name: np.array([row[name] for row in rows], dtype).reshape(
                len(rows), *np.shape(self.without_answer.get(name, ""))
            )
            for name, dtype in types.items()
        }

    @abstractmethod
    def _answer(self, picture: ImageInput) -> dict[str, Any]:
        """The values of the columns for one picture."""


class BatchPredictor(_BatchAnswers):
    """Replaces a column of pictures by the answers of `predict`.

    It reads a folder of any size on all machines of a Ray cluster (``pip install
    "lenet-digits[ray]"``)::

        pictures = ray.data.read_binary_files("s3://bucket/pictures", include_paths=True)
        workers = ray.data.ActorPoolStrategy(size=8)
        answers = pictures.map_batches(lenet_digits.BatchPredictor, batch_size=64, compute=workers)
        answers.write_parquet("s3://bucket/answers")

    Each worker reads the weights once. The columns of answers are ``digit`` (int64, -1 without an
    answer), ``confidence`` and ``outlier_score`` (float64, NaN without an answer),
    ``probabilities`` (float64, ten per picture), ``is_digit`` (int8: 1 for a digit, 0 for something
    else, -1 if the weights cannot tell or there is no answer) and ``error`` (what is wrong with a
    picture that cannot be read or is blank, else "").
    """

    types: ClassVar = {
        "digit": np.int64,
        "confidence": np.float64,
        "is_digit": np.int8,
        "outlier_score": np.float64,
        "probabilities": np.float64,
    }
    without_answer: ClassVar = {
        "digit": -1,
        "confidence": np.nan,
        "is_digit": -1,
        "outlier_score": np.nan,
        "probabilities": [np.nan] * 10,
    }

    def __init__(
        self, *, column: str | None = None, weights: str | None = None, method: str = "mnist"
    ) -> None:
        """Prepares to predict. In Ray, give the arguments as ``fn_constructor_kwargs``.

        Args:
            column: the name of the column of pictures, by default ``"bytes"`` or ``"image"``. Its
                values can be anything that `predict` takes.
            weights: as for `load_model`, which needs torch; by default the shipped weights.
            method: as for `predict`.
        """
        super().__init__(column=column, weights=weights)
        self.method = method

    def _answer(self, picture: ImageInput) -> dict[str, Any]:
        answer = predict(picture, model=self.model, method=self.method).to_dict()
        if answer["is_digit"] is None:
            answer |= {"is_digit": -1, "outlier_score": np.nan}
        return answer


class BatchReader(_BatchAnswers):
    """Replaces a column of pictures by the answers of `read`.

    It works as `BatchPredictor` does, for pictures with any number of digits::

        answers = pictures.map_batches(lenet_digits.BatchReader, batch_size=16, compute=workers)

    The columns of answers are ``text`` (one line per line of digits), ``confidence`` (float64: of
    the least sure line, NaN without lines), ``lines`` (int64: the number of lines), ``reading``
    (the JSON of `Reading.to_dict`, or "" if the picture cannot be read) and ``error`` (what is
    wrong with a picture that cannot be read, else ""). A blank picture has no lines and no error.
    """

    types: ClassVar = {
        "text": np.str_,
        "confidence": np.float64,
        "lines": np.int64,
        "reading": np.str_,
    }
    without_answer: ClassVar = {"text": "", "confidence": np.nan, "lines": 0, "reading": ""}

    def __init__(
        self, *, column: str | None = None, weights: str | None = None, digits: int | None = None
    ) -> None:
        """Prepares to read. In Ray, give the arguments as ``fn_constructor_kwargs``.

        Args:
            column: the name of the column of pictures, by default ``"bytes"`` or ``"image"``. Its
                values can be anything that `read` takes.
            weights: as for `load_model`, which needs torch; by default the shipped weights.
            digits: as for `read`.

        Raises ValueError if `digits` is not a whole number from 1 to 100.
        """
        check_digits(digits)
        super().__init__(column=column, weights=weights)
        self.digits = digits

    def _answer(self, picture: ImageInput) -> dict[str, Any]:
        reading = read(picture, digits=self.digits, model=self.model)
        return {
            "text": reading.text,
            "confidence": min((line.confidence for line in reading.lines), default=np.nan),
            "lines": len(reading.lines),
            "reading": json.dumps(reading.to_dict()),
        }


def _column_of(batch: Mapping[str, Any], column: str | None, *, added: Mapping[str, Any]) -> str:
    """The name of the column of pictures.

    Raises:
        KeyError: the batch has no such column.
        ValueError: another column has the name of a column that is ``added``.
    """
    column = column or next((name for name in COLUMNS if name in batch), COLUMNS[0])
    if column not in batch:
        raise KeyError(f"The batch has no column {column!r}; it has {', '.join(batch)}.")
    taken = [name for name in batch if name in added and name != column]
    if taken:
        raise ValueError(
            f"The batch already has a column {taken[0]!r}, which the answers would overwrite: "
            "rename it or leave it out."
        )
    return column
