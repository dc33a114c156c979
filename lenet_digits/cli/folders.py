"""Finds the picture files that a user named, by file or by folder, and counts other files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from lenet_digits.cli.rows import STDIN, Picture


def pictures_in(
    paths: Sequence[str], *, recursive: bool, left_aside: Counter[str]
) -> Iterator[Picture]:
    """Every named file, and for a named folder the pictures in it, sorted by name.

    A folder without pictures, or one that cannot be listed, is given with the reason. Hidden files
    are left out. A link to a folder is followed only if the user named it.

    Args:
        paths: the paths as the user typed them.
        recursive: whether to look into the folders of a folder as well.
        left_aside: counts the files that are left out of folders, by kind.

    Raises ValueError if a path is empty.
    """
    if "" in paths:
        raise ValueError("One of the paths is empty: name a picture, a folder or -.")
    for path in paths:
        if path == STDIN or not os.path.isdir(path):  # noqa: PTH112, Path drops a leading ./
            yield path
            continue
        try:
            found = list(_in_folder(path, recursive, left_aside))
        except OSError as error:
            yield path, error
            continue
        yield from found or [(path, ValueError("There are no pictures in this folder."))]


def _in_folder(folder: str, recursive: bool, left_aside: Counter[str]) -> Iterator[Picture]:
    from lenet_digits.reading.pictures import HEIC_SUFFIXES

    readable = _suffixes()
    with os.scandir(folder) as listed:
        entries = sorted(listed, key=lambda e: e.name)
    for entry in entries:
        suffix = Path(entry.name).suffix.lower()
        if entry.name.startswith("."):
            left_aside["hidden file"] += 1
        elif entry.is_dir():
            if not recursive or entry.is_symlink():
                left_aside["folder"] += 1
                continue
            try:
                yield from _in_folder(entry.path, recursive, left_aside)
            except OSError as error:
                yield entry.path, error
        elif suffix in readable:
            yield entry.path
        elif suffix in HEIC_SUFFIXES:
            left_aside["HEIC photo"] += 1
        elif suffix == ".pdf":
            left_aside["PDF"] += 1
        else:
            left_aside["other file"] += 1


def _suffixes() -> set[str]:
    """The suffixes, in lower case, of the files that this installation can read."""
    from PIL import Image

    from lenet_digits.reading.pictures import (
        FORMATS,
        HEIC_SUFFIXES,
        heic_is_supported,
        pdf_is_supported,
    )

    suffixes = {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}
    suffixes |= set(HEIC_SUFFIXES if heic_is_supported() else ())
    return suffixes | ({".pdf"} if pdf_is_supported() else set())


def same_file(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether two paths lead to the same file, which may not exist yet."""
    try:
        return os.path.samefile(one, other)  # noqa: PTH121
    except (OSError, ValueError):
        return os.path.abspath(one) == os.path.abspath(other)  # noqa: PTH100
