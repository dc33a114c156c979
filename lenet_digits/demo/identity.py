"""Makes the app known by its own name: title, icon and share card of the page, and its documents.

Gradio's page and its OpenAPI document speak of Gradio, and do not know the path that a proxy serves
the app at. They are corrected as they are sent.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gradio.route_utils import get_root_url
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lenet_digits import __version__

NAME = "lenet-digits"
ABOUT = "Draw a digit or a number, or give a photo. LeNet-5 from 1998 reads it."
STATIC = Path(__file__).parent / "static"

# What Gradio's page has in the place of ours.
GRADIOS = re.compile(r'<meta\s+(?:property="og:|name="twitter:)[^>]*>|<link rel="manifest"[^>]*>')
# Where the page looks for all else. Gradio takes it from the request, which does not have the path
# that a proxy serves the app at; the page's own address has it.
ROOT = re.compile(r'const root = "[^"]*";')
OWN_ROOT = (
    "const root = window.gradio_config.root ="
    ' location.href.replace(/[?#].*/, "").replace(/\\/[^/]*$/, "");'
)

PREFIX = re.compile(r"(/[\w.~-]+)+", re.ASCII)

MANIFEST = {
    "name": NAME,
    "short_name": NAME,
    "description": ABOUT,
    "icons": [{"src": "icon.png", "sizes": "512x512", "type": "image/png", "purpose": "any"}],
    "start_url": "./",
    "scope": "./",
    "display": "standalone",
    "background_color": "#f6f2e8",
    "theme_color": "#f6f2e8",
}

READ_PATHS: dict[str, Any] = {
    "/read": {
        "post": {
            "summary": "Reads all numbers in a picture.",
            "description": "Send the picture as the body, or as the file of a form: "
            "curl -F file=@7.jpg http://127.0.0.1:7860/read",
            "operationId": "read",
            "requestBody": {
                "required": True,
                "content": {
                    "image/*": {"schema": {"type": "string", "format": "binary"}},
                    "multipart/form-data": {
                        "schema": {
                            "type": "object",
                            "properties": {"file": {"type": "string", "format": "binary"}},
                            "required": ["file"],
                        }
                    },
                },
            },
            "responses": {
                "200": {
                    "description": "What was read; a blank picture has no lines.",
                    "content": {"application/json": {"schema": {}}},
                },
                "403": {"description": "A page of another site asked."},
                "413": {"description": "The picture is too large."},
                "422": {"description": "This is not a picture that can be read."},
                "503": {"description": "Too many pictures wait; ask again in a few seconds."},
            },
        }
    },
    "/health": {
        "get": {
            "summary": "Says that the app runs.",
            "operationId": "health",
            "responses": {
                "200": {
                    "description": "The app runs.",
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "properties": {
                                    "status": {"type": "string"},
                                    "version": {"type": "string"},
                                },
                            }
                        }
                    },
                }
            },
        }
    },
}


class Identity:
    """Middleware around Gradio's app that corrects its page and its OpenAPI document.

    Args:
        reading: the JSON schema of an answer of ``POST /read``.
    """

    def __init__(self, app: ASGIApp, *, reading: dict[str, Any]) -> None:
        self.app = app
        self.reading = reading

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, as ASGI has it."""
        if scope["type"] == "http" and scope["method"] == "GET":
            path: str = scope["path"].removeprefix(scope.get("root_path", ""))
            if path in ("", "/"):
                send = _changed(lambda body: page(body, Request(scope)), send)
            elif path == "/gradio_api/openapi.json":
                send = _changed(lambda body: openapi(body, self.reading), send)
        await self.app(scope, receive, send)


def head_html(root: str) -> str:
    """The page's head: its title, icons and share card. `root` is the page's address without /."""
    template = (STATIC / "head.html").read_text(encoding="utf-8")
    return template.format(name=NAME, about=ABOUT, root=html.escape(root))


def page(body: bytes, request: Request) -> bytes:
    """Gradio's page, with our own head."""
    root = get_root_url(request, "/", request.scope.get("root_path"))
    prefix = request.headers.get("x-forwarded-prefix", "")  # from a proxy
    root += prefix if PREFIX.fullmatch(prefix) else ""
    head = head_html(root)
    text = GRADIOS.sub("", body.decode())
    text = ROOT.sub(lambda _: OWN_ROOT, text)
    return text.replace("</head>", f"{head}</head>", 1).encode()


def openapi(body: bytes, reading: dict[str, Any]) -> bytes:
    """Gradio's OpenAPI document, with our name and version and the app's own routes."""
    document = json.loads(body)
    document["info"] = {"title": NAME, "description": ABOUT, "version": __version__}
    paths = json.loads(json.dumps(READ_PATHS))
    paths["/read"]["post"]["responses"]["200"]["content"]["application/json"]["schema"] = reading
    document["paths"] = paths | document["paths"]
    for path in document["paths"].values():
        for operation in path.values():
            operation["summary"] = operation["summary"].replace("..", ".")
    return json.dumps(document).encode()


def _changed(change: Callable[[bytes], bytes], send: Send) -> Send:
    """Sends a response with its whole body changed, where it is one without an error."""
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
