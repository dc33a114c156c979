"""Loads the running app with 64 clients for a minute, and a trivial app likewise for comparison.

Starts ``python app.py`` and a Gradio app whose functions return their argument, each in a process
of its own, calls both over HTTP as any program would, and checks that nothing failed and that
memory does not grow. ``POST /read`` is compared with a function on a route of the same kind that
does nothing but `read`, and a named endpoint with a trivial Gradio function.

python -m tests.benchmarks.load [--clients 64] [--seconds 60] [--calls 5000] [--write]
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
from collections.abc import Awaitable, Callable, Iterator, Sequence
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
from anyio.to_thread import run_sync
from starlette.responses import JSONResponse
from starlette.routing import Route
import lenet_digits

def predict_drawing(drawing: str) -> str:
    return drawing

def reading(picture):
    return lenet_digits.read(picture).to_dict()

async def read(request):
    return JSONResponse(await run_sync(reading, await request.body()))

with gr.Blocks(analytics_enabled=False) as demo:
    gr.api(predict_drawing)
demo.queue(max_size=256).launch(
    ssr_mode=False, run_history=False, state_session_capacity=50,
    app_kwargs={"routes": [Route("/read", read, methods=["POST"])]},
)
"""
MOST = 1.5  # times the trivial function's time: what an answer may take
AGAINST = "it has the same kind of route; for POST /read, it reads the picture and does no more"
Way = Callable[[httpx.AsyncClient, str, bytes], Awaitable[bool]]


def drawing() -> bytes:
    """A 7 as the sketchpad would send it."""
    pad = Image.new("RGBA", (308, 308))
    ImageDraw.Draw(pad).line([(89, 74), (214, 74), (144, 234)], "#16213a", 17, joint="curve")
    file = io.BytesIO()
    pad.save(file, "PNG")
    return file.getvalue()


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


async def ask(client: httpx.AsyncClient, url: str, picture: bytes) -> bool:
    """One picture sent to ``POST /read``; whether all went well."""
    try:
        return (await client.post(f"{url}/read", content=picture)).status_code == 200
    except httpx.HTTPError:
        return False


async def call(client: httpx.AsyncClient, url: str, picture: bytes) -> bool:
    """One call of a named endpoint and its answer; whether all went well."""
    endpoint = f"{url}/gradio_api/call/predict_drawing"
    data = "data:image/png;base64," + base64.b64encode(picture).decode()
    try:
        reply = await client.post(endpoint, json={"data": [data]})
        reply.raise_for_status()
        answer = await client.get(f"{endpoint}/{reply.json()['event_id']}")
        return answer.text.startswith("event: complete")
    except httpx.HTTPError:
        return False


async def load(
    url: str, clients: int, *, way: Way = ask, seconds: float = 0, calls: int = 0
) -> tuple[list[float], int]:
    """Seconds of every call that `clients` made, each one after another, and how many failed."""
    picture, waits, failed = drawing(), [], 0
    limits = httpx.Limits(max_connections=clients)
    ends = time.perf_counter() + seconds

    async def one(client: httpx.AsyncClient) -> None:
        nonlocal failed
        while time.perf_counter() < ends or len(waits) < calls:
            began = time.perf_counter()
            failed += not await way(client, url, picture)
            waits.append(time.perf_counter() - began)

    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        await asyncio.gather(*(one(client) for _ in range(clients)))
    return waits, failed


def memory(process: int) -> float:
    """Resident memory in MB (Linux)."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass(frozen=True)
class Measured:
    """What `load` measured of one way of asking. All times are in milliseconds."""

    calls: int
    failed: int
    each: float  # of the whole time, divided by the calls: the inverse of calls a second
    p95: float


def measure(name: str, url: str, way: Way, options: argparse.Namespace) -> Measured:
    """Loads one way of asking for so many seconds, after a warm-up, and prints what came of it."""
    asyncio.run(load(url, options.clients, way=way, calls=options.warm_up))
    began = time.perf_counter()
    waits, failed = asyncio.run(load(url, options.clients, way=way, seconds=options.seconds))
    each = 1000 * (time.perf_counter() - began) / len(waits)
    median, p95 = (1000 * statistics.quantiles(waits, n=20)[i] for i in (9, 18))
    print(
        f"{name}: {len(waits):,} calls, {failed} failed, {1000 / each:.0f} a second, "
        f"median {median:.0f} ms, p95 {p95:.0f} ms"
    )
    return Measured(len(waits), failed, each, p95)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--calls", type=int, default=5000, help="calls over which memory is taken")
    parser.add_argument("--warm-up", type=int, default=WARM_UP, help="calls before it measures")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.relative_to(ROOT)}")
    options = parser.parse_args()

    with serve("app.py") as app:
        process = app.process.pid
        print(f"app: first page after {app.first_page:.1f} s, {memory(process):.0f} MB")
        asyncio.run(load(app.url, options.clients, calls=options.warm_up))
        asyncio.run(load(app.url, options.clients, way=call, calls=options.warm_up))
        before = memory(process)
        route = measure("app, POST /read", app.url, ask, options)
        named = measure("app, named endpoint", app.url, call, options)
        calls = route.calls + named.calls + 2 * options.warm_up
        asyncio.run(load(app.url, 16, calls=max(options.calls - calls, 0)))
        growth = memory(process) - before
        calls = max(options.calls, calls)
        print(f"app: {growth:+.1f} MB over {calls:,} calls")
    with serve("-c", TRIVIAL) as trivial:
        plain_route = measure("trivial route", trivial.url, ask, options)
        plain_named = measure("trivial endpoint", trivial.url, call, options)

    ratios = {
        "POST /read: time of a call": route.each / plain_route.each,
        "POST /read: p95": route.p95 / plain_route.p95,
        "Named endpoint: time of a call": named.each / plain_named.each,
        "Named endpoint: p95": named.p95 / plain_named.p95,
    }
    for what, ratio in ratios.items():
        print(f"{what} is {ratio:.2f} times the trivial function's")

    how = (
        f"{options.clients} clients for {options.seconds:.0f} s over HTTP, "
        f"{os.cpu_count()} CPUs shared with the clients, Python {platform.python_version()}"
    )
    if options.write:
        figures = [
            ("App: POST /read under load", f"{1000 / route.each:.0f} a second", how),
            ("App: POST /read, p95 under load", f"{route.p95:.0f} ms", how),
            *(
                (f"App: {what}, against a trivial function's", f"{ratio:.2f} times", AGAINST)
                for what, ratio in ratios.items()
            ),
            ("App: memory growth", f"{growth:+.1f} MB", f"over {calls:,} calls"),
        ]
        rows = [dict(zip(("what", "result", "how"), figure, strict=True)) for figure in figures]
        RESULTS.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    failed = sum(each.failed for each in (route, named, plain_route, plain_named))
    slow = [what for what, ratio in ratios.items() if ratio > MOST]
    if failed or slow or growth > MAX_GROWTH:
        raise SystemExit(
            f"failed: {failed} calls went wrong, memory grew by {growth:.1f} MB, too slow: {slow}"
        )


if __name__ == "__main__":
    main()
