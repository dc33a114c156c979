"""The sdist and the wheel are complete: installed without network and without the source."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent

# Every Python of the fresh environment runs this first: opening a connection fails.
NO_NETWORK = """
import socket
def refuse(*arguments, **options):
    raise OSError("this test has no network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
"""


def run(*words, **options):
    result = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, **options
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist, and the wheel built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, REPOSITORY)
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The Python of a fresh environment with the wheel; it shares the dependencies of this one."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    python = home / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    packages = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    )
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps",
        built[1],
    )  # fmt: skip
    # After the fresh environment's own packages, so that its lenet_digits is the one found.
    (packages / "no_network.py").write_text(NO_NETWORK)
    (packages / "dependencies.pth").write_text(
        f"{sysconfig.get_path('purelib')}\nimport no_network\n"
    )
    return python


def test_the_wheel_is_small_and_has_weights_types_and_licence(built):
    _, wheel = built
    assert wheel.stat().st_size < 1_000_000
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {
        "lenet_digits/py.typed",
        "lenet_digits/model_card.md.jinja",
        "lenet_digits/weights/model.safetensors",
        "lenet_digits/weights/metrics.json",
        "lenet_digits/examples/7-photo.jpg",
    } <= set(names)
    assert not [name for name in names if name.endswith(".onnx")]  # the Hub has it
    assert any(name.endswith("licenses/LICENSE") for name in names)
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"lenet_digits"}


def test_the_sdist_has_the_files_that_its_readme_names(built):
    sdist, _ = built
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "README.md", "CHANGELOG.md", "LICENSE", "app.py", "examples/quickstart.py",
        "examples/7-photo.jpg", "weights/model.safetensors", "weights/onnx/model.onnx",
        "tests/test_wheel.py",
    } <= names  # fmt: skip


def test_installed_it_reads_a_picture_from_another_directory_without_network(installed, tmp_path):
    code = (
        "import lenet_digits, sys; print(lenet_digits.__file__)\n"
        "print(lenet_digits.predict(sys.argv[1]).digit)"
    )
    picture = REPOSITORY / "examples" / "7-photo.jpg"
    found, digit = run(installed, "-I", "-c", code, picture, cwd=tmp_path).split()
    assert Path(found).is_relative_to(installed.parent.parent)
    assert digit == "7"
    command = installed.with_name("lenet-digits")
    assert run(command, "predict", picture, cwd=tmp_path).splitlines()[1].split()[0] == "7"


def test_that_environment_has_no_network(installed):
    code = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')"
    with pytest.raises(AssertionError, match="this test has no network"):
        run(installed, "-c", code)
