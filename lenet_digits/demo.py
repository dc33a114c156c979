"""The web app: draw a digit or drop a picture, and see what the network makes of it.

Knows Gradio and the page; how a picture becomes a canvas, and a canvas an answer, is known below.
The page's own parts are in ``assets/``. Pictures travel inside the request and are never written
to disk, except those that API callers upload, which Gradio deletes within a minute or so.
The shipped weights need no torch; others do, and bring it.
"""

from __future__ import annotations

import base64
import binascii
import html
import io
import json
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from gradio.utils import get_upload_folder
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route

from lenet_digits import __version__
from lenet_digits.guard import HANDLERS, Guard, swept
from lenet_digits.hub import weights_directory
from lenet_digits.images import (
    CanvasSteps,
    ImageInput,
    NoInkError,
    UnreadableImageError,
    canvas_steps,
)

if TYPE_CHECKING:
    from lenet_digits.model import LeNet5
    from lenet_digits.prediction import Prediction

MAX_BYTES = 20 * 2**20  # of a picture that is sent; phones' photos have 2 to 12 MiB
MAX_WAITING = 256  # questions of API callers in the queue; beyond, they are told to come again
KEPT = 60  # seconds that an upload is kept
MAX_THREADS = 4  # pictures read at once: a large one takes up to 250 MB of memory
SURE = 0.9  # probability from which the runner-up is not worth a mention
PATIENCE = 4.0  # seconds for weights to come from the Hub before the shipped ones are used

SKETCHES = (  # the examples that can be put on the sketchpad: dark ink on a plain ground
    "0-marker",
    "0-slashed",
    "1-long-up-stroke",
    "3-transparent",
    "4-pencil",
    "7-corner",
)

log = logging.getLogger(__name__)

ASSETS = Path(__file__).parent / "assets"


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


# Answers ---------------------------------------------------------------------------------------


def describe(prediction: Prediction, steps: CanvasSteps) -> dict[str, Any]:
    """An answer as the page shows it: words, probabilities, the canvas and the steps to it."""
    from lenet_digits.prediction import percent

    first, second = np.argsort(prediction.probabilities)[::-1][:2]
    confidence = prediction.confidence
    if not prediction.is_digit:
        verdict, headline = "unlike", "Not a digit"
        note = f"It looks like none of the ten; the nearest is a {first}."
    elif confidence >= SURE:
        verdict, headline = "digit", str(first)
        note = f"{percent(confidence)} sure"
    else:
        verdict, headline = "digit", str(first)
        runner_up = percent(prediction.probabilities[second])
        note = f"{percent(confidence)} sure; it may be a {second} ({runner_up})"
    discarded = f"{percent(steps.discarded)} of the ink was taken for specks, lines or borders."
    return {
        "verdict": verdict,
        "headline": headline,
        "note": note,
        "digit": prediction.digit,
        "probabilities": prediction.probabilities,
        "shares": [percent(share) for share in prediction.probabilities],
        "canvas": _data_url(steps.canvas),
        "steps": _steps(steps),
        "discarded": discarded if steps.discarded >= 0.001 else "",
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
            "image": _data_url(image, box=steps.box if name == "Ink" else None),
        }
        for name, image in steps.named()
    ]


def _data_url(image: NDArray[Any], *, box: tuple[int, int, int, int] | None = None) -> str:
    """An image, uint8 or float in [0, 1], as a PNG data URL, with a box drawn around the ink."""
    pixels = image if image.dtype == np.uint8 else np.asarray(image * 255 + 0.5, np.uint8)
    picture = Image.fromarray(pixels)
    if box is not None:
        picture = picture.convert("RGB")
        left, top, right, bottom = box
        ImageDraw.Draw(picture).rectangle(
            (left - 2, top - 2, right + 1, bottom + 1), outline="#e8836b", width=2
        )
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _from_data_url(url: Any) -> bytes:
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


# Page ------------------------------------------------------------------------------------------


