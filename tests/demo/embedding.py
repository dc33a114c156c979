"""A server around the page: it holds the page, passes on to another, and shows it in a frame.

python tests/demo/embedding.py PORT ADDRESS

``/demo/`` is the page, mounted; ``/apps/digits/`` is the app at ADDRESS, behind a proxy that takes
that path away and says nothing of it; ``/frame`` shows ADDRESS in a frame, as a Space is.
"""

from __future__ import annotations

import sys

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from lenet_digits.demo.server import mount

PORT, ADDRESS = int(sys.argv[1]), sys.argv[2].rstrip("/")
FRAME = """<!doctype html><title>Space</title><body style="margin: 0">
<iframe src="{address}/" title="app" scrolling="no" style="width: 100%; height: 100vh; border: 0"
  sandbox="allow-downloads allow-forms allow-modals allow-popups allow-same-origin allow-scripts">
</iframe>"""
NOT_PASSED_ON = ("content-length", "transfer-encoding", "connection")  # about one connection only

app = FastAPI()
client = httpx.AsyncClient(timeout=60)


@app.get("/")
def own() -> str:
    """The other program's own page."""
    return "another program"


@app.get("/frame", response_class=HTMLResponse)
def frame() -> str:
    """The app at `ADDRESS` in a frame."""
    return FRAME.format(address=ADDRESS)


@app.api_route("/apps/digits/{path:path}", methods=["GET", "POST", "HEAD"])
async def proxy(path: str, request: Request) -> StreamingResponse:
    """The app at `ADDRESS`, as a proxy with a path of its own passes it on."""
    headers = dict(request.headers)
    headers["x-forwarded-host"] = headers["host"]
    url = httpx.URL(f"{ADDRESS}/{path}", query=request.url.query.encode())
    asked = client.build_request(request.method, url, headers=headers, content=await request.body())
    reply = await client.send(asked, stream=True)
    kept = {k: v for k, v in reply.headers.items() if k not in NOT_PASSED_ON}
    return StreamingResponse(reply.aiter_raw(), reply.status_code, kept)


mount(app, "/demo")
uvicorn.run(app, port=PORT, log_level="warning")
