"""Answers pictures inside a browser, where Pyodide runs Python and no server is asked."""

from __future__ import annotations

import json

from lenet_digits.demo.answers import for_page
from lenet_digits.reading.pictures import NoInkError, UnreadableImageError
from lenet_digits.storage.files import WeightsError

TOO_LARGE = "This picture needs more memory than the browser has. Save it smaller."


def answer(picture: bytes | memoryview) -> str:
    """The answer to a picture file as the page shows it, as JSON.

    Where the server would refuse the picture with a sentence, that sentence is the answer.
    """
    try:
        return json.dumps(for_page(bytes(picture)))
    except (NoInkError, UnreadableImageError, WeightsError) as error:
        return _problem(str(error))
    except MemoryError:
        return _problem(TOO_LARGE)


def _problem(sentence: str) -> str:
    return json.dumps({"verdict": "problem", "headline": "No answer", "note": sentence})
