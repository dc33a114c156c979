"""Weights on disk: the same come back, or one sentence says why not, and no code in them runs."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import pickle
import stat
import subprocess
import sys
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.utils import parametrizations, prune

from lenet_digits import LeNet5, WeightsError, load_model, save_weights
from lenet_digits.storage import shipped
from lenet_digits.storage.files import MAX_BYTES, write_atomically, written_atomically
from lenet_digits.storage.shipped import WEIGHTS_FILE, weights_directory

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")


@contextlib.contextmanager
def without_privileges() -> Iterator[None]:
    """Run the block as a user who is not root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def model() -> LeNet5:
    torch.manual_seed(0)
    return LeNet5()


@pytest.fixture
def state(model: LeNet5) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_equal(one: LeNet5, other: LeNet5) -> None:
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def refusal(path: Path) -> str:
    """The message with which a file is refused, in one line."""
    with pytest.raises(WeightsError) as caught:
        load_model(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message.replace(str(path), "FILE")


# Saving and loading


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth", "model.pt"])
def test_weights_come_back_as_they_were_saved(model: LeNet5, tmp_path: Path, name: str) -> None:
    save_weights(model, tmp_path / name)
    for path in (tmp_path / name, str(tmp_path / name)):
        loaded = load_model(path)
        assert_equal(model, loaded)
        assert not loaded.training
    if not name.endswith("safetensors"):
        plain = torch.load(tmp_path / name, weights_only=True)
        assert list(plain) == list(model.state_dict())


def pruned(model: LeNet5) -> None:
    prune.l1_unstructured(model.f6, "weight", 0.5)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    "change",
    [
        pruned,
        lambda model: parametrizations.weight_norm(model.c3),
        lambda model: setattr(model, "output", torch.nn.Linear(84, 11)),
        lambda model: model.output.bias.data.fill_(torch.nan),
        lambda model: model.to("meta"),
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "model.pth"])
def test_what_could_not_be_loaded_is_not_saved(
    model: LeNet5, tmp_path: Path, name: str, change: Callable[[LeNet5], object]
) -> None:
    change(model)
    with pytest.raises(WeightsError, match="cannot be saved: it "):
        save_weights(model, tmp_path / name)
    with pytest.raises(WeightsError, match="cannot be saved: it "):
        model.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_same_weights_make_the_same_file_and_others_another(
    model: LeNet5, tmp_path: Path
) -> None:
    hashes = {save_weights(model, tmp_path / f"{i}.safetensors") for i in range(5)}
    hashes.add(save_weights(load_model(tmp_path / "0.safetensors"), tmp_path / "again.safetensors"))
    channels_last = LeNet5().to(memory_format=torch.channels_last)
    channels_last.load_state_dict(model.state_dict())
    hashes.add(save_weights(channels_last, tmp_path / "last.safetensors"))
    assert hashes == {hashlib.sha256((tmp_path / "0.safetensors").read_bytes()).hexdigest()}
    with torch.no_grad():
        model.output.bias[3] += 1e-6
    assert save_weights(model, tmp_path / "other.safetensors") not in hashes


def test_a_model_goes_to_the_device_asked_for(model: LeNet5, tmp_path: Path) -> None:
    save_weights(model, tmp_path / "m.safetensors")
    loaded = load_model(tmp_path / "m.safetensors", device=torch.device("meta"))
    assert next(loaded.parameters()).is_meta


@pytest.mark.parametrize("device", ["nosuch", "cuda:99", "", object()])
def test_a_device_that_cannot_be_used_is_named(device: Any) -> None:
    with pytest.raises(ValueError, match="cannot be used here: ") as caught:
        load_model(device=device)
    assert "\n" not in str(caught.value)


# Files that others wrote


