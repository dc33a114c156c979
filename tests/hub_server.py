"""A small Hugging Face Hub on loopback. It keeps uploads, serves them, and fails on demand.

It knows the part of the Hub's protocol that `huggingface_hub` needs to create a repository, upload
a folder, tag a commit and download a file. A repository of the owner ``faulty`` fails in the way
that its name says. One of the owner ``slow`` never answers a request for its ``config.json``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

STATUSES = {"unauthorized": 401, "missing": 404, "flooded": 429, "broken": 500}
STATUSES |= {"no-revision": 404, "no-file": 404}
ERROR_CODES = {"missing": "RepoNotFound", "no-revision": "RevisionNotFound"}
ERROR_CODES |= {"no-file": "EntryNotFound"}


@dataclass
class Repository:
    """A repository on the Hub."""

    settings: dict[str, Any]  # as they were asked for
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)  # files by commit and path
    refs: dict[str, str] = field(default_factory=dict)  # commits by branch or tag

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """The files at a revision."""
        return self.commits[self.refs.get(revision, revision)]


class Hub(ThreadingHTTPServer):
    """The server, with its repositories and a list of the requests that it got."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}  # by "models/owner/name"
        self.objects: dict[str, bytes] = {}  # large files by SHA-256
        self.requests: list[str] = []
        self.token = "hf_right"
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing about clients that hang up."""


@contextmanager
def serving() -> Iterator[Hub]:
    """A running Hub."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        close_session()  # or an open connection would still be served
        hub.closing.set()
        hub.shutdown()
        thread.join()
        hub.server_close()


