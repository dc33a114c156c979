"""Stands between the web and Gradio: lets the app's own requests through and refuses the rest.

A refused request gets a status and one sentence, never a traceback or a path on the server. Files
and records that Gradio would keep for ever are deleted.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_CALL = 2 * 2**20  # bytes of a call as JSON: hundreds of them may wait in memory
MAX_HEADERS = 64 * 2**10  # bytes
MAX_LARGE = 16  # requests larger than MAX_CALL that are read at the same time
PATIENCE = 120.0  # seconds that a request may take to arrive
BUSY = "The server has as many questions as it can take; ask again in a few seconds."
SWEEP = 30.0  # seconds from one sweep to the next
SILENCE = 60.0  # seconds from one log line about open files to the next
NO_FILES = (
    "This process can open no more files, so visitors have to wait. Raise the limit (ulimit -n)."
)
RESERVE = 256 * 2**20  # bytes of the disk that uploads leave free, or a tenth of a small one
KEPT = 120.0  # seconds that a file is kept; Gradio deletes those that it remembers before that
UPLOADS = b"uploads"  # the name that callers see in place of the folder of uploads

API = "/gradio_api/"
OWN = ("read", "inside")  # our own routes for pictures
PAGE = re.compile(r"(?!/gradio_api/|/monitoring|/login|/logout).*", re.DOTALL)
OFFERED = {
    "GET": r"info|openapi\.json|startup-events|app_id|theme\.css|heartbeat/[^/]+|queue/data"
    r"|call/(v2/)?[^/]+/[^/]+",
    "POST": r"upload|queue/join|call/(v2/)?[^/]+|cancel|reset",
}
HASHED = re.compile(r"/assets/.+-[\w-]{8}\.\w+")  # Gradio's scripts and styles, with their hash
YEAR = 31_536_000  # seconds
HOSTS = re.compile(rb"([\w.-]+|\[[\da-fA-F:.]+\])(:\d{1,5})?(, *[^,]*)*", re.ASCII)

log = logging.getLogger(__name__)


class Guard:
    """Middleware around Gradio's app.

    A request reaches Gradio only if it is for the page or for an address in `OFFERED`, and only
    when all of it has arrived, within `PATIENCE`. It may have `MAX_CALL` bytes, or `max_bytes`
    where a picture is sent. Headers that contradict each other are refused.

    Args:
        uploads: the folder of uploads; callers see `UPLOADS` in its place.
        max_bytes: the most bytes of an upload, or of a request to one of our own routes.
    """

    def __init__(self, app: ASGIApp, *, uploads: str, max_bytes: int) -> None:
        self.app = app
        self.folder = Path(uploads)
        self.uploads = json.dumps(uploads)[1:-1].encode()
        self.max_bytes = max_bytes
        self.large = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, as ASGI has it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                _add_headers(MutableHeaders(scope=message), scope, message["status"])
            await send(message)
            started = True

        try:
            place = _place(scope)
            _check_headers(scope, others_see=place not in ("", *OWN))
            with ExitStack() as stack:
                body = await self._body(scope, receive, place, stack)
                await self._pass_on(scope, body, receive, answer, place)
        except ClientDisconnect:
            pass
        except Exception as error:
            reply = refusal(Request(scope), error, ours=API not in scope["path"])
            if started:  # an event stream that breaks off: end it as such streams end
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await reply(scope, receive, send)

    async def _body(self, scope: Scope, receive: Receive, place: str, stack: ExitStack) -> bytes:
        limit = self.max_bytes if place in ("upload", *OWN) else MAX_CALL
        declared = dict(scope["headers"]).get(b"content-length", b"")
        size = int(declared[:18]) if declared.isdigit() else 0
        body = bytearray()
        with anyio.move_on_after(PATIENCE):
            while max(size, len(body)) <= limit:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                if len(body) <= MAX_CALL < len(body) + len(message.get("body", b"")):
                    stack.enter_context(self._one_more_large())
                body += message.get("body", b"")
                if not message.get("more_body") and len(body) <= limit:
                    return bytes(body)
            most = f"A request here may have {limit // 2**20} MB"
            other = "." if limit > MAX_CALL else "; upload what is larger, for /predict_image."
            raise HTTPException(413, most + other)
        raise HTTPException(408, f"The request did not arrive within {PATIENCE:.0f} seconds.")

    @contextmanager
    def _one_more_large(self) -> Iterator[None]:
        if self.large >= MAX_LARGE:
            raise HTTPException(503, BUSY)
        self.large += 1
        try:
            yield
        finally:
            self.large -= 1

    async def _pass_on(
        self, scope: Scope, body: bytes, receive: Receive, send: Send, place: str
    ) -> None:
        """Passes the request on to Gradio, with the folder of uploads in place of `UPLOADS`."""
        if place == "upload":
            _check_room(self.folder, len(body))
            scope["query_string"] = b""  # Gradio keeps a record of each `upload_id` for ever
            send = changed(lambda reply: reply.replace(self.uploads, UPLOADS), send)
        elif place not in OWN:
            body = re.sub(rb'"%b(?=[/\\])' % UPLOADS, lambda _: b'"' + self.uploads, body)
        unread = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_whole() -> Message:
            return unread.pop() if unread else await receive()

        await self.app(scope, receive_whole, send)


def _add_headers(headers: MutableHeaders, scope: Scope, status: int) -> None:
    """Tells browsers not to guess types, and to keep files that have a hash in their name."""
    headers["x-content-type-options"] = "nosniff"
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    if status == 200 and HASHED.fullmatch(path):
        headers["cache-control"] = f"public, max-age={YEAR}, immutable"


def changed(change: Callable[[bytes], bytes], send: Send) -> Send:
    """Sends a response whose whole body is changed, unless its status is that of an error."""
    start: Message = {}
    body = bytearray()

    async def send_changed(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
            return
        if message["type"] != "http.response.body":
            await send(message)
            return
        body.extend(message.get("body", b""))
        if message.get("more_body"):
            return
        whole = change(bytes(body)) if start["status"] == 200 else bytes(body)
        MutableHeaders(scope=start)["content-length"] = str(len(whole))
        await send(start)
        await send({"type": "http.response.body", "body": whole})

    return send_changed


def _place(scope: Scope) -> str:
    """The part of Gradio's API that is asked for, or "" for the page. A 404 if we offer neither."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    method = scope["method"].replace("HEAD", "GET")
    if method == "GET" and PAGE.fullmatch(path):
        return ""
    if method == "POST" and path[1:] in OWN:
        return path[1:]
    place = path.removeprefix(API).removesuffix("/")
    if path.startswith(API) and method in OFFERED and re.fullmatch(OFFERED[method], place):
        return place
    raise HTTPException(404, "This address does not exist. /gradio_api/info lists those that do.")


