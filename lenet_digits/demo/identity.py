"""Gives the page and the API's document the app's own name, icon and share card.

Gradio's page and its OpenAPI document name Gradio, and they do not know the path at which a proxy
serves the app. This middleware corrects both as they are sent.
"""

from __future__ import annotations

import json
import re
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from lenet_digits import __version__
from lenet_digits.demo.fragments import ABOUT, NAME, head_html
from lenet_digits.demo.guard import changed
from lenet_digits.demo.quick_gradio import gr

# What our own head replaces in Gradio's page.
GRADIOS = re.compile(r'<meta\s+(?:property="og:|name="twitter:)[^>]*>|<link rel="manifest"[^>]*>')
# The address from which the page loads all other files. Gradio takes it from the request, where the
# path at which a proxy serves the app is missing. The page's own address has that path.
ROOT = re.compile(r'const root = "[^"]*";')
OWN_ROOT = (
    "const root = window.gradio_config.root ="
    ' location.href.replace(/[?#].*/, "").replace(/\\/[^/]*$/, "");'
)

PREFIX = re.compile(r"(/[\w.~-]+)+", re.ASCII)

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
                send = changed(lambda body: page(body, Request(scope)), send)
            elif path == "/gradio_api/openapi.json":
                send = changed(lambda body: openapi(body, self.reading), send)
        await self.app(scope, receive, send)


def page(body: bytes, request: Request) -> bytes:
    """Gradio's page, with our own head."""
    root = gr.route_utils.get_root_url(request, "/", request.scope.get("root_path"))
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
