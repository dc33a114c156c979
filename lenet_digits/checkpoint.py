"""Weights on disk: save, verify, load; knows the shipped ones, and nothing of pictures.

Only tensors are ever read: safetensors, or a plain state dict with torch's ``weights_only``.
"""

from __future__ import annotations

import hashlib
import io
import pickletools
import re
import warnings
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import torch
from safetensors.torch import save as save_safetensors
from torch import Tensor

from lenet_digits.files import MAX_BYTES, WeightsError, read_weights, write_atomically
from lenet_digits.hub import TIMEOUT, WEIGHTS_FILE, shipped_weights, split_source
from lenet_digits.model import METADATA, LeNet5, parse_weights, tensors_of, with_weights

# All that torch.save's pickle of a state dict names.
_TENSORS = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_(tensor|tensor_v2|parameter)|torch \w+Storage"
)
_NAMES = re.compile("STRING|UNICODE|GLOBAL")  # opcodes


def save_weights(model: LeNet5, path: str | PathLike[str]) -> str:
    """Write the weights as safetensors, or as a state dict where ``path`` ends in ``.pth``.

    Returns the SHA-256 of the file, in hexadecimal. The same weights give the same safetensors
    file. Raises OSError where it cannot be written.
    """
    tensors = tensors_of(model)
    if Path(path).suffix in (".pth", ".pt"):
        buffer = io.BytesIO()
        torch.save(tensors, buffer)
        content = buffer.getvalue()
    else:
        content = save_safetensors(tensors, METADATA)
    write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


def load_model(
    source: str | PathLike[str] | None = None,
    *,
    device: str | torch.device | None = None,
    timeout: float = TIMEOUT,
) -> LeNet5:
    """LeNet-5 with its weights, ready to predict (eval mode, float32).

    Args:
        source: None for the weights shipped with the package, verified by SHA-256; or the path of
            a safetensors file, or of a plain state dict (``.pth``) as ``torch.save`` writes it.
            Its layers may have other names, if their shapes are LeNet-5's. Or "owner/name" or
            "owner/name@revision" on the Hugging Face Hub, where only the strictly right
            safetensors file will do; see `LeNet5.from_pretrained`.
        device: where to put the model; the CPU by default.
        timeout: seconds after which to give the Hub up.

    Raises:
        WeightsError: the file is not what it should be; the message says how.
        FileNotFoundError: there is no such file.
        HubError: the Hub did not deliver it.
    """
    on_hub = split_source(source)
    if on_hub is not None:
        repo, revision = on_hub
        model = LeNet5.from_pretrained(repo, revision=revision, timeout=timeout)
        return model.to(device or "cpu")
    if source is None:
        origin = f"The shipped {WEIGHTS_FILE}"
        model = with_weights(parse_weights(shipped_weights(), origin), origin)
    else:
        path = Path(source)
        model = with_weights(_renamed(_parsed(read_weights(path), path)), str(path))
    return model.to(device or "cpu")


def _parsed(content: bytes, path: Path) -> Mapping[str, Tensor]:
    if path.suffix not in (".pth", ".pt", ".bin"):
        return parse_weights(content, str(path))
    try:
        plain = _plain(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(plain, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch.load raise nearly anything
        raise WeightsError(
            f"{path} is not a plain state dict (tensors by name, as "
            "torch.save(model.state_dict(), path) writes it), or is damaged."
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(
            f"{path} does not hold tensors by name alone; save it anew with "
            "torch.save(model.state_dict(), path)."
        )
    return state


def _plain(content: bytes) -> io.BytesIO:
    """A ``.pth`` that is safe to hand to torch; ValueError, or what zipfile raises, else.

    ``weights_only`` keeps torch from running code, but not from filling the memory or calculating
    forever, as a kilobyte of pickle can ask it to. So all that a pickle may name are tensors.
    """
    plain = io.BytesIO(content)
    if not zipfile.is_zipfile(plain):  # torch before 1.6 wrote five pickles and then the numbers
        plain.seek(0)
        for _ in range(5):
            _check_pickle(plain)
        plain.seek(0)
        return plain
    # Written anew, so that torch reads what was looked at here, and at no more than its size.
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
    """Read, not run, a pickle; ValueError where it has more in it than tensors by name."""
    names = set[object]()  # memoised strings and globals: all that may be used again
    tuples, latest = 0, ""
    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name in ("GLOBAL", "INST", "STACK_GLOBAL") and not _TENSORS.fullmatch(str(argument)):
            raise ValueError(f"it names {argument}")
        if name.endswith("PUT"):
            (names.add if _NAMES.search(latest) else names.discard)(argument)
        tuples += name.startswith("TUPLE")
        # As a key, a tuple whose parts share theirs would be hashed forever, and a deep one
        # overflows the stack.
        again = name.endswith("GET") and argument not in names
        if again or name in ("DUP", "MEMOIZE") or tuples > 1000:
            raise ValueError("it is more intricate than weights are")
        latest = name


def _renamed(found: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors under LeNet-5's names, where they have others but its shapes, in any order."""
    with torch.device("meta"):
        wanted = LeNet5().state_dict()
    if set(found) == set(wanted) or len(found) != len(wanted):
        return found
    # No two of LeNet-5's tensors share a shape: it tells which is which.
    names = {tensor.shape: name for name, tensor in wanted.items()}
    return {names.get(tensor.shape, name): tensor for name, tensor in found.items()}
