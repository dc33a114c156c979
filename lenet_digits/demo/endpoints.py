"""Defines the endpoints that ``gradio_client`` calls, and what /gradio_api/info says of them."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from lenet_digits.demo.answers import from_data_url
from lenet_digits.demo.fragments import example_pictures
from lenet_digits.demo.quick_gradio import gr
from lenet_digits.demo.threads import MAX_THREADS, in_a_thread
from lenet_digits.reading.numbers import Reading
from lenet_digits.reading.pictures import NoInkError, UnreadableImageError
from lenet_digits.reading.prediction import Prediction
from lenet_digits.storage.files import WeightsError

KEPT = 60  # seconds that an upload is kept
EXAMPLE = "9-tiny.png"  # the picture of the documentation; as a data URL it has 440 characters

log = logging.getLogger(__name__)

Input = TypeVar("Input")


def add_endpoints(
    predicted: Callable[[bytes], Prediction], reading: Callable[[bytes], Reading]
) -> None:
    """Adds the three endpoints to the app that is being built; there are no others."""

    async def predict_image(image: bytes | None) -> dict[str, Any]:
        return await _answer(predicted, image or b"")

    async def predict_drawing(drawing: str) -> dict[str, Any]:
        return await _answer(lambda url: predicted(from_data_url(url)), drawing)

    async def read_image(image: bytes | None) -> dict[str, Any]:
        return await _answer(reading, image or b"")

    image = gr.File(label="image", type="binary", visible=False)
    move = image.async_move_resource_to_block_cache

    async def move_local(path: str) -> str:
        if path.startswith(("http://", "https://")):
            raise gr.Error("Send the picture itself, not a link to it.", print_exception=False)
        return str(await move(path))

    image.async_move_resource_to_block_cache = move_local  # Gradio would fetch the link
    path = f"examples/{EXAMPLE}"
    file = {"path": path, "url": path, "meta": {"_type": "gradio.FileData"}}
    _document(image, file, {**image.api_info(), "additional_description": FILE})
    drawing = gr.Textbox(label="drawing", visible=False)
    _document(drawing, _example_drawing(), {**TEXT, "additional_description": DRAWING})
    result = gr.JSON(label="answer", visible=False)
    _document(result, None, ANSWER_SCHEMA)
    numbers = gr.JSON(label="reading", visible=False)
    _document(numbers, None, READING_SCHEMA)
    for function, source, target, description in (
        (predict_image, image, result, "Reads the digit in a picture file."),
        (predict_drawing, drawing, result, "Reads the digit in a drawing sent as a data URL."),
        (
            read_image,
            image,
            numbers,
            "Reads all numbers in a picture file: lines, pages, forms.",
        ),
    ):
        gr.on(
            [],
            function,
            source,
            target,
            api_name=function.__name__,
            api_description=description,
            concurrency_limit=MAX_THREADS,
            concurrency_id="pictures",
        )


async def _answer(
    function: Callable[[Input], Prediction | Reading], picture: Input
) -> dict[str, Any]:
    try:
        return (await in_a_thread(function, picture)).to_dict()
    except (NoInkError, UnreadableImageError, WeightsError) as error:
        raise gr.Error(str(error), print_exception=False) from None


def explain_refusals(demo: gr.Blocks) -> None:
    """Tells callers what is wrong with data that an endpoint does not take.

    Gradio would tell them nothing, and fill the log with tracebacks. An example picture may be sent
    as its name, so that the calls in the documentation work.
    """
    preprocess = demo.preprocess_data

    async def preprocess_data(block_fn: Any, inputs: list[Any], *args: Any, **options: Any) -> Any:
        for path in example_pictures():
            if len(inputs) == 1 and _is_example(inputs[0], path.name):
                return [path.read_bytes()]
        try:
            return await preprocess(block_fn, inputs, *args, **options)
        except gr.Error:
            raise
        except Exception as error:
            log.info("%r", error)
            raise gr.Error(
                "This call cannot be read: send what /gradio_api/info says, and call "
                f"/predict_image within {KEPT} seconds of the upload.",
                print_exception=False,
            ) from None

    demo.preprocess_data = preprocess_data


def _is_example(value: Any, name: str) -> bool:
    return isinstance(value, dict) and value.get("path") == f"examples/{name}"


def describe_once(demo: gr.Blocks) -> None:
    """Lets each component of the page describe itself once instead of once for each caller.

    The descriptions take longer than an answer, and they never change: what a caller sends stays in
    a copy for that caller.
    """
    for block in demo.blocks.values():
        block.get_config = _remembered(block.get_config)


def _remembered(describe: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    known: dict[str, Any] = {}

    def get_config() -> dict[str, Any]:
        if not known:
            known.update(describe())
        return dict(known)

    return get_config


# Documentation -----------------------------------------------------------------------------------


def _document(component: gr.components.Component, example: Any, schema: dict[str, Any]) -> None:
    """Lets /gradio_api/info describe one input or output with this schema and this example."""
    component.api_info = lambda: schema
    component.example_payload = lambda: example


def _example_drawing() -> str:
    pictures = [path for path in example_pictures() if path.name == EXAMPLE]
    content = pictures[0].read_bytes() if pictures else b""
    return "data:image/png;base64," + base64.b64encode(content).decode()


FILE = (
    "A picture file of 20 MB at most, sent to POST /gradio_api/upload, or an example picture by "
    "its name. A link is refused."
)
DRAWING = "A picture as a base64 data URL, as a canvas gives it: 2 MB at most."


def _described(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {**schema, "description": description}


def _list_of(properties: dict[str, Any], description: str) -> dict[str, Any]:
    items = {"type": "object", "properties": properties}
    return {"type": "array", "items": items, "description": description}


def _or_null(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}], "description": description}


NUMBER, INTEGER, TEXT = {"type": "number"}, {"type": "integer"}, {"type": "string"}
ANSWER_SCHEMA: dict[str, Any] = {  # of `Prediction.to_dict`
    "type": "object",
    "description": "One digit.",
    "properties": {
        "digit": _described(INTEGER, "The likeliest digit, 0 to 9, even where it is not one."),
        "confidence": _described(NUMBER, "Its probability, 0 to 1, if the picture is a digit."),
        "is_digit": _or_null(
            {"type": "boolean"},
            "Whether the picture is a digit; null where the weights cannot tell.",
        ),
        "outlier_score": _or_null(
            NUMBER, "How unlike a digit the picture is, 0 or more; above 1 it is refused."
        ),
        "probabilities": {
            "type": "array",
            "items": NUMBER,
            "description": "Of the digits 0 to 9; they sum to 1.",
        },
    },
}
BOX = {
    "type": "array",
    "items": INTEGER,
    "description": "Left, top, right and bottom in pixels of the upright picture.",
}
MARKS = _list_of(
    {"kind": _described(TEXT, '"point", "dash" or "other".'), "box": BOX},
    "Ink that is not a digit.",
)
SURE = _described(NUMBER, "The probability, 0 to 1, that it is right.")
READING_SCHEMA: dict[str, Any] = {  # of `Reading.to_dict`
    "type": "object",
    "description": "All numbers of a picture.",
    "properties": {
        "text": _described(TEXT, "The digits, line by line; · is ink that was not read."),
        "turned": _described(
            INTEGER, "Degrees, clockwise, that the picture was turned; boxes count in that picture."
        ),
        "lines": _list_of(
            {
                "text": _described(TEXT, "The digits of the line."),
                "confidence": _described(
                    NUMBER, "The probability, 0 to 1, that the whole line is right."
                ),
                "box": BOX,
                "digits": _list_of(
                    {
                        "digit": _described(INTEGER, "0 to 9."),
                        "confidence": SURE,
                        "box": BOX,
                        "prediction": ANSWER_SCHEMA,
                    },
                    "From the left.",
                ),
                "marks": MARKS,
                "alternatives": _list_of(
                    {"text": _described(TEXT, "The digits."), "confidence": SURE},
                    "Other readings, the likeliest first.",
                ),
                "cuts": _list_of(
                    {
                        "ends": BOX,
                        "used": {
                            "type": "boolean",
                            "description": "Whether digits or marks part there.",
                        },
                    },
                    "Where the ink was cut, as lines between two points.",
                ),
            },
            "From the top.",
        ),
        "cells": _list_of(
            {
                "text": _described(TEXT, "Empty where the cell holds no digit."),
                "row": _described(INTEGER, "From 0."),
                "column": _described(INTEGER, "From 0."),
                "box": BOX,
            },
            "Of a printed grid, if there is one.",
        ),
        "marks": MARKS,
    },
}
