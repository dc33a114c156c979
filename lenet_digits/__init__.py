"""Reads handwritten digits with LeNet-5, the network of 1998. Here are all public names.

A name is imported when it is first used. Therefore ``import lenet_digits`` takes almost no time and
loads neither torch nor another large package.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # type checkers know this name; importing `typing` would take milliseconds
if TYPE_CHECKING:  # `as` tells them that a name is public
    from typing import Any

    from lenet_digits.batches import BatchPredictor as BatchPredictor
    from lenet_digits.batches import BatchReader as BatchReader
    from lenet_digits.model import LeNet5 as LeNet5
    from lenet_digits.model import load_model as load_model
    from lenet_digits.model import preprocess as preprocess
    from lenet_digits.model import save_weights as save_weights
    from lenet_digits.reading.canvas import CanvasSteps as CanvasSteps
    from lenet_digits.reading.canvas import canvas_steps as canvas_steps
    from lenet_digits.reading.inside import Activations as Activations
    from lenet_digits.reading.inside import activations as activations
    from lenet_digits.reading.inside import occlusion as occlusion
    from lenet_digits.reading.numbers import Alternative as Alternative
    from lenet_digits.reading.numbers import Cell as Cell
    from lenet_digits.reading.numbers import Cut as Cut
    from lenet_digits.reading.numbers import Digit as Digit
    from lenet_digits.reading.numbers import Line as Line
    from lenet_digits.reading.numbers import Mark as Mark
    from lenet_digits.reading.numbers import Reading as Reading
    from lenet_digits.reading.numbers import read as read
    from lenet_digits.reading.numbers import read_many as read_many
    from lenet_digits.reading.pictures import NoInkError as NoInkError
    from lenet_digits.reading.pictures import UnreadableImageError as UnreadableImageError
    from lenet_digits.reading.prediction import Prediction as Prediction
    from lenet_digits.reading.prediction import predict as predict
    from lenet_digits.reading.prediction import predict_many as predict_many
    from lenet_digits.reading.prediction import predict_steps as predict_steps
    from lenet_digits.storage.files import WeightsError as WeightsError
    from lenet_digits.storage.hub import HubError as HubError
    from lenet_digits.training.checkpoint import TrainingError as TrainingError
    from lenet_digits.training.evaluation import Evaluation as Evaluation
    from lenet_digits.training.evaluation import evaluate as evaluate
    from lenet_digits.training.loop import TrainingRun as TrainingRun
    from lenet_digits.training.loop import train as train
    from lenet_digits.training.metrics import EpochRecord as EpochRecord
    from lenet_digits.training.mnist import DatasetNotFoundError as DatasetNotFoundError
    from lenet_digits.training.mnist import Digits as Digits
    from lenet_digits.training.mnist import load_mnist as load_mnist
    from lenet_digits.training.recipes import Recipe as Recipe

__version__ = "0.1.0"

_NAMES_IN = {  # where each public name is defined; the imports above are for type checkers only
    "batches": "BatchPredictor BatchReader",
    "model": "LeNet5 load_model preprocess save_weights",
    "reading.canvas": "CanvasSteps canvas_steps",
    "reading.inside": "Activations activations occlusion",
    "reading.numbers": "Alternative Cell Cut Digit Line Mark Reading read read_many",
    "reading.pictures": "NoInkError UnreadableImageError",
    "reading.prediction": "Prediction predict predict_many predict_steps",
    "storage.files": "WeightsError",
    "storage.hub": "HubError",
    "training.checkpoint": "TrainingError",
    "training.evaluation": "Evaluation evaluate",
    "training.loop": "TrainingRun train",
    "training.metrics": "EpochRecord",
    "training.mnist": "DatasetNotFoundError Digits load_mnist",
    "training.recipes": "Recipe",
}
_MODULE_OF = {name: module for module, names in _NAMES_IN.items() for name in names.split()}

__all__ = sorted([*_MODULE_OF, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{_MODULE_OF[name]}")
    except ModuleNotFoundError as error:  # as in the light installation
        raise ModuleNotFoundError(
            f"lenet_digits.{name} needs {error.name}, which is not installed. Install everything: "
            "pip install lenet-digits",
            name=error.name,
        ) from error
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
