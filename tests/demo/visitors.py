"""Visitors of the running app, for tests: they draw, ask in every possible way, and check replies.

A visitor knows the right answer to its drawings. No reply may be a failure of the server or reveal
its folders.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
from PIL import Image

from lenet_digits import predict
from lenet_digits.demo.guard import BUSY
from lenet_digits.training.drawing import draw_digits

ROOT = Path(__file__).parents[2]
API = "/gradio_api"
# A connection is used once: the server may close an idle one just as the next request is sent.
ONCE = httpx.Limits(max_connections=None, max_keepalive_connections=0)


# Drawings --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawing:
    """A picture and the answer that the app must give."""

    file: bytes
    answer: dict[str, Any]

    @property
    def url(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.file).decode()

    def is_answered_by(self, answer: dict[str, Any]) -> bool:
        """Whether this answers this drawing: no other drawing has the same probabilities."""
        given, right = answer.get("probabilities", ()), self.answer["probabilities"]
        return answer.get("digit") == self.answer["digit"] and np.allclose(given, right, atol=1e-6)


def drawings(count: int, seed: int) -> list[Drawing]:
    """Drawn digits, each with an answer that differs from all the others."""
    rng = np.random.default_rng(seed)
    made: dict[tuple[float, ...], Drawing] = {}
    while len(made) < count:
        for canvas, label in zip(*draw_digits(count, rng=rng), strict=True):
            page = np.full((300, 300), 250, np.uint8)
            left, top = rng.integers(0, 300 - 140, 2)
            page[top : top + 140, left : left + 140] -= (
                np.kron(canvas, np.ones((5, 5), np.uint8)) // 2
            )
            file = io.BytesIO()
            Image.fromarray(page).save(file, "PNG")
            answer = predict(file.getvalue()).to_dict()
            if answer["digit"] == label and answer["is_digit"]:
                key = tuple(np.round(answer["probabilities"], 5))
                made.setdefault(key, Drawing(file.getvalue(), answer))
    return list(made.values())[:count]


# What a client may ask -------------------------------------------------------------------------


@dataclass
class App:
    """The app as a client sees it; `at_fault` collects replies that no client may get."""

    url: str
    http: httpx.AsyncClient
    trap: str = "http://127.0.0.1:9"
    at_fault: list[str] = field(default_factory=list)
    secrets: tuple[str, ...] = (str(ROOT), "/lenet-digits-", "site-packages", "Traceback")

    async def ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        """The reply to one request, after it was judged."""
        reply = await self.http.request(method, self.url + path, **content)
        self.judge(f"{method} {path[:60]}", reply.status_code, reply.text)
        return reply

    def judge(self, request: str, status: int, text: str) -> None:
        """Notes a reply that is a failure of the server or reveals a secret."""
        told = [secret for secret in self.secrets if secret in text]
        if (status >= 500 and BUSY not in text) or told:
            self.at_fault.append(f"{request}: {status} {told} {text[:200]}")

    async def result(self, call: str, event: str) -> tuple[str, Any]:
        """The event that ends a call, and its data."""
        reply = await self.ask("GET", f"{API}/call/{call}/{event}")
        last = reply.text.strip().split("\n\n")[-1]
        name, _, data = last.partition("\n")
        return name.removeprefix("event: "), json.loads(data.removeprefix("data: ") or "null")

    async def call(self, name: str, *data: Any) -> tuple[str, Any]:
        """The event that ends a call of a named endpoint, and its data."""
        reply = await self.ask("POST", f"{API}/call/{name}", json={"data": data})
        if reply.status_code != 200:
            return str(reply.status_code), reply.json()["detail"]
        return await self.result(name, reply.json()["event_id"])

    async def upload(self, name: str, content: bytes) -> str:
        reply = await self.ask("POST", f"{API}/upload", files={"files": (name, content)})
        reply.raise_for_status()
        path: str = reply.json()[0]
        return path

    async def raw(self, *parts: bytes, read: bool = True) -> tuple[int, str]:
        """Sends bytes as no client library would; returns the status (0 for none) and the reply."""
        address = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        reply = b""
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            reply = await asyncio.wait_for(reader.read(), 60) if read else b""
        except ConnectionError:
            pass
        finally:
            writer.close()
        status = re.match(rb"HTTP/1\.\d (\d+)", reply)
        text = reply.decode("latin-1")
        self.judge(repr(parts[0][:60]), int(status[1]) if status else 0, text)
        return int(status[1]) if status else 0, text


def file_data(path: str) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


# Good requests ---------------------------------------------------------------------------------


async def by_page(app: App, drawing: Drawing) -> dict[str, Any] | None:
    """Asks as the script of the page does."""
    reply = await app.ask("POST", "/read?pictures=1", content=drawing.file)
    return reply.json()["digits"][0] if reply.status_code == 200 else None


async def by_call(app: App, drawing: Drawing) -> dict[str, Any] | None:
    """Asks as `curl` would."""
    event, data = await app.call("predict_drawing", drawing.url)
    return data[0] if event == "complete" else None


async def by_upload(app: App, drawing: Drawing) -> dict[str, Any] | None:
    """Uploads a file whose name other visitors use as well."""
    path = await app.upload("digit.png", drawing.file)
    event, data = await app.call("predict_image", file_data(path))
    return data[0] if event == "complete" else None


async def by_queue(app: App, drawing: Drawing) -> dict[str, Any] | None:
    """Asks as gradio_client does."""
    session = random.randbytes(8).hex()
    body = {"data": [drawing.url], "fn_index": 1, "session_hash": session}
    reply = await app.ask("POST", f"{API}/queue/join", json=body)
    if reply.status_code != 200:
        return None
    events = await app.ask("GET", f"{API}/queue/data?session_hash={session}")
    for line in events.text.splitlines():
        message = json.loads(line.removeprefix("data: ") or "{}")
        if message.get("msg") == "process_completed":
            return message["output"]["data"][0] if message["success"] else None
    return None


WAYS = (by_page, by_call, by_upload, by_queue)