def test_layers_may_have_other_names_and_another_order_and_torchs_old_format(
    model: LeNet5, state: dict[str, Tensor], tmp_path: Path
) -> None:
    renamed = {f"x{9 - i}": value for i, value in enumerate(state.values())}
    save_file(renamed, tmp_path / "renamed.safetensors")
    torch.save(OrderedDict(renamed), tmp_path / "renamed.pth")
    parameters = dict(model.named_parameters())
    torch.save(parameters, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for path in tmp_path.iterdir():
        assert_equal(model, load_model(path))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_float32(
    state: dict[str, Tensor], tmp_path: Path, dtype: torch.dtype
) -> None:
    save_file({name: value.to(dtype) for name, value in state.items()}, tmp_path / "m.safetensors")
    loaded = load_model(tmp_path / "m.safetensors")
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    torch.testing.assert_close(loaded.f6.weight, state["f6.weight"], rtol=0.01, atol=0.001)


WRONG: list[tuple[str, Callable[[dict[str, Tensor]], object]]] = [
    ("lacks LeNet-5's tensor 'c3.bias' of shape (16,)", lambda s: s.pop("c3.bias")),
    ("lacks LeNet-5's tensor 'c1.weight'", lambda s: s.clear()),
    ("'bn.weight' that LeNet-5 does not", lambda s: s.update({"bn.weight": torch.ones(6)})),
    ("'f6.bias' of shape (120, 84)", lambda s: s.update({"f6.bias": torch.ones(120, 84)})),
    ("lacks", lambda s: s.update({"x": s.pop("f6.bias"), "y": s.pop("c1.bias")[:5]})),
    ("lacks", lambda s: s.update({"x": s.pop("f6.bias"), "z": torch.ones(84)})),
    ("'c1.weight' that is not all finite", lambda s: s["c1.weight"][5, 0, 0].fill_(torch.nan)),
    ("'c5.bias' that is not all finite", lambda s: s["c5.bias"].fill_(-torch.inf)),
    ("not all finite", lambda s: s.update({"f6.bias": torch.ones(84).double() * 1e300})),
    ("not all finite", lambda s: s.update({"f6.bias": torch.ones(84).long()})),
    ("not all finite", lambda s: s.update({"f6.bias": torch.ones(84).to(torch.complex64)})),
]


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize(("expected", "change"), WRONG, ids=range(len(WRONG)))
def test_tensors_that_are_not_lenet5s_are_named(
    state: dict[str, Tensor],
    tmp_path: Path,
    suffix: str,
    expected: str,
    change: Callable[[dict[str, Tensor]], object],
) -> None:
    path = tmp_path / f"model.{suffix}"
    change(state)
    (save_file if suffix == "safetensors" else torch.save)(state, path)
    assert expected in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        [1, 2, 3],
        {"epoch": 3, "state_dict": {}},
        {"c1.weight": [0.0] * 150},
        {"f6.bias": torch.ones(84).to_sparse()},
        {"f6.bias": torch.ones(84, device="meta")},
        torch.ones(3),
        None,
    ],
    ids=range(7),
)
@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
def test_a_pth_of_anything_but_tensors_of_numbers_by_name_is_refused(
    tmp_path: Path, content: object
) -> None:
    torch.save(content, tmp_path / "m.pth")
    assert "torch.save(model.state_dict(), path)" in refusal(tmp_path / "m.pth")


