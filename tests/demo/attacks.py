"""The attacks that tests send to the app, by name. Each must end as `REFUSED` says."""

from __future__ import annotations

import io
import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from PIL import Image
from visitors import API, App, Drawing, by_page, by_upload, file_data

# How an attack may end: a refusal, at once or in the event that ends a call; a verdict on the page;
# or nothing, where the attacker does not wait.
REFUSED = re.compile(
    r"4\d\d( 4\d\d)*|503|error|problem|none|0|gone|cut off|nothing kept|[24]00 error"
)
JSON = {"content-type": "application/json"}
ATTACKS: dict[str, Callable[[App], Awaitable[str]]] = {}


def add(name: str, attack: Callable[..., Awaitable[str]], *arguments: Any, **options: Any) -> None:
    """Adds an attack: a function that is called with the app and these arguments."""
    ATTACKS[name] = lambda app: attack(app, *arguments, **options)


# Single requests


async def request(app: App, method: str, path: str, **content: Any) -> str:
    return str((await app.ask(method, path, **content)).status_code)


for number, path in enumerate(
    (
        "/etc/passwd", "../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd",
        "app.py", "pyproject.toml", "lenet_digits/demo/page.py", "examples/../app.py",
        "//etc/passwd", "examples/7-corner.png", "file:///etc/passwd",
        "http://169.254.169.254/latest", "%00", "https://example.com/", "uploads/",
        "C:%5CWindows%5Cwin.ini",
    )
):  # fmt: skip
    add(f"file of the server {number}", request, "GET", f"{API}/file={path}")
for path in ("..%2fapp.py", "%2e%2e%2fapp.py", "make.py", "%00.png", "a%0d%0aX: y"):
    add(f"example {path}", request, "GET", f"/examples/{path}")
for path in ("..%2f..%2f..%2findex.html", "%2fetc%2fpasswd", "..%5c..%5cindex.html"):
    add(f"asset {path}", request, "GET", f"/assets/{path}")
    add(f"static {path}", request, "GET", f"/static/{path}")
for path in (
    "run/predict_image", "api/predict_image", "run/read", "api/predict", "proxy=http://127.0.0.1/",
    "deep_link?session_hash=x", "process_recording", "vibe-edit", "vibe-code", "dev/reload",
    "run-history/buckets", "stream/x", "custom_component/x/client/component/x.js", "queue/status",
    "upload_progress?upload_id=x", "file/app.py", "login_check", "token", "",
):  # fmt: skip
    add(f"GET {path}", request, "GET", f"{API}/{path}")
    add(f"POST {path}", request, "POST", f"{API}/{path}", json={})
for path in (
    "monitoring",
    "monitoring/summary",
    "monitoring/x",
    "login",
    "logout",
    "docs",
    "redoc",
):
    add(f"GET {path}", request, "GET", f"/{path}")
for name in ("read", "predict", "lambda", "0", "-1", "api/predict", "%00", "__init__"):
    add(f"endpoint {name}", request, "POST", f"{API}/call/{name}", json={"data": ["x"]})
    add(f"endpoint v2 {name}", request, "POST", f"{API}/call/v2/{name}", json={"drawing": "x"})
for number in (-1, 3, 99, 10**30):
    body = {"data": ["x"], "fn_index": number, "session_hash": "s"}
    add(f"function {number}", request, "POST", f"{API}/queue/join", json=body)
DEEP = b'{"data": [' + b"[" * 50_000 + b"]" * 50_000 + b"]}"
for number, content in enumerate(
    (b"", b"{", b"[]", b"null", b"7", b'"data"', b"\xff\xfe", b"{}", b'{"data": 7}', DEEP)
):
    for place in ("call/predict_drawing", "call/v2/predict_image", "queue/join", "component_server",
                  "cancel"):  # fmt: skip
        options = {"content": content, "headers": JSON}
        add(f"{place} {number}", request, "POST", f"{API}/{place}", **options)
for number, (component, function) in enumerate(
    (
        (10**9, "read"), ([1], "read"), (1, "read"), (1, "__class__"), (1, "__init__"), (1, ""),
        ("1", "preprocess"), (None, None),
    )
):  # fmt: skip
    body = {"data": "x", "session_hash": "s", "component_id": component, "fn_name": function}
    add(f"component {number}", request, "POST", f"{API}/component_server/", json=body)
