"""Fixtures of more than one test file: the app in a process of its own, and a browser."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

ROOT = Path(__file__).parent.parent

CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-3d-apis",  # no WebGL: the page must work without
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",  # a camera that shows a test picture
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option that takes the README's screenshots."""
    parser.addoption("--screenshots", metavar="FOLDER", help="write pictures of the app there")


@contextmanager
def others_litter() -> Iterator[None]:
    """Lets a library leave sockets and event loops unclosed, and collects them at the end.

    Python would otherwise report them during some later test.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
        gc.collect()


@dataclass(frozen=True)
class App:
    """The app as ``python app.py`` starts it."""

    url: str
    temporary: Path  # where Gradio keeps files


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """One app for the whole session."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    temporary = tmp_path_factory.mktemp("gradio")
    environment = os.environ | {
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(temporary),
        "PYTHONUNBUFFERED": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "Running on local URL" in line:
            break
    else:
        pytest.fail("python app.py ended before it served a page:\n" + "".join(said))
    # The app would stop once the pipe is full, so its output is read.
    reader = threading.Thread(target=process.stdout.read)
    reader.start()
    yield App(f"http://127.0.0.1:{port}/", temporary)
    process.terminate()
    reader.join()
    process.stdout.close()
    process.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium, the system's or Playwright's own.

    Until it is closed, Playwright's event loop runs in this thread, and no other can.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    with playwright.sync_playwright() as runner:
        if found is None and not Path(runner.chromium.executable_path).exists():
            pytest.skip("no Chromium here: apt install chromium, or playwright install chromium")
        chromium = runner.chromium.launch(executable_path=found, args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def visitor(browser: Browser) -> Iterator[BrowserContext]:
    """One visitor with a warm cache, for the tests that need no other."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield context
    context.close()


@pytest.fixture
def page(visitor: BrowserContext, app: App) -> Iterator[Page]:
    """The app, ready to draw on, in a browser that remembers nothing of earlier tests."""
    from browsing import open_page

    page = visitor.new_page()
    open_page(page, app.url)
    yield page
    page.evaluate("try { localStorage.clear() } catch {}")
    page.close()


@pytest.fixture
def new_page(browser: Browser, app: App) -> Iterator[Callable[..., Page]]:
    """Opens the app as another visitor, with the browser's options as given."""
    from browsing import open_page

    contexts = []

    def open_app(**options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}} | options)
        contexts.append(context)
        page = context.new_page()
        open_page(page, app.url)
        return page

    yield open_app
    for context in contexts:
        context.close()
