"""Turns answers into what the page and the API send: words, numbers and small pictures for JSON."""

from __future__ import annotations

import base64
import binascii
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from lenet_digits.reading.canvas import CanvasSteps, canvas_steps
from lenet_digits.reading.display import data_url
from lenet_digits.reading.numbers import Digit, Reading, read
from lenet_digits.reading.pictures import NoInkError, UnreadableImageError, composited, opened
from lenet_digits.reading.prediction import (
    WORTH_MENTION,
    Prediction,
    likeliest,
    percent,
    predict_steps,
)
from lenet_digits.storage.files import WeightsError

if TYPE_CHECKING:
    from lenet_digits.model import LeNet5

MAX_BYTES = 20 * 2**20  # of a picture that is sent; phone photos have 2 to 12 MiB
WIDE = 1.1  # width over height: ink that is wider may be a number although it passes for a digit
SHOWN = 2000  # pixels: longest side of the picture that digits are cut out of to be shown
MARGIN = 0.15  # share of a digit's longer side that is shown around its box
CROP = 64  # pixels: longest side, at most, of the picture of one digit among several
SURE = 0.9  # probability from which the second digit is not worth a mention


def for_programs(picture: bytes, model: LeNet5 | None = None) -> dict[str, Any]:
    """The numbers in a picture file as `Reading.to_dict` has them; raises as `read` does."""
    return read(picture, model=model).to_dict()


def for_page(picture: bytes, model: LeNet5 | None = None) -> dict[str, Any]:
    """The answer to a picture file as the page shows it. A blank picture has an answer too.

    Raises UnreadableImageError if the file is not a picture.
    """
    try:
        steps = likeliest(canvas_steps(picture), model=model)
    except NoInkError:
        return {"verdict": "nothing", "headline": "", "note": "No ink found in this picture"}
    prediction = predict_steps(steps, model=model)
    left, top, right, bottom = steps.box
    if prediction.is_digit is False or right - left > WIDE * (bottom - top):
        try:
            reading = read(picture, model=model)
        except WeightsError:  # weights that never saw a non-digit read one digit only
            reading = Reading()
        if sum(len(line.digits) for line in reading.lines) > 1:
            return describe_reading(reading, picture)
    return describe(prediction, steps)


def describe_reading(reading: Reading, picture: bytes) -> dict[str, Any]:
    """A number, or several lines of them, as the page shows it."""
    lines = reading.lines
    page, scale = upright(picture, turned=reading.turned)
    first = lines[0]
    if len(lines) > 1:
        headline, note = f"{len(lines)} lines", "Copy them, or save them as CSV."
    else:
        headline, note = first.text, f"{percent(first.confidence)} sure"
        if first.confidence < SURE and first.alternatives:
            other = first.alternatives[0]
            note += f". It may be {other.text} ({percent(other.confidence)})."
    return {
        "verdict": "number",
        "headline": headline,
        "note": note,
        "text": reading.text,
        "digits": [_digit_of_line(digit, page, scale) for line in lines for digit in line.digits],
        "lines": [
            {
                "text": line.text,
                "share": f"{percent(line.confidence)} sure",
                "confidence": round(line.confidence, 4),
            }
            for line in lines
        ],
        "discarded": "",
    }


def upright(picture: bytes, *, turned: int) -> tuple[Image.Image, float]:
    """The picture in which the boxes of `read` lie, at most `SHOWN` pixels long, and its scale.

    The scale is its size as a share of the file's. The picture is turned as its EXIF data say, and
    then by `turned` degrees clockwise.
    """
    with opened(picture) as page:
        longest = max(page.size)
        page.draft("RGB", (SHOWN, SHOWN))  # JPEG: decode at a fraction of the size
        page.thumbnail((SHOWN, SHOWN))
        shown = ImageOps.exif_transpose(page)
        if shown.has_transparency_data:  # on the paper that it is read on
            shown = Image.fromarray(composited(np.asarray(shown.convert("RGBA"))))
        else:
            shown = shown.convert("RGB")
    return shown.rotate(-turned, expand=True), max(shown.size) / longest


def _digit_of_line(digit: Digit, page: Image.Image, scale: float) -> dict[str, Any]:
    """One digit of a line as the page shows it, with its place in the picture `page`."""
    left, top, right, bottom = (edge * scale for edge in digit.box)
    around = MARGIN * max(right - left, bottom - top) + 1
    crop = page.crop(
        (
            max(0, round(left - around)),
            max(0, round(top - around)),
            min(page.width, round(right + around)),
            min(page.height, round(bottom + around)),
        )
    )
    crop.thumbnail((CROP, CROP))
    prediction = digit.prediction
    canvas = data_url(digit.canvas)
    return {
        "digit": prediction.digit,
        "share": percent(digit.confidence),
        "verdict": "unlike" if prediction.is_digit is False else "digit",
        "probabilities": prediction.probabilities,
        "shares": [percent(share) for share in prediction.probabilities],
        "canvas": canvas,
        "box": [left / page.width, top / page.height, right / page.width, bottom / page.height],
        "steps": [_step("Picture", _jpeg(crop), OF_LINE), _step("Canvas", canvas)],
    }


def _jpeg(picture: Image.Image) -> str:
    """A small picture as a data URL."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def describe(prediction: Prediction, steps: CanvasSteps) -> dict[str, Any]:
    """An answer as the page shows it: words, and each digit with its bars and canvas."""
    first, second = np.argsort(prediction.probabilities)[::-1][:2]
    confidence = prediction.confidence
    if prediction.is_digit is False:
        verdict, headline = "unlike", "Not a digit"
        note = f"It looks like none of the ten. The nearest is {_named(first)}."
        if prediction.reason:
            note = f"The picture shows {prediction.reason}. They could not be read as a number."
    elif confidence >= SURE:
        verdict, headline = "digit", str(first)
        note = f"{percent(confidence)} sure"
    else:
        verdict, headline = "digit", str(first)
        runner_up = percent(prediction.probabilities[second])
        note = f"{percent(confidence)} sure. It may be {_named(second)} ({runner_up})."
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
        "discarded": discarded if steps.discarded >= WORTH_MENTION else "",
    }


def _named(digit: int) -> str:
    return f"an {digit}" if digit == 8 else f"a {digit}"


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


ABOUT_STEPS = {
    "Picture": "upright, cut to the page that carries the ink",
    "Contrast": "light evened out, ink bright",
    "Ink": "what is taken for the digit, in its box",
    "Canvas": "scaled and centred as MNIST did",
}
OF_LINE = "the digit in its place"


def _steps(steps: CanvasSteps) -> list[dict[str, str]]:
    return [
        _step(name, data_url(image, box=steps.box if name == "Ink" else None))
        for name, image in steps.named()
    ]


def _step(name: str, image: str, about: str = "") -> dict[str, str]:
    return {"name": name, "about": about or ABOUT_STEPS.get(name, ""), "image": image}


def from_data_url(url: Any) -> bytes:
    """The file inside a data URL. Raises UnreadableImageError if it is not a data URL."""
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
