"""The checkout as a Space: it is built from requirements.txt and Gradio, started, and drawn on.

It is built as Hugging Face builds it, with two differences. The Python is the one that runs the
tests. And torch and its dependencies are linked from this environment, because they take 5 GB and
minutes. Everything else is installed from the registry.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from lenet_digits.publishing import copy_space
from lenet_digits.storage.shipped import REPO

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.registry

ROOT = Path(__file__).parents[2]
SEVEN = [(0.30, 0.18), (0.70, 0.18), (0.58, 0.45), (0.46, 0.85)]  # share of the pad's side


def closure(name: str) -> dict[str, Distribution]:
    """A distribution and all its dependencies that are installed here."""
    found: dict[str, Distribution] = {}
    wanted = [Requirement(name)]
    while wanted:
        asker = wanted.pop()
        try:
            found[asker.name] = distribution(asker.name)
        except PackageNotFoundError:
            continue  # for another platform
        for line in found[asker.name].requires or ():
            needed = Requirement(line)
            extras = asker.extras or {""}
            if not needed.marker or any(needed.marker.evaluate({"extra": e}) for e in extras):
                wanted.append(needed)
    return found


def lend(name: str, target: Path) -> None:
    """Link a distribution and its dependencies, where missing, into another environment."""
    source = Path(sysconfig.get_path("purelib"))
    tops = {file.parts[0] for found in closure(name).values() for file in found.files or ()}
    for top in tops - {"..", "__pycache__"}:
        if (source / top).exists() and not (target / top).exists():
            (target / top).symlink_to(source / top)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment like the one that Spaces makes from the same files."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    folder, program = ("Scripts", "python.exe") if sys.platform == "win32" else ("bin", "python")
    front_matter = (ROOT / "README.md").read_text("utf-8").split("---\n")[1]
    (version,) = (
        line.split()[1] for line in front_matter.splitlines() if line.startswith("sdk_version:")
    )
    pip = [sys.executable, "-m", "pip", "--python", str(home / folder / program), "install"]
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    wanted = [line for line in lines if not line.startswith(("#", "torch>"))]
    wanted.append(f"gradio[oauth,mcp]=={version}")
    done = subprocess.run(
        [*pip, "--quiet", "--no-compile", *wanted],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    # Only now, so that pip never writes through a link.
    lend("torch", Path(sysconfig.get_path("purelib", "venv", {"base": str(home)})))
    return home / folder / program


@pytest.fixture(scope="module")
def space(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The URL of the app in an empty folder, and what it printed when it started.

    It is told to take its weights from a Hub that accepts connections and then never answers.
    """
    folder = tmp_path_factory.mktemp("space")
    home = tmp_path_factory.mktemp("home")
    copy_space(ROOT, folder)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PYTHONPATH": str(folder),
            "PYTHONUNBUFFERED": "1",
            "SYSTEM": "spaces",
            "SPACE_ID": "me/mine",
            "SPACE_AUTHOR_NAME": "me",
            "SPACE_REPO_NAME": "mine",
            "GRADIO_SERVER_NAME": "0.0.0.0",
            "GRADIO_SERVER_PORT": str(port),
            "GRADIO_NUM_PORTS": "1",
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_TEMP_DIR": str(home / "gradio"),
            "HF_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "LENET_DIGITS_WEIGHTS": REPO,
            "NO_PROXY": "*",
        }
        process = subprocess.Popen(
            [python, "app.py"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with process:
            assert process.stdout is not None
            said = ""
            for line in process.stdout:
                said += line
                if "Running on local URL" in line:
                    break
            else:
                pytest.fail(f"python app.py ended before it served a page:\n{said}")
            yield f"http://127.0.0.1:{port}/", said
            process.terminate()


def test_a_space_finds_the_package_beside_the_app_alone(python: Path) -> None:
    code = "import importlib.util as u; print(u.find_spec('lenet_digits'), u.find_spec('pytest'))"
    environment = {"PATH": os.environ["PATH"]}
    output = subprocess.check_output([python, "-c", code], cwd="/", env=environment, text=True)
    assert output == "None None\n"


def test_a_space_reads_a_digit_drawn_in_the_browser(
    space: tuple[str, str], browser: Browser, tmp_path: Path
) -> None:
    page = browser.new_page()
    page.goto(space[0])
    pad = page.locator(".paper canvas")
    pad.wait_for()
    box = pad.bounding_box()
    assert box is not None
    points = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in SEVEN]
    page.mouse.move(*points[0])
    page.mouse.down()
    for x, y in points[1:]:
        page.mouse.move(x, y, steps=4)
    page.mouse.up()
    page.wait_for_function("document.querySelector('.headline')?.innerText.trim().startsWith('7')")
    assert "reading with the weights shipped" in page.content()
    page.screenshot(path=os.environ.get("SPACE_SCREENSHOT", tmp_path / "space.png"))
    page.close()


def test_a_space_says_in_its_log_why_it_reads_with_the_shipped_weights(
    space: tuple[str, str],
) -> None:
    assert "the Hub did not deliver it within 4 seconds. The shipped weights are used" in space[1]
