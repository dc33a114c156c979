"""Writes the page as a static site, where the visitor's browser reads the pictures itself.

The site has the parts of the app's page in a shell of its own. A worker runs this package's code in
Pyodide, which is Python for browsers. ``static/pyodide.json`` pins the version of Pyodide, and the
SHA-256 of each of its files that the site needs: those of its core are from its package on npm,
those of its wheels from the lock file in that package. The ``bytes`` of the wheels are estimates,
which only the progress bar uses.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from lenet_digits import __version__
from lenet_digits.demo.answers import MAX_BYTES
from lenet_digits.demo.fragments import (
    MANIFEST,
    STATIC,
    about_html,
    example_pictures,
    footer_html,
    head_html,
    reader_html,
    reader_scripts,
    shipped_metrics,
    static_file,
)
from lenet_digits.storage.files import write_atomically
from lenet_digits.storage.shipped import PACKAGE, WEIGHTS_FILE, shipped_weights

PYODIDE_FOLDER = "pyodide"  # in a site that brings its own Pyodide
# What of the package the worker runs: patterns below its folder.
READER_CODE = (
    "__init__.py",
    "storage/*.py",
    "reading/*.py",
    "demo/__init__.py",
    "demo/answers.py",
    "demo/browser.py",
    "demo/inside.py",
)
READER_FILE = "reader.zip"
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # time of files in the archive: the same content, the same bytes
FROM_CDN = (
    "Python comes from cdn.jsdelivr.net, which learns that this page was opened, and nothing else."
)
FROM_HERE = "No requests go to anyone else."


class SiteError(ValueError):
    """Files of Pyodide are missing, or they are not those of the pinned version."""


@dataclass(frozen=True)
class Pyodide:
    """A release of Pyodide: where its files are, and what they must be."""

    version: str
    url: str  # of the folder with the files
    files: dict[str, dict[str, Any]]  # by name: "sha256" in hexadecimal, and "bytes"
    lock: dict[str, Any]  # what Pyodide needs to know of its packages, in its own format

    @classmethod
    def read(cls, path: str | PathLike[str] = STATIC / "pyodide.json") -> Pyodide:
        """The release that a file pins."""
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))

    def check(self, folder: str | PathLike[str]) -> dict[str, bytes]:
        """The release's files in a folder, by name.

        Raises SiteError if one is missing or has another hash.
        """
        contents = {}
        for name, expected in self.files.items():
            path = Path(folder, name)
            if not path.is_file():
                raise SiteError(
                    f"{folder} lacks {name} of Pyodide {self.version}. Get it from {self.url}{name}"
                )
            contents[name] = path.read_bytes()
            if hashlib.sha256(contents[name]).hexdigest() != expected["sha256"]:
                raise SiteError(
                    f"{path} is not the file of Pyodide {self.version}: its SHA-256 differs. Get "
                    f"it from {self.url}{name}"
                )
        return contents


def _check_folder(folder: Path) -> None:
    """Raises SiteError if the folder is a file, or holds something else than an earlier site."""
    if folder.exists() and not folder.is_dir():
        raise SiteError(f"{folder} is a file. Name a folder for the site.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "service-worker.js").exists():
        raise SiteError(f"{folder} holds other files. Name a new or an empty folder for the site.")


def write_site(
    folder: str | PathLike[str],
    *,
    self_hosted: str | PathLike[str] | None = None,
    pyodide: Pyodide | None = None,
) -> None:
    """Write the site to a folder, which is made where it does not exist.

    Any web server can serve it, for instance ``python -m http.server``. Files of an earlier site
    are replaced, and visitors get the new one at their next visit.

    Args:
        folder: the site's folder.
        self_hosted: a folder with Pyodide's files, which then become part of the site; without it
            visitors get them from Pyodide's own server.
        pyodide: the release of Pyodide; by default the one that this version pins.

    Raises:
        SiteError: the folder holds other files than an earlier site; or files in ``self_hosted``
            are missing, or are not those of the release.
        OSError: a file cannot be written.
    """
    _check_folder(Path(folder))
    release = pyodide or Pyodide.read()
    python = release.check(self_hosted) if self_hosted is not None else None
    reader = _reader_archive()
    files = {path.name: path for path in example_pictures()}
    contents = {f"examples/{name}": path.read_bytes() for name, path in files.items()}
    contents |= {
        READER_FILE: reader,
        "icon.png": (STATIC / "icon.png").read_bytes(),
        "card.png": (STATIC / "card.png").read_bytes(),
        "manifest.json": json.dumps(MANIFEST).encode(),
        "worker.js": _worker(release, python, reader),
    }
    worker = f"worker.js?{_mark(contents['worker.js'])}"
    contents["index.html"] = _index(worker, FROM_CDN if python is None else FROM_HERE)
    kept = ["./", worker, _reader_address(reader)]
    others = ("index.html", "worker.js", READER_FILE, "card.png")
    kept += [name for name in contents if name not in others]
    contents["service-worker.js"] = _service_worker(release, contents, kept)
    for name, content in (python or {}).items():
        contents[f"{PYODIDE_FOLDER}/{name}"] = content
    for name in sorted(contents, key="index.html".__eq__):  # the page comes last
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, contents[name])


def _reader_archive() -> bytes:
    """What the worker unpacks: this package's code that reads pictures, and its weights."""
    paths = sorted(path for pattern in READER_CODE for path in PACKAGE.glob(pattern))
    files = {f"{PACKAGE.name}/{path.relative_to(PACKAGE)}": path.read_bytes() for path in paths}
    files[f"{PACKAGE.name}/weights/{WEIGHTS_FILE}"] = shipped_weights()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name, content in files.items():
            file.writestr(zipfile.ZipInfo(name, LONG_AGO), content, zipfile.ZIP_DEFLATED)
    return archive.getvalue()