def _reader(
    source: str, answer: Callable[[ImageInput], dict[str, Any]], *, nothing: str, blank: str
) -> gr.HTML:
    """A place for pictures, ``sketchpad`` or ``upload``, with the answer beside it.

    One component rather than several joined by events: its script numbers the questions it asks
    `read`, and drops the answer to any but the latest, so that no older picture's is ever shown.
    """

    def read(picture: str) -> dict[str, Any]:
        try:
            return answer(_from_data_url(picture))
        except NoInkError:
            return {"verdict": "nothing", "headline": "", "note": blank}
        except UnreadableImageError as error:
            return {"verdict": "problem", "headline": "No answer", "note": str(error)}

    template = _asset(f"{source}.html") + _asset("answer.html")
    # Not a subclass of gr.HTML: Gradio would write a .pyi file beside this module.
    return gr.HTML(
        html_template=f'<div class="reader">{template}</div>'.replace("@bars@", _bars()).replace(
            "@examples@", _examples(source)
        ),
        js_on_load=_asset("answer.js") + _asset(f"{source}.js") + READY,
        server_functions=[read],
        apply_default_css=False,
        nothing={"verdict": "nothing", "headline": "", "note": nothing},
        limit=MAX_BYTES,
    )


READY = 'element.dataset.ready = "";'  # shown before its script runs; tests must not draw too soon


def _bars() -> str:
    return "".join(
        f'<li><span aria-hidden="true">{digit}</span><span role="meter" aria-label="{digit}" '
        'aria-valuemin="0" aria-valuemax="100" aria-valuenow="0"><i></i></span>'
        '<span class="share" aria-hidden="true"></span></li>'
        for digit in range(10)
    )


def example_pictures() -> list[Path]:
    """The pictures to try: inside an installed package, beside one in a checkout."""
    package = Path(__file__).parent
    inside = package / "examples"
    folder = inside if inside.is_dir() else package.parent / "examples"
    return sorted(p for p in folder.glob("[0-9a-z]*-*.*") if p.suffix in (".png", ".jpg"))


def _examples(source: str) -> str:
    pictures = [
        picture for picture in example_pictures() if source == "upload" or picture.stem in SKETCHES
    ]
    if not pictures:
        return ""
    buttons = "".join(
        f'<button type="button" data-file="examples/{picture.name}" title="{name}">'
        f'<img src="examples/{picture.name}" alt="Example: {name}" loading="lazy"></button>'
        for picture in pictures
        for name in [html.escape(picture.stem.replace("-", ", ", 1).replace("-", " "))]
    )
    return f'<div class="examples" role="group" aria-label="Examples">{buttons}</div>'


def _example(request: Request) -> FileResponse:
    """The file of an example: the only files that the app gives out, besides Gradio's own."""
    for picture in example_pictures():
        if picture.name == request.path_params["name"]:
            return FileResponse(picture)
    raise HTTPException(404, "There is no such example.")


# About -----------------------------------------------------------------------------------------


def _about(weights_note: str, metrics: dict[str, Any]) -> str:
    figures = ""
    if metrics:
        mnist = {"accuracy": metrics["accuracy"], "count": sum(map(sum, metrics["confusion"]))}
        figures = f"<h2>How often it is right</h2>{_table({'MNIST test digits': mnist})}"
    if real := metrics.get("real_input"):
        short = {what.partition(": ")[2] or what: result for what, result in real.items()}
        figures += f"<details><summary>On other input</summary>{_table(short)}</details>"
    epochs = metrics.get("epochs", [])
    curves = ""
    if len(epochs) > 1:
        cost = _curve("Training cost", [epoch["train_loss"] for epoch in epochs])
        accuracy = [100 * epoch["test_accuracy"] for epoch in epochs]
        curves = f"<h2>How it learned</h2>{cost}{_curve('Test accuracy, %', accuracy)}"
    return _asset("about.html").format(
        figures=figures,
        curves=curves,
        weights=html.escape(weights_note),
    )


def _table(results: dict[str, dict[str, Any]]) -> str:
    rows = "".join(
        f"<tr><th scope=row>{html.escape(what)}</th><td>{result['accuracy']:.2%}</td>"
        f"<td>{result['count']:,}</td></tr>"
        for what, result in results.items()
    )
    head = "<tr><th>Pictures</th><th>Right</th><th>Of</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


FILL_IN_ORIGIN = """
    for (const place of element.querySelectorAll(".origin")) place.textContent = location.origin;
"""


def _curve(title: str, values: list[float]) -> str:
    """A small line chart over the epochs, as SVG that takes its colours from the page."""
    low, high = min(values), max(values)
    span = (high - low) or 1
    points = " ".join(
        f"{300 * i / (len(values) - 1):.1f},{90 - 80 * (value - low) / span:.1f}"
        for i, value in enumerate(values)
    )
    return f"""<figure class="curve"><figcaption>{title}</figcaption>
        <svg viewBox="0 0 300 100" role="img" preserveAspectRatio="none" aria-label="{title}: from
        {values[0]:.4g} after epoch 1 to {values[-1]:.4g} after epoch {len(values)}">
        <polyline points="{points}" vector-effect="non-scaling-stroke"/></svg>
        <p><span>epoch 1: {values[0]:.4g}</span><span>epoch {len(values)}: {values[-1]:.4g}</span>
        </p></figure>"""


