"""Reads ``.pth`` files after a check that they hold tensors by name and nothing else."""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections.abc import Mapping

import torch
from torch import Tensor

from lenet_digits.storage.files import MAX_BYTES, WeightsError

# What the pickle of a state dict may name: what `torch.save` writes.
_TENSORS = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_(tensor|tensor_v2|parameter)|torch \w+Storage"
)
_NAMES = re.compile("STRING|UNICODE|GLOBAL")  # opcodes that put a name on the stack
MOST_TUPLES = 1000  # in a pickle; one of LeNet-5's weights has fewer than 100


def parse_pth(content: bytes, origin: str) -> Mapping[str, Tensor]:
    """The tensors of a state dict, by name, from the bytes that `torch.save` wrote.

    Raises:
        WeightsError: the file is damaged or holds more than tensors; the message names `origin`.
    """
    try:
        plain = _plain(content)
        state = torch.load(plain, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch.load raise nearly anything
        raise WeightsError(
            f"{origin} is not a plain state dict (tensors by name, as "
            "torch.save(model.state_dict(), path) writes it), or is damaged."
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(
            f"{origin} holds more than tensors by name. Save it again with "
            "torch.save(model.state_dict(), path)."
        )
    return state


def _plain(content: bytes) -> io.BytesIO:
    """The file in a form that is safe to give to torch. Raises ValueError or zipfile's errors.

    With ``weights_only`` torch runs no code, but a kilobyte of pickle can still make it fill the
    memory or run for ever. So the pickle may name tensors and nothing else.
    """
    plain = io.BytesIO(content)
    if not zipfile.is_zipfile(plain):  # torch before 1.6 wrote five pickles and then the numbers
        plain.seek(0)
        for _ in range(5):
            _check_pickle(plain)
        plain.seek(0)
        return plain
    # A new archive, so that torch reads the bytes that were checked here and no others.
    plain = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as given, zipfile.ZipFile(plain, "w") as anew:
        if sum(entry.file_size for entry in given.infolist()) > MAX_BYTES:
            raise ValueError("it would take many times the file's size in memory")
        for name in set(given.namelist()):
            entry = given.read(name)
            if name.endswith(".pkl"):
                _check_pickle(io.BytesIO(entry))
            anew.writestr(name, entry)
    plain.seek(0)
    return plain


def _check_pickle(file: io.BytesIO) -> None:
    """Read a pickle without running it. Raises ValueError if it holds more than tensors by name."""
    names = set[object]()  # memoised strings and globals: only these may be used again
    tuples, latest = 0, ""
    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name in ("GLOBAL", "INST", "STACK_GLOBAL") and not _TENSORS.fullmatch(str(argument)):
            raise ValueError(f"it names {argument}")
        if name.endswith("PUT"):
            (names.add if _NAMES.search(latest) else names.discard)(argument)
        tuples += name.startswith("TUPLE")
        # A dict key made of nested tuples that share parts takes exponential time to hash, and a
        # deeply nested one overflows the stack.
        again = name.endswith("GET") and argument not in names
        if again or name in ("DUP", "MEMOIZE") or tuples > MOST_TUPLES:
            raise ValueError("it is more intricate than weights are")
        latest = name
