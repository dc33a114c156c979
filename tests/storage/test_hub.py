"""Weights from the Hub: the right ones, or one sentence in time; and never anything but tensors.

The Hub is one on loopback that fails on demand, asked through the real ``huggingface_hub``; and, in
one test, olah, a real mirror of the Hub in an environment of its own.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from conftest import others_litter
from hub_server import Hub, Repository, serving
from huggingface_hub import constants
from huggingface_hub.utils import close_session
from safetensors.torch import save
from torch import Tensor

from lenet_digits import HubError, LeNet5, WeightsError, load_model
from lenet_digits.storage import hub as module
from lenet_digits.storage.hub import split_source
from lenet_digits.storage.shipped import REPO, REVISION

# huggingface_hub's own, as it uploads a large file.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

ROOT = Path(__file__).parents[2]
OLAH = "olah==0.5.4"
PATIENCE = 4.0  # seconds; a load takes less, even on a busy machine
ACCOUNT = "me/mine"


@pytest.fixture
def point_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Makes a URL the Hub of this process, with an empty cache and a login."""

    def point(url: str) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", url)
        template = url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    for name in ("HF_HUB_CACHE", "HF_AGENT_HARNESSES_PATH"):
        if hasattr(constants, name):
            monkeypatch.setattr(constants, name, str(tmp_path / name))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    yield point
    close_session()


@pytest.fixture
def hub(point_at: Callable[[str], None]) -> Iterator[Hub]:
    with serving() as server:
        point_at(server.url)
        yield server


@pytest.fixture
def model() -> LeNet5:
    torch.manual_seed(0)
    return LeNet5().eval()


@pytest.fixture
def state(model: LeNet5) -> dict[str, Tensor]:
    return dict(model.state_dict())


def assert_equal(one: LeNet5, other: LeNet5) -> None:
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def keep(hub: Hub, repo: str, *refs: str, **files: bytes) -> str:
    """Put files (``__`` for the dot of their names) on the Hub; returns the commit's hash."""
    commit = hashlib.sha1(repr((repo, refs, files)).encode()).hexdigest()
    repository = hub.repositories.setdefault(f"models/{repo}", Repository({}))
    repository.commits[commit] = {name.replace("__", "."): data for name, data in files.items()}
    repository.refs |= dict.fromkeys(("main", *refs), commit)
    return commit