def _metrics() -> dict[str, Any]:
    path = weights_directory() / "metrics.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


# API -------------------------------------------------------------------------------------------


def _api(predict: Callable[[ImageInput], Prediction]) -> None:
    """The two endpoints that programs may call; there are no others."""

    def predict_image(image: bytes | None) -> dict[str, Any]:
        try:
            return predict(image or b"").to_dict()
        except (NoInkError, UnreadableImageError) as error:
            raise gr.Error(str(error), print_exception=False) from None

    def predict_drawing(drawing: str) -> dict[str, Any]:
        try:
            return predict(_from_data_url(drawing)).to_dict()
        except (NoInkError, UnreadableImageError) as error:
            raise gr.Error(str(error), print_exception=False) from None

    image = gr.File(label="image", type="binary", visible=False)
    move = image.async_move_resource_to_block_cache

    async def move_local(path: str) -> str:
        if path.startswith(("http://", "https://")):
            raise gr.Error("Send the picture itself, not a link to it.", print_exception=False)
        return str(await move(path))

    image.async_move_resource_to_block_cache = move_local  # Gradio would fetch the link
    drawing = gr.Textbox(label="drawing", visible=False)
    result = gr.JSON(label="answer", visible=False)
    result.api_info = lambda: ANSWER_SCHEMA
    for function, source, description in (
        (predict_image, image, "Reads the digit in a picture file."),
        (
            predict_drawing,
            drawing,
            "Reads a drawing sent as a data URL, as a canvas makes it: 2 MB at most.",
        ),
    ):
        gr.on([], function, source, result, api_name=function.__name__, api_description=description)


ANSWER_SCHEMA = {
    "type": "object",
    "properties": {
        "digit": {"type": "integer"},
        "confidence": {"type": "number"},
        "is_digit": {"type": "boolean"},
        "outlier_score": {"type": "number"},
        "probabilities": {"type": "array", "items": {"type": "number"}},
    },
}


