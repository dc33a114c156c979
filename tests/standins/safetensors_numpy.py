"""`safetensors.numpy.load` in a few lines: its compiled package lies only on Pyodide's CDN."""

import json

import numpy as np

TYPES = {"F32": np.float32}


def load(content: bytes) -> dict[str, np.ndarray]:
    """The arrays in a safetensors file, by name."""
    start = 8 + int.from_bytes(content[:8], "little")
    fields = json.loads(content[8:start])
    fields.pop("__metadata__", None)
    return {
        name: np.frombuffer(content[start + begin : start + end], TYPES[field["dtype"]]).reshape(
            field["shape"]
        )
        for name, field in fields.items()
        for begin, end in [field["data_offsets"]]
    }
