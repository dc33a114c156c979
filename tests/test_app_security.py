"""What strangers try on the running app: other endpoints, the server's files."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from conftest import ROOT, App


@pytest.fixture(scope="module")
def stranger(app: App) -> Iterator[httpx.Client]:
    once = httpx.Limits(max_keepalive_connections=0)  # a refused connection is not used again
    with httpx.Client(base_url=app.url, timeout=20, limits=once) as client:
        yield client


@pytest.mark.parametrize("name", ["read", "predict", "lambda", "0", "-1", "api/predict"])
@pytest.mark.parametrize("way", ["run", "api"])
def test_no_other_endpoint_answers(stranger: httpx.Client, way: str, name: str) -> None:
    body = {"data": ["x"], "session_hash": "s"}
    reply = stranger.post(f"gradio_api/{way}/{name}", json=body)
    assert reply.status_code >= 400
    assert "Traceback" not in reply.text


def test_of_the_pages_components_only_the_two_readers_answer(stranger: httpx.Client) -> None:
    answering = []
    for component in stranger.get("config").json()["components"]:
        for name in ("read", "__init__", "preprocess", "move_resource_to_block_cache"):
            body = {"data": "x", "component_id": component["id"], "fn_name": name}
            reply = stranger.post("gradio_api/component_server/", json=body | {"session_hash": "s"})
            if reply.status_code != 404:
                answering.append((component["type"], name))
    assert answering == [("html", "read")] * 2


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "app.py", "pyproject.toml",
        "lenet_digits/demo.py", "examples/../app.py", "examples/%2e%2e/app.py",
        str(ROOT / "app.py"),
        "file:///etc/passwd", "http://169.254.169.254/latest", "%00",
    ],
)  # fmt: skip
def test_no_file_of_the_servers_is_served_but_the_examples(
    stranger: httpx.Client, path: str
) -> None:
    reply = stranger.get(f"gradio_api/file={path}")
    assert reply.status_code in (403, 404)