# What is a repository, and what a file


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("owner/name", ("owner/name", None)),
        ("owner/name@v1.0", ("owner/name", "v1.0")),
        ("owner/name@refs/pr/1", ("owner/name", "refs/pr/1")),
        ("an.owner/a_name-2", ("an.owner/a_name-2", None)),
        ("model.safetensors", None),
        ("runs/model.safetensors", None),
        ("runs/model.pth", None),
        ("./runs/best", None),
        ("../best", None),
        ("/runs/best", None),
        ("a/b/c", None),
        ("C:/best", None),
        ("owner/name@", None),
        ("tests/data", None),
        (Path("owner/name"), None),
        (None, None),
    ],
)
def test_a_source_is_a_repository_only_where_it_cannot_be_a_file(
    source: object, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert split_source(source) == expected


def test_a_name_without_an_owner_is_no_repository() -> None:
    with pytest.raises(HubError, match="mnist is neither a folder nor a repository"):
        LeNet5.from_pretrained("mnist")


# There and back


def test_weights_come_back_from_the_hub_as_they_went(hub: Hub, model: LeNet5) -> None:
    commit = model.push_to_hub("me/mine", private=True)
    assert hub.repositories["models/me/mine"].settings["visibility"] == "private"
    assert_equal(model, LeNet5.from_pretrained("me/mine"))
    assert_equal(model, LeNet5.from_pretrained("me/mine", revision=commit))
    assert_equal(model, load_model("me/mine"))
    assert_equal(model, load_model(f"me/mine@{commit}"))
    assert not load_model("me/mine").training


def test_saved_weights_come_back_from_the_folder(model: LeNet5, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "new")
    assert_equal(model, LeNet5.from_pretrained(tmp_path / "new"))


def test_a_pushed_model_says_how_to_use_it(hub: Hub, model: LeNet5) -> None:
    model.push_to_hub("me/mine")
    files = hub.repositories["models/me/mine"].files()
    assert set(files) == {".gitattributes", "README.md", "config.json", "model.safetensors"}
    card = huggingface_hub.ModelCard(files["README.md"].decode())
    assert card.data.library_name == "lenet-digits"
    assert 'from_pretrained("me/mine")' in card.text


def test_a_revision_is_the_one_that_was_asked_for(hub: Hub, model: LeNet5) -> None:
    old = keep(hub, "me/mine", "v1", model__safetensors=save(model.state_dict()))
    torch.manual_seed(1)
    newer = LeNet5()
    keep(hub, "me/mine", model__safetensors=save(newer.state_dict()))
    assert_equal(model, load_model("me/mine@v1"))
    assert_equal(model, load_model(f"me/mine@{old}"))
    assert_equal(newer, load_model("me/mine"))


def test_pulling_is_quiet(hub: Hub, model: LeNet5, capfd: pytest.CaptureFixture[str]) -> None:
    keep(hub, "me/mine", model__safetensors=save(model.state_dict()))
    load_model("me/mine")
    for fault in ("broken", "truncated"):
        with pytest.raises(HubError):
            load_model(f"faulty/{fault}", timeout=2)
    assert capfd.readouterr() == ("", "")


# The cache


def test_a_commit_in_the_cache_needs_no_hub(hub: Hub, model: LeNet5) -> None:
    commit = keep(hub, "me/mine", model__safetensors=save(model.state_dict()))
    load_model(f"me/mine@{commit}")
    hub.requests.clear()
    assert_equal(model, load_model(f"me/mine@{commit}"))
    assert hub.requests == []


def test_what_is_in_the_cache_serves_where_the_hub_is_gone(
    model: LeNet5, point_at: Callable[[str], None]
) -> None:
    with serving() as hub:
        point_at(hub.url)
        keep(hub, "me/mine", "v1", model__safetensors=save(model.state_dict()))
        load_model("me/mine@v1")
    assert_equal(model, load_model("me/mine@v1"))
    assert_equal(model, LeNet5.from_pretrained("me/mine", revision="v1", local_files_only=True))


def test_the_cache_alone_is_searched_where_that_is_asked(hub: Hub) -> None:
    with pytest.raises(HubError, match="is not in the cache on this disk"):
        LeNet5.from_pretrained("me/mine", local_files_only=True)
    assert hub.requests == []


def test_offline_mode_is_respected(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE keeps it from the network"):
        load_model("me/mine")
    assert hub.requests == []


def test_a_file_damaged_on_the_way_is_fetched_anew_the_next_time(
    hub: Hub, model: LeNet5, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = save(model.state_dict())
    keep(hub, "me/mine", model__safetensors=content)
    healthy = hub.RequestHandlerClass.answer

    def damaged(self: object, status: int, content: bytes = b"", **headers: str) -> None:
        healthy(self, status, content[:-1] + bytes(len(content) and 1), **headers)

    monkeypatch.setattr(hub.RequestHandlerClass, "answer", damaged)
    with pytest.raises(HubError, match="not what the Hub announced"):
        load_model("me/mine")
    monkeypatch.setattr(hub.RequestHandlerClass, "answer", healthy)
    assert_equal(model, load_model("me/mine"))


def test_a_file_that_was_damaged_in_the_cache_is_not_used(
    model: LeNet5, point_at: Callable[[str], None]
) -> None:
    with serving() as hub:
        point_at(hub.url)
        keep(hub, "me/mine", model__safetensors=save(model.state_dict()))
        load_model("me/mine")
    (file,) = Path(constants.HF_HUB_CACHE).glob("**/blobs/*")
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(HubError, match="its hash differs"):
        load_model("me/mine")
    assert not file.exists()


# The project's own repository


def test_our_own_repository_is_pinned_to_the_packaged_revision(
    hub: Hub, model: LeNet5, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = save(model.state_dict())
    keep(hub, REPO, REVISION, model__safetensors=content)
    keep(hub, REPO, model__safetensors=b"newer weights, which this version knows nothing of")
    monkeypatch.setattr(module, "SHIPPED_SHA256", hashlib.sha256(content).hexdigest())
    assert_equal(model, load_model(REPO))
    assert_equal(model, LeNet5.from_pretrained(REPO))
    hub.requests.clear()
    assert_equal(model, load_model(f"{REPO}@{REVISION}"))
    assert hub.requests == []


def test_other_weights_under_the_packaged_revision_are_refused(hub: Hub, model: LeNet5) -> None:
    keep(hub, REPO, REVISION, model__safetensors=save(model.state_dict()))
    with pytest.raises(HubError, match="its SHA-256 differs"):
        load_model(REPO)


# Faults of the Hub and of the network

FAULTS = {
    "unauthorized": "there is no such repository, or it is private and needs a login",
    "missing": "there is no such repository, or it is private and needs a login",
    "no-revision": "there is no such revision",
    "no-file": "the repository has no such file",
    "flooded": "the Hub has had too many requests from here",
    "broken": "the Hub answered with the error 500",
    "no-hub": "the server that answered is not the Hugging Face Hub",
    "huge": "it has 99,000,000,000 bytes",
    "altered": "what arrived is not what the Hub announced",
    "truncated": "the Hub did not deliver it within 0.7 seconds",
    "hanging": "the Hub did not deliver it within 0.7 seconds",
    "hanging-body": "the Hub did not deliver it within 0.7 seconds",
}


def patience(fault: str) -> float:
    """Seconds to wait for a fault: few where all of them will pass, many on a busy machine."""
    return 0.7 if "0.7 seconds" in FAULTS[fault] else 30


def sentence(error: pytest.ExceptionInfo[HubError]) -> str:
    message = str(error.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_hub_is_one_sentence_in_time(hub: Hub, fault: str) -> None:
    began = time.monotonic()
    with pytest.raises(HubError) as caught:
        load_model(f"faulty/{fault}", timeout=patience(fault))
    assert time.monotonic() - began < 5
    message = sentence(caught)
    assert message.startswith(f"model.safetensors of faulty/{fault}@main: {FAULTS[fault]}")


@pytest.fixture(scope="module")
def demo() -> Any:
    """The app's module, imported only here because of what Gradio leaves behind."""
    with others_litter():
        from lenet_digits.demo import server
    return server


@pytest.mark.parametrize("fault", FAULTS)
def test_the_app_uses_the_shipped_weights_instead_and_says_so(
    hub: Hub,
    demo: Any,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(demo, "PATIENCE", patience(fault))
    model, note = demo._load(f"faulty/{fault}")
    assert model is None
    assert note == f"faulty/{fault} could not be used; reading with the weights shipped."
    assert FAULTS[fault] in caplog.text
    assert "The shipped weights are used instead." in caplog.text


def test_the_app_is_patient_for_less_than_five_seconds(hub: Hub, demo: Any) -> None:
    began = time.monotonic()
    assert demo._load("faulty/hanging")[0] is None
    assert time.monotonic() - began < 5


def test_a_hub_that_is_not_there_is_said_to_be_out_of_reach(
    point_at: Callable[[str], None],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    point_at(f"http://127.0.0.1:{port}")  # closed again: refused
    with pytest.raises(HubError) as caught:
        load_model("me/mine")
    assert "the Hub cannot be reached; check your network connection" in sentence(caught)


def test_a_socket_that_accepts_and_hangs_is_given_up(point_at: Callable[[str], None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        point_at(f"http://127.0.0.1:{server.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(HubError) as caught:
            load_model("me/mine", timeout=0.7)
        assert time.monotonic() - began < 5
    assert "did not deliver it within 0.7 seconds" in sentence(caught)


def test_a_name_that_the_hub_would_never_have_is_one_sentence(hub: Hub) -> None:
    with pytest.raises(HubError) as caught:
        load_model("me/a--b")
    sentence(caught)
    assert hub.requests == []


# Files that are not LeNet-5's weights


def renamed(state: dict[str, Tensor]) -> None:
    state["conv3.weight"] = state.pop("c3.weight")


def fewer(state: dict[str, Tensor]) -> None:
    del state["f6.bias"]


def more(state: dict[str, Tensor]) -> None:
    state["f7.bias"] = torch.zeros(1)


def misshaped(state: dict[str, Tensor]) -> None:
    state["c1.weight"] = torch.zeros(6, 1, 3, 3)


def infinite(state: dict[str, Tensor]) -> None:
    state["c5.bias"] = torch.full((120,), torch.inf)


def whole_numbers(state: dict[str, Tensor]) -> None:
    state["output.bias"] = torch.zeros(10, dtype=torch.int64)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (renamed, ["c3.weight", "conv3.weight"]),
        (fewer, ["f6.bias"]),
        (more, ["f7.bias"]),
        (misshaped, ["c1.weight", "(6, 1, 3, 3)", "(6, 1, 5, 5)"]),
        (infinite, ["c5.bias"]),
        (whole_numbers, ["output.bias"]),
    ],
)
def test_a_tensor_that_is_wrong_is_named(
    hub: Hub,
    state: dict[str, Tensor],
    change: Callable[[dict[str, Tensor]], None],
    names: list[str],
) -> None:
    change(state)
    keep(hub, "me/mine", model__safetensors=save(state))
    with pytest.raises(WeightsError) as caught:
        load_model("me/mine")
    assert "\n" not in str(caught.value)
    for name in ["me/mine", *names]:
        assert name in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"<html>", bytes(1000)])
def test_what_is_no_safetensors_file_is_refused(hub: Hub, content: bytes) -> None:
    keep(hub, "me/mine", model__safetensors=content)
    with pytest.raises(WeightsError, match="is not a safetensors file, or is damaged"):
        load_model("me/mine")


def asked_for_config(hub: Hub, repo: str) -> int:
    """How often the Hub was asked for that repository's config.json."""
    pattern = rf"HEAD /{repo}/resolve/[^/]+/config\.json"
    return sum(bool(re.fullmatch(pattern, request)) for request in hub.requests)


def test_the_hub_counts_a_download_once_and_none_from_the_cache(hub: Hub, model: LeNet5) -> None:
    commit = model.push_to_hub(ACCOUNT)
    assert asked_for_config(hub, ACCOUNT) == 0
    LeNet5.from_pretrained(ACCOUNT, revision=commit)
    deadline = time.monotonic() + 10
    while not asked_for_config(hub, ACCOUNT) and time.monotonic() < deadline:
        time.sleep(0.01)
    LeNet5.from_pretrained(ACCOUNT, revision=commit)
    time.sleep(0.2)
    assert asked_for_config(hub, ACCOUNT) == 1


@pytest.mark.parametrize("repo", ["me/bare", "slow/config"])  # it has none; it does not answer
def test_being_counted_neither_delays_nor_fails_a_load(
    hub: Hub, state: dict[str, Tensor], repo: str, capfd: pytest.CaptureFixture[str]
) -> None:
    keep(hub, repo, model__safetensors=save(state))
    began = time.monotonic()
    LeNet5.from_pretrained(repo, timeout=PATIENCE)
    assert time.monotonic() - began < PATIENCE
    deadline = time.monotonic() + 10
    while not asked_for_config(hub, repo) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert asked_for_config(hub, repo) == 1
    assert capfd.readouterr() == ("", "")


def test_a_wait_to_be_counted_would_be_noticed(
    hub: Hub, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(hub, "slow/config", model__safetensors=save(state))
    count = module._count_download

    def count_and_wait(*args: Any) -> None:
        before = set(threading.enumerate())
        count(*args)
        for thread in set(threading.enumerate()) - before:
            thread.join()

    monkeypatch.setattr(module, "_count_download", count_and_wait)
    began = time.monotonic()
    LeNet5.from_pretrained("slow/config", timeout=PATIENCE)
    assert time.monotonic() - began >= PATIENCE


def test_a_pickle_is_never_asked_for(hub: Hub) -> None:
    keep(hub, "me/mine", pytorch_model__bin=b"anything")
    with pytest.raises(HubError, match="the repository has no such file"):
        load_model("me/mine")
    assert not [asked for asked in hub.requests if ".bin" in asked]


# Uploads


def test_without_a_login_nothing_is_uploaded(
    hub: Hub, model: LeNet5, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(
        HubError, match=r"Nothing was published to me/mine: .*hf auth login"
    ) as error:
        model.push_to_hub("me/mine")
    sentence(error)
    assert hub.repositories == {}


# The network is left alone

PREDICTING = """
import sys
import numpy as np
sys.addaudithook(lambda event, args: event.startswith("socket.") and sys.exit(f"{event} {args}"))
from lenet_digits import LeNet5, predict
page = np.full((90, 90), 255, np.uint8)
page[15:75, 42:48] = 0
predict(page, model=LeNet5())
print("huggingface_hub" in sys.modules)
"""


def test_predicting_asks_no_network_and_loads_nothing_that_could() -> None:
    command = [sys.executable, "-c", PREDICTING]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (process.stdout, process.stderr) == ("False\n", "")


# A real mirror


@pytest.fixture(scope="session")
def olah(request: pytest.FixtureRequest) -> Path:
    """The program of the mirror, installed once, in an environment of its own."""
    home = request.config.cache.mkdir(OLAH.replace("==", "-"))
    python = home / "bin" / "python"
    program = home / "bin" / "olah-cli"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", OLAH]
        done = subprocess.run(pip, capture_output=True, text=True, check=False, timeout=180)
        assert done.returncode == 0, done.stderr
    return program


@pytest.fixture
def mirror(olah: Path, model: LeNet5, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The URL of a mirror with the repository ``me/mine``, and a commit of it tagged v1."""
    repository = tmp_path / "models" / "me" / "mine"
    model.save_pretrained(repository)
    author = ["-c", "user.name=me", "-c", "user.email=me@localhost"]
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "."],
        ["commit", "-qm", "1"],
        ["tag", "v1"],
    ):
        subprocess.run(["git", *author, *command], cwd=repository, check=True)
    commit = subprocess.check_output(["git", "rev-parse", "v1"], cwd=repository, text=True).strip()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    config = tmp_path / "olah.toml"
    config.write_text(
        f'[basic]\nhost = "127.0.0.1"\nport = {port}\nmirrors-path = ["{tmp_path.as_posix()}"]\n'
        f'repos-path = "{tmp_path.as_posix()}/r"\nlog-path = "{tmp_path.as_posix()}/l"\n'
        "[accessibility]\noffline = true\n"
    )
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen([olah, "-c", config], cwd=tmp_path, stdout=log, stderr=log) as process,
    ):
        try:
            wait_for_port(port, process)
            yield f"http://127.0.0.1:{port}", commit
        finally:
            process.terminate()


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the mirror did not start")


PULLING = """
import sys
import numpy as np
from lenet_digits import LeNet5, load_model, predict
page = np.full((90, 90), 255, np.uint8)
page[15:75, 42:48] = 0
for source in sys.argv[1:]:
    model = load_model(source)
    print(model.c1.weight.sum().item(), predict(page, model=model).probabilities == predict(
        page, model=LeNet5.from_pretrained(source)).probabilities)
"""


@pytest.mark.registry
def test_a_real_mirror_serves_a_clean_machine_by_tag_commit_and_branch(
    mirror: tuple[str, str], model: LeNet5, tmp_path: Path
) -> None:
    url, commit = mirror
    sources = ["me/mine", "me/mine@v1", f"me/mine@{commit}"]
    process = subprocess.run(
        [sys.executable, "-c", PULLING, *sources],
        cwd=ROOT,
        env=os.environ | {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "clean"), "HF_TOKEN": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert process.stderr == ""
    assert process.stdout == f"{model.c1.weight.sum().item()} True\n" * 3
