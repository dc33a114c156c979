"""Adds up what the installation downloads on Linux, macOS and Windows, from the package registry.

Nothing is downloaded. pip says which files it would take for Python 3.12. It judges "only on Linux"
and the like by the machine that it runs on, so this program tells it about another one.

python -m tests.benchmarks.downloads
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIGHT = ("numpy<3", "pillow<13", "opencv-python-headless", "safetensors")  # as README says
MANYLINUX = [f"manylinux_2_{minor}_x86_64" for minor in range(39, 4, -1)]
MACOS = [
    f"macosx_{major}_0_{cpu}" for major in range(26, 10, -1) for cpu in ("arm64", "universal2")
]
SYSTEMS = {  # what markers see, and which wheels fit, the newest first
    "Linux": (("Linux", "linux", "posix", "x86_64"), [*MANYLINUX, "manylinux2014_x86_64"]),
    "macOS": (("Darwin", "darwin", "posix", "arm64"), [*MACOS, "macosx_10_13_universal2"]),
    "Windows": (("Windows", "win32", "nt", "AMD64"), ["win_amd64"]),
}
PIP = """
import sys
import pip._vendor.packaging.markers as markers
from pip._internal.cli.main import main
names = ("platform_system", "sys_platform", "os_name", "platform_machine")
here = markers.default_environment
there = dict(zip(names, sys.argv[1:5])) | {"python_version": "3.12"}
markers.default_environment = lambda: here() | there | {"python_full_version": "3.12.0"}
sys.exit(main(sys.argv[5:]))
"""


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for system in SYSTEMS:
        whole, light = (
            megabytes(system, *packages)
            for packages in (project["dependencies"], ("--no-deps", *LIGHT))
        )
        print(f"{system}: {whole:,.0f} MB, light installation {light:.0f} MB")


def megabytes(system: str, *packages: str) -> float:
    """The size of all files that pip would download for these packages."""
    markers, wheels = SYSTEMS[system]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        options = ["--dry-run", "--ignore-installed", "--quiet", "--only-binary=:all:"]
        options += ["--python-version=3.12", f"--target={folder}", f"--report={report}"]
        options += [f"--platform={wheel}" for wheel in wheels]
        command = [sys.executable, "-c", PIP, *markers, "install", *options, *packages]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        files = [each["download_info"]["url"] for each in json.loads(report.read_text())["install"]]
    return sum(map(size_of, files)) / 1e6


def size_of(url: str) -> int:
    """Bytes of a file."""
    with urllib.request.urlopen(urllib.request.Request(url, method="HEAD")) as reply:
        return int(reply.headers["Content-Length"])


if __name__ == "__main__":
    main()
