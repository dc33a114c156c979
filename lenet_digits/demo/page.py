"""The page: draw a digit or drop a picture, and see what the network makes of it.

The page's own parts are in ``static/``. Pictures travel inside the request and are never written
to disk, except those that API callers upload, which are deleted within a minute or two. The shipped
weights do not need torch; other weights do, and import it.
"""

from __future__ import annotations

import html
import logging
import os
from typing import TYPE_CHECKING

import gradio as gr

from lenet_digits import __version__
from lenet_digits.demo.answers import MAX_BYTES
from lenet_digits.demo.endpoints import (
    KEPT,
    add_endpoints,
    describe_once,
    explain_refusals,
)
from lenet_digits.demo.identity import NAME, STATIC
from lenet_digits.demo.routes import example_pictures
from lenet_digits.reading.numbers import Reading, read
from lenet_digits.reading.prediction import Prediction, predict
from lenet_digits.storage.shipped import weights_directory
from lenet_digits.training.metrics import METRICS_FILE, Metrics, Share

if TYPE_CHECKING:
    from lenet_digits.model import LeNet5

SKETCHES = (  # the examples that can be put on the sketchpad: dark ink on a plain ground
    "0-marker",
    "0-slashed",
    "1-long-up-stroke",
    "3-transparent",
    "4-pencil",
    "7-corner",
)

TELEMETRY = "HF_HUB_DISABLE_TELEMETRY"

log = logging.getLogger(__name__)


def static_file(name: str) -> str:
    """The text of a file in ``static/``."""
    return (STATIC / name).read_text(encoding="utf-8")


# Page ------------------------------------------------------------------------------------------


def _reader(source: str) -> gr.HTML:
    """A reader, ``pad`` or ``upload``: a place for pictures with the answer beside it.

    It is one component rather than several joined by events: its script numbers the questions it
    asks, and drops the answer to any but the latest, so that no older picture's is ever shown.
    """
    own = ["gradio"] if source == "pad" else []
    scripts = reader_scripts("engine-server", source, *own)
    # Not a subclass of gr.HTML: Gradio would write a .pyi file beside this module.
    return gr.HTML(
        html_template=reader_html(source),
        js_on_load=f"{scripts}const engine = makeServerEngine({MAX_BYTES});{START[source]}{READY}",
        apply_default_css=False,
    )


def reader_html(source: str) -> str:
    """The HTML of a reader, ``pad`` or ``upload``; `reader_scripts` bring it to life."""
    answer = static_file("answer.html").replace("@inside@", static_file("inside.html"))
    template = static_file(f"{source}.html") + answer + _examples(source)
    return f'<div class="reader">{template}</div>'.replace("@bars@", _bars())


def reader_scripts(engine: str, *sources: str) -> str:
    """The JavaScript of an engine, ``engine-server`` or ``engine-browser``, and of readers."""
    return "".join(static_file(f"{name}.js") for name in (engine, "answer", "inside", *sources))


# How each reader's script begins. Gradio makes the second reader when its tab is first opened:
# a picture that is dropped on the first tab waits for it.
START = {
    "pad": """
        makePad(element, engine);
        catchFiles();
        arrowKeysInTabs();
        coverTheFrame();
        openTheApiPage();
        document.addEventListener("picture", (event) => {
            if (!document.querySelector(".drop")) window.waitingPicture = event.detail;
            for (const tab of document.querySelectorAll("[role=tab]"))
                if (tab.textContent.trim() === "Upload") tab.click();
        });
    """,
    "upload": """
        makeUpload(element, engine).take(window.waitingPicture);
        delete window.waitingPicture;
    """,
}
API_LINK = ' · <a href="?view=api">API</a>'
READY = 'element.dataset.ready = "";'  # shown before its script runs; tests must not draw too soon


def _bars() -> str:
    return "".join(
        f'<li><span aria-hidden="true">{digit}</span><span role="meter" aria-label="{digit}" '
        'aria-valuemin="0" aria-valuemax="100" aria-valuenow="0"><i></i></span>'
        '<span class="share" aria-hidden="true"></span></li>'
        for digit in range(10)
    )


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


# About -----------------------------------------------------------------------------------------


