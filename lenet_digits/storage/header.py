"""Reads and writes the metadata in the header of a safetensors file.

A file consists of the length of its header (8 bytes, little-endian), the header (JSON, padded with
spaces to a multiple of 8 bytes) and the numbers. The metadata are a dictionary of texts.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping

FIELD = "__metadata__"  # the key of the metadata in the header
LENGTH = struct.Struct("<Q")
NONDIGITS = {"nondigits": "seen"}  # says that the weights also learned what is not a digit


def metadata_of(content: bytes) -> dict[str, str]:
    """The metadata in a safetensors file that a safetensors reader has accepted."""
    return _split(content)[0].get(FIELD) or {}


def sees_nondigits(content: bytes) -> bool:
    """Whether the file says that its weights also learned what is not a digit."""
    return NONDIGITS.items() <= metadata_of(content).items()


def with_metadata(content: bytes, metadata: Mapping[str, str]) -> bytes:
    """The same safetensors file with these metadata instead of its own, and a sorted header.

    Sorting makes the SHA-256 of the file the same in every process. The library safetensors writes
    the metadata in an order that changes from process to process.
    """
    header, numbers = _split(content)
    header.pop(FIELD, None)
    ordered = {FIELD: dict(sorted(metadata.items()))} | dict(sorted(header.items()))
    text = json.dumps(ordered, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return LENGTH.pack(len(text)) + text + numbers


def _split(content: bytes) -> tuple[dict[str, dict[str, str]], bytes]:
    (length,) = LENGTH.unpack_from(content)
    end = LENGTH.size + length
    return json.loads(content[LENGTH.size : end]), content[end:]
