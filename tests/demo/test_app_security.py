"""What strangers try on the running app, one thing after another, and what is left of it then."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from attacks import ATTACKS, REFUSED
from benchmarks.load import Served, serve
from conftest import ROOT, others_litter
from visitors import API, BUSY, ONCE, WAYS, App, drawings

from lenet_digits.demo.guard import sweep

SECONDS = 120  # that an answer may take on a busy machine


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """The app by itself: what it says is read, so that it never waits for a reader."""
    with serve("app.py") as app:
        yield app


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One for all clients; `asyncio.run` would drop the one that Gradio left unclosed."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module")
def stranger(served: Served, loop: asyncio.AbstractEventLoop) -> Iterator[App]:
    """A client, and a server that nobody else knows of, for links to lead to."""
    followed: list[str] = []

    def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        followed.append("a link was followed")
        writer.close()

    trap = loop.run_until_complete(asyncio.start_server(note, "127.0.0.1"))
    host, port = trap.sockets[0].getsockname()
    http = httpx.AsyncClient(timeout=SECONDS, limits=ONCE)
    yield App(served.url, http, f"http://{host}:{port}", followed)
    loop.run_until_complete(http.aclose())
    trap.close()
    loop.run_until_complete(trap.wait_closed())


# Attacks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_is_refused_and_told_nothing(
    stranger: App, loop: asyncio.AbstractEventLoop, name: str
) -> None:
    outcome = loop.run_until_complete(ATTACKS[name](stranger))
    assert REFUSED.fullmatch(outcome), outcome
    assert stranger.at_fault == []


def test_after_all_that_every_way_of_asking_gets_the_right_answer(
    stranger: App, served: Served, loop: asyncio.AbstractEventLoop
) -> None:
    for way, drawing in zip(WAYS, drawings(len(WAYS), seed=7), strict=True):
        answer = loop.run_until_complete(way(stranger, drawing))
        assert answer is not None, way
        assert drawing.is_answered_by(answer), way
    assert stranger.at_fault == []


def test_visitors_get_their_own_answers_while_others_attack(
    stranger: App, loop: asyncio.AbstractEventLoop
) -> None:
    async def visit(number: int) -> None:
        for drawing in drawings(4, seed=number):
            answer = await WAYS[number % len(WAYS)](stranger, drawing)
            assert answer is not None
            assert drawing.is_answered_by(answer)

    async def attack(names: list[str]) -> None:
        for name in names:
            assert REFUSED.fullmatch(await ATTACKS[name](stranger)), name

    async def crowd() -> None:
        names = [name for name in ATTACKS if "bomb" not in name]
        attackers = [attack(names[first::40]) for first in range(4)]
        await asyncio.gather(*map(visit, range(8)), *attackers)

    loop.run_until_complete(crowd())
    assert stranger.at_fault == []


def test_another_visitors_answer_is_not_taken_for_ones_own() -> None:
    one, other = drawings(2, seed=0)
    assert one.is_answered_by(one.answer)
    assert not one.is_answered_by(other.answer)


def test_a_reply_that_tells_of_the_servers_folders_or_fails_would_be_noticed() -> None:
    app = App("", Any)
    app.judge("a", 200, "fine")
    app.judge("b", 503, BUSY)
    assert app.at_fault == []
    app.judge("c", 500, "")
    app.judge("d", 400, f"no such file: {ROOT}/app.py")
    assert len(app.at_fault) == 2


def test_none_of_the_pages_components_answers(
    stranger: App, loop: asyncio.AbstractEventLoop
) -> None:
    async def ask() -> list[tuple[str, str]]:
        answering = []
        for part in (await stranger.ask("GET", "/config")).json()["components"]:
            for name in ("read", "__init__", "preprocess", "move_resource_to_block_cache"):
                body = {"data": "x", "component_id": part["id"], "fn_name": name}
                place = f"{API}/component_server/"
                reply = await stranger.ask("POST", place, json=body | {"session_hash": "s"})
                if reply.status_code != 404:
                    answering.append((part["type"], name))
        return answering

    assert loop.run_until_complete(ask()) == []


def test_the_examples_are_the_only_files_given_out(
    stranger: App, loop: asyncio.AbstractEventLoop
) -> None:
    reply = loop.run_until_complete(stranger.http.get(f"{stranger.url}/examples/7-corner.png"))
    assert reply.content == (ROOT / "examples" / "7-corner.png").read_bytes()
    uploaded = loop.run_until_complete(stranger.upload("7.png", reply.content))
    for path in (f"{API}/file={uploaded}", f"/{uploaded}", f"/examples/{uploaded}"):
        assert loop.run_until_complete(stranger.ask("GET", path)).status_code == 404


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of a process can be set on Linux")
def test_where_files_run_out_the_log_says_it_once_and_the_app_recovers(served: Served) -> None:
    import resource

    process = served.process.pid
    before = len(served.said)
    limits = resource.prlimit(process, resource.RLIMIT_NOFILE)
    open_files = sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())
    host, port = re.findall(r"//([^:/]+):(\d+)", served.url)[0]
    resource.prlimit(process, resource.RLIMIT_NOFILE, (open_files + 4, limits[1]))
    crowd = [socket.create_connection((host, int(port))) for _ in range(40)]
    for _ in range(1200):  # a minute at most
        if len(served.said) > before:
            break
        time.sleep(0.05)
    time.sleep(1)  # in which asyncio tries again, thousands of times
    for visitor in crowd:
        visitor.close()
    resource.prlimit(process, resource.RLIMIT_NOFILE, limits)
    said = served.said[before:]
    assert len(said) == 1
    assert "no more files" in said[0]
    assert httpx.get(f"{served.url}/health", timeout=SECONDS).json()["status"] == "ok"


# In process ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mounted:
    """The app behind its guard, without a socket."""

    http: Any
    blocks: Any
    gradio: Any
    uploads: Path


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    uploads = tmp_path_factory.mktemp("uploads")
    with pytest.MonkeyPatch.context() as patch, others_litter():
        patch.setenv("GRADIO_TEMP_DIR", str(uploads))
        import gradio as gr
        from fastapi import FastAPI
        from fastapi.testclient import TestClient

        from lenet_digits.demo.page import build_demo
        from lenet_digits.demo.server import launch_options

        blocks = build_demo()
        kwargs = launch_options()["app_kwargs"]
        app = gr.mount_gradio_app(FastAPI(), blocks, path="/", app_kwargs=kwargs)
    with TestClient(app) as http:
        yield Mounted(http, blocks, app.routes[-1].app, uploads)
    with others_litter():
        del app, http


def test_the_first_caller_cannot_tell_the_others_where_the_app_is(mounted: Mounted) -> None:
    evil = {"host": "evil.example", "x-forwarded-host": "evil.example"}
    call = {"drawing": "x"}
    mounted.http.post(f"{API}/call/v2/predict_drawing", json=call, headers=evil)
    mounted.http.get(f"{API}/info", headers=evil)
    assert "evil" not in mounted.http.get(f"{API}/info").text
    assert "evil" not in mounted.http.get("/").text


def test_types_are_not_guessed_and_hashed_files_are_kept_for_long(mounted: Mounted) -> None:
    page = mounted.http.get("/")
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "immutable" not in page.headers.get("cache-control", "")
    asset = re.search(r"assets/[\w.-]+-[\w-]{8}\.js", page.text)
    assert asset is not None
    reply = mounted.http.get(f"/{asset[0]}")
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"
    missing = mounted.http.get("/assets/none-12345678.js")
    assert "immutable" not in missing.headers.get("cache-control", "")


def test_a_full_queue_says_so_in_one_sentence(
    mounted: Mounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounted.blocks._queue, "max_size", 0)
    reply = mounted.http.post(f"{API}/call/predict_drawing", json={"data": ["x"]})
    assert reply.status_code == 503
    assert reply.json()["detail"].endswith("ask again in a few seconds.")
    assert int(reply.headers["retry-after"]) > 0


def test_a_failure_of_our_own_is_a_500_without_details(
    mounted: Mounted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(picture: object) -> None:
        raise KeyError("/srv/secret")

    monkeypatch.setattr("lenet_digits.demo.answers.canvas_steps", fail)
    reply = mounted.http.post("/read?pictures=1", content=b"x")
    assert reply.status_code == 500
    assert "secret" not in reply.text
    assert "secret" in caplog.text


def test_an_upload_is_deleted_when_its_time_is_over(mounted: Mounted) -> None:
    from gradio.route_utils import delete_files_created_by_app

    _, kept = mounted.blocks.delete_cache
    assert kept <= 60
    path = upload(mounted, b"7")
    assert path.read_bytes() == b"7"
    delete_files_created_by_app(mounted.blocks, age=0)  # as Gradio does, with that age
    assert not path.exists()


def test_what_gradio_forgets_is_swept(mounted: Mounted) -> None:
    """Old files, empty folders, and records of answers that nobody fetched."""
    old, new = upload(mounted, b"old"), upload(mounted, b"new")
    os.utime(old, (0, 0))
    queue = mounted.blocks._queue
    queue.pending_messages_per_session.max_size = 2  # Gradio forgets the messages of the others
    for _ in range(5):
        mounted.http.post(f"{API}/call/predict_drawing", json={"data": ["x"]})
    assert len(queue.pending_event_ids_session) >= 5
    sweep(mounted.gradio, kept=60)
    assert (old.exists(), new.exists()) == (False, True)
    assert len(queue.pending_event_ids_session) <= 2
    for _ in range(2):  # the folder of a file that has just gone is no longer old
        sweep(mounted.gradio, kept=0)
    assert list(mounted.uploads.iterdir()) == []


def upload(mounted: Mounted, content: bytes) -> Path:
    """Where a file lies that was sent."""
    reply = mounted.http.post(f"{API}/upload", files={"files": ("7.png", content)})
    return mounted.uploads / str(reply.json()[0]).removeprefix("uploads/")


# The machine -----------------------------------------------------------------------------------

LOCKED = """
mount --bind "$0" "$0" && mount -o remount,bind,ro / && exec setpriv --reuid=65534 --regid=65534 \
--clear-groups --inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search "$@"
"""  # may read everything, so that a checkout in root's own folder will do


def can_lock() -> bool:
    """Whether this machine lets us make its files unwritable for one process."""
    if sys.platform != "linux" or os.geteuid() or not shutil.which("setpriv"):
        return False
    trial = ["unshare", "-m", "sh", "-c", LOCKED, tempfile.gettempdir(), "true"]
    return os.spawnvp(os.P_WAIT, "unshare", trial) == 0


def test_nobody_serves_on_a_machine_where_one_folder_can_be_written_and_leaves_it_empty(
    loop: asyncio.AbstractEventLoop,
) -> None:
    if not can_lock():
        pytest.skip("only as root on Linux, with unshare and setpriv")
    drawing = drawings(1, seed=5)[0]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        by = ("unshare", "-m", "sh", "-c", LOCKED, folder)
        home = {"HOME": "/nowhere", "MPLCONFIGDIR": folder}
        with serve("app.py", by=by, TMPDIR=folder, GRADIO_TEMP_DIR=folder, **home) as app:
            status = Path(f"/proc/{app.process.pid}/status").read_text()
            assert "Uid:\t65534" in status

            async def ask() -> None:
                async with httpx.AsyncClient(timeout=SECONDS, limits=ONCE) as http:
                    for way in WAYS:
                        answer = await way(App(app.url, http), drawing)
                        assert answer is not None, way
                        assert drawing.is_answered_by(answer), way

            loop.run_until_complete(ask())
            assert list(Path(folder).rglob("digit.png"))
        assert not list(Path(folder).rglob("*.png"))
        assert not list(Path(folder).glob("lenet-digits-*"))