REFUSALS = "Where a picture looks like none of the ten, it says so."
NO_REFUSALS = (
    "Whether a picture is a digit at all is unknown: these weights never learned what is not one."
)


def about_html(
    weights_note: str,
    metrics: Metrics | None,
    *,
    sees_nondigits: bool = True,
    where: str | None = None,
) -> str:
    """The page's text about itself; ``where`` is HTML that says where pictures are read.

    By default it says that a server reads them, and how a program asks that server.
    """
    figures = "<h2>How often it is right</h2>"
    figures += "" if metrics else "<p>The figures of these weights are missing or damaged.</p>"
    curves = ""
    if metrics and metrics.count:
        what = "MNIST test digits" if metrics.tested_on_mnist else metrics.evaluated_on
        figures += _table({what: Share(metrics.accuracy, metrics.count)})
    if metrics and metrics.real_input:
        short = {what.partition(": ")[2] or what: r for what, r in metrics.real_input.items()}
        figures += f"<details><summary>On other input</summary>{_table(short)}</details>"
    if metrics and len(metrics.epochs) > 1:
        cost = _curve("Training cost", [epoch.train_loss for epoch in metrics.epochs])
        accuracy = [100 * epoch.test_accuracy for epoch in metrics.epochs]
        curves = f"<h2>How it learned</h2>{cost}{_curve('Test accuracy, %', accuracy)}"
    return static_file("about.html").format(
        figures=figures,
        curves=curves,
        weights=html.escape(weights_note),
        refusals=REFUSALS if sees_nondigits else NO_REFUSALS,
        where=static_file("about-server.html") if where is None else where,
    )


def footer_html(weights_note: str, *, links: str = "") -> str:
    """The foot of the page; ``links`` is HTML that follows its own links."""
    return static_file("footer.html").format(
        weights=html.escape(weights_note), version=__version__, links=links
    )


def _table(results: dict[str, Share]) -> str:
    rows = "".join(
        f"<tr><th scope=row>{html.escape(what)}</th><td>{result.accuracy:.2%}</td>"
        f"<td>{result.count:,}</td></tr>"
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


def shipped_metrics() -> Metrics | None:
    """The figures of the shipped weights; None, and a line in the log, where they are damaged."""
    try:
        return Metrics.read(weights_directory() / METRICS_FILE)
    except (OSError, ValueError) as error:
        log.warning("%s", error)
        return None


# Blocks ----------------------------------------------------------------------------------------


def build_demo(model: LeNet5 | None = None, *, weights_note: str | None = None) -> gr.Blocks:
    """The app, ready to launch (see `launch_options`) or to mount.

    Args:
        model: what reads the digits; the shipped weights by default.
        weights_note: a sentence for the page: which weights these are, and from where.
    """
    origin = "given by the program" if model else f"shipped with lenet-digits {__version__}"
    weights_note = weights_note or f"Weights {origin}."

    def predicted(picture: bytes) -> Prediction:
        return predict(picture, model=model)

    def numbers(picture: bytes) -> Reading:
        return read(picture, model=model)

    before = os.environ.get(TELEMETRY)
    with gr.Blocks(
        title=NAME,
        analytics_enabled=False,
        delete_cache=(KEPT // 4, KEPT),
        fill_width=True,
    ) as demo:
        if before is None:  # Gradio sets it; the process is not ours but the caller's
            os.environ.pop(TELEMETRY, None)
        else:
            os.environ[TELEMETRY] = before
        gr.HTML(static_file("header.html"), apply_default_css=False)
        with gr.Tabs():
            with gr.Tab("Sketchpad", render_children=True):
                _reader("pad")
            with gr.Tab("Upload", render_children=True):
                _reader("upload")
            with gr.Tab("About"):
                gr.HTML(
                    about_html(
                        weights_note,
                        shipped_metrics(),
                        sees_nondigits=model is None or getattr(model, "sees_nondigits", False),
                    ),
                    js_on_load=FILL_IN_ORIGIN,
                    apply_default_css=False,
                )
        gr.HTML(footer_html(weights_note, links=API_LINK), apply_default_css=False)
        add_endpoints(predicted, numbers)
    explain_refusals(demo)
    describe_once(demo)
    return demo
