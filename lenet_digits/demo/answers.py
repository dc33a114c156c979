"""Answers as the page and the API send them: words, numbers and small pictures, ready for JSON."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np

from lenet_digits.reading.canvas import CanvasSteps
from lenet_digits.reading.display import data_url
from lenet_digits.reading.pictures import UnreadableImageError
from lenet_digits.reading.prediction import WORTH_MENTION, Prediction, percent

MAX_BYTES = 20 * 2**20  # of a picture that is sent; phone photos have 2 to 12 MiB
SURE = 0.9  # probability from which the second digit is not worth a mention


def describe(prediction: Prediction, steps: CanvasSteps) -> dict[str, Any]:
    """An answer as the page shows it: words, probabilities, the canvas and the steps to it."""
    first, second = np.argsort(prediction.probabilities)[::-1][:2]
    confidence = prediction.confidence
    if prediction.is_digit is False:
        verdict, headline = "unlike", "Not a digit"
        note = f"It looks like none of the ten; the nearest is a {first}."
        if prediction.reason:
            note = f"The picture shows {prediction.reason}. Give one digit at a time."
    elif confidence >= SURE:
        verdict, headline = "digit", str(first)
        note = f"{percent(confidence)} sure"
    else:
        verdict, headline = "digit", str(first)
        runner_up = percent(prediction.probabilities[second])
        note = f"{percent(confidence)} sure; it may be a {second} ({runner_up})"
    if prediction.is_digit is None:
        note += "; whether it is a digit is unknown"
    discarded = f"{percent(steps.discarded)} of the ink was left aside: specks, lines, borders."
    return {
        "verdict": verdict,
        "headline": headline,
        "note": note,
        "digit": prediction.digit,
        "probabilities": prediction.probabilities,
        "shares": [percent(share) for share in prediction.probabilities],
        "canvas": data_url(steps.canvas),
        "steps": _steps(steps),
        "discarded": discarded if steps.discarded >= WORTH_MENTION else "",
    }


_ABOUT_STEPS = {
    "Picture": "upright, cut to the page that carries the ink",
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
    """The file inside a data URL, whatever its type says; UnreadableImageError if it is none."""
    if not isinstance(url, str) or not url.startswith("data:") or ";base64," not in url[:100]:
        raise UnreadableImageError("This is no picture: send a base64 data URL of one.")
    if len(url) > MAX_BYTES * 4 / 3 + 100:
        raise UnreadableImageError(
            f"The file is larger than {MAX_BYTES // 2**20} MB; save the picture smaller."
        )
    try:
        return base64.b64decode(url.partition(",")[2], validate=True)
    except binascii.Error:
        raise UnreadableImageError("This is no picture: the data URL is damaged.") from None
