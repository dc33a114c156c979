"""Weights on disk: save, verify, load; knows the shipped ones, and nothing of pictures.

Only tensors are ever read: safetensors, or a plain state dict with torch's ``weights_only``.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import warnings
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from lenet_digits.hub import (
    MAX_BYTES,
    SHIPPED_SHA256,
    TIMEOUT,
    split_source,
    weights_directory,
)
from lenet_digits.hub import WEIGHTS_FILE as WEIGHTS_FILE
from lenet_digits.model import LeNet5
from lenet_digits.model import WeightsError as WeightsError

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def write_atomically(path: str | PathLike[str], content: bytes) -> None:
    """Write a file that appears under its name whole or not at all."""
    target = Path(path)
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def save_weights(model: LeNet5, path: str | PathLike[str]) -> str:
    """Write the weights as safetensors, or as a state dict where ``path`` ends in ``.pth``.

    Returns the SHA-256 of the file, in hexadecimal. The same weights give the same safetensors
    file. Raises OSError where it cannot be written.
    """
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    if Path(path).suffix in (".pth", ".pt"):
        buffer = io.BytesIO()
        torch.save(tensors, buffer)
        content = buffer.getvalue()
    else:
        content = save_safetensors(tensors, metadata={"format": "pt"})
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
    path = weights_directory() / WEIGHTS_FILE if source is None else Path(source)
    content = _read(path)
    if source is None and hashlib.sha256(content).hexdigest() != SHIPPED_SHA256:
        raise WeightsError(
            f"{path} is not the file this version of lenet-digits shipped with (its SHA-256 "
            "differs). Reinstall: pip install --force-reinstall --no-deps lenet-digits"
        )
    with torch.device("meta"):  # no numbers: they would be drawn from the caller's generator
        model = LeNet5()
    tensors = _matched(_parsed(content, path), model.state_dict(), path)
    model.load_state_dict(tensors, assign=True)
    return model.to(device or "cpu").eval()


def _read(path: Path) -> bytes:
    if not path.exists():
        raise FileNotFoundError(f"There is no weights file {path}.")
    if not path.is_file():  # a pipe or a device would never end
        kind = "a folder; name the weights file in it" if path.is_dir() else "not a regular file"
        raise WeightsError(f"{path} is {kind}.")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > MAX_BYTES:
        raise WeightsError(
            f"{path} has more than {MAX_BYTES:,} bytes; LeNet-5's weights take about 250,000."
        )
    if content.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"{path} is a Git LFS pointer, not the weights themselves. Fetch them: git lfs pull"
        )
    return content


def _parsed(content: bytes, path: Path) -> Mapping[str, Tensor]:
    if path.suffix not in (".pth", ".pt", ".bin"):
        try:
            return load_safetensors(content)
        except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise WeightsError(f"{path} is not a safetensors file, or is damaged.") from error
    try:
        if _unpacked_size(content) > MAX_BYTES:
            raise ValueError("compressed tensors of many times the file's size")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
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


def _unpacked_size(content: bytes) -> int:
    """Bytes that a ``.pth`` becomes in memory: torch unpacks compressed ones without a limit."""
    file = io.BytesIO(content)
    if not zipfile.is_zipfile(file):  # torch before 1.6 wrote bare pickles
        return len(content)
    with zipfile.ZipFile(file) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def _matched(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path
) -> dict[str, Tensor]:
    """The tensors found, under the names wanted: by name or, where names differ, by shape."""
    if set(found) != set(wanted) and len(found) == len(wanted):
        # No two of LeNet-5's tensors share a shape: it tells which is which, in any order.
        names = {tensor.shape: name for name, tensor in wanted.items()}
        found = {names.get(tensor.shape, name): tensor for name, tensor in found.items()}
    for name, tensor in wanted.items():
        if name not in found:
            raise WeightsError(
                f"{path} lacks LeNet-5's tensor {name!r} of shape {tuple(tensor.shape)}."
            )
        if found[name].shape != tensor.shape:
            raise WeightsError(
                f"{path}: the tensor {name!r} has shape {tuple(found[name].shape)}; LeNet-5's has "
                f"{tuple(tensor.shape)}."
            )
    for name in found:
        if name not in wanted:
            raise WeightsError(f"{path} has a tensor {name!r} that LeNet-5 has not.")
    return {name: _as_float32(found[name], name, path) for name in wanted}


def _as_float32(tensor: Tensor, name: str, path: Path) -> Tensor:
    if tensor.dtype in FLOATS and tensor.layout == torch.strided and not tensor.is_meta:
        values = tensor.to(torch.float32)
        if bool(values.isfinite().all()):
            return values.contiguous()
    raise WeightsError(f"{path}: the tensor {name!r} is not all finite float32 numbers.")
