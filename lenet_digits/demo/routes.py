"""The app's own routes: ``POST /read`` reads a picture, ``GET /health`` says that the app runs.

``POST /inside`` shows what the layers of the network make of a canvas; ``GET /inside`` has the
kernels, which are the same for every canvas.

A picture arrives as the body itself or as the file of a form. It stays in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.staticfiles import NotModifiedResponse

from lenet_digits import __version__
from lenet_digits.demo.answers import MAX_BYTES
from lenet_digits.demo.fragments import MANIFEST, STATIC, example_pictures
from lenet_digits.demo.threads import in_a_thread
from lenet_digits.reading.pictures import NoInkError, UnreadableImageError
from lenet_digits.storage.files import WeightsError

MAX_WAITING = 256  # pictures that wait for a thread; further callers get a 503
DAY = 86_400  # seconds that a browser may keep a picture before it asks again
FORM = "multipart/form-data"
AROUND = 2**16  # bytes around a picture that comes in a form

PICTURES = {"icon.png": "icon.png", "favicon.ico": "icon.png", "card.png": "card.png"}

DIGITS = "0123456789"

Answer = Callable[[bytes], dict[str, Any]]


class Routes:
    """The app's own routes. They count the callers that wait.

    Args:
        plain: a picture's answer for programs.
        full: a picture's answer for the page, with small pictures in it.
        layers: what the network makes of a canvas, see `inside.for_panel`.
        kernels: of the same network, see `inside.kernels`.
    """

    def __init__(
        self,
        plain: Answer,
        full: Answer,
        layers: Callable[..., dict[str, Any]],
        kernels: Callable[[], dict[str, str]],
    ) -> None:
        self.plain, self.full, self.layers, self.kernels = plain, full, layers, kernels
        self.waiting = 0

    def all(self) -> list[Route]:
        """What to give to Starlette."""
        return [
            Route("/read", self.read, methods=["POST"]),
            Route("/inside", self.inside, methods=["GET", "POST"]),
            Route("/health", self.health),
            Route("/examples/{name}", self.example),
            Route("/manifest.json", self.manifest),
            *(Route(f"/{name}", self.picture) for name in PICTURES),
        ]

    async def health(self, request: Request) -> JSONResponse:
        """Says that the app runs, and which version it is."""
        return JSONResponse({"status": "ok", "version": __version__})

    async def example(self, request: Request) -> Response:
        """An example picture; no other file of the folder is given out."""
        for path in example_pictures():
            if path.name == request.path_params["name"]:
                return _file(request, path)
        raise HTTPException(404, "There is no such example.")

    async def picture(self, request: Request) -> Response:
        """The app's icon, or its picture for those who share a link to it."""
        name = request.scope["path"].rpartition("/")[2]
        return _file(request, STATIC / PICTURES[name])

    async def manifest(self, request: Request) -> Response:
        """What a device needs to know to keep the page as an app."""
        return JSONResponse(MANIFEST, media_type="application/manifest+json")

    async def read(self, request: Request) -> JSONResponse:
        """The answer to one picture; with ``?pictures=1``, the page's, with pictures in it."""
        return await self._answer(
            request, self.full if request.query_params.get("pictures") else self.plain
        )

    async def inside(self, request: Request) -> JSONResponse:
        """The layers for one canvas; with ``?digit=8``, the ink that makes it an 8.

        ``against=3`` compares it with a 3 instead of the runner-up. A GET has the kernels.
        """
        if request.method != "POST":
            return JSONResponse(self.kernels())
        asked = {name: request.query_params.get(name) for name in ("digit", "against")}
        for name, value in asked.items():
            if value is not None and (len(value) != 1 or value not in DIGITS):
                raise HTTPException(400, f"{name} must be a digit, 0 to 9.")
        digits = {name: int(value) for name, value in asked.items() if value is not None}
        return await self._answer(request, partial(self.layers, **digits))

    async def _answer(self, request: Request, answer: Answer) -> JSONResponse:
        _refuse_foreign(request)
        picture = await _picture(request)
        if self.waiting >= MAX_WAITING:
            raise HTTPException(503, "The server has as many pictures as it can take.")
        self.waiting += 1
        try:
            return JSONResponse(await self._while_here(request, answer, picture))
        except (NoInkError, UnreadableImageError, WeightsError) as error:
            return JSONResponse({"detail": str(error)}, 422)
        finally:
            self.waiting -= 1

    async def _while_here(self, request: Request, answer: Answer, picture: bytes) -> dict[str, Any]:
        """The answer, made in a thread. A caller who leaves before that is not answered."""
        outcome: dict[str, Any] | ValueError | None = None
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                while (await request.receive())["type"] != "http.disconnect":
                    pass
                group.cancel_scope.cancel()

            group.start_soon(watch)
            try:
                outcome = await in_a_thread(answer, picture)
            except (NoInkError, UnreadableImageError, WeightsError) as error:
                outcome = error  # raised below: the group would wrap it
            group.cancel_scope.cancel()
        if outcome is None:
            raise ClientDisconnect
        if isinstance(outcome, ValueError):
            raise outcome
        return outcome


def _file(request: Request, path: Path) -> Response:
    """A file, or a 304 if the browser has it already."""
    headers = {"cache-control": f"public, max-age={DAY}"}
    response = FileResponse(path, headers=headers, stat_result=path.stat())
    if request.headers.get("if-none-match") == response.headers["etag"]:
        return NotModifiedResponse(response.headers)
    return response


def _refuse_foreign(request: Request) -> None:
    """Refuses a request that a page of another site makes; programs and our own page may ask."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is None and origin:  # an old browser, or http
        hosts = {request.headers.get("host"), request.headers.get("x-forwarded-host")}
        site = "same-origin" if urlsplit(origin).netloc in hosts else "cross-site"
    if site in ("cross-site", "same-site"):
        raise HTTPException(403, "Pages of other sites may not ask this server.")


async def _picture(request: Request) -> bytes:
    """The picture in a request: its body, or the first file of its form."""
    body = await request.body()
    if not request.headers.get("content-type", "").startswith(FORM):
        return body

    async def stream() -> Any:
        yield body

    parser = MultiPartParser(request.headers, stream(), max_files=1, max_fields=16)
    parser.spool_max_size = MAX_BYTES + AROUND  # keeps the file in memory
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError):
        raise HTTPException(400, "This form cannot be read. Send the picture as a file.") from None
    try:
        for value in form.values():
            if not isinstance(value, str):
                return await value.read()
    finally:
        await form.close()
    raise HTTPException(400, "The form has no file. Send one: curl -F file=@7.jpg …/read")
