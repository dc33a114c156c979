"""LeNet-5 (1998) reading real handwriting: the public names, nothing else.

Names resolve on first use, so that ``import lenet_digits`` costs next to nothing and loads
neither torch nor any other heavy package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lenet_digits.batches import BatchPredictor
    from lenet_digits.checkpoint import load_model, save_weights
    from lenet_digits.files import WeightsError
    from lenet_digits.hub import HubError
    from lenet_digits.images import CanvasSteps, canvas_steps
    from lenet_digits.mnist import DatasetNotFoundError, Digits, load_mnist
    from lenet_digits.model import LeNet5
    from lenet_digits.pictures import NoInkError, UnreadableImageError
    from lenet_digits.prediction import (
        Prediction,
        predict,
        predict_many,
        predict_steps,
        preprocess,
    )
    from lenet_digits.training import (
        Evaluation,
        TrainingError,
        TrainingRun,
        evaluate,
        train,
    )

__version__ = "0.1.0"

_MODULE_OF = {
    "LeNet5": "model",
    "BatchPredictor": "batches",
    "HubError": "hub",
    "CanvasSteps": "images",
    "NoInkError": "pictures",
    "UnreadableImageError": "pictures",
    "canvas_steps": "images",
    "DatasetNotFoundError": "mnist",
    "Digits": "mnist",
    "load_mnist": "mnist",
    "WeightsError": "files",
    "load_model": "checkpoint",
    "save_weights": "checkpoint",
    "Prediction": "prediction",
    "predict": "prediction",
    "predict_many": "prediction",
    "predict_steps": "prediction",
    "preprocess": "prediction",
    "Evaluation": "training",
    "TrainingError": "training",
    "TrainingRun": "training",
    "evaluate": "training",
    "train": "training",
}

__all__ = [
    "BatchPredictor",
    "CanvasSteps",
    "DatasetNotFoundError",
    "Digits",
    "Evaluation",
    "HubError",
    "LeNet5",
    "NoInkError",
    "Prediction",
    "TrainingError",
    "TrainingRun",
    "UnreadableImageError",
    "WeightsError",
    "__version__",
    "canvas_steps",
    "evaluate",
    "load_mnist",
    "load_model",
    "predict",
    "predict_many",
    "predict_steps",
    "preprocess",
    "save_weights",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