def _worker(release: Pyodide, python: Mapping[str, bytes] | None, reader: bytes) -> bytes:
    """The worker's script, which knows what it loads, and from where."""
    base = release.url if python is None else f"{PYODIDE_FOLDER}/"
    files = [
        {
            "name": name,
            "url": f"{base}{name}",
            "sha256": _base64(bytes.fromhex(expected["sha256"])),
            "bytes": expected["bytes"] if python is None else len(python[name]),
        }
        for name, expected in release.files.items()
    ]
    own = {
        "name": READER_FILE,
        "url": _reader_address(reader),
        "sha256": _base64(hashlib.sha256(reader).digest()),
        "bytes": len(reader),
    }
    site = {"store": _store(release), "reader": READER_FILE, "files": [*files, own]}
    return _with_constants("worker.js", SITE=site | {"lock": release.lock})


def _service_worker(release: Pyodide, contents: Mapping[str, bytes], kept: list[str]) -> bytes:
    everything = b"".join(contents[name] for name in sorted(contents))
    return _with_constants(
        "service-worker.js", BUILD=_mark(everything), STORE=_store(release), FILES=kept
    )


def _index(worker: str, pyodide: str) -> bytes:
    """The page itself."""
    note = f"Weights shipped with lenet-digits {__version__}."
    where = static_file("about-browser.html").format(pyodide=pyodide)
    engine = f"const WORKER = {json.dumps(worker)}, LIMIT = {MAX_BYTES};\n"
    script = engine + reader_scripts("engine-browser", "pad", "upload") + static_file("site.js")
    page = static_file("site.html").format(
        script=script,
        script_hash=_base64(hashlib.sha256(script.encode()).digest()),
        css=static_file("demo.css") + static_file("site.css"),
        head=head_html("."),
        header=static_file("header.html"),
        pad=reader_html("pad"),
        upload=reader_html("upload"),
        about=about_html(note, shipped_metrics(), where=where),
        footer=footer_html(note),
    )
    return page.encode()


def _with_constants(name: str, **constants: Any) -> bytes:
    """A script with constants before it."""
    lines = [f"const {name} = {json.dumps(value)};\n" for name, value in constants.items()]
    return ("".join(lines) + static_file(name)).encode()


def _store(release: Pyodide) -> str:
    """What browsers call the place where they keep the release's files."""
    return f"pyodide-{release.version}"


def _reader_address(reader: bytes) -> str:
    return f"{READER_FILE}?{_mark(reader)}"


def _mark(content: bytes) -> str:
    """A short name for a content, so that browsers never mix two builds."""
    return hashlib.sha256(content).hexdigest()[:16]


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
