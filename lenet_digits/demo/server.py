"""Serves the app, or mounts it in another, and cleans up after it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware

from lenet_digits import __version__
from lenet_digits.demo.address import bracketed, choose_address, others_open, url
from lenet_digits.demo.answers import MAX_BYTES, for_page, for_programs
from lenet_digits.demo.endpoints import READING_SCHEMA
from lenet_digits.demo.fragments import NAME, static_file
from lenet_digits.demo.guard import HANDLERS, Guard, swept
from lenet_digits.demo.identity import Identity
from lenet_digits.demo.inside import for_panel, kernels
from lenet_digits.demo.page import build_demo
from lenet_digits.demo.quick_gradio import gr
from lenet_digits.demo.routes import AROUND, Routes
from lenet_digits.demo.threads import MAX_THREADS
from lenet_digits.reading.prediction import shipped_network

if TYPE_CHECKING:
    from lenet_digits.model import LeNet5

MAX_WAITING = 256  # calls in Gradio's queue; further callers get a 503
PATIENCE = 4.0  # seconds for weights to come from the Hub before the shipped ones are used

log = logging.getLogger(__name__)


def launch(
    *,
    host: str | None = None,
    port: int | None = None,
    share: bool = False,
    weights: str | None = None,
) -> None:
    """Serves the app until interrupted, and prints the addresses to open.

    Args:
        host: the address to listen on; 127.0.0.1 unless ``GRADIO_SERVER_NAME`` says otherwise.
            "0.0.0.0" lets other devices of the network in.
        port: the port; the first free one from 7860 unless ``GRADIO_SERVER_PORT`` is set.
        share: whether to ask Gradio for a public link.
        weights: a weights file, or "owner/name@revision" on the Hub; by default what
            ``LENET_DIGITS_WEIGHTS`` says, or else the shipped file. If it cannot be used, or not
            within `PATIENCE`, the shipped file serves instead, and log and page say so.

    Raises AddressError, an OSError, where it cannot listen there.
    """
    host, port = choose_address(host, port)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "True")
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
        options = launch_options(model)
        options["app_kwargs"]["lifespan"] = swept
        demo.launch(
            server_name=bracketed(host),
            server_port=port,
            share=share,
            prevent_thread_lock=True,
            quiet=True,  # what it would print advises calls of its own functions
            **options,
        )
        print(f"* Running on local URL:  {url(host, port)}", flush=True)
        if others := others_open(host, port):
            print(f"* {others}", flush=True)
        if share and demo.share_url:
            print(f"* Public link, for a week: {demo.share_url}", flush=True)
        _warm_up()
        demo.block_thread()


def launch_options(model: LeNet5 | None = None) -> dict[str, Any]:
    """The options of Gradio's own `launch`, except where to listen."""
    return mount_options(model) | {
        "state_session_capacity": 50,
        "max_threads": MAX_THREADS,
    }


def mount_options(model: LeNet5 | None = None) -> dict[str, Any]:
    """The options of `gradio.mount_gradio_app`, except the path."""
    answers = (for_programs, for_page, for_panel, kernels)
    routes = Routes(*(partial(answer, model=model) for answer in answers))
    guard = {"uploads": gr.utils.get_upload_folder(), "max_bytes": MAX_BYTES + AROUND}
    return {
        "theme": _theme(),
        "css": static_file("demo.css"),
        "footer_links": ["api"],
        "run_history": False,
        "ssr_mode": False,
        "max_file_size": MAX_BYTES,
        "show_error": False,
        "enable_monitoring": False,
        "app_kwargs": {
            "routes": routes.all(),
            "middleware": [
                Middleware(GZipMiddleware),
                Middleware(Guard, **guard),
                Middleware(Identity, reading=READING_SCHEMA),
            ],
            "exception_handlers": HANDLERS,
            "version": __version__,
            "title": NAME,
        },
    }


def mount(app: FastAPI, path: str = "/demo", *, model: LeNet5 | None = None) -> FastAPI:
    """Put the page into another FastAPI app, at a path; returns that app.

    The page looks and works there as it does when launched. The process keeps its signals, its
    environment and its temporary folder.

    Args:
        app: the app to put it into.
        path: where in that app, for instance "/demo".
        model: the network that reads; by default the one with the shipped weights.
    """
    demo = build_demo(model)
    demo.queue(max_size=MAX_WAITING)
    gr.mount_gradio_app(app, demo, path=path, **mount_options(model))
    return app


def _theme() -> gr.themes.Base:
    sans = ["ui-sans-serif", "system-ui", "sans-serif"]
    mono = ["ui-monospace", "Consolas", "monospace"]
    return gr.themes.Base(font=sans, font_mono=mono).set(
        body_background_fill="#f6f2e8",
        body_background_fill_dark="#14181d",
        body_text_color="#20293a",
        body_text_color_dark="#e8e2d5",
    )


@contextmanager
def _uploads_folder() -> Iterator[None]:
    """Makes a folder for the files that callers upload, and deletes it when the app ends."""
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
    """Loads what the first answer needs, so that its visitor does not wait for it."""
    shipped_network()


def _load(weights: str | None) -> tuple[LeNet5 | None, str | None]:
    if not weights:
        return None, None
    name = Path(weights).name if Path(weights).exists() else weights
    import torch

    from lenet_digits.model import load_model

    torch.set_num_threads(1)  # answers side by side, not each on all cores: a canvas is small
    try:
        return load_model(weights, timeout=PATIENCE), f"Weights from {name}."
    except (ValueError, OSError) as error:
        log.warning("%s The shipped weights are used instead.", error)
        return None, f"{name} could not be used; reading with the weights shipped."
