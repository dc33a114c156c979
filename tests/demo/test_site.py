"""The static site: what it is made of, what its page says when it cannot read, and what it reads.

Pyodide's own server cannot be reached where these tests run. So the page is held to the server's
answers with another release of Pyodide and with stand-ins for two packages (see `standins`). The
release that the site pins was never run here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import draw, open_page
from conftest import ROOT, App
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect
from standins.release import make_core, make_release

from lenet_digits.cli.entry import main
from lenet_digits.demo import inside, site
from lenet_digits.demo.answers import for_page
from lenet_digits.demo.browser import answer
from lenet_digits.demo.inside import for_panel
from lenet_digits.demo.site import Pyodide, SiteError, write_site

EXAMPLES = sorted(
    path
    for path in (ROOT / "examples").rglob("*")
    if path.suffix in (".png", ".jpg") and "screenshots" not in path.parts
)
PATIENCE = 120_000  # milliseconds for a browser that starts Python on a busy machine
NEAR = 1e-5  # probabilities of the same pixels, here and there
DECODED = 1e-3  # of the same JPEG, which two versions of Pillow turn into pixels a little apart
ROUNDED = 1e-4  # confidences in lines come with four digits


# The files ---------------------------------------------------------------------------------------


NOT_LIGHT = ("gradio", "torch", "matplotlib", "huggingface_hub", "tqdm", "starlette", "anyio")
WITHOUT = f"import sys\nsys.modules.update(dict.fromkeys({NOT_LIGHT}))\n"
COMMAND = WITHOUT + "from lenet_digits.cli.entry import main\nsys.exit(main(sys.argv[1:]))"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as the command writes it in the light installation."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([sys.executable, "-c", COMMAND, "site", folder], check=True)
    return folder


def test_the_sites_own_files_are_small(folder: Path) -> None:
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 1.2e6


FROM_THE_ARCHIVE = f"""{WITHOUT}
archive, picture = sys.argv[1:]
sys.path.insert(0, archive)
from lenet_digits.demo import browser
assert browser.__file__.startswith(archive), browser.__file__
print(browser.answer("read", open(picture, "rb").read()))
"""


@pytest.mark.parametrize("picture", ["7-photo.jpg", "numbers/5073-boxed.png"])
def test_the_archive_alone_answers_as_the_page_does(
    folder: Path, tmp_path: Path, picture: str
) -> None:
    with zipfile.ZipFile(folder / "reader.zip") as archive:
        archive.extractall(tmp_path)
    command = [sys.executable, "-c", FROM_THE_ARCHIVE, tmp_path, ROOT / "examples" / picture]
    output = subprocess.check_output(command, cwd=tmp_path)
    assert json.loads(output) == json.loads(
        json.dumps(for_page((ROOT / "examples" / picture).read_bytes()))
    )


def test_what_cannot_be_read_is_answered_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def take_all(picture: bytes) -> Any:
        raise MemoryError

    reply = json.loads(answer("read", b"only a letter"))
    assert (reply["verdict"], reply["note"][-1]) == ("problem", ".")
    monkeypatch.setattr("lenet_digits.demo.browser.for_page", take_all)
    assert "more memory than the browser has" in json.loads(answer("read", b""))["note"]


def test_the_same_site_is_written_again_to_the_byte(folder: Path, tmp_path: Path) -> None:
    write_site(tmp_path)
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert all((tmp_path / name).read_bytes() == (folder / name).read_bytes() for name in files)


def test_the_pin_agrees_with_itself() -> None:
    pin = Pyodide.read()
    assert pin.version in pin.url
    for package in pin.lock["packages"].values():
        assert pin.files[package["file_name"]]["sha256"] == package["sha256"]
    wheels = {package["file_name"] for package in pin.lock["packages"].values()}
    core = {"pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip"}
    assert set(pin.files) == wheels | core


def small_release(folder: Path) -> Pyodide:
    """A release of two files, neither of which is a program."""
    for name in ("pyodide.mjs", "pyodide.asm.mjs"):
        (folder / name).write_text(f"// {name}")
    files = {
        path.name: {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
        }
        for path in folder.iterdir()
    }
    return Pyodide("1", "https://pyodide.invalid/", files, {"info": {}, "packages": {}})


def test_files_of_another_pyodide_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    release = small_release(source)
    write_site(tmp_path / "out", self_hosted=source, pyodide=release)
    assert (tmp_path / "out/pyodide/pyodide.mjs").read_text() == "// pyodide.mjs"
    (source / "pyodide.mjs").write_text("// another")
    with pytest.raises(SiteError, match=r"is not the file of Pyodide 1: .* Get it from https://"):
        write_site(tmp_path / "out", self_hosted=source, pyodide=release)
    (source / "pyodide.mjs").unlink()
    with pytest.raises(SiteError, match=r"lacks pyodide.mjs of Pyodide 1. Get it from https://"):
        write_site(tmp_path / "out", self_hosted=source, pyodide=release)


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    picture = tmp_path / "index.html"
    picture.write_text("mine")
    with pytest.raises(SiteError, match="holds other files"):
        write_site(tmp_path)
    with pytest.raises(SiteError, match="is a file"):
        write_site(picture)
    assert picture.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [picture]


def test_a_missing_pyodide_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["site", str(tmp_path / "out"), "--self-hosted", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path} lacks pyodide.mjs of Pyodide 314.0.7" in line
    assert not (tmp_path / "out").exists()


# The page where Python does not start ------------------------------------------------------------


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files, and says nothing of it."""

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[ThreadingHTTPServer]:
    """A web server for a folder, on loopback."""
    handler = partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def address(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}/"


