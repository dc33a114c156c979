"""Keeps the checkpoint of a training run in the run's directory.

A file has its name only when it is complete: a run that is killed leaves nothing half-written.
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
    """A training run cannot start or cannot continue; the message says why."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that a run needs to continue."""

    identity: dict[str, Any]  # recipe, seed, data: a resumed run must have the same
    epochs: list[dict[str, Any]]  # the fields of each `EpochRecord`
    tensors: dict[str, Tensor]  # of the weights, the optimisers and the random generator

    @property
    def sha256(self) -> str:
        """The SHA-256 of the content. It shows a changed bit, which safetensors does not notice."""
        story = {"identity": self.identity, "epochs": self.epochs}
        content = hashlib.sha256(json.dumps(story, sort_keys=True).encode())
        for name in sorted(self.tensors):
            content.update(name.encode() + self.tensors[name].numpy().tobytes())
        return content.hexdigest()


class RunFolder:
    """The directory of one run. It notices if another run writes to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last_seen: bytes | None = None  # the checkpoint file as this run wrote or read it

    def open(
        self, identity: dict[str, Any], restore: Callable[[Checkpoint], None], *, resume: bool
    ) -> None:
        """Make the directory ready: call `restore` with its checkpoint, if it has one.

        Raises TrainingError: the directory holds a run and `resume` is False, a run of another
        identity, a damaged run, or finished files without a run; or it cannot be written.
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
            self._remove_partial_files()
            return
        if not resume:
            raise TrainingError(
                f"{self.path} holds a run already. Resume it (--resume), or name another directory."
            )
        try:
            self.last_seen = path.read_bytes()
            with safe_open(path, framework="pt") as file:
                story = json.loads(file.metadata()["run"])
                # A copy: Windows cannot replace a file that is mapped into memory.
                tensors = {n: file.get_tensor(n).clone() for n in file.keys()}  # noqa: SIM118
            sha256 = story.pop("sha256")
            checkpoint = Checkpoint(**story, tensors=tensors)
            if checkpoint.sha256 != sha256:
                raise ValueError("its SHA-256 differs")
            stored = checkpoint.identity
            differing = [key for key in stored if stored[key] != identity.get(key)]
            if differing:
                raise TrainingError(
                    f"The run in {self.path} has another {' and '.join(differing)} than this one. "
                    "Resume it with the options that it began with, or name another directory."
                )
            restore(checkpoint)
            self._remove_partial_files()
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
            if isinstance(error, TrainingError):
                raise
            raise TrainingError(
                f"{path} is damaged ({error}), so the run cannot be resumed. Start it again in "
                "another directory."
            ) from error

    def save(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint. Raises TrainingError if another run has written there since."""
        story = {
            "identity": checkpoint.identity,
            "epochs": checkpoint.epochs,
            "sha256": checkpoint.sha256,
        }
        content = save_safetensors(checkpoint.tensors, metadata={"run": json.dumps(story)})
        path = self.path / CHECKPOINT_FILE
        with writing(self.path):
            if (path.read_bytes() if path.exists() else None) != self.last_seen:
                raise TrainingError(
                    f"Another run has written to {self.path}. Give each run its own directory."
                )
            write_atomically(path, content)
        self.last_seen = content

    def _remove_partial_files(self) -> None:
        """Remove the files that a killed run was writing; `written_atomically` gave their names."""
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
            f"The run cannot be written to {folder}: {error.strerror}. The files there are "
            "complete. Remove the cause, then resume the run."
        ) from error
