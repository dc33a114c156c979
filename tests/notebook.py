"""Runs examples/lenet5.ipynb in full and stores its outputs: `python -m tests.notebook`.

The run takes a minute or two. It needs the `test` extra. It downloads MNIST, unless the variable
`LENET_DIGITS_DATA` names a folder that has it. Run it after each change of the notebook, the
shipped weights, the example pictures or a figure, and look at the result.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

import lenet_digits
from lenet_digits.storage.files import write_atomically
from lenet_digits.storage.shipped import SHIPPED_SHA256

NOTEBOOK = Path(__file__).parents[1] / "examples" / "lenet5.ipynb"
TRAINING_DIGITS = 60_000  # of the full run
FULL_RUN = "60,000 training digits, 10,000 test digits"  # what a full run prints
MOST_BYTES = 500_000  # of the notebook with its outputs
COLOURS = 64  # of a stored figure
SECONDS = 1800  # for one cell, and for the kernel to start; a busy machine takes its time
# The path of a folder that only the machine of the run has.
PATH = re.compile(r"(?<![\w.:/])/(?:home|root|Users|tmp|work|mnt|opt|usr|var)/|[A-Z]:\\\\")


def file_of(notebook: dict[str, Any]) -> bytes:
    """The notebook as its file has it."""
    return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode()


def code_of(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells of code, in order."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def code_sha256(notebook: dict[str, Any]) -> str:
    """The SHA-256 of all code, in hexadecimal."""
    sources = ["".join(cell["source"]) for cell in code_of(notebook)]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def run(notebook: dict[str, Any], *, data: Path | None = None) -> dict[str, Any]:
    """Run the notebook, with the MNIST in ``data``, and return it with its new outputs.

    The run uses this lenet_digits and ignores the user's settings of IPython.
    Raises nbclient.exceptions.CellExecutionError if a cell fails.
    """
    import nbformat
    from nbclient import NotebookClient

    with tempfile.TemporaryDirectory() as settings:
        environment = os.environ | {
            "IPYTHONDIR": settings,
            "PYTHONPATH": str(Path(lenet_digits.__file__).parents[1]),
        }
        if data is not None:
            environment["LENET_DIGITS_DATA"] = str(data)
        client = NotebookClient(
            nbformat.reads(json.dumps(notebook), as_version=4),
            kernel_name="python3",
            timeout=SECONDS,
            startup_timeout=SECONDS,
            iopub_timeout=60,  # seconds to wait for an output, which is then lost without a word
            record_timing=False,
            resources={"metadata": {"path": str(NOTEBOOK.parent)}},
        )
        return json.loads(nbformat.writes(client.execute(env=environment)))


def problems(notebook: dict[str, Any]) -> list[str]:
    """What is wrong with the stored outputs, in sentences."""
    found = []
    cells = code_of(notebook)
    outputs = [output for cell in cells for output in cell["outputs"]]
    text = without_pictures(json.dumps(outputs))
    stored = notebook["metadata"].get("lenet_digits", {})
    if stored.get("code_sha256") != code_sha256(notebook):
        found.append("The outputs are not of this code.")
    if stored.get("weights_sha256") != SHIPPED_SHA256:
        found.append("The outputs are not of the shipped weights.")
    if FULL_RUN not in text:
        found.append("The outputs are not of a full run.")
    if [cell["execution_count"] for cell in cells] != list(range(1, len(cells) + 1)):
        found.append("The cells did not run from top to bottom.")
    if sum(output["output_type"] in ("display_data", "execute_result") for output in outputs) < 10:
        found.append("Outputs are missing.")
    if any(output["output_type"] == "error" for output in outputs):
        found.append("A cell failed.")
    if any(output.get("name") == "stderr" for output in outputs):
        found.append("A cell warned.")
    if PATH.search(text):
        found.append("An output names a folder of the machine that it ran on.")
    if len(file_of(notebook)) > MOST_BYTES:
        found.append("The notebook is too large.")
    return found


def without_pictures(text: str) -> str:
    """A text without the pictures in it, which are base64."""
    return re.sub(r"[A-Za-z0-9+/=\\]{200,}", "", text.replace("\\n", ""))


def with_fewer_colours(png: str) -> str:
    """A PNG, in base64, with a palette of `COLOURS`: a third of the size."""
    with Image.open(io.BytesIO(base64.b64decode(png))) as figure:
        small = figure.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    file = io.BytesIO()
    small.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def write() -> None:
    """Run the notebook with all of MNIST and store it with its outputs."""
    training, _ = lenet_digits.load_mnist()  # so that no download shows in the outputs
    if len(training) != TRAINING_DIGITS:
        raise SystemExit(f"This MNIST has {len(training):,} training digits. Take the whole one.")
    notebook = run(json.loads(NOTEBOOK.read_text("utf-8")))
    for cell in code_of(notebook):
        for output in cell["outputs"]:
            if "image/png" in output.get("data", {}):
                output["data"]["image/png"] = with_fewer_colours(output["data"]["image/png"])
    notebook["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "lenet_digits": {
            "code_sha256": code_sha256(notebook),
            "weights_sha256": SHIPPED_SHA256,
        },
    }
    if wrong := problems(notebook):
        raise SystemExit(f"The notebook was not stored. {' '.join(wrong)}")
    write_atomically(NOTEBOOK, file_of(notebook))


if __name__ == "__main__":
    write()