@pytest.fixture
def visitor(browser: Browser) -> Iterator[BrowserContext]:
    """A visitor who has never been here."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


def open_site(visitor: BrowserContext, url: str) -> Page:
    page = visitor.new_page()
    open_page(page, url)
    return page


@pytest.mark.parametrize(
    "script",
    [
        "delete globalThis.Worker",
        "delete globalThis.WebAssembly",
        "Worker = class { constructor() { throw new Error(); } }",
    ],
)
def test_a_browser_that_cannot_run_python_is_told_so(
    folder: Path, visitor: BrowserContext, script: str
) -> None:
    visitor.add_init_script(script)
    with serving(folder) as server:
        page = open_site(visitor, address(server))
        draw(page, "7")
        for place in (".loading", "#pad .note"):
            expect(page.locator(place)).to_contain_text("Python cannot run here")
        expect(page.locator("#pad .headline")).to_have_text("No answer")


def test_a_pyodide_that_cannot_be_reached_is_said_in_one_sentence(
    folder: Path, visitor: BrowserContext
) -> None:
    visitor.route("https://cdn.jsdelivr.net/**", lambda route: route.abort())
    with serving(folder) as server:
        page = open_site(visitor, address(server))
        draw(page, "7")
        sentence = "cdn.jsdelivr.net cannot be reached. Check the connection, then reload the page."
        expect(page.locator(".loading span")).to_have_text(sentence)
        expect(page.locator("#pad .note")).to_have_text(sentence)


NO_CRYPTO = 'Object.defineProperty(crypto, "subtle", { value: undefined });\n'  # as without https
EVIL = "// evil"
RIGHT = "// pyodide.asm.mjs"


@pytest.mark.parametrize(
    ("content", "before", "sentence"),
    [
        (None, "", "answers with the error 404 for pyodide.asm.mjs. Try again later."),
        (EVIL, "", "pyodide.asm.mjs is damaged, or not the one"),
        (RIGHT, "", "Python could not be started"),
        (EVIL, NO_CRYPTO, "an undamaged pyodide.asm.mjs cannot be reached"),
        (RIGHT, NO_CRYPTO, "Python could not be started"),
    ],
)
def test_a_pyodide_that_is_not_the_one_is_never_run(
    visitor: BrowserContext, tmp_path: Path, content: str | None, before: str, sentence: str
) -> None:
    """The right files are the twins: they are run, and these are not a program."""
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    write_site(out, self_hosted=source, pyodide=small_release(source))
    file = out / "pyodide/pyodide.asm.mjs"
    file.unlink() if content is None else file.write_text(content)
    (out / "worker.js").write_text(before + (out / "worker.js").read_text())
    with serving(out) as server:
        page = open_site(visitor, address(server))
        expect(page.locator(".loading span")).to_contain_text(sentence)


def test_tabs_are_chosen_by_keys_and_the_page_breaks_no_rule_of_its_own(
    folder: Path, visitor: BrowserContext
) -> None:
    visitor.route("https://cdn.jsdelivr.net/**", lambda route: route.abort())
    said: list[str] = []
    with serving(folder) as server:
        page = visitor.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.goto(address(server))
        page.locator("#tab-pad").focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator("#upload .drop")).to_be_visible()
        expect(page.locator("#pad")).to_be_hidden()
        page.keyboard.press("End")
        expect(page.locator("#about")).to_contain_text("They stay on this device.")
        expect(page.locator("#about")).not_to_contain_text("gradio_client")
    assert not [line for line in said if "Content Security Policy" in line]


# The page where it does --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pyodide]:
    """Pyodide's files as far as they can be had here."""
    folder = tmp_path_factory.mktemp("pyodide")
    return folder, make_release(folder)


