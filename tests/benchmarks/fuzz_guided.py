"""`fuzz`'s hostile pictures, guided by coverage: what reaches new code of Pillow's or ours is kept.

Atheris instruments Pillow's Python and the package's. An input is a file or an array, damaged by
libFuzzer or as `fuzz` does it; what is not borne, or takes too long, is stored, and fuzzing goes
on. Knows nothing of which answer is right.

pip install atheris
python -m tests.benchmarks.fuzz_guided --seconds 1200 --folder /tmp/fuzz
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris
import numpy as np

with atheris.instrument_imports(include=["PIL", "lenet_digits"], enable_loader_override=False):
    from PIL import Image

    Image.init()  # loads every format's module, else loaded later and not instrumented
    from lenet_digits.reading.canvas import METHODS
    from tests.benchmarks.fuzz import DTYPES, MAX_SECONDS, damaged, outcome, peak, seeds

MAX_LENGTH = 20_000  # bytes of an input
LARGE = 100  # MB: growth by one input that is worth a look
ANSWER, PLAIN, ARRAY = 1, 2, 4  # bits of an input's first byte: predict; the other method; no file


def an_array(data: bytes) -> np.ndarray[Any, Any]:
    """An array: a byte for its type, one for how it lies in memory, a few for its shape."""
    kind, way, size = (data[:3] + bytes(3))[:3]
    shape = tuple(data[3 : 3 + size % 6])
    count = int(np.prod(shape, dtype=float))
    if count > 2**20:
        return np.broadcast_to(np.uint8(way), shape)
    dtype = np.dtype(DTYPES[kind % len(DTYPES)])
    content = data[3 + size % 6 :] or b"\0"
    if dtype.kind == "O":
        array = np.frombuffer(repeated(content, count), np.uint8).reshape(shape).astype(object)
    else:
        content = repeated(content, count * dtype.itemsize)
        array = np.frombuffer(content, dtype, count).reshape(shape)
    if way & 1 and array.ndim:
        array = array[::-1]
    if way & 2 and array.ndim > 1:
        array = array[:, ::-2]
    return array.T if way & 4 else array


def repeated(content: bytes, size: int) -> bytes:
    """The bytes over and over; `np.resize` would take many times the memory."""
    return (content * (size // len(content) + 1))[:size]


def of_input(data: bytes) -> str:
    """What becomes of an input; see `fuzz.outcome`."""
    how = data[0] if data else 0
    image = an_array(data[1:]) if how & ARRAY else data[1:]
    return outcome(image, method=METHODS[how & PLAIN != 0], answer=how & ANSWER != 0)


def mutated(data: bytes, max_size: int, seed: int) -> bytes:
    """An input made from another by libFuzzer, or as `fuzz` damages files, checksums made right."""
    rng = np.random.default_rng(seed)
    if len(data) < 2 or rng.random() < 0.6:
        return bytes(atheris.Mutate(data, max_size))
    other = SEEDS[int(rng.integers(len(SEEDS)))]
    return (data[:1] + damaged(data[1:], other, rng))[:max_size]


SEEDS = seeds()


def main() -> None:
    """Fuzz for a while; ends the process, as libFuzzer does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--folder", type=Path, required=True, help="for the corpus and what is found"
    )
    given = parser.parse_args()
    corpus, found = given.folder / "corpus", given.folder / "found"
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(SEEDS):
        for how in (0, ANSWER, PLAIN):
            (corpus / f"seed-{number}-{how}").write_bytes(bytes([how]) + file)
    for kind in range(len(DTYPES)):
        for shape in (b"\2\x1c\x1c", b"\3\x1c\x14\3", b"\4\1\1\x1c\x1c"):
            name = corpus / f"array-{kind}-{shape[0]}"
            name.write_bytes(bytes([ARRAY, kind, 0]) + shape + bytes(range(0, 256, 7)))
    of_input(b"\1" + SEEDS[0])
    base, began = peak(), time.monotonic()
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    slowest, highest = 0.0, base

    def report() -> None:
        figures: dict[str, Any] = {"inputs": counts.total(), "outcomes": dict(counts)}
        figures |= {"found": dict(kinds), "slowest": round(slowest, 2)}
        figures |= {"growth_mb": round(peak() - base), "seconds": int(time.monotonic() - began)}
        (given.folder / "report.json").write_text(json.dumps(figures, indent=2))

    def test(data: bytes) -> None:
        nonlocal slowest, highest
        start = time.process_time()
        try:
            result = of_input(data)
        except Exception as error:
            result = type(error).__name__
            where = traceback.extract_tb(error.__traceback__)[-1]
            keep(f"{result} {where.filename}:{where.lineno}", data)
        spent = time.process_time() - start
        slowest = max(slowest, spent)
        if spent > MAX_SECONDS:
            keep("slow", data)
        if peak() > highest + LARGE:
            keep(f"large: {peak() - highest:.0f} MB more", data)
        highest = peak()
        counts[result] += 1
        if counts.total() % 500 == 0:
            report()

    def keep(kind: str, data: bytes) -> None:
        kinds[kind] += 1
        if kinds[kind] <= 5:
            (found / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
            print(kind, flush=True)

    options = [f"-max_total_time={given.seconds}", f"-max_len={MAX_LENGTH}", f"-seed={given.seed}"]
    options += [f"-artifact_prefix={found}/", "-rss_limit_mb=4096", "-print_final_stats=1"]
    options += ["-timeout=600"]  # by the clock, and the machine may be busy: `test` has its own
    fuzzer: Callable[..., Any] = atheris.Setup
    fuzzer([sys.argv[0], str(corpus), *options], test, custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