@contextmanager
def using(cache: Path, token: str) -> Iterator[Callable[[str], None]]:
    """A function that makes a URL the Hub of this process, until the block ends."""
    with pytest.MonkeyPatch.context() as patch:

        def use(url: str) -> None:
            template = url + "/{repo_id}/resolve/{revision}/{filename}"
            patch.setattr(constants, "ENDPOINT", url)
            patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
            patch.setenv("HF_ENDPOINT", url)

        for name in ("HF_HUB_CACHE", "HF_AGENT_HARNESSES_PATH"):
            if hasattr(constants, name):
                patch.setattr(constants, name, str(cache / name))
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setenv("HF_TOKEN", token)
        yield use
        close_session()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def answer_json(self, value: Any, status: int = 200) -> None:
        self.answer(status, json.dumps(value).encode(), Content_Type="application/json")

    def handle_request(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if found := re.match(r"/faulty/([\w-]+)/resolve/", path):
            return self.fail(found[1])
        if re.match(r"/slow/[\w-]+/resolve/.*/config\.json$", path):
            self.server.closing.wait(60)
            return None
        if (
            self.command == "POST"
            and self.headers.get("Authorization") != f"Bearer {self.server.token}"
        ):
            return self.answer_json({"error": "Invalid credentials in Authorization header"}, 401)
        for pattern, method in _ROUTES:
            if found := re.fullmatch(pattern, f"{self.command} {path}"):
                return method(self, body, *found.groups())
        self.answer_json({"error": f"not here: {self.command} {path}"}, 404)

    do_GET = do_HEAD = do_POST = do_PUT = handle_request  # noqa: N815

    def fail(self, fault: str) -> None:
        if fault in STATUSES:
            code = ERROR_CODES.get(fault, "")
            return self.answer(STATUSES[fault], X_Error_Code=code, X_Repo_Commit="0" * 40)
        if fault == "hanging" or (fault == "hanging-body" and self.command == "GET"):
            self.server.closing.wait(60)
            return None
        if fault == "no-hub":
            return self.answer(200, b"<html>Log in to this airport</html>")
        content = bytes(250_000)
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X_Repo_Commit": "a" * 40}
        if fault == "huge":
            return self.answer(200, Content_Length="99000000000", **headers)
        if fault == "altered":
            return self.answer(200, b"\1" + content[1:], **headers)
        assert fault in ("truncated", "hanging-body")
        headers["Content_Length"] = str(len(content))
        self.answer(200, content[:1000], **headers)
        self.close_connection = self.command == "GET"
        return None

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        key = f"{asked.get('type', 'model')}s/{asked['organization']}/{asked['name']}"
        url = f"{self.server.url}/{key.removeprefix('models/')}"
        if key in self.server.repositories:
            return self.answer_json({"error": "You already created this repo", "url": url}, 409)
        if asked["name"] == "unpaid" and not asked.get("hardware"):
            return self.answer_json({"error": "Payment required"}, 402)
        repository = self.server.repositories[key] = Repository(asked)
        repository.refs["main"] = "0" * 40
        repository.commits["0" * 40] = {".gitattributes": b"*.png filter=lfs\n"}
        return self.answer_json({"url": url})

    def validate(self, body: bytes) -> None:
        self.answer_json({"errors": [], "warnings": []})

    def preupload(self, body: bytes, key: str, revision: str) -> None:
        large = (".png", ".safetensors")
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(large) else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]
        self.answer_json({"files": files})

    def batch(self, body: bytes, repo: str) -> None:
        objects = [
            {
                "oid": item["oid"],
                "size": item["size"],
                "actions": {"upload": {"href": f"{self.server.url}/objects/{item['oid']}"}},
            }
            for item in json.loads(body)["objects"]
        ]
        self.answer_json({"transfer": "basic", "objects": objects})

    def put(self, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.server.objects[oid] = body
        self.answer(200)

    def commit(self, body: bytes, key: str, revision: str) -> None:
        repository = self.server.repositories[key]
        files = dict(repository.files(revision))
        for line in body.splitlines():
            operation = json.loads(line)
            kind, value = operation["key"], operation["value"]
            if kind == "file":
                assert value["encoding"] == "base64"
                files[value["path"]] = base64.b64decode(value["content"])
            elif kind == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
            elif kind == "deletedFile":
                del files[value["path"]]
        parent = repository.refs[revision]
        commit = hashlib.sha1(parent.encode() + body).hexdigest()
        repository.commits[commit] = files
        repository.refs[revision] = commit
        url = f"{self.server.url}/{key.removeprefix('models/')}/commit/{commit}"
        self.answer_json({"success": True, "commitOid": commit, "commitUrl": url})

    def tag(self, body: bytes, key: str, revision: str) -> None:
        repository, name = self.server.repositories[key], json.loads(body)["tag"]
        if name in repository.refs:
            return self.answer_json({"error": "Tag exists"}, 409)
        repository.refs[name] = repository.refs.get(revision, revision)
        return self.answer_json({})

    def info(self, body: bytes, key: str, revision: str | None = None) -> None:
        repository = self.server.repositories.get(key)
        if repository is None:
            return self.answer(404, X_Error_Code="RepoNotFound")
        commit = repository.refs.get(revision or "main", revision)
        siblings = [{"rfilename": path} for path in repository.commits[str(commit)]]
        repo = key.partition("/")[2]
        return self.answer_json({"id": repo, "_id": "0", "sha": commit, "siblings": siblings})

    def tree(self, body: bytes, key: str, revision: str) -> None:
        files = self.server.repositories[key].files(revision)
        self.answer_json(
            [
                {"type": "file", "path": path, "size": len(content), "oid": _git_hash(content)}
                for path, content in files.items()
            ]
        )

    def resolve(self, body: bytes, repo: str, revision: str, path: str) -> None:
        repository = self.server.repositories.get(f"models/{repo}")
        if repository is None:
            return self.answer(404, X_Error_Code="RepoNotFound")
        commit = repository.refs.get(revision, revision)
        if commit not in repository.commits:
            return self.answer(404, X_Error_Code="RevisionNotFound")
        content = repository.commits[commit].get(path)
        if content is None:
            return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        digest = hashlib.sha256(content).hexdigest()
        etag = digest if digest in self.server.objects else _git_hash(content)
        return self.answer(200, content, ETag=f'"{etag}"', X_Repo_Commit=commit)

    def harnesses(self, body: bytes) -> None:
        self.answer_json({})


_API = r"/api/((?:models|spaces)/[^/]+/[^/]+)"
_ROUTES = [
    (r"POST /api/repos/create", _Handler.create),
    (r"POST /api/validate-yaml", _Handler.validate),
    (rf"POST {_API}/preupload/(.+)", _Handler.preupload),
    (r"POST /(.+)\.git/info/lfs/objects/batch", _Handler.batch),
    (r"PUT /objects/(\w+)", _Handler.put),
    (rf"POST {_API}/commit/(.+)", _Handler.commit),
    (rf"POST {_API}/tag/(.+)", _Handler.tag),
    (rf"GET {_API}", _Handler.info),
    (rf"GET {_API}/revision/(.+)", _Handler.info),
    (rf"GET {_API}/tree/([^/]+)", _Handler.tree),
    (r"(?:GET|HEAD) /([^/]+/[^/]+)/resolve/([^/]+)/(.+)", _Handler.resolve),
    (r"GET /api/agent-harnesses", _Handler.harnesses),
]


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
