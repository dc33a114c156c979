"""Builds the page with Gradio: tabs around the two readers and the text about them.

Pictures travel inside the request and are never written to disk, except those that API callers
upload. These are deleted within a minute or two.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lenet_digits import __version__
from lenet_digits.demo.answers import MAX_BYTES
from lenet_digits.demo.endpoints import KEPT, add_endpoints, describe_once, explain_refusals
from lenet_digits.demo.fragments import (
    NAME,
    about_html,
    footer_html,
    reader_html,
    reader_scripts,
    shipped_metrics,
    static_file,
)
from lenet_digits.demo.quick_gradio import gr
from lenet_digits.reading.numbers import Reading, read
from lenet_digits.reading.prediction import Prediction, predict

if TYPE_CHECKING:
    from lenet_digits.model import LeNet5

TELEMETRY = "HF_HUB_DISABLE_TELEMETRY"


def _reader(source: str) -> gr.HTML:
    """A reader, ``pad`` or ``upload``: a place for pictures with the answer beside it.

    It is one component. Its script numbers the questions that it asks, and drops every answer but
    that to the latest, so that the answer to an older picture is never shown.
    """
    own = ["gradio"] if source == "pad" else []
    scripts = reader_scripts("engine-server", source, *own)
    # Not a subclass of gr.HTML: Gradio would write a .pyi file beside this module.
    return gr.HTML(
        html_template=reader_html(source),
        js_on_load=f"{scripts}const engine = makeServerEngine({MAX_BYTES});{START[source]}{READY}",
        apply_default_css=False,
    )


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
# Set once a reader's script has run. The reader is shown before that, and tests must wait for it.
READY = 'element.dataset.ready = "";'
FILL_IN_ORIGIN = """
    for (const place of element.querySelectorAll(".origin")) place.textContent = location.origin;
"""


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
