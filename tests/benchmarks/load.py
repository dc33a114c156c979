"""Loads the running app with 64 clients for a minute, and a trivial app likewise for comparison.

Starts ``python app.py`` and a Gradio app whose function returns its argument, each in a process of
its own, calls both over HTTP as any program would, and checks that nothing failed and that memory
does not grow. Knows nothing of how right the answers are.

python tests/benchmarks/load.py [--clients 64] [--seconds 60] [--calls 5000] [--write]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from PIL import Image, ImageDraw

ROOT = Path(__file__).parent.parent.parent
RESULTS = Path(__file__).parent / "results" / "app.json"
WARM_UP = 1500  # calls before anything is measured: by then caches and allocators have settled
MAX_GROWTH = 20  # MB of memory over the calls
TRIVIAL = """
import gradio as gr

def predict_drawing(drawing: str) -> str:
    return drawing

with gr.Blocks(analytics_enabled=False) as demo:
    gr.api(predict_drawing)
demo.queue(max_size=256).launch(ssr_mode=False, run_history=False, state_session_capacity=50)
"""


def drawing() -> str:
    """A 7 as the sketchpad would send it."""
    pad = Image.new("RGBA", (560, 560))
    ImageDraw.Draw(pad).line([(150, 120), (400, 120), (260, 440)], "#16213a", 34, joint="curve")
    file = io.BytesIO()
    pad.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


@dataclass(frozen=True)
class Served:
    """A Gradio app in a process of its own."""

    url: str
    process: subprocess.Popen[str]
    said: list[str]  # lines, of both its outputs
    first_page: float  # seconds that it took


@contextmanager
def serve(*command: str, by: Sequence[str] = (), **environment: str) -> Iterator[Served]:
    """Runs ``python COMMAND`` until its app serves pages, and ends it as a system would.

    `by` is a program that runs Python in its turn, if not directly.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    variables = {"GRADIO_SERVER_PORT": port, "PYTHONUNBUFFERED": "1"}
    began = time.perf_counter()
    process = subprocess.Popen(
        [*by, sys.executable, *command],
        cwd=ROOT,
        env=os.environ | variables | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said: list[str] = []
    with process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line)
                if "Running on local URL" in line:
                    break
            else:
                raise SystemExit("".join(said) + f"{command[0]} ended before it served a page.")
            # Read on: a full pipe would hold the app up at the next line of its log.
            reader = threading.Thread(target=said.extend, args=(process.stdout,), daemon=True)
            reader.start()
            url = line.split()[-1]
            httpx.get(url, timeout=60).raise_for_status()
            yield Served(url, process, said, time.perf_counter() - began)
            process.terminate()
            reader.join(60)
        finally:
            process.kill()


async def call(client: httpx.AsyncClient, url: str, picture: str) -> bool:
    """One question and its answer; whether all went well."""
    endpoint = f"{url}/gradio_api/call/predict_drawing"
    try:
        reply = await client.post(endpoint, json={"data": [picture]})
        reply.raise_for_status()
        answer = await client.get(f"{endpoint}/{reply.json()['event_id']}")
        return answer.text.startswith("event: complete")
    except httpx.HTTPError:
        return False


async def load(url: str, clients: int, *, seconds: float = 0, calls: int = 0) -> tuple[list, int]:
    """Seconds of every call that `clients` made, each one after another, and how many failed."""
    picture, waits, failed = drawing(), [], 0
    limits = httpx.Limits(max_connections=clients)
    ends = time.perf_counter() + seconds

    async def one(client: httpx.AsyncClient) -> None:
        nonlocal failed
        while time.perf_counter() < ends or len(waits) < calls:
            began = time.perf_counter()
            failed += not await call(client, url, picture)
            waits.append(time.perf_counter() - began)

    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        await asyncio.gather(*(one(client) for _ in range(clients)))
    return waits, failed


def memory(process: int) -> float:
    """Resident memory in MB (Linux)."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def describe(name: str, waits: list[float], failed: int, seconds: float) -> tuple[float, float]:
    """Prints and returns the median and the 95th percentile, in milliseconds."""
    median, p95 = (1000 * statistics.quantiles(waits, n=20)[i] for i in (9, 18))
    print(
        f"{name}: {len(waits):,} calls, {failed} failed, {len(waits) / seconds:.0f} a second, "
        f"median {median:.0f} ms, p95 {p95:.0f} ms"
    )
    return median, p95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--calls", type=int, default=5000, help="calls over which memory is taken")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.relative_to(ROOT)}")
    options = parser.parse_args()

    with serve("app.py") as app:
        url, process = app.url, app.process.pid
        print(f"app: first page after {app.first_page:.1f} s, {memory(process):.0f} MB")
        asyncio.run(load(url, options.clients, calls=WARM_UP))
        before = memory(process)
        waits, failed = asyncio.run(load(url, options.clients, seconds=options.seconds))
        median, p95 = describe("app", waits, failed, options.seconds)
        asyncio.run(load(url, 16, calls=max(options.calls - len(waits), 0)))
        growth = memory(process) - before
        print(f"app: {growth:+.1f} MB over {max(options.calls, len(waits)):,} calls")
    with serve("-c", TRIVIAL) as trivial:
        url = trivial.url
        asyncio.run(load(url, options.clients, calls=WARM_UP))
        waits, trivial_failed = asyncio.run(load(url, options.clients, seconds=options.seconds))
        _, trivial_p95 = describe("trivial", waits, trivial_failed, options.seconds)
    print(f"p95 is {p95 / trivial_p95:.2f} times the trivial function's")

    how = (
        f"{options.clients} clients for {options.seconds:.0f} s over HTTP, "
        f"{os.cpu_count()} CPUs shared with the clients, Python {platform.python_version()}"
    )
    if options.write:
        figures = [
            ("App: p95 of an answer under load", f"{p95:.0f} ms (median {median:.0f} ms)", how),
            ("App: p95 against a trivial function's", f"{p95 / trivial_p95:.2f} times", how),
            ("App: memory growth", f"{growth:+.1f} MB", f"over {options.calls:,} calls"),
        ]
        rows = [dict(zip(("what", "result", "how"), figure, strict=True)) for figure in figures]
        RESULTS.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    if failed or trivial_failed or growth > MAX_GROWTH:
        raise SystemExit("failed: a call went wrong, or memory grew too much")


if __name__ == "__main__":
    main()
