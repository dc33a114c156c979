"""Reads weights files within a size limit, and writes files atomically: whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 4 * 2**20  # a file of LeNet-5's 61,706 float32 weights has 0.25 MiB


class WeightsError(ValueError):
    """A file does not contain LeNet-5's weights, or contains others than it should."""


def read_weights(path: Path) -> bytes:
    """The bytes of a weights file. It is opened once, so that two versions are never mixed.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: it is not a regular file, cannot be read, is too large, or is a Git LFS
            pointer.
    """
    try:
        with open(path, "rb", opener=open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # a device may never end
                raise WeightsError(f"{path} is not a regular file.")
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no weights file {path}.") from error
    except OSError as error:
        if os.path.isdir(path):  # noqa: PTH112 - pathlib's raises where we may not look
            raise WeightsError(f"{path} is a folder; name the weights file in it.") from error
        raise WeightsError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # a name that no file can have
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"{str(path)!r} cannot be read: {error}.") from error
    if len(content) > MAX_BYTES:
        raise WeightsError(
            f"{path} has more than {MAX_BYTES:,} bytes; LeNet-5's weights take about 250,000."
        )
    if content.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"{path} is a Git LFS pointer, not the weights themselves. Fetch them: git lfs pull"
        )
    return content


def write_atomically(path: str | PathLike[str], content: bytes) -> None:
    """Write a file whole or not at all; see `written_atomically`."""
    with written_atomically(path) as file:
        file.write(content)


@contextmanager
def written_atomically(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file to write to. It appears under its name when the block ends without an error.

    A symbolic link stays a link: the file that it points to is written. Raises OSError where the
    file cannot be written or is not a regular file, but a folder, a pipe, a device or a link to
    itself.
    """
    target = Path(os.path.realpath(path))
    given = Path(os.path.realpath(Path(path).parent), Path(path).name)
    other_kind = target.is_symlink() or (target.exists() and not target.is_file())
    if other_kind or _is_devices(given) or _is_devices(target):
        reason = f"it is {'a folder, not a file' if target.is_dir() else 'not a regular file'}"
        raise OSError(errno.EEXIST, reason, str(path))
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _is_devices(path: Path) -> bool:
    """Whether a path is in /dev or /proc, where the system keeps devices and processes.

    /dev/shm is not: it contains ordinary files.
    """
    return path.parts[1:2] in (("dev",), ("proc",)) and path.parts[1:3] != ("dev", "shm")


def exists(path: str | PathLike[str]) -> bool:
    """Whether the path exists. Also True where the system forbids a look or refuses the name."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return True


def open_at_once(path: str, flags: int) -> int:
    """Open a file at once. Without this, opening a pipe would wait for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
