"""The rooms: what a folder may import, and which packages a fresh interpreter then loads."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("gradio", "matplotlib", "torchvision", "pandas")
# Packages that reading, and so the light installation and the browser, must not need.
ABSENT = (
    "torch",
    "torchvision",
    "gradio",
    "matplotlib",
    "huggingface_hub",
    "tqdm",
    "platformdirs",
)
BLOCK = "import sys\nsys.modules.update(dict.fromkeys({!r}))\n"  # an import of them fails
MAIN = "from lenet_digits.cli.entry import main\n"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the package in a folder against the import contracts of its pyproject.toml."""
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
    """Run code in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


def output_of(code: str) -> str:
    result = run(code)
    assert result.returncode == 0, result.stderr
    return result.stdout


def error_of(code: str) -> str:
    result = run(code)
    assert result.returncode == 1
    return result.stderr


# Where packages are missing

READ_ALL = """
from pathlib import Path
from lenet_digits import predict
pictures = [p for p in sorted(Path("examples").iterdir()) if p.suffix in (".png", ".jpg")]
assert len(pictures) >= 12
for picture in pictures:
    prediction = predict(picture)
    assert prediction.is_digit and prediction.digit == int(picture.name[0]), picture
"""
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
WEIGHTS = ("BatchPredictor(weights='x')", "BatchReader(weights='x')")


def test_reading_needs_four_packages_only() -> None:
    output_of(BLOCK.format(ABSENT) + READ_ALL)


def test_the_app_needs_no_torch() -> None:  # as in the image of the Dockerfile
    output_of(BLOCK.format(("torch", "torchvision", "matplotlib", "platformdirs")) + APP)


def test_an_import_of_a_blocked_package_fails() -> None:
    for name in ABSENT:
        assert "ModuleNotFoundError" in error_of(f"{BLOCK.format(ABSENT)}import {name}")


@pytest.mark.parametrize("name", ["LeNet5", "train", *WEIGHTS])
def test_a_name_that_needs_more_says_what_to_install(name: str) -> None:
    code = f"{BLOCK.format(ABSENT)}import lenet_digits\nlenet_digits.{name}"
    last = error_of(code).splitlines()[-1]
    assert last.startswith("ModuleNotFoundError: lenet_digits.")
    assert last.endswith("needs torch, which is not installed. Install everything: "
                         "pip install lenet-digits")  # fmt: skip


def test_a_command_that_needs_more_says_what_to_install_in_one_line() -> None:
    for words in ("app", "train", "evaluate", "predict --weights x.pth x.png"):
        code = f"{BLOCK.format(ABSENT)}{MAIN}raise SystemExit(main({words.split()!r}))"
        (line,) = error_of(code).splitlines()
        assert line.endswith("not installed. Install everything: pip install lenet-digits")


# What is loaded


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import lenet_digits", ("torch", "numpy", "PIL", "cv2", *HEAVY)),
        ("import lenet_digits as l\nfor name in l.__all__: getattr(l, name)", HEAVY),
        (MAIN + "assert main(['predict', 'examples']) == 0", ABSENT),
        *[
            (f"{MAIN}try: main([{option!r}])\nexcept SystemExit: pass",
             ("torch", "numpy", "PIL", *HEAVY))
            for option in ("--help", "--version")
        ],
    ],
    ids=["import", "all names", "predict", "help", "version"],
)  # fmt: skip
def test_nothing_large_is_loaded_before_it_is_needed(code: str, absent: tuple[str, ...]) -> None:
    assert loaded_by(code, absent) == []


def loaded_by(code: str, names: tuple[str, ...]) -> list[str]:
    """The modules among these names that are loaded after the code has run."""
    report = f"\nimport sys\nprint(*[m for m in {names!r} if m in sys.modules])"
    return output_of(code + report).splitlines()[-1].split()


def test_a_large_import_would_be_noticed() -> None:
    assert loaded_by("import torchvision", HEAVY) == ["torchvision"]
