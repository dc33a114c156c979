"""Answers pictures inside a browser, where Pyodide runs Python and no server is asked."""

from __future__ import annotations

import json

from lenet_digits.demo.answers import for_page
from lenet_digits.demo.inside import for_panel, kernels
from lenet_digits.reading.pictures import NoInkError, UnreadableImageError
from lenet_digits.storage.files import WeightsError

DIGITS = ("digit", "against")  # options of `for_panel`
TOO_LARGE = "This picture needs more memory than the browser has. Save it smaller."


def answer(name: str, picture: bytes | memoryview, digits: str = "{}") -> str:
    """The answer to what the page asks, as JSON; the same as the server's.

    Where the server would refuse the picture with a sentence, that sentence is the answer.

    Args:
        name: "read", as `for_page` answers; "inside", as `for_panel` does; or "kernels".
        picture: a picture file; of a canvas, for "inside"; any for "kernels".
        digits: for "inside", the digits among the options of `for_panel`, as JSON.
    """
    try:
        if name == "kernels":
            return json.dumps(kernels())
        if name == "inside":
            digit, against = (_whole(json.loads(digits).get(name)) for name in DIGITS)
            return json.dumps(for_panel(bytes(picture), digit=digit, against=against))
        return json.dumps(for_page(bytes(picture)))
    except (NoInkError, UnreadableImageError, WeightsError) as error:
        return _problem(str(error))
    except MemoryError:
        return _problem(TOO_LARGE)


def _whole(digit: int | str | None) -> int | None:
    return None if digit is None else int(digit)


def _problem(sentence: str) -> str:
    return json.dumps({"verdict": "problem", "headline": "No answer", "note": sentence})
