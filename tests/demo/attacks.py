"""The attacks that tests send to the app, by name. Each must end as `REFUSED` says."""

from __future__ import annotations

import re
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from visitors import API, App, Drawing, by_page, by_upload, file_data

# How an attack may end: a refusal, at once or in the event that ends a call; a verdict on the page;
# or nothing, where the attacker does not wait.
REFUSED = re.compile(
    r"4\d\d( 4\d\d)*|503|error|problem|none|0|gone|cut off|nothing kept|[24]00 error"
)

Attack = Callable[[App], Awaitable[str]]
ATTACKS: dict[str, Attack] = {}


def bomb(side: int = 12_000) -> bytes:
    """A small PNG of a large square."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        )

    header = side.to_bytes(4, "big") * 2 + bytes((1, 0, 0, 0, 0))  # a bit a pixel
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + side // 8)) for _ in range(side)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*each) for each in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    )


def attack(name: str) -> Callable[[Attack], Attack]:
    """Adds an attack to `ATTACKS`."""

    def enter(function: Attack) -> Attack:
        ATTACKS[name] = function
        return function

    return enter


def request(name: str, method: str, path: str, **content: Any) -> None:
    """Adds an attack of one request, which must be refused with a 4xx status."""

    async def send(app: App) -> str:
        reply = await app.ask(method, path, **content)
        return str(reply.status_code)

    ATTACKS[name] = send


def call(name: str, endpoint: str, *data: Any) -> None:
    """Adds an attack of one call, which must be refused at once or by its event."""

    async def send(app: App) -> str:
        event, _ = await app.call(endpoint, *data)
        return event

    ATTACKS[name] = send


DEEP = b'{"data": [' + b"[" * 50_000 + b"]" * 50_000 + b"]}"
JSON = {"content-type": "application/json"}
for number, path in enumerate(
    (
        "/etc/passwd", "../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd",
        "app.py", "pyproject.toml", "lenet_digits/demo/page.py", "examples/../app.py",
        "//etc/passwd",
        "examples/7-corner.png", "file:///etc/passwd", "http://169.254.169.254/latest", "%00",
        "https://example.com/", "uploads/", "C:%5CWindows%5Cwin.ini",
    )
):  # fmt: skip
    request(f"file of the server {number}", "GET", f"{API}/file={path}")
for path in ("..%2fapp.py", "%2e%2e%2fapp.py", "make.py", "%00.png", "a%0d%0aX: y"):
    request(f"example {path}", "GET", f"/examples/{path}")
for path in ("..%2f..%2f..%2findex.html", "%2fetc%2fpasswd", "..%5c..%5cindex.html"):
    request(f"asset {path}", "GET", f"/assets/{path}")
    request(f"static {path}", "GET", f"/static/{path}")
for path in (
    "run/predict_image", "api/predict_image", "run/read", "api/predict", "proxy=http://127.0.0.1/",
    "deep_link?session_hash=x", "process_recording", "vibe-edit", "vibe-code", "dev/reload",
    "run-history/buckets", "stream/x", "custom_component/x/client/component/x.js", "queue/status",
    "upload_progress?upload_id=x", "file/app.py", "login_check", "token", "",
):  # fmt: skip
    for method in ("GET", "POST"):
        request(
            f"{method} {path}",
            method,
            f"{API}/{path}",
            **({"json": {}} if method == "POST" else {}),
        )
for path in (
    "monitoring",
    "monitoring/summary",
    "monitoring/x",
    "login",
    "logout",
    "docs",
    "redoc",
):
    request(f"GET {path}", "GET", f"/{path}")
for name in ("read", "predict", "lambda", "0", "-1", "api/predict", "%00", "__init__"):
    request(f"endpoint {name}", "POST", f"{API}/call/{name}", json={"data": ["x"]})
    request(f"endpoint v2 {name}", "POST", f"{API}/call/v2/{name}", json={"drawing": "x"})
for number in (-1, 3, 99, 10**30):
    body = {"data": ["x"], "fn_index": number, "session_hash": "s"}
    request(f"function {number}", "POST", f"{API}/queue/join", json=body)
for number, body in enumerate(
    (b"", b"{", b"[]", b"null", b"7", b'"data"', b"\xff\xfe", b"{}", b'{"data": 7}', DEEP)
):
    for place in ("call/predict_drawing", "call/v2/predict_image", "queue/join", "component_server",
                  "cancel"):  # fmt: skip
        request(f"{place} {number}", "POST", f"{API}/{place}", content=body, headers=JSON)
for number, body in enumerate(
    (
        {"component_id": 10**9, "fn_name": "read"}, {"component_id": [1], "fn_name": "read"},
        {"component_id": 1, "fn_name": "read"}, {"component_id": 1, "fn_name": "__class__"},
        {"component_id": 1, "fn_name": "__init__"}, {"component_id": 1, "fn_name": ""},
        {"component_id": "1", "fn_name": "preprocess"}, {"component_id": None, "fn_name": None},
    )
):  # fmt: skip
    body = {"data": "x", "session_hash": "s"} | body
    request(f"component {number}", "POST", f"{API}/component_server/", json=body)
for name, header in {
    "no type": {}, "no boundary": {"content-type": "multipart/form-data"},
    "not multipart": {"content-type": "text/plain"},
    "long boundary": {"content-type": "multipart/form-data; boundary=" + "b" * 5000},
    "garbage": {"content-type": "multipart/form-data; boundary=b"},
}.items():  # fmt: skip
    request(f"upload, {name}", "POST", f"{API}/upload", content=b"--x\r\n\r\nx", headers=header)
    request(
        f"form to the page, {name}", "POST", f"{API}/component_server", content=b"x", headers=header
    )
    request(f"form to be read, {name}", "POST", "/read", content=b"--x\r\n\r\nx", headers=header)

call("drawing: no data URL", "predict_drawing", "x")
call("drawing: a link", "predict_drawing", "http://127.0.0.1/7.png")
call("drawing: a file", "predict_drawing", "file:///etc/passwd")
call("drawing: HTML", "predict_drawing", "data:text/html;base64,PHNjcmlwdD4=")
call("drawing: not base64", "predict_drawing", "data:image/png;base64,!!!")
call("drawing: a number", "predict_drawing", 7)
call("drawing: nothing", "predict_drawing", None)
call("drawing: an object", "predict_drawing", {"a": [1]})
call("drawing: a picture for a text", "predict_drawing", file_data("/etc/passwd"))
call("drawing: too few", "predict_drawing")
call("drawing: too many", "predict_drawing", "x", "y")
for number, path in enumerate(
    (
        "/etc/passwd", "/proc/self/environ", "../app.py", "app.py", "uploads/../../etc/passwd",
        "uploads/", "uploads", "", ".", "\0", "x" * 5000, "uploads/" + "../" * 40 + "etc/passwd",
        "uploads\\..\\app.py", "http://", "http://[", "ftp://127.0.0.1/x", "//127.0.0.1/x",
    )
):  # fmt: skip
    call(f"picture: path {number}", "predict_image", file_data(path))
    call(f"picture: bare path {number}", "predict_image", {"path": path})
call("picture: a list", "predict_image", [file_data("/etc/passwd")])
call("picture: a text", "predict_image", "/etc/passwd")
call("picture: a URL of another server", "predict_image",
     file_data("x") | {"url": "http://127.0.0.1/", "is_stream": True})  # fmt: skip


for number, link in enumerate(("{}/7.png", "{}/7.png#uploads/x", "HTTP{}/7.png")):

    async def follow(app: App, link: str = link) -> str:
        trap = app.trap.removeprefix("http") if link.startswith("HTTP") else app.trap
        event, _ = await app.call("predict_image", file_data(link.format(trap)))
        return event

    async def fetch(app: App, link: str = link) -> str:
        trap = app.trap.removeprefix("http") if link.startswith("HTTP") else app.trap
        return str((await app.ask("GET", f"{API}/file={link.format(trap)}")).status_code)

    async def also(app: App, link: str = link) -> str:
        picture = file_data("x.png") | {"url": link.format(app.trap)}
        event, _ = await app.call("predict_image", picture)
        return event

    ATTACKS |= {f"link {number}": follow, f"fetched {number}": fetch, f"linked {number}": also}

BOMB = bomb()
CUT = bomb(64)[:-30]
for name, picture in {"bomb": BOMB, "cut picture": CUT, "not a picture": b"GIF89a"}.items():

    async def show(app: App, picture: bytes = picture) -> str:
        answer = await by_page(app, Drawing(picture, {}))
        return answer["verdict"] if answer else "none"

    async def give(app: App, picture: bytes = picture) -> str:
        answer = await by_upload(app, Drawing(picture, {}))
        return "answer" if answer else "error"

    ATTACKS |= {f"{name} to the page": show, f"{name} uploaded": give}

NAMES = ("../../../../tmp/x.png", "/etc/cron.d/x", "..", ".", "a\x00b.png", "C:\\x\\..\\y.png",
         "<img src=x onerror=alert(1)>.png", "x" * 5000 + ".png", "=cmd()|'!A1.png",
         "\u202egnp.exe", "a\r\nX-Evil: 1.png", "uploads/uploads/x")  # fmt: skip
for number, name in enumerate(NAMES):

    async def named(app: App, name: str = name) -> str:
        boundary = b"b0undary"
        body = (
            b'--%b\r\nContent-Disposition: form-data; name="files"; filename="%b"\r\n\r\n%b\r\n'
            b"--%b--\r\n" % (boundary, name.encode(), CUT, boundary)
        )
        headers = {"content-type": "multipart/form-data; boundary=b0undary"}
        reply = await app.ask("POST", f"{API}/upload", content=body, headers=headers)
        if reply.status_code != 200:
            return str(reply.status_code)
        stored = reply.json()[0]
        assert re.fullmatch(r"uploads/[0-9a-f]{64}/[^/\\\r\n\0]*", stored), stored
        event, _ = await app.call("predict_image", file_data(stored))
        return event

    ATTACKS[f"upload named {number}"] = named


@attack("files in another field")
async def in_another_field(app: App) -> str:
    files = {"other": ("x.png", CUT), "more": ("y.png", CUT)}
    reply = await app.ask("POST", f"{API}/upload", files=files)
    return "nothing kept" if reply.json() == [] else "400"


@attack("a thousand and one files")
async def many_files(app: App) -> str:
    files = [("files", (f"{number}.png", b"x")) for number in range(1001)]
    return str((await app.ask("POST", f"{API}/upload", files=files)).status_code)


@attack("a file of 28 MB")
async def large_file(app: App) -> str:
    reply = await app.ask("POST", f"{API}/upload", files={"files": ("x.png", bytes(28 * 2**20))})
    return str(reply.status_code)


for place in ("call/predict_drawing", "queue/join", "component_server", "upload", "cancel",
              "../read"):  # fmt: skip

    async def declared(app: App, place: str = place) -> str:
        head = f"POST {API}/{place} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        head += f"Content-Length: {2**40}\r\n\r\n"
        return str((await app.raw(head.encode() + b"{"))[0])

    async def streamed(app: App, place: str = place) -> str:
        async def chunks() -> Any:
            for _ in range(30):
                yield b" " * 2**20

        try:
            reply = await app.ask("POST", f"{API}/{place}", content=chunks(), headers=JSON)
        except httpx.TransportError:
            return "cut off"  # refused while it still sent
        return str(reply.status_code)

    async def half_sent(app: App, place: str = place) -> str:
        head = f"POST {API}/{place} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n"
        await app.raw(head.encode() + b'{"data": [', read=False)
        return "gone"

    ATTACKS |= {
        f"a terabyte declared to {place}": declared,
        f"30 MB streamed to {place}": streamed,
        f"half a request to {place}": half_sent,
    }

LINE = b"GET /config HTTP/1.1\r\nConnection: close\r\n"
HEADERS = {
    "no host": b"\r\n", "two hosts": b"Host: a\r\nHost: b\r\n\r\n",
    "not a host": b"Host: ][<script>\r\n\r\n", "an odd port": b"Host: a:99999999\r\n\r\n",
    "two lengths": b"Host: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "length and chunks":
        b"Host: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": b"Host: x\r\nContent-Length: -1\r\n\r\n",
    "a space before the colon": b"Host : x\r\n\r\n", "a folded header": b"Host: x\r\n y: z\r\n\r\n",
    "100 kB of headers": b"Host: x\r\nA: " + b"a" * 100_000 + b"\r\n\r\n",
    "no end": b"Host: x\r\n", "a null": b"Host: x\0\r\n\r\n",
}  # fmt: skip
for name, header in HEADERS.items():

    async def headed(app: App, header: bytes = header) -> str:
        return str((await app.raw(LINE + header, read=header != HEADERS["no end"]))[0])

    ATTACKS[f"headers: {name}"] = headed

for name, header in {
    "forwarded host": {"x-forwarded-host": "evil.example"},
    "forwarded garbage": {"x-forwarded-host": "http://[::<script>"},
    "gradio server": {"x-gradio-server": "http://evil.example"},
    "range": {"range": "bytes=5-1-2-x"}, "origin": {"origin": "null"},
    "method override": {"x-http-method-override": "DELETE"},
    "cookie": {"cookie": "access-token=" + "x" * 4000},
}.items():  # fmt: skip

    async def odd(app: App, header: dict[str, str] = header) -> str:
        drawing = await app.ask("GET", f"{API}/info", headers=header)
        assert "evil" not in drawing.text
        page = await app.ask("GET", "/", headers=header)
        event, _ = await app.call("predict_drawing", "x")
        return f"{page.status_code} {event}"

    ATTACKS[f"header: {name}"] = odd


@attack("HTTP/1.0 without a host, from elsewhere")
async def old_http(app: App) -> str:
    return str((await app.raw(b"GET / HTTP/1.0\r\nOrigin: http://evil.example\r\n\r\n"))[0])


@attack("requests that are not HTTP")
async def not_http(app: App) -> str:
    statuses = [
        (await app.raw(line))[0]
        for line in (
            b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
            b"GET\r\n\r\n",
            b"BREW / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
    ]
    return " ".join(map(str, statuses))


@attack("a stream left at once")
async def left_stream(app: App) -> str:
    for path in ("heartbeat/x", "queue/data?session_hash=nobody", "call/predict_image/nobody"):
        head = f"GET {API}/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        await app.raw(head, read=False)
    return "gone"


@attack("an answer never fetched")
async def never_fetched(app: App) -> str:
    url = Drawing(CUT, {}).url
    reply = await app.ask("POST", f"{API}/call/predict_drawing", json={"data": [url]})
    return "gone" if reply.status_code == 200 else str(reply.status_code)


@attack("a stream that nobody asked for")
async def unknown_stream(app: App) -> str:
    first = await app.ask("GET", f"{API}/queue/data?session_hash={'x' * 9}")
    event, _ = await app.result("predict_image", "0" * 32)
    assert "not" in first.text.lower()
    return event
