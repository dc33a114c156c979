"""The rooms of the house: what a folder may import, and what a fresh interpreter then loads."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("gradio", "matplotlib", "torchvision", "pandas")
# What reading, and with it the light installation and the browser, must do without.
ABSENT = (
    "torch",
    "torchvision",
    "gradio",
    "matplotlib",
    "huggingface_hub",
    "tqdm",
    "platformdirs",
)


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """The import contracts of pyproject.toml, held against the package in a folder."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(
        [*command, "--no-cache"], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_every_file_imports_only_what_its_room_may() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("reading/ink.py", "import torch", "Reading needs NumPy"),
        ("reading/ink.py", "def f():\n    from lenet_digits import model", "A room imports only"),
        ("storage/files.py", "import lenet_digits.reading.canvas", "A room imports only"),
        ("training/loop.py", "import gradio", "Each large library"),
        ("pth.py", "import pickle", "Each large library"),
        ("utils.py", "", "A room imports only"),  # a module that has no room
    ],
)
def test_a_file_that_imports_more_is_noticed(
    module: str, line: str, broken: str, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "lenet_digits", tmp_path / "lenet_digits")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "lenet_digits" / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    result = lint(tmp_path)
    assert result.returncode != 0
    reports = [row for row in result.stdout.splitlines() if row.startswith(broken)]
    assert any("BROKEN" in row for row in reports) or "lenet_digits.utils" in result.stdout


def run(code: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that runs some code."""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


READ_ALL = """
from pathlib import Path
from lenet_digits import predict
pictures = [p for p in sorted(Path("examples").iterdir()) if p.suffix in (".png", ".jpg")]
assert len(pictures) >= 12
for picture in pictures:
    prediction = predict(picture)
    assert prediction.is_digit and prediction.digit == int(picture.name[0]), picture
"""
BLOCK = f"import sys\nsys.modules.update(dict.fromkeys({ABSENT!r}))\n"  # an import of them fails


def test_reading_works_where_there_are_four_packages_only() -> None:
    result = run(BLOCK + READ_ALL)
    assert result.returncode == 0, result.stderr


def test_without_the_other_packages_an_import_of_them_fails() -> None:
    for name in ABSENT:
        assert "ModuleNotFoundError" in run(f"{BLOCK}import {name}").stderr


@pytest.mark.parametrize("name", ["LeNet5", "train", "load_model", "preprocess"])
def test_a_name_that_needs_more_says_what_to_install(name: str) -> None:
    last = run(f"{BLOCK}import lenet_digits\nlenet_digits.{name}").stderr.splitlines()[-1]
    assert last == (
        f"ModuleNotFoundError: lenet_digits.{name} needs torch, which is not installed. Install "
        "everything: pip install lenet-digits"
    )


@pytest.mark.parametrize("command", ["app", "train", "evaluate", "predict --weights x.pth x.png"])
def test_a_command_that_needs_more_says_what_to_install(command: str) -> None:
    code = f"from lenet_digits.cli.entry import main\nraise SystemExit(main({command.split()!r}))"
    result = run(BLOCK + code)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert result.stderr.endswith("not installed. Install everything: pip install lenet-digits\n")


def loaded_by(code: str, *names: str) -> list[str]:
    """Which of the modules named are loaded once a fresh interpreter has run the code."""
    result = run(code + f"\nimport sys\nprint(*[m for m in {names!r} if m in sys.modules])")
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1].split()


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import lenet_digits", "torch", "numpy", "PIL", "cv2", *HEAVY) == []


def test_using_every_public_name_loads_nothing_heavy() -> None:
    code = "import lenet_digits as l\nfor name in l.__all__: getattr(l, name)"
    assert loaded_by(code, *HEAVY) == []


def test_predicting_loads_none_of_the_other_packages() -> None:
    assert loaded_by(READ_ALL, *ABSENT, "multiprocessing") == []


def test_the_command_loads_none_of_the_other_packages() -> None:
    code = "from lenet_digits.cli.entry import main\nassert main(['predict', 'examples']) == 0"
    assert loaded_by(code, *ABSENT) == []


def test_the_apps_page_can_be_made_before_torch_is_loaded() -> None:
    code = "from lenet_digits.demo.page import build_demo\nbuild_demo()"
    assert loaded_by(code, "torch", "gradio") == ["gradio"]


APP = """
from pathlib import Path
from fastapi import FastAPI
from starlette.testclient import TestClient
from lenet_digits.demo.server import mount
client = TestClient(mount(FastAPI()), base_url="http://127.0.0.1")
assert client.get("/demo/health").json()["status"] == "ok"
answer = client.post("/demo/read", content=Path("examples/7-photo.jpg").read_bytes())
assert answer.json()["text"] == "7", answer.text
"""


def test_the_app_answers_where_there_is_no_torch() -> None:  # as in the image of the Dockerfile
    blocked = dict.fromkeys(("torch", "torchvision", "matplotlib", "platformdirs"))
    result = run(f"import sys\nsys.modules.update({blocked!r})\n{APP}")
    assert result.returncode == 0, result.stderr


def test_a_heavy_import_would_be_noticed() -> None:
    assert loaded_by("import torchvision", *HEAVY) == ["torchvision"]