def build_demo(model: LeNet5 | None = None, *, weights_note: str | None = None) -> gr.Blocks:
    """The app, ready to launch (see `launch_options`) or to mount.

    Args:
        model: what reads the digits; the shipped weights by default.
        weights_note: a sentence for the page: which weights these are, and from where.
    """
    origin = "given by the program" if model else f"shipped with lenet-digits {__version__}"
    weights_note = weights_note or f"Weights {origin}."

    def predict(picture: ImageInput) -> Prediction:
        from lenet_digits.prediction import predict

        return predict(picture, model=model)

    def answer(picture: ImageInput) -> dict[str, Any]:
        from lenet_digits.prediction import predict_steps

        steps = canvas_steps(picture)
        return describe(predict_steps(steps, model=model), steps)

    with gr.Blocks(
        title="lenet-digits", analytics_enabled=False, delete_cache=(KEPT // 4, KEPT)
    ) as demo:
        gr.HTML(_asset("header.html"), apply_default_css=False)
        with gr.Tabs():
            with gr.Tab("Sketchpad"):
                _reader("sketchpad", answer, nothing="Nothing drawn yet", blank="Nothing drawn yet")
            with gr.Tab("Upload"):
                _reader(
                    "upload",
                    answer,
                    nothing="No picture yet",
                    blank="No ink found in this picture",
                )
            with gr.Tab("About"):
                gr.HTML(
                    _about(weights_note, _metrics()),
                    js_on_load=FILL_IN_ORIGIN,
                    apply_default_css=False,
                )
        gr.HTML(
            f'<div class="colophon"><p>{html.escape(weights_note)}</p>'
            f"<p>lenet-digits {__version__}</p></div>",
            apply_default_css=False,
        )
        _api(predict)
    _explain_refusals(demo)
    return demo


def _explain_refusals(demo: gr.Blocks) -> None:
    """Says what is wrong with a call whose data are not what the endpoint takes.

    Gradio would say nothing to the caller, and fill the log with tracebacks.
    """
    preprocess = demo.preprocess_data

    async def preprocess_data(*args: Any, **options: Any) -> list[Any]:
        try:
            data: list[Any] = await preprocess(*args, **options)
        except gr.Error:
            raise
        except Exception as error:
            log.info("%r", error)
            raise gr.Error(
                "This call cannot be read: send what /gradio_api/info says, and call "
                f"/predict_image within {KEPT} seconds of the upload.",
                print_exception=False,
            ) from None
        return data

    demo.preprocess_data = preprocess_data


def launch_options() -> dict[str, Any]:
    """What Gradio's own `launch` needs to know of this app besides where to listen."""
    return {
        "theme": _theme(),
        "css": _asset("demo.css"),
        "head": '<meta name="color-scheme" content="light dark">',
        "footer_links": [],
        "run_history": False,
        "ssr_mode": False,
        "max_file_size": MAX_BYTES,
        "state_session_capacity": 50,
        "show_error": False,
        "enable_monitoring": False,
        "max_threads": MAX_THREADS,
        "app_kwargs": {
            "routes": [Route("/examples/{name}", _example)],
            "middleware": [
                Middleware(Guard, uploads=get_upload_folder(), max_bytes=MAX_BYTES * 4 // 3 + 2**16)
            ],
            "exception_handlers": HANDLERS,
        },
    }


def _theme() -> gr.themes.Base:
    sans = ["ui-sans-serif", "system-ui", "sans-serif"]
    mono = ["ui-monospace", "Consolas", "monospace"]
    return gr.themes.Base(font=sans, font_mono=mono).set(
        body_background_fill="#f6f2e8",
        body_background_fill_dark="#14181d",
        body_text_color="#20293a",
        body_text_color_dark="#e8e2d5",
    )


def launch(
    *,
    host: str | None = None,
    port: int | None = None,
    share: bool = False,
    weights: str | None = None,
) -> None:
    """Serves the app until interrupted.

    Args:
        host: the address to listen on; 127.0.0.1 unless ``GRADIO_SERVER_NAME`` says otherwise.
        port: the port; the first free one from 7860 unless ``GRADIO_SERVER_PORT`` is set.
        share: whether to ask Gradio for a public link.
        weights: a weights file, or "owner/name@revision" on the Hub; by default what
            ``LENET_DIGITS_WEIGHTS`` says, or else the shipped file. If it cannot be used, or not
            within `PATIENCE`, the shipped file serves instead, and log and page say so.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")  # else memory grows with each call
    # Gradio asks itself for a page as it starts, and must not ask a proxy for it.
    direct = (os.environ.get("no_proxy", os.environ.get("NO_PROXY")), "localhost", "127.0.0.1")
    os.environ["no_proxy"] = ",".join(filter(None, direct))
    model, note = _load(weights or os.environ.get("LENET_DIGITS_WEIGHTS"))
    with _uploads_folder():
        demo = build_demo(model, weights_note=note)
        demo.queue(max_size=MAX_WAITING)
        # Gradio keeps a message queue of each of the last 2,000 callers, 40 MB in all.
        demo._queue.pending_messages_per_session.max_size = 2 * MAX_WAITING
        options = launch_options()
        options["app_kwargs"]["lifespan"] = swept
        demo.launch(
            server_name=host,
            server_port=port,
            share=share,
            prevent_thread_lock=True,
            **options,
        )
        _warm_up()
        demo.block_thread()


@contextmanager
def _uploads_folder() -> Iterator[None]:
    """A folder of the app's own for what callers upload; it goes when the app is ended."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    parent = os.environ.get("GRADIO_TEMP_DIR")
    if parent:
        Path(parent).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lenet-digits-", dir=parent) as folder:
        os.environ["GRADIO_TEMP_DIR"] = gr.routes.DEFAULT_TEMP_DIR = folder
        try:
            yield
        finally:
            os.environ["GRADIO_TEMP_DIR"] = parent or ""


def _warm_up() -> None:
    """Load what the first answer needs, so that its visitor need not wait for it."""
    from lenet_digits.prediction import shipped_network

    shipped_network()


def _load(weights: str | None) -> tuple[LeNet5 | None, str | None]:
    if not weights:
        return None, None
    name = Path(weights).name if Path(weights).exists() else weights
    import torch

    from lenet_digits.checkpoint import load_model

    torch.set_num_threads(1)  # answers side by side, not each on all cores: a canvas is small
    try:
        return load_model(weights, timeout=PATIENCE), f"Weights from {name}."
    except (ValueError, OSError) as error:
        log.warning("%s The shipped weights are used instead.", error)
        return None, f"{name} could not be used; reading with the weights shipped."
