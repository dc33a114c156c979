"""The guard before Gradio, around an app of two lines: what it lets through, and in what words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

from lenet_digits.demo import guard
from lenet_digits.demo.guard import MAX_CALL, MAX_HEADERS, Guard

MAX_BYTES = 3 * 2**20


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with what it was sent."""
    body = await Request(scope, receive).body()
    await JSONResponse([body.decode(), scope["query_string"].decode()])(scope, receive, send)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Like `asyncio.run`, but leaves the thread's own event loop, if any, where it is."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(coroutine)
    loop.close()


def failing(error: Exception) -> Callable[..., Any]:
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        raise error

    return fail


def ask(
    path: str,
    *parts: bytes,
    app: Any = echo,
    method: str = "POST",
    headers: dict[str, str] | None = None,
    stalls: bool = False,
) -> tuple[int, str]:
    """Status and body of the guarded app's reply to one request, sent in parts."""
    sent: list[dict[str, Any]] = []
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> dict[str, Any]:
        if stalls and len(messages) == 1:
            await asyncio.Event().wait()
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    path, _, query = path.partition("?")
    scope = {
        "type": "http", "method": method, "path": path, "query_string": query.encode(),
        "headers": [(k.encode(), v.encode()) for k, v in ({"host": "x"} | (headers or {})).items()],
    }  # fmt: skip
    guarded = Guard(app, uploads="/srv/uploads-1", max_bytes=MAX_BYTES)
    run(guarded(scope, receive, send))
    assert guarded.large == 0
    assert not sent[-1].get("more_body")
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], body.decode()


def test_a_call_arrives_whole_however_it_was_cut() -> None:
    assert ask("/gradio_api/queue/join", b'{"da', b'ta": []}') == (200, '["{\\"data\\": []}",""]')


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(
    ("path", "most"),
    [("call/predict_drawing", MAX_CALL), ("upload", MAX_BYTES), ("/read", MAX_BYTES)],
)
def test_a_request_may_have_so_many_bytes_and_no_more(path: str, most: int, declared: bool) -> None:
    for size, status in ((most, 200), (most + 1, 413)):
        headers = {"content-length": str(size)} if declared else {}
        body = bytes(size)
        parts = (body[:-1], body[-1:]) if status == 200 or not declared else ()
        place = path if path.startswith("/") else f"/gradio_api/{path}"
        reply = ask(place, *parts, headers=headers)
        assert reply[0] == status
        assert status == 200 or f"{most // 2**20} MB" in reply[1]


def test_a_request_that_stalls_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "PATIENCE", 0.01)
    status, text = ask("/gradio_api/upload", b"half", stalls=True)
    assert status == 408
    assert "did not arrive" in text


def test_too_many_large_requests_at_once_are_told_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard, "MAX_LARGE", 0)
    assert ask("/gradio_api/upload", bytes(MAX_CALL))[0] == 200
    status, text = ask("/gradio_api/upload", bytes(MAX_CALL + 1))
    assert status == 503
    assert "ask again" in text


@pytest.mark.parametrize(
    ("total", "free", "status"),
    [(2**40, 2**29, 200), (2**40, 2**28, 503), (2**26, 2**25, 200), (2**26, 2**22, 503)],
    ids=["large disk", "large disk, full", "small disk", "small disk, full"],
)
def test_uploads_leave_room_on_the_disk(
    monkeypatch: pytest.MonkeyPatch, total: int, free: int, status: int
) -> None:
    disk = SimpleNamespace(total=total, free=free)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: disk)
    reply = ask("/gradio_api/upload", b"a picture")
    assert reply[0] == status
    assert status == 200 or "ask again" in reply[1]
    assert ask("/gradio_api/call/predict_drawing", b"{}")[0] == 200


@pytest.mark.parametrize(
    "host", ["example.org", "example.org:443", "[::1]:7860", "127.0.0.1:7860", "a.b, c.d"]
)
def test_a_proxy_may_say_what_host_was_asked(host: str) -> None:
    assert ask("/", method="GET", headers={"x-forwarded-host": host})[0] == 200


def test_headers_have_a_limit() -> None:
    assert ask("/", method="GET", headers={"a": "b" * MAX_HEADERS})[0] == 431


def test_what_a_call_says_of_the_servers_address_is_not_believed() -> None:
    seen: list[bytes] = []

    async def note(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(name for name, _ in scope["headers"])
        await JSONResponse({})(scope, receive, send)

    named = {"x-forwarded-host": "evil.example", "x-gradio-server": "http://evil.example"}
    ask("/gradio_api/info", app=note, method="GET", headers=named)
    assert seen == []
    ask("/", app=note, method="GET", headers=named)
    assert seen == [b"host", b"x-forwarded-host"]


def test_callers_never_see_the_folder_of_their_uploads() -> None:
    async def upload(scope: Any, receive: Any, send: Any) -> None:
        await JSONResponse(["/srv/uploads-1/ab/7.png"])(scope, receive, send)

    assert ask("/gradio_api/upload", b"x", app=upload)[1] == '["uploads/ab/7.png"]'
    call = b'{"data": [{"path": "uploads/ab/7.png"}, {"path": "uploads\\/ab\\/7.png"}]}'
    assert "/srv/uploads-1/ab/7.png" in ask("/gradio_api/call/predict_image", call)[1]
    assert ask("/gradio_api/upload?upload_id=x", b"x") == (200, '["x",""]')


def test_an_error_that_can_only_be_the_callers_is_a_400_and_others_are_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    status, text = ask("/gradio_api/queue/join", app=failing(KeyError("/srv/secret")))
    assert status == 400
    assert "cannot be read" in text
    assert not caplog.records
    status, text = ask("/gradio_api/upload", app=failing(OSError(28, "full", "/srv/secret")))
    assert status == 500
    assert "secret" not in text
    assert "full" in caplog.text


def test_a_stream_that_breaks_off_is_ended_as_streams_are() -> None:
    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        raise RuntimeError

    assert ask("/gradio_api/queue/data", app=stream, method="GET") == (200, "data: 1\n\n")


def test_whoever_leaves_in_the_middle_gets_no_answer_and_does_no_harm() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload", "headers": []}
    guarded = Guard(failing(AssertionError()), uploads="x", max_bytes=9)
    run(guarded(scope, receive, failing(AssertionError())))
