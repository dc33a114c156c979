"""Turns batches of pictures, as engines for large data hand them over, into columns of answers.

It depends on none of these engines: it is made for Ray Data's ``map_batches``, and works with
others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet_digits.reading.numbers import read
from lenet_digits.reading.pictures import ImageInput, NoInkError, UnreadableImageError
from lenet_digits.reading.prediction import predict

COLUMNS = ("bytes", "image")  # as ray.data.read_binary_files and ray.data.read_images name theirs
TYPES = {
    "digit": np.int64,
    "confidence": np.float64,
    "is_digit": np.int8,
    "outlier_score": np.float64,
    "probabilities": np.float64,
    "error": np.str_,
}
READING_TYPES = {
    "text": np.str_,
    "confidence": np.float64,
    "lines": np.int64,
    "reading": np.str_,
    "error": np.str_,
}


class BatchPredictor:
    """Predictions for a column of pictures, in the place of that column.

    A directory of any size, on all of a Ray cluster (``pip install "lenet-digits[ray]"``)::

        pictures = ray.data.read_binary_files("s3://bucket/pictures", include_paths=True)
        workers = ray.data.ActorPoolStrategy(size=8)
        answers = pictures.map_batches(lenet_digits.BatchPredictor, batch_size=64, compute=workers)
        answers.write_parquet("s3://bucket/answers")

    The weights are read once a worker. A worker that is killed is replaced, and its batch read
    again by another: nothing is lost or doubled.
    """

    def __init__(
        self, *, column: str | None = None, weights: str | None = None, method: str = "mnist"
    ) -> None:
        """Makes ready to predict; in Ray, give these as ``fn_constructor_kwargs``.

        Args:
            column: of the pictures; ``"bytes"`` or ``"image"``, whichever there is, by default.
                Its values are what `predict` takes.
            weights: as for `load_model`, which then needs torch; the shipped ones by default.
            method: as for `predict`.
        """
        self.column, self.method = column, method
        self.model = None
        if weights is not None:
            import lenet_digits

            self.model = lenet_digits.load_model(weights)

    def __call__(self, batch: Mapping[str, Sequence[Any] | NDArray[Any]]) -> dict[str, Any]:
        """The batch without its pictures, and with a prediction of each.

        Adds ``digit`` (int64, -1 where there is none), ``confidence``, ``outlier_score`` (float64)
        and ``probabilities`` (float64, ten), all NaN where there are none; ``is_digit`` (int8: 1
        for a digit, 0 for none, -1 where the weights cannot tell, or where there is no answer);
        and ``error``: what is wrong with a picture that cannot be read, or an empty text.

        Raises:
            KeyError: the batch has no such column of pictures.
            ValueError: the batch has a column of its own with the name of one that is added.
        """
        column = _column_of(batch, self.column, added=TYPES)
        nothing = {
            "digit": -1,
            "confidence": np.nan,
            "is_digit": -1,
            "outlier_score": np.nan,
            "probabilities": [np.nan] * 10,
        }
        rows = []
        for picture in batch[column]:
            try:
                rows.append(self._predicted(picture) | {"error": ""})
            except (NoInkError, UnreadableImageError) as error:
                rows.append(nothing | {"error": str(error)})
        added: dict[str, NDArray[Any]] = {
            name: np.array([row[name] for row in rows], dtype) for name, dtype in TYPES.items()
        }
        added["probabilities"] = added["probabilities"].reshape(-1, 10)
        return {name: values for name, values in batch.items() if name != column} | added

    def _predicted(self, picture: ImageInput) -> dict[str, Any]:
        answer = predict(picture, model=self.model, method=self.method).to_dict()
        if answer["is_digit"] is None:
            answer |= {"is_digit": -1, "outlier_score": np.nan}
        return answer


class BatchReader:
    """Readings of a column of pictures, in the place of that column.

    As `BatchPredictor`, for pictures that hold any number of digits::

        answers = pictures.map_batches(lenet_digits.BatchReader, batch_size=16, compute=workers)
    """

    def __init__(
        self, *, column: str | None = None, weights: str | None = None, digits: int | None = None
    ) -> None:
        """Makes ready to read; in Ray, give these as ``fn_constructor_kwargs``.

        Args:
            column: of the pictures; ``"bytes"`` or ``"image"``, whichever there is, by default.
                Its values are what `read` takes.
            weights: as for `load_model`, which then needs torch; the shipped ones by default.
            digits: as for `read`.

        Raises ValueError where `digits` is less than 1.
        """
        if digits is not None and digits < 1:
            raise ValueError(f"digits is {digits}; it must be 1 or more.")
        self.column, self.digits = column, digits
        self.model = None
        if weights is not None:
            import lenet_digits

            self.model = lenet_digits.load_model(weights)

    def __call__(self, batch: Mapping[str, Sequence[Any] | NDArray[Any]]) -> dict[str, Any]:
        """The batch without its pictures, and with a reading of each.

        Adds ``text`` (one line per line), ``confidence`` (float64: that of the least sure line, NaN
        where there is none), ``lines`` (int64: how many), ``reading`` (JSON of `Reading.to_dict`,
        or an empty text) and ``error``: what is wrong with a picture that cannot be read, or an
        empty text. A blank picture has no lines and is not an error.

        Raises:
            KeyError: the batch has no such column of pictures.
            ValueError: the batch has a column of its own with the name of one that is added.
        """
        column = _column_of(batch, self.column, added=READING_TYPES)
        nothing = {"text": "", "confidence": np.nan, "lines": 0, "reading": ""}
        rows = []
        for picture in batch[column]:
            try:
                rows.append(nothing | self._read(picture) | {"error": ""})
            except UnreadableImageError as error:
                rows.append(nothing | {"error": str(error)})
        added: dict[str, NDArray[Any]] = {
            name: np.array([row[name] for row in rows], dtype)
            for name, dtype in READING_TYPES.items()
        }
        return {name: values for name, values in batch.items() if name != column} | added

    def _read(self, picture: ImageInput) -> dict[str, Any]:
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
        ValueError: one of its other columns has the name of one that is ``added``.
    """
    column = column or next((name for name in COLUMNS if name in batch), COLUMNS[0])
    if column not in batch:
        raise KeyError(f"The batch has no column {column!r}; it has {', '.join(batch)}.")
    taken = [name for name in batch if name in added and name != column]
    if taken:
        raise ValueError(
            f"The batch has a column {taken[0]!r} already, which the answers would overwrite: "
            "rename it or leave it out."
        )
    return column
