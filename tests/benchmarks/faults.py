"""Kills training runs at random moments, and spoils their files; reports what was not borne.

Every run is a process of its own. Killed by SIGKILL at a moment drawn at random, it is resumed;
the weights must end up, byte for byte, as those of a run that nothing befell. A full disk is a
small tmpfs (root, Linux); a checkpoint is cut short and has bytes changed; weights are cut short at
every length. Knows nothing of how good the weights are.

python -m tests.benchmarks.faults --kills 50 --flips 2000
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from lenet_digits import TrainingError, WeightsError, load_mnist, load_model, train
from lenet_digits.storage.shipped import WEIGHTS_FILE, shipped_weights
from lenet_digits.training import loop as training
from lenet_digits.training.checkpoint import CHECKPOINT_FILE, METRICS_FILE
from lenet_digits.training.recipes import Recipe

DATA = Path(__file__).parent.parent / "data"
LIMIT = 300  # digits
RECIPES = {
    "original": Recipe(epochs=4, batch_size=50),
    "average": Recipe(epochs=4, batch_size=50, ema=0.9, cosine=True, warmup=0.2),
    "elaborate": Recipe(
        epochs=4, batch_size=50, learning_rate=4e-3, weight_decay=1e-2, muon=5.0, warmup=0.2,
        cosine=True, ema=0.9, distortion=1.0, polish=0.4, drawn=0.2, nondigits=0.1,
    ),
}  # fmt: skip


def work(folder: str, recipe: str, started: Any = None) -> None:
    """Train, or go on with, a run in this process."""
    training.DRAWN_POOL = 120
    digits = load_mnist(DATA, download=False)
    if started is not None:
        started.send(time.monotonic())
    train(digits, recipe=RECIPES[recipe], limit=LIMIT, output=folder, resume=True)


def whole(folder: Path) -> list[str]:
    """What in a run's directory is not whole."""
    faults = []
    for path in folder.iterdir():
        try:
            if path.name == METRICS_FILE:
                json.loads(path.read_bytes())
            elif path.name == WEIGHTS_FILE:
                load_model(path)
        except ValueError as error:
            faults.append(f"{path.name}: {error}")
    return faults


def kill(count: int, seed: int) -> dict[str, Any]:
    """Kill runs, so many times in all; each run is killed again and again until it ends."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["torch", "lenet_digits.training"])
    rng = np.random.default_rng(seed)
    expected, lasting = {}, {}
    with tempfile.TemporaryDirectory() as home:
        for name in RECIPES:
            folder = Path(home, name)
            began = time.monotonic()
            process = processes.Process(target=work, args=(str(folder), name))
            process.start()
            process.join()
            lasting[name] = time.monotonic() - began
            expected[name] = (folder / WEIGHTS_FILE).read_bytes()
        figures: dict[str, Any] = {"kills": 0, "runs": 0, "identical": 0, "faults": []}
        while figures["kills"] < count:
            name = list(RECIPES)[figures["runs"] % len(RECIPES)]
            folder = Path(home, f"{figures['runs']}")
            while True:
                ours, theirs = processes.Pipe(duplex=False)
                with ours, theirs:
                    process = processes.Process(target=work, args=(str(folder), name, theirs))
                    process.start()
                    ours.recv()
                began = time.monotonic()
                if figures["kills"] < count:
                    process.join(rng.uniform(0, lasting[name]))
                    process.kill()
                process.join()
                if folder.exists():
                    figures["faults"] += whole(folder)
                if process.exitcode != -signal.SIGKILL:
                    lasting[name] = time.monotonic() - began  # the machine may be less busy now
                    break
                figures["kills"] += 1
            figures["runs"] += 1
            figures["identical"] += (folder / WEIGHTS_FILE).read_bytes() == expected[name]
    return figures


def spoil(count: int, seed: int) -> dict[str, int]:
    """Change a byte of a checkpoint, or cut it short, so many times; each must be refused."""
    rng = np.random.default_rng(seed)
    training.DRAWN_POOL = 120
    digits = load_mnist(DATA, download=False)
    figures = {"changed": 0, "cut": 0, "refused": 0}
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)

        def stop(record: Any) -> None:
            raise KeyboardInterrupt

        options: dict[str, Any] = {"recipe": RECIPES["elaborate"], "limit": LIMIT, "output": folder}
        with suppress(KeyboardInterrupt):
            train(digits, on_epoch=stop, **options)
        path = folder / CHECKPOINT_FILE
        content = path.read_bytes()
        for number in range(count):
            spoilt = bytearray(content)
            at = int(rng.integers(len(content) if number % 4 else 4000))
            if number % 3:
                spoilt[at] ^= int(rng.integers(1, 256))
                figures["changed"] += 1
            else:
                del spoilt[at:]
                figures["cut"] += 1
            path.write_bytes(spoilt)
            try:
                train(digits, resume=True, on_batch=lambda *_: stop(None), **options)
            except TrainingError:
                figures["refused"] += 1
            except KeyboardInterrupt:
                print(f"a checkpoint spoilt at {at} was taken up")
    return figures


def cut_weights() -> dict[str, int]:
    """Load the shipped weights cut short at every length, a byte at a time."""
    content = shipped_weights()
    figures = {"lengths": 0, "refused": 0}
    with tempfile.TemporaryDirectory() as home:
        path = Path(home, WEIGHTS_FILE)
        path.write_bytes(content)
        for length in range(len(content) - 1, -1, -1):
            os.truncate(path, length)
            figures["lengths"] += 1
            try:
                load_model(path)
            except WeightsError:
                figures["refused"] += 1
    return figures


def fill(sizes: range) -> dict[str, Any]:
    """Train on disks of so many KiB, then make room and resume; root on Linux alone."""
    training.DRAWN_POOL = 120
    digits = load_mnist(DATA, download=False)
    recipe = RECIPES["average"]
    with tempfile.TemporaryDirectory() as home:
        train(digits, recipe=recipe, limit=LIMIT, output=home)
        expected = Path(home, WEIGHTS_FILE).read_bytes()
    figures: dict[str, Any] = {"disks": 0, "full": 0, "identical": 0, "faults": []}
    for size in sizes:
        with tempfile.TemporaryDirectory() as home:
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", home], check=True
            )
            try:
                figures["disks"] += 1
                try:
                    train(digits, recipe=recipe, limit=LIMIT, output=home)
                except TrainingError as error:
                    figures["full"] += "No space left" in str(error)
                figures["faults"] += whole(Path(home))
                subprocess.run(["mount", "-o", "remount,size=64m", home], check=True)
                train(digits, recipe=recipe, limit=LIMIT, output=home, resume=True)
                figures["identical"] += Path(home, WEIGHTS_FILE).read_bytes() == expected
            finally:
                subprocess.run(["umount", home], check=True)
    return figures


def main() -> int:
    """Do it all; returns 1 if anything was not borne."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--flips", type=int, default=2000)
    parser.add_argument("--disks", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    killed, spoilt = kill(given.kills, given.seed), spoil(given.flips, given.seed)
    cut = cut_weights()
    figures: dict[str, Any] = {"killed": killed, "spoilt": spoilt, "weights cut short": cut}
    good = killed["runs"] == killed["identical"] and not killed["faults"]
    good &= spoilt["refused"] == given.flips and cut["refused"] == cut["lengths"]
    if given.disks and sys.platform == "linux" and os.geteuid() == 0:
        full = figures["full disks"] = fill(range(64, 64 + 256 * given.disks, 256))
        good &= full["disks"] == full["identical"] and not full["faults"]
    print(json.dumps(figures))
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