for name, header in {
    "no type": {}, "no boundary": {"content-type": "multipart/form-data"},
    "not multipart": {"content-type": "text/plain"},
    "long boundary": {"content-type": "multipart/form-data; boundary=" + "b" * 5000},
    "garbage": {"content-type": "multipart/form-data; boundary=b"},
}.items():  # fmt: skip
    for path in (f"{API}/upload", f"{API}/component_server", "/read"):
        options = {"content": b"--x\r\n\r\nx", "headers": header}
        add(f"form to {path}, {name}", request, "POST", path, **options)


# Calls of the named endpoints


async def call(app: App, endpoint: str, data: list[Any]) -> str:
    return (await app.call(endpoint, *data))[0]


for name, data in {
    "not a data URL": ["x"],
    "a link": ["http://127.0.0.1/7.png"],
    "a file": ["file:///etc/passwd"],
    "HTML": ["data:text/html;base64,PHNjcmlwdD4="],
    "not base64": ["data:image/png;base64,!!!"],
    "a number": [7],
    "nothing": [None],
    "an object": [{"a": [1]}],
    "a picture for a text": [file_data("/etc/passwd")],
    "too few": [],
    "too many": ["x", "y"],
}.items():
    add(f"drawing: {name}", call, "predict_drawing", data)
for number, path in enumerate(
    (
        "/etc/passwd", "/proc/self/environ", "../app.py", "app.py", "uploads/../../etc/passwd",
        "uploads/", "uploads", "", ".", "\0", "x" * 5000, "uploads/" + "../" * 40 + "etc/passwd",
        "uploads\\..\\app.py", "http://", "http://[", "ftp://127.0.0.1/x", "//127.0.0.1/x",
    )
):  # fmt: skip
    add(f"picture: path {number}", call, "predict_image", [file_data(path)])
    add(f"picture: bare path {number}", call, "predict_image", [{"path": path}])
add("picture: a list", call, "predict_image", [[file_data("/etc/passwd")]])
add("picture: a text", call, "predict_image", ["/etc/passwd"])
another = file_data("x") | {"url": "http://127.0.0.1/", "is_stream": True}
add("picture: a URL of another server", call, "predict_image", [another])


# Links to another server, which must not be followed


async def follow(app: App, link: str) -> str:
    return (await app.call("predict_image", file_data(link.format(app.trap[4:]))))[0]


async def fetch(app: App, link: str) -> str:
    return await request(app, "GET", f"{API}/file={link.format(app.trap[4:])}")


async def follow_url(app: App, link: str) -> str:
    picture = file_data("x.png") | {"url": link.format(app.trap[4:])}
    return (await app.call("predict_image", picture))[0]


for number, link in enumerate(("http{}/7.png", "http{}/7.png#uploads/x", "HTTP{}/7.png")):
    add(f"link {number}", follow, link)
    add(f"fetched {number}", fetch, link)
    add(f"linked {number}", follow_url, link)


# Pictures and uploads


def bomb(side: int = 12_000) -> bytes:
    """A small PNG of a large square."""
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    return file.getvalue()


async def show(app: App, picture: bytes) -> str:
    answer = await by_page(app, Drawing(picture, {}))
    return answer["verdict"] if answer else "none"


async def give(app: App, picture: bytes) -> str:
    return "answer" if await by_upload(app, Drawing(picture, {})) else "error"


async def upload_as(app: App, name: str) -> str:
    body = (
        b'--b0undary\r\nContent-Disposition: form-data; name="files"; filename="%b"\r\n\r\n%b\r\n'
        b"--b0undary--\r\n" % (name.encode(), CUT)
    )
    headers = {"content-type": "multipart/form-data; boundary=b0undary"}
    reply = await app.ask("POST", f"{API}/upload", content=body, headers=headers)
    if reply.status_code != 200:
        return str(reply.status_code)
    stored = reply.json()[0]
    assert re.fullmatch(r"uploads/[0-9a-f]{64}/[^/\\\r\n\0]*", stored), stored
    return await call(app, "predict_image", [file_data(stored)])


async def upload_in_another_field(app: App) -> str:
    files = {"other": ("x.png", CUT), "more": ("y.png", CUT)}
    reply = await app.ask("POST", f"{API}/upload", files=files)
    return "nothing kept" if reply.json() == [] else "400"


CUT = bomb(64)[:-30]
for name, picture in {"bomb": bomb(), "cut picture": CUT, "not a picture": b"GIF89a"}.items():
    add(f"{name} to the page", show, picture)
    add(f"{name} uploaded", give, picture)
for number, name in enumerate(
    ("../../../../tmp/x.png", "/etc/cron.d/x", "..", ".", "a\x00b.png", "C:\\x\\..\\y.png",
     "<img src=x onerror=alert(1)>.png", "x" * 5000 + ".png", "=cmd()|'!A1.png",
     "\u202egnp.exe", "a\r\nX-Evil: 1.png", "uploads/uploads/x")
):  # fmt: skip
    add(f"upload named {number}", upload_as, name)
