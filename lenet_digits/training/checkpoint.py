"""The directory of a training run: its checkpoint, written whole after every epoch.

Nothing half-written ever has the name of a finished file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_safetensors
from torch import Tensor

from lenet_digits.storage.files import write_atomically
from lenet_digits.storage.shipped import WEIGHTS_FILE
from lenet_digits.training.metrics import METRICS_FILE

CHECKPOINT_FILE = "checkpoint.safetensors"


class TrainingError(RuntimeError):
    """A run that cannot start, go on or be trusted."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that a run needs to go on."""

    identity: dict[str, Any]  # what makes it this run: recipe, seed, data; the same when resumed
    epochs: list[dict[str, Any]]  # the record of each finished epoch
    tensors: dict[str, Tensor]  # weights, state of the optimisers and of the random generator

    @property
    def sha256(self) -> str:
        """Of the content: safetensors itself does not notice a flipped bit."""
        story = {"identity": self.identity, "epochs": self.epochs}
        content = hashlib.sha256(json.dumps(story, sort_keys=True).encode())
        for name in sorted(self.tensors):
            content.update(name.encode() + self.tensors[name].numpy().tobytes())
        return content.hexdigest()


class RunFolder:
    """The directory of one run. It notices when another run writes to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written: bytes | None = None  # the checkpoint file as this run last saw it

    def open(
        self, identity: dict[str, Any], restore: Callable[[Checkpoint], None], *, resume: bool
    ) -> None:
        """Give the checkpoint to `restore`, or make sure that a new run overwrites nothing.

        Raises TrainingError: there is a run and `resume` is False; it is another run; it is
        damaged; or the directory cannot be written.
        """
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        path = self.path / CHECKPOINT_FILE
        if not path.exists():
            for name in (WEIGHTS_FILE, METRICS_FILE):
                if (self.path / name).exists():
                    raise TrainingError(
                        f"{self.path} holds {name} but no run to resume. Name another directory."
                    )
            self._sweep()
            return
        if not resume:
            raise TrainingError(
                f"{self.path} holds a run already. Resume it (--resume), or name another directory."
            )
        try:
            self.written = path.read_bytes()
            with safe_open(path, framework="pt") as file:
                story = json.loads(file.metadata()["run"])
                # Copied out of the mapped file, which Windows could not replace while it is mapped.
                tensors = {n: file.get_tensor(n).clone() for n in file.keys()}  # noqa: SIM118
            sha256 = story.pop("sha256")
            checkpoint = Checkpoint(**story, tensors=tensors)
            if checkpoint.sha256 != sha256:
                raise ValueError("its SHA-256 differs")
            found = checkpoint.identity
            differing = [key for key in found if found[key] != identity.get(key)]
            if differing:
                raise TrainingError(
                    f"The run in {self.path} has another {' and '.join(differing)} than this one. "
                    "Resume it with what it began with, or name another directory."
                )
            restore(checkpoint)
            self._sweep()
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
            if isinstance(error, TrainingError):
                raise
            raise TrainingError(
                f"{path} is damaged ({error}), so the run cannot be resumed. Start it again in "
                "another directory."
            ) from error

    def save(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint. Raises TrainingError if another run has written there meanwhile."""
        story = {
            "identity": checkpoint.identity,
            "epochs": checkpoint.epochs,
            "sha256": checkpoint.sha256,
        }
        content = save_safetensors(checkpoint.tensors, metadata={"run": json.dumps(story)})
        path = self.path / CHECKPOINT_FILE
        with writing(self.path):
            if (path.read_bytes() if path.exists() else None) != self.written:
                raise TrainingError(
                    f"Another run has written to {self.path} meanwhile. Give each run its own "
                    "directory."
                )
            write_atomically(path, content)
        self.written = content

    def _sweep(self) -> None:
        """Remove what a run left half-written when it was killed."""
        for name in (CHECKPOINT_FILE, WEIGHTS_FILE, METRICS_FILE):
            for partial in self.path.glob(f".{name}.{'[0-9a-f]' * 8}"):
                with suppress(OSError):
                    partial.unlink()


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn an OSError into a TrainingError that names the directory."""
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"The run cannot be written to {folder}: {error.strerror}. The files already there are "
            "whole. Remove the cause, then resume."
        ) from error
