"""MNIST as tensors: found where it is, fetched where it is not, or three ways out."""

from __future__ import annotations

import gc
import gzip
import hashlib
import shutil
import threading
import warnings
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torchvision.datasets import MNIST

from lenet_digits import DatasetNotFoundError, Digits, load_mnist
from lenet_digits.training.mnist import default_root

DATA = Path(__file__).parents[1] / "data"
FILES = [name.removesuffix(".gz") for name, _ in MNIST.resources]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reaches the network: nothing listens on this port of this machine."""
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    monkeypatch.delenv("LENET_DIGITS_DATA", raising=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with the sample, to be damaged."""
    shutil.copytree(DATA / "MNIST", tmp_path / "MNIST")
    return tmp_path


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A real HTTP server on this machine, and the folder that it serves as MNIST's mirror."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    resources = []
    for name in FILES:
        content = gzip.compress((DATA / "MNIST" / "raw" / name).read_bytes(), 1)
        (folder / f"{name}.gz").write_bytes(content)
        resources.append((f"{name}.gz", hashlib.md5(content).hexdigest()))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        monkeypatch.setattr(MNIST, "resources", resources)
        try:
            yield folder
        finally:
            server.shutdown()
            thread.join()
            with warnings.catch_warnings():  # torchvision leaves its sockets to the collector
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()


def assert_is_the_sample(train: Digits, test: Digits) -> None:
    assert (len(train), len(test)) == (1000, 500)
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


@pytest.mark.parametrize("root", [DATA, str(DATA)])
@pytest.mark.parametrize("download", [True, False])
def test_digits_that_are_there_are_read_without_a_download(root, download):
    assert_is_the_sample(*load_mnist(root, download=download))


def test_digits_are_uint8_images_and_int64_labels():
    for digits in load_mnist(DATA):
        assert digits.images.dtype == torch.uint8
        assert digits.images.shape == (len(digits), 28, 28)
        assert digits.labels.dtype == torch.int64
        assert digits.labels.shape == (len(digits),)
        assert set(digits.labels.tolist()) == set(range(10))
        assert int(digits.images.max()) == 255
        assert int(digits.images[:, 0].max()) == 0  # ink on 0, not paper


def test_some_of_the_digits_are_digits():
    train, _ = load_mnist(DATA)
    some = train[10:20]
    assert len(some) == 10
    assert torch.equal(some.images[0], train.images[10])
    assert train[torch.tensor([3, 1])].labels.tolist() == [1, 0]


def test_the_environment_names_the_folder_unless_an_argument_does(monkeypatch, tmp_path):
    monkeypatch.setenv("LENET_DIGITS_DATA", str(DATA))
    assert default_root() == DATA
    assert_is_the_sample(*load_mnist())
    monkeypatch.setenv("LENET_DIGITS_DATA", "~/digits")
    assert default_root() == Path.home() / "digits"
    assert_is_the_sample(*load_mnist(DATA))


@pytest.mark.parametrize("value", [None, ""])
def test_the_default_folder_is_a_cache_of_the_users(monkeypatch, tmp_path, value):
    if value is not None:
        monkeypatch.setenv("LENET_DIGITS_DATA", value)
    for variable in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path / "someone"))
    assert default_root().is_absolute()
    assert "lenet-digits" in default_root().parts


@pytest.mark.parametrize("download", [True, False])
def test_absent_and_offline_it_says_where_it_looked_and_three_ways_out(tmp_path, download):
    with pytest.raises(DatasetNotFoundError) as caught:
        load_mnist(tmp_path, download=download)
    message = str(caught.value)
    assert message.startswith(f"MNIST is not in {tmp_path / 'MNIST' / 'raw'}")
    assert "\n" not in message
    for way in ("connect to the internet", "copy the four MNIST files", "LENET_DIGITS_DATA"):
        assert way in message
    assert download or list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DatasetNotFoundError, match="MNIST is not in"):
        load_mnist(tmp_path / "file")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_absent_and_online_it_is_downloaded_and_then_kept(mirror, tmp_path, monkeypatch):
    assert_is_the_sample(*load_mnist(tmp_path / "here"))
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    assert_is_the_sample(*load_mnist(tmp_path / "here"))


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_download_shows_its_progress_on_stderr_alone(mirror, tmp_path, capfd):
    load_mnist(tmp_path / "here")
    out, err = capfd.readouterr()
    assert out == ""
    assert "100%" in err


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("fault", ["tampered", "missing", "cut short"])
def test_a_download_that_is_not_mnist_is_refused(mirror, tmp_path, fault):
    file = mirror / f"{FILES[2]}.gz"
    content = file.read_bytes()
    if fault == "missing":
        file.unlink()
    else:
        file.write_bytes(content[:1000] if fault == "cut short" else content[:-1] + b"?")
    with pytest.raises(DatasetNotFoundError, match="was not downloaded"):
        load_mnist(tmp_path / "here")


def test_packed_files_that_someone_copied_there_are_unpacked(mirror, tmp_path):
    shutil.copytree(mirror, tmp_path / "here" / "MNIST" / "raw")
    for file in mirror.iterdir():
        file.unlink()
    assert_is_the_sample(*load_mnist(tmp_path / "here"))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:9],
        lambda content: content[: len(content) // 2],
        lambda content: b"\xff" * 4 + content[4:],
        lambda content: b"<html>404</html>",
    ],
    ids=["empty", "header", "half", "magic", "page"],
)
def test_damaged_files_are_an_error_that_says_so(copy, name, damage):
    path = copy / "MNIST" / "raw" / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DatasetNotFoundError, match=r"MNIST in .* is damaged .*Delete that folder"):
        load_mnist(copy)


def test_labels_that_are_not_digits_or_not_one_for_each_image_are_damage(copy):
    labels = copy / "MNIST" / "raw" / FILES[1]
    content = labels.read_bytes()
    for damaged in (content[:-1] + b"\n", (DATA / "MNIST" / "raw" / FILES[3]).read_bytes()):
        labels.write_bytes(damaged)
        with pytest.raises(DatasetNotFoundError, match="is damaged"):
            load_mnist(copy)
    labels.write_bytes(content)
    assert_is_the_sample(*load_mnist(copy))


def test_a_torchvision_that_does_not_fit_torch_is_named(monkeypatch):
    import builtins

    real = builtins.__import__

    def broken(name: str, *args: object, **options: object) -> object:
        if name == "torchvision.datasets":
            raise RuntimeError("operator torchvision::nms does not exist")
        return real(name, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(ImportError, match=r"nms does not exist.*Reinstall both together: pip"):
        load_mnist(DATA)
