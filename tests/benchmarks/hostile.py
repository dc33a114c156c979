"""Visits the running app with 64 clients, a tenth of whose requests are hostile.

Starts ``python app.py`` in a process of its own. Each client draws digits of its own, sends them in
the four ways that there are, and knows what the answer must be: another's would be noticed. In
between it sends what `ATTACKS` holds. It fails if any good answer was wrong or missing, if the
server was at fault in any reply, if it told of its folders, followed a link, kept an upload, grew,
or was slow once all was over.

python -m tests.benchmarks.hostile [--clients 64] [--seconds 300] [--seed 1998]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from .attacks import ATTACKS, REFUSED
from .load import memory, serve
from .visitors import ONCE, WAYS, App, Drawing, by_page, drawings

HOSTILE_SHARE = 0.1
MAX_GROWTH = 100  # MB, from a fifth of the time to its end


@dataclass
class Visit:
    """What came of it all."""

    answers: Counter[str] = field(default_factory=Counter)  # right ones, by way
    busy: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)  # of attacks
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0  # seconds, of a right answer


async def visit(url: str, *, clients: int, seconds: float, seed: int = 1998) -> Visit:
    """Lets the clients in for a while, and a link's server wait in vain."""
    result = Visit()
    own_count = 8
    pool = drawings(clients * own_count, seed)
    trap = await asyncio.start_server(
        lambda _, writer: (result.wrong.append("a link was followed"), writer.close()), "127.0.0.1"
    )
    host, port = trap.sockets[0].getsockname()
    async with trap, httpx.AsyncClient(timeout=120, limits=ONCE) as http:
        app = App(url, http, f"http://{host}:{port}", result.wrong)
        ends = time.perf_counter() + seconds

        async def ask(dice: random.Random, own: list[Drawing]) -> None:
            way, drawing = dice.choice(WAYS), dice.choice(own)
            began = time.perf_counter()
            answer = await way(app, drawing)
            result.slowest = max(result.slowest, time.perf_counter() - began)
            if answer is None:
                result.wrong.append(f"{way.__name__}: no answer")
            elif not drawing.is_answered_by(answer):
                result.wrong.append(f"{way.__name__}: not the answer to this: {answer}")
            else:
                result.answers[way.__name__] += 1

        async def strike(dice: random.Random) -> None:
            name = dice.choice(list(ATTACKS))
            outcome = await ATTACKS[name](app)
            result.outcomes[outcome] += 1
            if not REFUSED.fullmatch(outcome):
                result.wrong.append(f"{name}: {outcome}")

        async def client(number: int) -> None:
            dice = random.Random(seed + number)
            own = pool[number * own_count : (number + 1) * own_count]
            while time.perf_counter() < ends:
                try:
                    hostile = dice.random() < HOSTILE_SHARE
                    await (strike(dice) if hostile else ask(dice, own))
                except Exception as error:
                    result.wrong.append(repr(error))

        await asyncio.gather(*(client(number) for number in range(clients)))
    return result


async def afterwards(url: str) -> float:
    """Seconds that a normal answer takes, the best of three."""
    drawing, waits = drawings(1, 0)[0], []
    async with httpx.AsyncClient(timeout=60, limits=ONCE) as http:
        for _ in range(3):
            began = time.perf_counter()
            answer = await by_page(App(url, http), drawing)
            assert answer is not None
            assert drawing.is_answered_by(answer)
            waits.append(time.perf_counter() - began)
    return min(waits)


def kept(folder: str) -> int:
    """Files in the folder of uploads."""
    return sum(path.is_file() for path in Path(folder).rglob("*"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=1998)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        with serve("app.py") as served:
            url, process = served.url, served.process.pid
            fifths, taken = [], []
            for fifth in range(5):
                seed = options.seed + 1000 * fifth
                how = {"clients": options.clients, "seconds": options.seconds / 5, "seed": seed}
                fifths.append(asyncio.run(visit(url, **how)))
                taken.append(memory(process))
            wait = asyncio.run(afterwards(url))
            most = kept(folder)
            ends = time.monotonic() + 180
            while kept(folder) and time.monotonic() < ends:
                time.sleep(5)
            left = kept(folder)
        left_after = len(list(Path(folder).iterdir()))
    wrong = [line for fifth in fifths for line in fifth.wrong]
    right = sum((fifth.answers for fifth in fifths), Counter())
    outcomes = sum((fifth.outcomes for fifth in fifths), Counter())
    growth = taken[-1] - taken[0]
    print(f"{right.total():,} right answers to their askers: {dict(right)}")
    print(f"{outcomes.total():,} hostile requests: {dict(outcomes)}")
    print(f"{len(wrong)} went wrong, {Counter(line[:150] for line in wrong).most_common(20)}")
    slowest = max(fifth.slowest for fifth in fifths)
    print(f"slowest right answer {slowest:.1f} s; afterwards {wait * 1000:.0f} ms")
    print(f"memory after each fifth of the time: {', '.join(f'{mb:.0f}' for mb in taken)} MB")
    print(f"log: {len(served.said)} lines, {''.join(served.said).count('Traceback')} tracebacks")
    print(f"uploads kept: {most} at the end, {left} later, {left_after} folders after shutdown")
    if wrong or growth > MAX_GROWTH or wait > 1 or left or left_after:
        raise SystemExit("failed")


if __name__ == "__main__":
    main()
