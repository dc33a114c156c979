"""Answers as the page and the API send them: words, numbers and small pictures, ready for JSON."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

import numpy as np

from lenet_digits.reading.canvas import CanvasSteps, canvas_steps
from lenet_digits.reading.display import data_url
from lenet_digits.reading.pictures import NoInkError, UnreadableImageError
from lenet_digits.reading.prediction import Prediction, percent, predict, predict_steps

if TYPE_CHECKING:
    from lenet_digits.model import LeNet5

MAX_BYTES = 20 * 2**20  # of a picture that is sent; phone photos have 2 to 12 MiB
TOLD = 0.05  # share of the ink from which it is said that it was left aside
SURE = 0.9  # probability from which the second digit is not worth a mention


def for_programs(picture: bytes, model: LeNet5 | None = None) -> dict[str, Any]:
    """The answer to a picture file as `Prediction.to_dict` has it; raises as `predict` does."""
    return predict(picture, model=model).to_dict()


def for_page(picture: bytes, model: LeNet5 | None = None) -> dict[str, Any]:
    """The answer to a picture file as the page shows it. A blank picture has an answer, too.

    Raises UnreadableImageError where it is not a picture.
    """
    try:
        steps = canvas_steps(picture)
    except NoInkError:
        return {"verdict": "nothing", "headline": "", "note": "No ink found in this picture"}
    return describe(predict_steps(steps, model=model), steps)


def describe(prediction: Prediction, steps: CanvasSteps) -> dict[str, Any]:
    """An answer as the page shows it: words, and each digit with its bars and canvas."""
    first, second = np.argsort(prediction.probabilities)[::-1][:2]
    confidence = prediction.confidence
    if prediction.is_digit is False:
        verdict, headline = "unlike", "Not a digit"
        note = f"It looks like none of the ten. The nearest is a {first}."
    elif confidence >= SURE:
        verdict, headline = "digit", str(first)
        note = f"{percent(confidence)} sure"
    else:
        verdict, headline = "digit", str(first)
        runner_up = percent(prediction.probabilities[second])
        note = f"{percent(confidence)} sure. It may be a {second} ({runner_up})."
    if prediction.is_digit is None:
        note += ". These weights cannot tell whether it is a digit."
    discarded = f"{percent(steps.discarded)} of the ink was left aside: specks, lines or borders."
    return {
        "verdict": verdict,
        "headline": headline,
        "note": note,
        "text": "" if prediction.is_digit is False else headline,
        "digits": [digit_of(prediction, steps)],
        "steps": _steps(steps),
        "discarded": discarded if steps.discarded >= TOLD else "",
    }


def digit_of(prediction: Prediction, steps: CanvasSteps) -> dict[str, Any]:
    """One digit as the page shows it; its box is in shares of the picture's width and height."""
    height, width = steps.picture.shape[:2]
    left, top, right, bottom = steps.box
    return {
        "digit": prediction.digit,
        "share": percent(prediction.confidence),
        "verdict": "unlike" if prediction.is_digit is False else "digit",
        "probabilities": prediction.probabilities,
        "shares": [percent(share) for share in prediction.probabilities],
        "canvas": data_url(steps.canvas),
        "box": [left / width, top / height, right / width, bottom / height],
    }


_ABOUT_STEPS = {
    "Picture": "as it was read, upright",
    "Contrast": "light evened out, ink bright",
    "Ink": "what is taken for the digit, in its box",
    "Canvas": "scaled and centred as MNIST did",
}


def _steps(steps: CanvasSteps) -> list[dict[str, str]]:
    return [
        {
            "name": name,
            "about": _ABOUT_STEPS.get(name, ""),
            "image": data_url(image, box=steps.box if name == "Ink" else None),
        }
        for name, image in steps.named()
    ]


def from_data_url(url: Any) -> bytes:
    """The file inside a data URL. Raises UnreadableImageError where it is not a data URL."""
    if (
        not isinstance(url, str)
        or not url[:5].lower() == "data:"
        or ";base64," not in url[:100].lower()
    ):
        raise UnreadableImageError("This is not a picture. Send a base64 data URL of one.")
    if len(url) > MAX_BYTES * 4 / 3 + 100:
        raise UnreadableImageError(
            f"The file is larger than {MAX_BYTES // 2**20} MB; save the picture smaller."
        )
    try:
        return base64.b64decode(url.partition(",")[2], validate=True)
    except binascii.Error:
        raise UnreadableImageError("This is not a picture: the data URL is damaged.") from None
