"""The app without a browser: what it answers, to whom, and what it refuses."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import os
import re
import signal
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import App, others_litter
from PIL import Image, ImageDraw

from lenet_digits import __version__
from lenet_digits.model import LeNet5
from lenet_digits.reading.canvas import CanvasSteps
from lenet_digits.reading.pictures import UnreadableImageError
from lenet_digits.reading.prediction import Prediction
from lenet_digits.storage.files import WeightsError
from lenet_digits.training.metrics import METRICS_FILE, Metrics

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def demo() -> Any:
    """The room, imported only here because of what Gradio leaves behind."""
    with others_litter():
        import lenet_digits.demo.server
    return lenet_digits.demo


@pytest.fixture(scope="module")
def client(demo: Any) -> Iterator[Any]:
    """The app, mounted without a socket."""
    with others_litter():
        from fastapi import FastAPI
        from fastapi.testclient import TestClient

        app = demo.server.mount(FastAPI(), "/")
    with TestClient(app) as http:
        yield http
    with others_litter():
        del app, http


@pytest.fixture(scope="module")
def caller(app: App) -> Iterator[Any]:
    """A gradio_client of the running app."""
    with others_litter():
        from gradio_client import Client

        client = Client(app.url, verbose=False)
    yield client
    with others_litter():
        client.close()


@pytest.fixture
def seven(tmp_path: Path) -> Path:
    """A picture of a 7: black on white, off centre."""
    picture = Image.new("RGB", (300, 200), "white")
    ImageDraw.Draw(picture).line([(30, 40), (90, 40), (60, 130)], "black", width=9, joint="curve")
    picture.save(tmp_path / "seven.png")
    return tmp_path / "seven.png"


def data_url(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def steps() -> CanvasSteps:
    ink = np.zeros((28, 28), np.float32)
    ink[4:24, 13:15] = 1
    return CanvasSteps(np.full((28, 28, 3), 255, np.uint8), ink, ink, (13, 4, 15, 24), ink, 0.0)


# Words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shares", "outlier_score", "verdict", "headline", "said"),
    [
        ({1: 0.98, 0: 0.02}, 0.5, "digit", "1", "98.0 % sure"),
        ({8: 0.7, 0: 0.3}, 0.5, "digit", "8", "It may be a 0 (30.0 %)."),
        ({0: 0.7, 8: 0.3}, 0.5, "digit", "0", "It may be an 8 (30.0 %)."),
        ({1: 1.0}, 1.5, "unlike", "Not a digit", "The nearest is a 1."),
        ({1: 1.0}, None, "digit", "1", "cannot tell whether it is a digit"),
    ],
    ids=["sure", "in doubt", "before a vowel", "not a digit", "unknown"],
)
def test_an_answer_says_the_digit_how_sure_it_is_and_what_it_may_be_instead(
    demo: Any, shares: Any, outlier_score: float | None, verdict: str, headline: str, said: str
) -> None:
    probabilities = tuple(shares.get(digit, 0.0) for digit in range(10))
    answer = demo.answers.describe(Prediction(probabilities, outlier_score), steps())
    assert (answer["verdict"], answer["headline"]) == (verdict, headline)
    assert said in answer["note"]
    assert [step["name"] for step in answer["steps"]] == [name for name, _ in steps().named()]


# The app's own route -----------------------------------------------------------------------------


def test_a_picture_gets_an_answer_for_programs_and_one_for_the_page(
    client: Any, seven: Path
) -> None:
    picture = seven.read_bytes()
    answer = client.post("/read", content=picture).json()
    assert answer["text"] == "7"
    (line,) = answer["lines"]
    prediction = line["digits"][0]["prediction"]
    assert "canvas" not in str(answer)
    shown = client.post("/read?pictures=1", content=picture).json()
    (digit,) = shown["digits"]
    assert digit["probabilities"] == prediction["probabilities"]
    assert digit["canvas"].startswith("data:image/png;base64,")


def test_a_number_has_its_digits_in_their_boxes(client: Any) -> None:
    picture = (ROOT / "examples" / "numbers" / "2024-drawn.png").read_bytes()
    assert client.post("/read", content=picture).json()["text"] == "2024"
    shown = client.post("/read?pictures=1", content=picture).json()
    assert (shown["verdict"], shown["headline"], shown["text"]) == ("number", "2024", "2024")
    assert [digit["digit"] for digit in shown["digits"]] == [2, 0, 2, 4]
    lefts = [digit["box"][0] for digit in shown["digits"]]
    assert lefts == sorted(lefts)
    assert all(0 <= edge <= 1 for digit in shown["digits"] for edge in digit["box"])
    assert all(digit["steps"][-1]["image"] == digit["canvas"] for digit in shown["digits"])


def test_the_picture_of_a_page_is_opened_only_in_the_formats_that_are_read(demo: Any) -> None:
    """Pillow knows many more; their decoders are not for what strangers send."""
    for kind, allowed in (("PNG", True), ("TGA", False)):
        file = io.BytesIO()
        Image.new("RGB", (30, 20)).save(file, kind)
        if allowed:
            assert demo.answers.upright(file.getvalue(), turned=90)[0].size == (20, 30)
        else:
            with pytest.raises(UnreadableImageError):
                demo.answers.upright(file.getvalue(), turned=0)


def test_weights_that_never_saw_a_non_digit_read_one_digit_and_say_why_not_numbers(
    demo: Any,
) -> None:
    picture = (ROOT / "examples" / "numbers" / "2024-drawn.png").read_bytes()
    model = LeNet5().eval()
    assert demo.answers.for_page(picture, model)["verdict"] == "digit"
    with pytest.raises(WeightsError, match="cannot read numbers"):
        demo.answers.for_programs(picture, model)


def test_a_form_with_a_file_is_read_as_well(client: Any, seven: Path) -> None:
    picture = seven.read_bytes()
    form = client.post("/read", files={"file": ("7.png", picture)})
    assert form.json() == client.post("/read", content=picture).json()


@pytest.mark.parametrize(
    "body",
    [b"", b"data:", b"only a letter", b"\x89PNG\r\n\x1a\n and then nothing", b"%PDF-1.4"],
    ids=repr,
)
@pytest.mark.parametrize("address", ["/read", "/read?pictures=1"])
def test_what_is_not_a_picture_gets_a_sentence(client: Any, body: bytes, address: str) -> None:
    reply = client.post(address, content=body)
    assert reply.status_code == 422
    assert "picture" in reply.json()["detail"]


@pytest.mark.parametrize(
    "form", [b"", b"--x--", b"--x\r\n\r\n7\r\n--x--"], ids=["empty", "no part", "no name"]
)
def test_a_form_without_a_file_gets_a_sentence(client: Any, form: bytes) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    reply = client.post("/read", content=form, headers=headers)
    assert reply.status_code == 400
    assert "form" in reply.json()["detail"]


def test_a_blank_picture_is_an_answer_without_digits(client: Any) -> None:
    file = io.BytesIO()
    Image.new("L", (90, 90), 255).save(file, "PNG")
    assert client.post("/read?pictures=1", content=file.getvalue()).json()["verdict"] == "nothing"
    assert client.post("/read", content=file.getvalue()).json()["text"] == ""


def test_a_page_of_another_site_may_not_ask(client: Any, seven: Path) -> None:
    picture = seven.read_bytes()
    for headers in (
        {"origin": "https://evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://testserver"},
    ):
        assert client.post("/read", content=picture, headers=headers).status_code == 403
    for headers in ({}, {"origin": "http://testserver"}, {"sec-fetch-site": "same-origin"}):
        assert client.post("/read", content=picture, headers=headers).status_code == 200


def test_the_inside_of_a_canvas_is_an_address_of_its_own(client: Any, seven: Path) -> None:
    answer = client.post("/read?pictures=1", content=seven.read_bytes()).json()
    assert "layers" not in answer
    canvas = base64.b64decode(answer["digits"][0]["canvas"].partition(",")[2])
    assert list(client.post("/inside", content=canvas).json()) == ["layers"]
    asked = client.post("/inside?digit=7&against=1", content=canvas).json()
    assert (asked["digit"], asked["against"]) == (7, 1)
    assert set(client.get("/inside").json()) == {"c1", "c3"}
    foreign = {"sec-fetch-site": "cross-site"}
    assert client.post("/inside", content=canvas, headers=foreign).status_code == 403


@pytest.mark.parametrize(
    ("query", "content", "sentence"),
    [
        ("digit=10", b"", "digit must be a digit, 0 to 9."),
        ("digit=7&against=x", b"", "against must be a digit, 0 to 9."),
        ("", b"nonsense", "picture"),
    ],
)
def test_what_has_no_inside_gets_a_sentence(
    client: Any, query: str, content: bytes, sentence: str
) -> None:
    reply = client.post(f"/inside?{query}", content=content)
    assert reply.status_code in (400, 422)
    assert sentence in reply.json()["detail"]


def test_health_says_that_the_app_runs(client: Any) -> None:
    assert client.get("/health").json() == {"status": "ok", "version": __version__}


def test_the_page_is_sent_compressed_and_an_example_only_once(client: Any) -> None:
    assert client.get("/").headers["content-encoding"] == "gzip"
    first = client.get("/examples/7-photo.jpg")
    headers = {"if-none-match": first.headers["etag"]}
    assert client.get("/examples/7-photo.jpg", headers=headers).status_code == 304


def test_a_mounted_page_leaves_the_process_as_it_was(demo: Any, seven: Path) -> None:
    """`launch` owns its process; a page within another program's server does not."""
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    def state() -> tuple[object, ...]:
        return (
            torch.get_num_threads(),
            dict(os.environ),
            [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
            tempfile.gettempdir(),
            logging.root.level,
        )

    with others_litter():
        before = state()
        app = demo.server.mount(FastAPI(), "/demo", model=LeNet5().eval())
        with TestClient(app) as http:
            reply = http.post("/demo/read?pictures=1", content=seven.read_bytes())
            assert reply.json()["verdict"] == "digit"
            assert state() == before


# Its own identity ------------------------------------------------------------------------------


def test_a_link_to_the_page_has_a_title_and_a_picture_of_its_own(client: Any) -> None:
    host = {"x-forwarded-host": "digits.example", "x-forwarded-proto": "https"}
    text = client.get("/", headers=host | {"x-forwarded-prefix": "/apps/digits"}).text
    head = text[: text.index("<body")]
    cards = re.findall(
        r'<meta (?:property|name)="((?:og|twitter):[^"]+)"\s+content="([^"]*)"', head
    )
    assert len(cards) == len(dict(cards))  # each is said once
    card = dict(cards)
    assert card["og:title"] == "lenet-digits"
    assert "LeNet-5" in card["og:description"]
    assert card["og:image"] == "https://digits.example/apps/digits/card.png"
    assert "gradio" not in " ".join(card.values()).lower()
    evil = {"x-forwarded-prefix": '"><script>'}
    assert "<script>" not in client.get("/", headers=evil).text.partition('og:url"')[2][:80]
    picture = Image.open(io.BytesIO(client.get("/card.png").content))
    assert picture.size == (int(card["og:image:width"]), int(card["og:image:height"]))


def test_the_manifest_and_the_icons_are_the_apps_own(client: Any) -> None:
    manifest = client.get("/manifest.json").json()
    assert manifest["name"] == "lenet-digits"
    (icon,) = manifest["icons"]
    picture = Image.open(io.BytesIO(client.get(f"/{icon['src']}").content))
    assert icon["sizes"] == f"{picture.width}x{picture.height}"
    assert client.get("/favicon.ico").content == client.get(f"/{icon['src']}").content


def test_the_openapi_document_is_of_this_version_and_has_the_apps_own_routes(client: Any) -> None:
    document = client.get("/gradio_api/openapi.json").json()
    assert document["info"]["version"] == __version__
    assert {"/read", "/health", "/gradio_api/call/v2/predict_image"} <= set(document["paths"])


# The machine's memory --------------------------------------------------------------------------


class Slow:
    """An app whose answers wait until `go` is set. It notes which pictures it was given."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.given: list[bytes] = []
        self.finished = 0

    def answer(self, picture: bytes) -> dict[str, Any]:
        self.given.append(picture)
        self.go.wait(60)
        self.finished += 1
        return {"text": picture.decode()}


def asks(routes: Any) -> Any:
    """Asks the routes for the answer to a picture; ``leaves`` lets the caller go when it is set."""
    from starlette.requests import Request

    async def ask(picture: bytes, leaves: asyncio.Event | None = None) -> Any:
        bodies = [{"type": "http.request", "body": picture, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if bodies:
                return bodies.pop()
            await (leaves or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        scope = {"type": "http", "method": "POST", "query_string": b"", "headers": []}
        return await routes.read(Request(scope, receive))

    return ask


async def until(condition: Any) -> None:
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


def run(coroutine: Any) -> None:
    """Like `asyncio.run`, but leaves the thread's own event loop, if any, where it is."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(coroutine)
    loop.close()


def test_four_pictures_are_decoded_at_once_whoever_asks(demo: Any) -> None:
    slow = Slow()
    ask = asks(demo.routes.Routes(*[slow.answer] * 3, dict))

    async def visit() -> None:
        tasks = [asyncio.ensure_future(ask(b"7")) for _ in range(9)]
        tasks += [
            asyncio.ensure_future(demo.threads.in_a_thread(slow.answer, b"8")) for _ in range(9)
        ]
        await until(lambda: len(slow.given) == 4)
        await asyncio.sleep(0.05)
        assert len(slow.given) == 4
        slow.go.set()
        await asyncio.gather(*tasks)

    run(visit())
    assert slow.finished == 18


def test_the_queue_of_pictures_is_bounded_and_whoever_leaves_it_is_not_answered(
    demo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect

    monkeypatch.setattr(demo.routes, "MAX_WAITING", 6)
    slow = Slow()
    routes = demo.routes.Routes(*[slow.answer] * 3, dict)
    ask = asks(routes)

    async def visit() -> None:
        tasks = [asyncio.ensure_future(ask(b"stays")) for _ in range(5)]
        await until(lambda: len(slow.given) == 4)
        leaves = asyncio.Event()
        gone = asyncio.ensure_future(ask(b"leaves", leaves))
        await until(lambda: routes.waiting == 6)
        with pytest.raises(HTTPException) as refused:
            await ask(b"one too many")
        assert refused.value.status_code == 503
        leaves.set()
        with pytest.raises(ClientDisconnect):
            await gone
        tasks.append(asyncio.ensure_future(ask(b"stays")))  # there is room again
        slow.go.set()
        await asyncio.gather(*tasks)

    run(visit())
    assert slow.given == [b"stays"] * 6


# The API ---------------------------------------------------------------------------------------


def test_three_endpoints_are_public_and_documented(client: Any) -> None:
    from lenet_digits import Reading

    info = client.get("/gradio_api/info").json()
    keys = {
        "/predict_image": Prediction((1.0,) + 9 * (0.0,), 0.5).to_dict(),
        "/predict_drawing": Prediction((1.0,) + 9 * (0.0,), 0.5).to_dict(),
        "/read_image": Reading().to_dict(),
    }
    assert set(info["named_endpoints"]) == set(keys)
    assert info["unnamed_endpoints"] == {}
    dependencies = client.get("/config").json()["dependencies"]
    assert {f"/{each['api_name']}" for each in dependencies} == set(keys)  # and nothing else
    for name, endpoint in info["named_endpoints"].items():
        assert endpoint["description"]
        answer = endpoint["returns"][0]["type"]["properties"]
        assert set(answer) == set(keys[name])


def test_the_types_of_a_reading_are_those_of_its_answer() -> None:
    from lenet_digits import read
    from lenet_digits.demo.endpoints import READING_SCHEMA

    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": float}
    kinds["boolean"] = bool

    def check(value: Any, schema: Any) -> None:
        if "anyOf" in schema:
            return
        assert isinstance(value, kinds[schema["type"]])
        if schema["type"] == "object":
            assert set(value) == set(schema["properties"])
            for name, part in value.items():
                check(part, schema["properties"][name])
        elif schema["type"] == "array":
            for part in value:
                check(part, schema["items"])

    for name in ("24-12-98-date.png", "5073-boxed.png"):  # marks; cells
        check(read(ROOT / "examples" / "numbers" / name).to_dict(), READING_SCHEMA)


def test_every_field_of_the_documentation_says_what_it_is(client: Any) -> None:
    def bare(schema: Any, name: str) -> list[str]:
        found = [] if "description" in schema else [name]
        parts = schema.get("properties") or schema.get("items", {}).get("properties", {})
        for part, value in parts.items():
            found += bare(value, f"{name}.{part}")
        return found

    info = client.get("/gradio_api/info").json()["named_endpoints"]
    for name, endpoint in info.items():
        (given,) = endpoint["parameters"]
        assert given["python_type"]["description"], name
        assert bare(endpoint["returns"][0]["type"], name) == []
    assert bare({"properties": {"a": {"type": "string"}}}, "x") == ["x", "x.a"]  # the twin


def test_every_example_of_the_documentation_works(app: App) -> None:
    import httpx

    info = httpx.get(f"{app.url}gradio_api/info").json()["named_endpoints"]
    for name, endpoint in info.items():
        call = f"{app.url}gradio_api/call{name}"
        data = [given["example_input"] for given in endpoint["parameters"]]
        event = httpx.post(call, json={"data": data}).json()["event_id"]
        lines = httpx.get(f"{call}/{event}", timeout=60).text.splitlines()
        assert lines[0] == "event: complete", name
        answer = json.loads(lines[1].removeprefix("data: "))[0]
        assert answer.get("digit", answer.get("text")) in (9, "9"), name


def test_what_gradio_client_sends_is_read(caller: Any, seven: Path, tmp_path: Path) -> None:
    from gradio_client import handle_file

    from lenet_digits import read

    for argument, endpoint in (
        (handle_file(seven), "/predict_image"),
        (data_url(seven.read_bytes()), "/predict_drawing"),
    ):
        answer = caller.predict(argument, api_name=endpoint)
        assert answer["digit"] == 7
        assert isinstance(answer["is_digit"], bool)
        assert sum(answer["probabilities"]) == pytest.approx(1)
    page = ROOT / "examples" / "numbers" / "page.png"
    assert caller.predict(handle_file(page), api_name="/read_image") == read(page).to_dict()
    Image.new("L", (99, 99), 255).save(tmp_path / "blank.png")
    answer = caller.predict(handle_file(tmp_path / "blank.png"), api_name="/read_image")
    assert (answer["text"], answer["lines"]) == ("", [])


def test_the_call_in_the_readme_works(
    app: App, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = next(
        block for block in readme.split("```python\n")[1:] if "gradio_client" in block
    ).split("```")[0]
    monkeypatch.chdir(ROOT)
    exec(code.replace("http://127.0.0.1:7860", app.url), {})
    assert "7 True [" in capsys.readouterr().out


def test_the_api_refuses_what_cannot_be_read_in_one_sentence(caller: Any, tmp_path: Path) -> None:
    from gradio_client import handle_file
    from gradio_client.exceptions import AppError

    (tmp_path / "letter.png").write_text("only a letter")
    Image.new("L", (99, 99), 255).save(tmp_path / "blank.png")
    letter, blank = (handle_file(tmp_path / f"{name}.png") for name in ("letter", "blank"))
    for argument, endpoint, sentence in (
        (letter, "/predict_image", "not a picture"),
        (letter, "/read_image", "not a picture"),
        ("seven", "/predict_drawing", "data URL"),
        (blank, "/predict_image", "no ink"),
    ):
        with pytest.raises(AppError, match=sentence):
            caller.predict(argument, api_name=endpoint)


# Weights and figures -----------------------------------------------------------------------------


def test_weights_that_cannot_be_used_give_way_to_the_shipped_ones(
    demo: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, note = demo.server._load(str(tmp_path / "missing.safetensors"))
    assert model is None
    assert "could not be used" in note
    assert "shipped weights are used instead" in caplog.text


def test_about_shows_the_figures_it_is_given_and_only_those(demo: Any) -> None:
    metrics = Metrics.read(ROOT / "weights" / METRICS_FILE)
    page = demo.fragments.about_html("Weights of a test.", metrics)
    assert f"{metrics.accuracy:.2%}" in page
    assert "MNIST test digits" in page
    assert "10,000" in page
    assert page.count("<polyline") == 2
    held_out = replace(metrics, holdout=5, evaluated_on="5 held-out training digits")
    assert "MNIST test digits" not in demo.fragments.about_html("Weights of a test.", held_out)
    bare = demo.fragments.about_html("Weights of a test.", None)
    assert "missing or damaged" in bare
    assert "<table" not in bare
    assert "<polyline" not in bare
    assert demo.fragments.REFUSALS in bare
    unknowing = demo.fragments.about_html("", None, sees_nondigits=False)
    assert demo.fragments.REFUSALS not in unknowing


@pytest.mark.parametrize("content", [None, '{"accuracy": "x"}'])
def test_the_app_starts_without_its_figures(
    demo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    if content is not None:
        (tmp_path / METRICS_FILE).write_text(content)
    monkeypatch.setattr(demo.fragments, "weights_directory", lambda: tmp_path)
    with others_litter():
        page = json.dumps(demo.page.build_demo().get_config_file()["components"])
    assert "missing or damaged" in page