# Files that do not hold weights


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "bin", ""])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 64,
        b"PK\x03\x04 and no more",
        b"<html><title>404</title></html>",
        b"\xff" * 1000,
        b"\x80\x02}q\x00.",
        (2**40).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (11).to_bytes(8, "little") + b'{"a": null}',
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(content)
    refusal(path)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_file_cut_short_anywhere_is_refused(model: LeNet5, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model.{suffix}"
    save_weights(model, path)
    whole = path.read_bytes()
    lengths = [0, 1, 7, 8, 9, 100, 500, 1000, *range(5_000, len(whole), 40_000), len(whole) - 1]
    for length in lengths:
        path.write_bytes(whole[:length])
        assert "is damaged" in refusal(path)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_file_with_one_byte_changed_is_refused_or_still_lenet5(
    model: LeNet5, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"model.{suffix}"
    save_weights(model, path)
    whole = path.read_bytes()
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        damaged = bytearray(whole)
        at = int(torch.randint(0, 1200, (), generator=generator))
        damaged[at] ^= int(torch.randint(1, 256, (), generator=generator))
        path.write_bytes(damaged)
        with contextlib.suppress(WeightsError):
            assert sum(p.numel() for p in load_model(path).parameters()) == 61_706


def test_a_git_lfs_pointer_says_how_to_fetch_the_file(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 250000\n"
    for name in ("model.safetensors", "model.pth"):
        (tmp_path / name).write_bytes(pointer)
        assert refusal(tmp_path / name).endswith("Fetch them: git lfs pull")


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.truncate(10 * 2**40 if sys.platform == "linux" else 10 * 2**20)  # sparse
    assert "LeNet-5's weights take about 250,000" in refusal(path)


def test_a_small_pth_that_unpacks_to_a_large_one_is_not_unpacked(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    plain = io.BytesIO()
    torch.save(state | {"large": torch.zeros(2_000_000)}, plain)
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for entry in source.infolist():
            bomb.writestr(entry.filename, source.read(entry))
    assert path.stat().st_size < MAX_BYTES
    refusal(path)


def test_what_is_not_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no weights file .*nowhere\.safetensors"):
        load_model(tmp_path / "nowhere.safetensors")
    assert refusal(tmp_path) == "FILE is a folder; name the weights file in it."


@posix_only
def test_a_pipe_or_a_device_is_refused_and_a_link_is_what_it_points_to(
    model: LeNet5, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    links = {"device": "/dev/zero", "to_pipe": "pipe", "folder": ".", "loop": "loop"}
    for name, target in (links | {"dangling": "nowhere", "link": "m.safetensors"}).items():
        (tmp_path / name).symlink_to(target)
    for name in ("pipe", "to_pipe", "device"):
        assert refusal(tmp_path / name) == "FILE is not a regular file."
    assert refusal(tmp_path / "folder").startswith("FILE is a folder")
    assert refusal(tmp_path / "loop").startswith("FILE cannot be read: ")
    with pytest.raises(FileNotFoundError, match=r"There is no weights file .*dangling\.$"):
        load_model(tmp_path / "dangling")
    save_weights(model, tmp_path / "m.safetensors")
    assert_equal(model, load_model(tmp_path / "link"))


@posix_only
def test_a_file_or_folder_without_permission_says_so(model: LeNet5, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    model.save_pretrained(folder)
    path = folder / WEIGHTS_FILE
    path.chmod(0)
    with without_privileges():
        assert refusal(path) == "FILE cannot be read: Permission denied."
    folder.chmod(0)
    with without_privileges():
        for load, source in ((load_model, str(path)), (LeNet5.from_pretrained, str(folder))):
            with pytest.raises(WeightsError, match=r"cannot be read: Permission denied\.$"):
                load(source)
        with pytest.raises(PermissionError):
            save_weights(model, path)
    folder.chmod(0o700)


@pytest.mark.parametrize(
    "name",
    ["\0", "a\0b.safetensors", "\ud800", "x" * 5000, "x/" * 3000],
    ids=["null", "null within", "surrogate", "long", "deep"],
)
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    with pytest.raises((WeightsError, FileNotFoundError)) as caught:
        load_model(name)
    assert "\n" not in str(caught.value)
    with pytest.raises((WeightsError, OSError)):
        LeNet5.from_pretrained(name)


def test_a_file_replaced_meanwhile_is_read_as_the_one_or_the_other(
    model: LeNet5, tmp_path: Path
) -> None:
    path, other = tmp_path / "m.safetensors", LeNet5()
    save_weights(model, path)
    done = threading.Event()

    def replace() -> None:
        while not done.is_set():
            for network in (other, model):
                save_weights(network, path)

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        loaded = [load_model(path).state_dict() for _ in range(100)]
    finally:
        done.set()
        thread.join()
    wholes = [model.state_dict(), other.state_dict()]
    for state in loaded:
        assert any(all(torch.equal(state[n], whole[n]) for n in whole) for whole in wholes)


def test_many_strange_tensors_are_not_all_named(tmp_path: Path) -> None:
    save_file({f"{'x' * 500}{i}": torch.zeros(1) for i in range(999)}, tmp_path / "m.safetensors")
    message = refusal(tmp_path / "m.safetensors")
    assert message.endswith(", and 1005 more faults.")
    assert len(message) < 400


def pth(pickle_of_contents: bytes) -> bytes:
    """A ``.pth`` as torch writes it, around a pickle made by hand."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in (("data.pkl", pickle_of_contents), ("version", b"3\n")):
            archive.writestr(f"archive/{name}", content)
        archive.writestr("archive/byteorder", b"little")
    return file.getvalue()


BOMBS = {
    "3 GiB of bytes": b"\x80\x02}U\x01ac__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85Rs.",
    "a key of 2**40 parts": b"\x80\x02})" + b"q\x01h\x01\x86" * 40 + b"K\x01s.",
    "one more hidden": b"\x80\x02})" + b"NN00q\x01h\x01\x86" * 40 + b"K\x01s.",
    "a key under a string's number": b"\x80\x02U\x01aq\x010})"
    + b"N0q\x01h\x01\x86" * 40
    + b"K\x01s.",
    "a key nested 500,000 deep": b"\x80\x02})" + b"\x85" * 500_000 + b"K\x01s.",
    "a set": b"\x80\x02}U\x01ac__builtin__\nset\n]\x85Rs.",
    "a counter": b"\x80\x02}U\x01accollections\nCounter\nU\x01a\x85Rs.",
    "a wrong opcode": b"\x80\x02\xff.",
    "no end": b"\x80\x02}",
}


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old"])
@pytest.mark.parametrize("name", BOMBS)
def test_a_small_pth_that_fills_the_memory_or_never_ends_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, old: bool
) -> None:
    """The option ``weights_only`` of torch keeps code out, but not these."""
    monkeypatch.setattr(torch, "load", lambda *args, **options: pytest.fail("it was read"))
    path = tmp_path / "m.pth"
    path.write_bytes(BOMBS[name] * 5 if old else pth(BOMBS[name]))
    assert refusal(path).startswith("FILE is not a plain state dict")


def test_torch_reads_what_was_looked_at(
    state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two readers of zip files may find different contents in the same file."""
    read = []
    real = torch.load

    def spy(file: io.BytesIO, **options: object) -> object:
        read.append(file.getvalue())
        return real(file, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch, "load", spy)
    path = tmp_path / "m.pth"
    torch.save(state, path)
    harmless = path.read_bytes()
    twice = io.BytesIO(pth(BOMBS["a set"]))
    with zipfile.ZipFile(twice, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
    for content in (pth(BOMBS["a set"]) + harmless, twice.getvalue(), harmless + b"\0" * 99):
        path.write_bytes(content)
        with contextlib.suppress(WeightsError):
            load_model(path)
    assert read
    assert not [content for content in read if b"__builtin__" in content]


# Code in files


class Trap:
    """Whoever unpickles it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_the_trap_would_spring(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("suffix", ["pth", "pt", "bin", "safetensors", "pkl", ""])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_never_runs(
    state: dict[str, Tensor], tmp_path: Path, suffix: str, zipped: bool
) -> None:
    path = tmp_path / f"model.{suffix}"
    trap = Trap(tmp_path / "sprung")
    torch.save(state | {"c1.bias": trap}, path, _use_new_zipfile_serialization=zipped)
    refusal(path)
    path.write_bytes(pickle.dumps(trap))
    refusal(path)
    assert not (tmp_path / "sprung").exists()


EVERYTHING = """
import sys
unpickled = []
def audit(event, args):
    if event == "pickle.find_class":
        unpickled.append(args)
import torch, torchvision.datasets
sys.addaudithook(audit)
import numpy as np
from lenet_digits import LeNet5, load_mnist, load_model, predict, save_weights, train
from lenet_digits.cli.entry import main
data, folder = sys.argv[1:]
digits = load_mnist(data, download=False)
for epochs in (1, 1):
    run = train(digits, epochs=epochs, limit=50, output=folder, resume=True)
for name in ("model.safetensors", "again.safetensors", "model.pth"):
    save_weights(run.model, f"{folder}/{name}")
    load_model(f"{folder}/{name}")
run.model.save_pretrained(folder)
LeNet5.from_pretrained(folder)
page = np.full((90, 90), 255, np.uint8)
page[15:75, 42:48] = 0
predict(page)
predict(page, model=load_model())
assert main(["evaluate", "--data", data, "--weights", f"{folder}/model.pth"]) == 0
print(unpickled)
import pickle
pickle.loads(pickle.dumps(print))
print(unpickled)
"""


def test_nothing_is_ever_unpickled(tmp_path: Path) -> None:
    """Training, resuming, saving, loading and predicting never look up a name for a pickle."""
    data = Path(__file__).parents[1] / "data"
    command = [sys.executable, "-c", EVERYTHING, str(data), str(tmp_path)]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["[]", "[('builtins', 'print')]"]


# The shipped weights


@pytest.mark.parametrize("damage", ["another model", "one bit", "pointer"])
def test_shipped_weights_that_changed_are_refused(
    model: LeNet5, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    content = bytearray((weights_directory() / WEIGHTS_FILE).read_bytes())
    path = tmp_path / WEIGHTS_FILE
    if damage == "another model":
        save_weights(model, path)
    elif damage == "one bit":
        content[-1] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    monkeypatch.setattr(shipped, "weights_directory", lambda: tmp_path)
    expected = "git lfs pull" if damage == "pointer" else "its SHA-256 differs.*Reinstall"
    with pytest.raises(WeightsError, match=expected):
        load_model()


def test_loading_draws_no_random_number_of_the_callers(model: LeNet5, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    before = torch.get_rng_state()
    load_model(tmp_path / WEIGHTS_FILE)
    LeNet5.from_pretrained(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


# Writing


def test_a_folder_or_a_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="is a folder"):
        write_atomically(tmp_path, b"content")
    with pytest.raises(OSError, match="not a regular file"):
        write_atomically(os.devnull, b"content")
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "nowhere" / "file", b"content")


@posix_only
def test_a_link_stays_and_the_file_that_it_points_to_is_written(
    model: LeNet5, tmp_path: Path
) -> None:
    (tmp_path / "deeper").mkdir()
    target = tmp_path / "deeper" / "real.safetensors"
    target.write_bytes(b"before")
    link = tmp_path / "link.safetensors"
    link.symlink_to(target)
    save_weights(model, link)
    assert link.is_symlink()
    assert_equal(load_model(target), model)
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@posix_only
def test_pipes_links_to_themselves_and_the_systems_own_places_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "null").symlink_to(os.devnull)
    (tmp_path / "shell's").symlink_to("/dev")
    with (tmp_path / "redirected.txt").open("wb") as file:
        stream = f"/dev/fd/{file.fileno()}"  # as /dev/stdout is, where the shell redirects it
        for place in ("pipe", "loop", "null", stream, "/dev/new.csv", "shell's/new.csv"):
            with pytest.raises(OSError, match="not a regular file"):
                write_atomically(tmp_path / place, b"content")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert (tmp_path / "loop").is_symlink()
    assert (tmp_path / "redirected.txt").read_bytes() == b""


@posix_only
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_written_files_have_the_mode_that_the_umask_leaves(tmp_path: Path, mask: int) -> None:
    previous = os.umask(mask)
    try:
        write_atomically(tmp_path / "file", b"content")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~mask


class FullDisk(io.FileIO):
    """A file on a full disk: it takes some bytes, then fails."""

    def write(self, content: object) -> int:
        super().write(bytes(content)[:10])  # type: ignore[call-overload]
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("failing", ["write", "fsync", "replace", "interrupt"])
def test_a_write_that_fails_leaves_the_old_files_and_nothing_else(
    model: LeNet5, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    model.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(*args: object) -> None:
        raise KeyboardInterrupt if failing == "interrupt" else OSError(errno.EIO, "I/O error")

    with monkeypatch.context() as patch:
        if failing == "write":
            patch.setattr(Path, "open", lambda self, mode: FullDisk(self, "xb"))
        elif failing == "replace":
            patch.setattr(Path, "replace", fail)
        else:
            patch.setattr(os, "fsync", fail)
        with pytest.raises(KeyboardInterrupt if failing == "interrupt" else OSError):
            LeNet5().save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_appears_under_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with written_atomically(path) as file:
        file.write(b"content")
        assert not path.exists()
    assert path.read_bytes() == b"content"