add("files in another field", upload_in_another_field)
many = [("files", (f"{number}.png", b"x")) for number in range(1001)]
add("a thousand and one files", request, "POST", f"{API}/upload", files=many)
large = {"files": ("x.png", bytes(28 * 2**20))}
add("a file of 28 MB", request, "POST", f"{API}/upload", files=large)


# Bodies


async def declare(app: App, path: str) -> str:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {2**40}\r\n\r\n"
    )
    return str((await app.raw(head.encode() + b"{"))[0])


async def stream(app: App, path: str) -> str:
    async def chunks() -> Any:
        for _ in range(30):
            yield b" " * 2**20

    try:
        return await request(app, "POST", path, content=chunks(), headers=JSON)
    except httpx.TransportError:
        return "cut off"  # refused while it still sent


async def send_half(app: App, path: str) -> str:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n"
    await app.raw(head.encode() + b'{"data": [', read=False)
    return "gone"


for path in (*(f"{API}/{place}" for place in ("call/predict_drawing", "queue/join", "upload",
                                              "component_server", "cancel")), "/read"):  # fmt: skip
    add(f"a terabyte declared to {path}", declare, path)
    add(f"30 MB streamed to {path}", stream, path)
    add(f"half a request to {path}", send_half, path)


# Headers


async def raw(app: App, *requests: bytes, read: bool = True) -> str:
    return " ".join([str((await app.raw(each, read=read))[0]) for each in requests])


async def with_header(app: App, header: dict[str, str]) -> str:
    info = await app.ask("GET", f"{API}/info", headers=header)
    assert "evil" not in info.text
    page = await app.ask("GET", "/", headers=header)
    return f"{page.status_code} {await call(app, 'predict_drawing', ['x'])}"


LINE = b"GET /config HTTP/1.1\r\nConnection: close\r\n"
for name, header in {
    "no host": b"\r\n", "two hosts": b"Host: a\r\nHost: b\r\n\r\n",
    "not a host": b"Host: ][<script>\r\n\r\n", "an odd port": b"Host: a:99999999\r\n\r\n",
    "two lengths": b"Host: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "length and chunks":
        b"Host: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": b"Host: x\r\nContent-Length: -1\r\n\r\n",
    "a space before the colon": b"Host : x\r\n\r\n", "a folded header": b"Host: x\r\n y: z\r\n\r\n",
    "100 kB of headers": b"Host: x\r\nA: " + b"a" * 100_000 + b"\r\n\r\n",
    "a null": b"Host: x\0\r\n\r\n",
}.items():  # fmt: skip
    add(f"headers: {name}", raw, LINE + header)
add("headers: no end", raw, LINE + b"Host: x\r\n", read=False)
for name, header in {
    "forwarded host": {"x-forwarded-host": "evil.example"},
    "forwarded garbage": {"x-forwarded-host": "http://[::<script>"},
    "gradio server": {"x-gradio-server": "http://evil.example"},
    "range": {"range": "bytes=5-1-2-x"}, "origin": {"origin": "null"},
    "method override": {"x-http-method-override": "DELETE"},
    "cookie": {"cookie": "access-token=" + "x" * 4000},
}.items():  # fmt: skip
    add(f"header: {name}", with_header, header)
add("HTTP/1.0 without a host, from elsewhere", raw,
    b"GET / HTTP/1.0\r\nOrigin: http://evil.example\r\n\r\n")  # fmt: skip
add("requests that are not HTTP", raw, b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET\r\n\r\n",
    b"BREW / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")  # fmt: skip


# Streams of events


async def leave(app: App) -> str:
    for path in ("heartbeat/x", "queue/data?session_hash=nobody", "call/predict_image/nobody"):
        await app.raw(f"GET {API}/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), read=False)
    return "gone"


async def never_fetch(app: App) -> str:
    data = [Drawing(CUT, {}).url]
    status = await request(app, "POST", f"{API}/call/predict_drawing", json={"data": data})
    return "gone" if status == "200" else status


async def ask_for_unknown(app: App) -> str:
    first = await app.ask("GET", f"{API}/queue/data?session_hash={'x' * 9}")
    assert "not" in first.text.lower()
    return (await app.result("predict_image", "0" * 32))[0]


add("a stream left at once", leave)
add("an answer never fetched", never_fetch)
add("a stream that nobody asked for", ask_for_unknown)