def _check_room(folder: Path, size: int) -> None:
    """Refuses an upload that would fill the disk. Older uploads are deleted within minutes."""
    disk = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists()))
    if disk.free - size < min(RESERVE, disk.total // 10):
        raise HTTPException(503, BUSY)


def _check_headers(scope: Scope, *, others_see: bool) -> None:
    """Refuses headers that contradict each other, and drops those that Gradio must not believe.

    Gradio takes its own address from the headers. The page needs that behind a proxy, and shows the
    address only to the visitor who sent it. Other callers would see what a call to the API says.
    """
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    names = {name for name, _ in headers}
    hosts = [value for name, value in headers if name in (b"host", b"x-forwarded-host")]
    if not all(map(HOSTS.fullmatch, hosts)) or names >= {b"content-length", b"transfer-encoding"}:
        raise HTTPException(400, "The headers contradict each other, or their host is not valid.")
    if sum(len(name) + len(value) for name, value in headers) > MAX_HEADERS:
        raise HTTPException(431, f"The headers may have {MAX_HEADERS // 2**10} kB.")
    dropped = {b"x-gradio-server"} | ({b"host", b"x-forwarded-host"} if others_see else set())
    scope["headers"] = [(name, value) for name, value in headers if name not in dropped]


def refusal(request: Request, error: Exception, *, ours: bool = False) -> JSONResponse:
    """A status and a sentence for any error.

    Gradio fails with all kinds of errors at calls and headers that it cannot parse, so an error
    counts as the caller's fault unless it is `ours`, or comes from the operating system.
    """
    if isinstance(error, HTTPException) and error.status_code != 503:
        return JSONResponse({"detail": error.detail}, error.status_code)
    if isinstance(error, HTTPException) or _no_files_left(error):
        return JSONResponse({"detail": BUSY}, 503, {"retry-after": "5"})
    if ours or isinstance(error, OSError):
        log.error("%s %r failed", request.method, request.scope["path"], exc_info=error)
        return JSONResponse({"detail": "The server failed at this; its log says how."}, 500)
    log.info("%s %r: %r", request.method, request.scope["path"], error)
    sentence = "This call cannot be read. /gradio_api/info shows what calls look like."
    return JSONResponse({"detail": sentence}, 400)


def _no_files_left(error: object) -> bool:
    """Whether an error says that this process, or the system, can open no more files."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)


def _quieter() -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """An event loop's error handler that logs at most once in `SILENCE` that files run out.

    asyncio would log it thousands of times a second, once for each try to accept a connection.
    """
    said = -SILENCE

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal said
        if not _no_files_left(context.get("exception")):
            loop.default_exception_handler(context)
        elif time.monotonic() - said >= SILENCE:
            said = time.monotonic()
            log.error(NO_FILES)

    return handle


@asynccontextmanager
async def swept(app: Any) -> AsyncIterator[None]:
    """Sweeps a Gradio app while it runs, and keeps its log from being flooded: its lifespan."""
    asyncio.get_running_loop().set_exception_handler(_quieter())

    async def keep_sweeping() -> None:
        while True:
            await asyncio.sleep(SWEEP)
            sweep(app, kept=KEPT)

    sweeping = asyncio.create_task(keep_sweeping())
    yield
    sweeping.cancel()


def sweep(app: Any, *, kept: float) -> None:
    """Deletes what Gradio forgets: stray uploads, empty folders, records of answers never fetched.

    Call it only in the app's event loop, so that no upload loses its folder while it arrives.

    Args:
        app: Gradio's; everything in its folder of uploads is the app's own.
        kept: age in seconds up to which files stay.
    """
    for path in sorted(Path(app.uploaded_file_dir).rglob("*"), reverse=True):  # folders come last
        with suppress(OSError):  # a folder that is not empty, or gone already
            if path.stat().st_mtime <= time.time() - kept:
                path.rmdir() if path.is_dir() else path.unlink()
    queue = app.get_blocks()._queue
    waiting = queue.pending_messages_per_session.keys()
    for caller in queue.pending_event_ids_session.keys() - waiting:
        del queue.pending_event_ids_session[caller]


HANDLERS = {503: refusal, RequestValidationError: refusal, Exception: refusal}