@pytest.fixture(scope="module")
def hosted(release: tuple[Path, Pyodide], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site that brings its own Pyodide."""
    folder = tmp_path_factory.mktemp("hosted")
    write_site(folder, self_hosted=release[0], pyodide=release[1])
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The examples, and the pixels of each JPEG among them as a PNG."""
    folder = tmp_path_factory.mktemp("pixels")
    pictures = list(EXAMPLES)
    for path in EXAMPLES:
        if path.suffix == ".jpg":
            pictures.append(folder / f"{path.stem}.png")
            with Image.open(path) as picture:
                picture.save(pictures[-1], exif=picture.getexif())
    return pictures


@pytest.fixture(scope="module")
def served(app: App, pictures: list[Path]) -> dict[Path, Any]:
    """The server's answers to the pictures."""
    answers = {}
    for path in pictures:
        request = urllib.request.Request(f"{app.url}read?pictures=1", path.read_bytes())
        with urllib.request.urlopen(request) as response:
            answers[path] = json.load(response)
    return answers


def assert_same(path: Path, here: dict[str, Any], served: dict[str, Any]) -> float:
    """Holds an answer to the server's; returns the largest difference of their probabilities."""
    for field in ("verdict", "headline", "note", "text", "discarded"):
        assert here[field] == served[field], path.name
    digits = [[digit["digit"], digit["verdict"]] for digit in here["digits"]]
    assert digits == [[digit["digit"], digit["verdict"]] for digit in served["digits"]], path.name
    near = DECODED if path.suffix == ".jpg" else NEAR
    worst = 0.0
    for one, other in zip(here["digits"], served["digits"], strict=True):
        pairs = zip(one["probabilities"], other["probabilities"], strict=True)
        worst = max(worst, *(abs(a - b) for a, b in pairs))
    assert worst <= near, path.name
    lines = zip(here.get("lines", []), served.get("lines", []), strict=True)
    for one, other in lines:
        assert one["text"] == other["text"]
        assert abs(one["confidence"] - other["confidence"]) <= near + ROUNDED, path.name
    return worst


@pytest.mark.registry
def test_all_examples_under_node_are_answered_as_by_the_server(
    release: tuple[Path, Pyodide], hosted: Path, served: dict[Path, Any]
) -> None:
    node = shutil.which("node")
    assert node is not None, "node is not installed"
    script = ROOT / "tests/standins/answers.mjs"
    command = [node, script, release[0], hosted / "reader.zip", *served]
    answers = json.loads(subprocess.check_output(command, timeout=400))
    for path, reply in zip(served, answers, strict=True):
        print(f"{path.name:24} {assert_same(path, reply, served[path]):.1e}")


START_ENGINE = """() => {
    globalThis.engine = makeBrowserEngine({ worker: "worker.js", onState() {} });
}"""


@pytest.mark.registry
def test_all_examples_in_a_browser_are_answered_as_by_the_server(
    hosted: Path, served: dict[Path, Any], visitor: BrowserContext, tmp_path: Path
) -> None:
    copy = tmp_path / "site"
    shutil.copytree(hosted, copy)
    for path in served:
        shutil.copy(path, copy / "examples")
    with serving(copy) as server:
        page = visitor.new_page()
        page.goto(f"{address(server)}manifest.json")
        for script in ("engine-browser.js", "inside.js"):
            page.add_script_tag(path=site.STATIC / script)
        page.evaluate(START_ENGINE)
        for path in served:
            reply = page.evaluate(
                "async (url) => engine.read(await (await fetch(url)).blob())",
                f"examples/{path.name}",
            )
            print(f"{path.name:24} {assert_same(path, reply, served[path]):.1e}")
        canvas = reply["digits"][0]["canvas"]
        asked = "(canvas) => Promise.all([engine.inside(canvas, { digit: 8 }), engine.kernels()])"
        layers, kernels = page.evaluate(asked, canvas)
    expected = for_panel(base64.b64decode(canvas.partition(",")[2]), digit=8)
    assert (layers["digit"], layers["against"]) == (8, expected["against"])
    for name, layer in expected["layers"].items():
        values, others = (
            np.frombuffer(base64.b64decode(each), np.uint8).astype(int)
            for each in (layer, layers["layers"][name])
        )
        assert abs(values - others).max() <= 1, name  # one step of rounding
    assert kernels == inside.kernels()


@pytest.mark.registry
def test_what_is_drawn_while_python_loads_is_read_and_nobody_else_is_asked(
    hosted: Path, visitor: BrowserContext
) -> None:
    asked: list[str] = []
    visitor.on("request", lambda request: asked.append(request.url))
    with serving(hosted) as server:
        page = open_site(visitor, address(server))
        draw(page, "7")
        expect(page.locator("#pad .note")).to_have_text(
            "This is read as soon as the page has loaded Python."
        )
        expect(page.locator(".loading")).to_contain_text("Python")
        expect(page.locator("#pad .headline")).to_have_text("7")
        expect(page.locator(".loading")).to_be_hidden()
        page.locator("#pad [name=clear]").click()
        draw(page, "42")
        expect(page.locator("#pad .headline")).to_have_text("42")
        assert all(url.startswith((address(server), "blob:", "data:")) for url in asked)


@pytest.mark.registry
def test_the_page_works_without_a_network_and_a_new_build_replaces_it(
    hosted: Path,
    release: tuple[Path, Pyodide],
    visitor: BrowserContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy = tmp_path / "site"
    shutil.copytree(hosted, copy)
    with serving(copy) as server:
        url, port = address(server), server.server_port
        page = open_site(visitor, url)
        expect(page.locator(".loading")).to_be_hidden(timeout=PATIENCE)
        page.evaluate("navigator.serviceWorker.ready")
        before = page.evaluate("caches.keys()")
        tools = visitor.new_cdp_session(page)
        errors = tools.send("Page.getInstallabilityErrors")["installabilityErrors"]
        assert [error["errorId"] for error in errors if error["errorId"] != "in-incognito"] == []
    page.reload()  # nobody serves the site now
    draw(page, "7")
    expect(page.locator("#pad .headline")).to_have_text("7")

    monkeypatch.setattr("lenet_digits.demo.fragments.__version__", "0.1.0-new")
    write_site(copy, self_hosted=release[0], pyodide=release[1])
    with serving(copy, port):
        page.reload()
        expect(page.locator(".colophon")).to_contain_text("0.1.0-new")
        for _ in range(600):
            after = page.evaluate("caches.keys()")
            if len(after) == len(before) and after != before:
                break
            page.wait_for_timeout(100)
        assert len(set(after) & set(before)) == 1  # Pyodide's files are the same
    page.reload()
    expect(page.locator(".colophon")).to_contain_text("0.1.0-new")
    draw(page, "7")
    expect(page.locator("#pad .headline")).to_have_text("7")


@pytest.mark.registry
def test_a_browser_without_memory_says_so(
    hosted: Path, visitor: BrowserContext, tmp_path: Path
) -> None:
    copy = tmp_path / "site"
    shutil.copytree(hosted, copy)
    script = (copy / "worker.js").read_text()
    refuse = 'async () => { throw new RangeError("could not allocate memory"); };'
    (copy / "worker.js").write_text(f"WebAssembly.instantiateStreaming = {refuse}{script}")
    with serving(copy) as server:
        page = open_site(visitor, address(server))
        sentence = (
            "This browser has no memory left for Python. Close other tabs, then reload the page."
        )
        expect(page.locator(".loading span")).to_have_text(sentence)


@pytest.mark.registry
def test_the_core_of_the_pinned_release_runs_until_it_needs_numpy(
    visitor: BrowserContext, tmp_path: Path
) -> None:
    """npm has the core, byte for byte as pinned, and the packages lie on Pyodide's server alone."""
    core = make_core(tmp_path)
    write_site(tmp_path / "out", self_hosted=tmp_path, pyodide=core)
    with serving(tmp_path / "out") as server:
        page = open_site(visitor, address(server))
        sentence = "Python could not be started: ModuleNotFoundError: No module named 'numpy'"
        expect(page.locator(".loading span")).to_have_text(sentence)
