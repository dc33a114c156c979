"""The house: every module has a layer, imports point down, light work loads no heavy library."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LAYERS = {
    "__main__": 7,
    "cli": 6,
    "app": 6,
    "plotting": 5,
    "demo": 5,
    "batches": 5,
    "publishing": 5,
    "training": 4,
    "prediction": 4,
    "workers": 0,
    "backward": 3,
    "checkpoint": 3,
    "augmentation": 3,
    "strokes": 3,
    "model": 2,
    "images": 2,
    "calibration": 2,
    "pictures": 1,
    "mnist": 2,
    "hub": 1,
    "forward": 1,
    "files": 0,
    "guard": 0,
    "muon": 0,
}
# Libraries that are heavy, or not everyone's business, and the modules that may import them.
RESERVED = {
    "gradio": {"demo", "app"},
    "matplotlib": {"plotting"},
    "torchvision": {"mnist"},
    "pandas": set(),
    "pickle": set(),
    "marshal": set(),
    "shelve": set(),
}
TORCH_FREE = ("pictures", "images", "forward", "hub", "files")
HEAVY = ("gradio", "matplotlib", "torchvision", "pandas")


def sources() -> dict[str, str]:
    """The source of every module, by its name."""
    files = [*(ROOT / "lenet_digits").glob("*.py"), ROOT / "app.py"]
    return {file.stem: file.read_text("utf-8") for file in files if file.exists()}


def imports_of(source: str) -> set[str]:
    """Every module that a source imports, anywhere in it, but for types alone."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                visit(child)
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"a relative import: {ast.unparse(node)}"
            if node.module == "lenet_digits":  # `from lenet_digits import model`: each name counts
                found.update(f"lenet_digits.{alias.name}" for alias in node.names)
            else:
                found.add(node.module or "")
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(source))
    return found


def violations(modules: dict[str, str]) -> list[str]:
    """What breaks the rules of the house, a line each."""
    found = []
    for name, source in modules.items():
        if name == "__init__":
            continue  # it names everything, and imports on first use
        if name not in LAYERS:
            found.append(f"{name} has no layer")
            continue
        for imported in imports_of(source):
            package, _, module = imported.partition(".")
            if name not in RESERVED.get(package, {name}):
                found.append(f"{name} imports {package}")
            if name in TORCH_FREE and package == "torch":
                found.append(f"{name} imports torch")
            module = package if package == "app" else module.partition(".")[0]
            if package in ("lenet_digits", "app") and LAYERS.get(module, -9) >= LAYERS[name]:
                found.append(f"{name} imports {module}, which is not below it")
    return found


def test_every_module_has_a_layer_and_imports_only_from_below() -> None:
    assert violations(sources()) == []


def test_the_sources_under_test_are_the_package() -> None:
    assert {"model", "images", "mnist", "checkpoint", "prediction", "training"} <= set(sources())


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("model", "from lenet_digits.training import train", "model imports training"),
        ("model", "import lenet_digits.images", "model imports images"),
        ("training", "def f():\n    from lenet_digits import prediction", "training imports pred"),
        ("cli", "import app", "cli imports app"),
        ("utils", "", "utils has no layer"),
        ("cli", "import matplotlib.pyplot as plt", "cli imports matplotlib"),
        ("prediction", "def f():\n    import gradio", "prediction imports gradio"),
        ("training", "from torchvision import datasets", "training imports torchvision"),
        ("images", "import torch", "images imports torch"),
        ("checkpoint", "import pickle", "checkpoint imports pickle"),
    ],
)
def test_the_rules_notice_a_module_that_breaks_them(
    module: str, source: str, complaint: str
) -> None:
    assert [found for found in violations({module: source}) if found.startswith(complaint)]


def test_the_rules_allow_imports_that_serve_types_alone() -> None:
    source = "if TYPE_CHECKING:\n    import torch\n    from lenet_digits.cli import main"
    assert violations({"images": source}) == []


def loaded_by(code: str, *names: str) -> list[str]:
    """Which of the modules named are loaded once a fresh interpreter has run the code."""
    report = f"\nimport sys\nprint(*[m for m in {names!r} if m in sys.modules])"
    process = subprocess.run(
        [sys.executable, "-c", code + report], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return process.stdout.splitlines()[-1].split()


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import lenet_digits", "torch", "numpy", "PIL", "cv2", *HEAVY) == []


def test_using_every_public_name_loads_nothing_heavy() -> None:
    code = "import lenet_digits as l\nfor name in l.__all__: getattr(l, name)"
    assert loaded_by(code, *HEAVY) == []


PREDICTING = """
from PIL import Image, ImageDraw
from lenet_digits import predict
page = Image.new("L", (90, 90), 255)
ImageDraw.Draw(page).line([(45, 15), (45, 75)], fill=0, width=6)
predict(page)
"""
COMMAND = """
import tempfile
from pathlib import Path
from PIL import Image, ImageDraw
from lenet_digits.cli import main
page = Image.new("L", (90, 90), 255)
ImageDraw.Draw(page).line([(45, 15), (45, 75)], fill=0, width=6)
with tempfile.TemporaryDirectory() as folder:
    page.save(Path(folder, "x.png"))
    assert main(["predict", "--csv", str(Path(folder, "x.png"))]) == 0
"""


@pytest.mark.parametrize("code", [PREDICTING, COMMAND])
def test_predicting_loads_neither_torch_nor_anything_heavy(code: str) -> None:
    assert loaded_by(code, "torch", "huggingface_hub", "tqdm", *HEAVY) == []


def test_the_apps_page_can_be_made_before_torch_is_loaded() -> None:
    code = "from lenet_digits.demo import build_demo\nbuild_demo()"
    assert loaded_by(code, "torch", "gradio") == ["gradio"]


def test_a_heavy_import_would_be_noticed() -> None:
    assert loaded_by("import torchvision", *HEAVY) == ["torchvision"]
