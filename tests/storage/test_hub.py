"""Weights from the Hub: the right ones arrive, or one sentence says in time why they do not.

The Hub is `hub_server` on loopback. The real ``huggingface_hub`` sends the requests.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from conftest import others_litter
from hub_server import Hub, Repository, serving, using
from huggingface_hub import constants
from safetensors.torch import save

from lenet_digits import HubError, LeNet5, WeightsError, load_model
from lenet_digits.storage import hub as module
from lenet_digits.storage.hub import split_source
from lenet_digits.storage.shipped import REPO, REVISION

# huggingface_hub's own, as it uploads a large file.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

ROOT = Path(__file__).parents[2]
PATIENCE = 4.0  # seconds; a load takes less, even on a busy machine


@pytest.fixture
def use(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Makes a URL the Hub of this process, with an empty cache and a login."""
    with using(tmp_path / "cache", "hf_right") as use:
        yield use


@pytest.fixture
def hub(use: Callable[[str], None]) -> Iterator[Hub]:
    with serving() as server:
        use(server.url)
        yield server


@pytest.fixture
def model() -> LeNet5:
    torch.manual_seed(0)
    return LeNet5().eval()


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


def refusal(source: str, **options: Any) -> str:
    """The one sentence in which a source is refused."""
    with pytest.raises(HubError) as caught:
        LeNet5.from_pretrained(source, **options)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What is a repository, and what a file


REPOSITORIES = {
    "owner/name": ("owner/name", None),
    "owner/name@v1.0": ("owner/name", "v1.0"),
    "owner/name@refs/pr/1": ("owner/name", "refs/pr/1"),
    "an.owner/a_name-2": ("an.owner/a_name-2", None),
}
FILES = ("model.safetensors", "runs/model.safetensors", "runs/model.pth", "./runs/best", "../best")
FILES += ("/runs/best", "a/b/c", "C:/best", "owner/name@", "tests/data")


def test_a_source_is_a_repository_only_where_it_cannot_be_a_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    assert {source: split_source(source) for source in REPOSITORIES} == REPOSITORIES
    for source in (*FILES, Path("owner/name"), None):
        assert split_source(source) is None, source


def test_a_name_that_the_hub_cannot_have_is_refused_without_a_request(hub: Hub) -> None:
    assert "mnist is neither a folder nor a repository" in refusal("mnist")
    assert "me/a--b" in refusal("me/a--b")
    assert hub.requests == []


# There and back


def test_weights_come_back_from_the_hub_as_they_went(hub: Hub, model: LeNet5) -> None:
    commit = model.push_to_hub("me/mine", private=True)
    assert hub.repositories["models/me/mine"].settings["visibility"] == "private"
    assert_equal(model, LeNet5.from_pretrained("me/mine"))
    assert_equal(model, LeNet5.from_pretrained("me/mine", revision=commit))
    assert_equal(model, load_model("me/mine"))
    assert_equal(model, load_model(f"me/mine@{commit}"))
    assert not load_model("me/mine").training


def test_a_pushed_model_says_how_to_use_it(hub: Hub, model: LeNet5) -> None:
    model.push_to_hub("me/mine")
    files = hub.repositories["models/me/mine"].files()
    assert set(files) == {".gitattributes", "README.md", "config.json", "model.safetensors"}
    card = huggingface_hub.ModelCard(files["README.md"].decode())
    assert card.data.library_name == "lenet-digits"
    assert 'from_pretrained("me/mine")' in card.text


def test_a_revision_is_the_one_that_was_asked_for(hub: Hub, model: LeNet5) -> None:
    old = keep(hub, "me/mine", "v1", model__safetensors=save(model.state_dict()))
    newer = LeNet5()
    keep(hub, "me/mine", model__safetensors=save(newer.state_dict()))
    assert_equal(model, load_model("me/mine@v1"))
    assert_equal(model, load_model(f"me/mine@{old}"))
    assert_equal(newer, load_model("me/mine"))


def test_pulling_is_quiet(hub: Hub, model: LeNet5, capfd: pytest.CaptureFixture[str]) -> None:
    keep(hub, "me/mine", model__safetensors=save(model.state_dict()))
    load_model("me/mine")
    for fault in ("broken", "truncated"):
        refusal(f"faulty/{fault}", timeout=2)
    assert capfd.readouterr() == ("", "")


# The cache


def test_a_commit_in_the_cache_needs_no_hub(hub: Hub, model: LeNet5) -> None:
    commit = keep(hub, "me/mine", model__safetensors=save(model.state_dict()))
    load_model(f"me/mine@{commit}")
    hub.requests.clear()
    assert_equal(model, load_model(f"me/mine@{commit}"))
    assert hub.requests == []


def test_what_is_in_the_cache_serves_where_the_hub_is_gone(
    model: LeNet5, use: Callable[[str], None]
) -> None:
    with serving() as hub:
        use(hub.url)
        keep(hub, "me/mine", "v1", model__safetensors=save(model.state_dict()))
        load_model("me/mine@v1")
    assert_equal(model, load_model("me/mine@v1"))
    assert_equal(model, LeNet5.from_pretrained("me/mine", revision="v1", local_files_only=True))
    assert "the Hub cannot be reached; check your network" in refusal("me/other")


def test_the_network_is_left_alone_where_that_is_asked(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "not in the cache on this disk" in refusal("me/mine", local_files_only=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE keeps it from the network" in refusal("me/mine")
    assert hub.requests == []


def test_a_file_damaged_on_the_way_is_fetched_anew_the_next_time(
    hub: Hub, model: LeNet5, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = save(model.state_dict())
    keep(hub, "me/mine", model__safetensors=content)
    healthy = hub.RequestHandlerClass.answer

    def damaged(self: object, status: int, content: bytes = b"", **headers: str) -> None:
        healthy(self, status, content[:-1] + bytes(len(content) and 1), **headers)

    with monkeypatch.context() as patch:
        patch.setattr(hub.RequestHandlerClass, "answer", damaged)
        assert "not what the Hub announced" in refusal("me/mine")
    assert_equal(model, load_model("me/mine"))


# The project's own repository


def test_our_own_repository_is_pinned_to_the_packaged_revision(
    hub: Hub, model: LeNet5, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = save(model.state_dict())
    keep(hub, REPO, REVISION, model__safetensors=content)
    keep(hub, REPO, model__safetensors=b"newer weights that this version does not know")
    monkeypatch.setattr(module, "SHIPPED_SHA256", hashlib.sha256(content).hexdigest())
    assert_equal(model, load_model(REPO))
    hub.requests.clear()
    assert_equal(model, load_model(f"{REPO}@{REVISION}"))
    assert hub.requests == []


def test_other_weights_under_the_packaged_revision_are_refused(hub: Hub, model: LeNet5) -> None:
    keep(hub, REPO, REVISION, model__safetensors=save(model.state_dict()))
    assert "its SHA-256 differs" in refusal(REPO)


# Faults of the Hub and of the network

FAULTS = {
    "unauthorized": "there is no such repository, or it is private and needs a login",
    "missing": "there is no such repository, or it is private and needs a login",
    "no-revision": "there is no such revision",
    "no-file": "the repository has no such file",
    "flooded": "the Hub got too many requests from here",
    "broken": "the Hub answered with the error 500",
    "no-hub": "the server that answered is not the Hugging Face Hub",
    "huge": "it has 99,000,000,000 bytes",
    "altered": "what arrived is not what the Hub announced",
    "truncated": "the Hub did not deliver it within 0.7 seconds",
    "hanging": "the Hub did not deliver it within 0.7 seconds",
    "hanging-body": "the Hub did not deliver it within 0.7 seconds",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_hub_is_one_sentence_in_time(hub: Hub, fault: str) -> None:
    timeout = 0.7 if "0.7 seconds" in FAULTS[fault] else 30
    began = time.monotonic()
    message = refusal(f"faulty/{fault}", timeout=timeout)
    assert time.monotonic() - began < 5
    assert message.startswith(f"model.safetensors of faulty/{fault}@main: {FAULTS[fault]}")


@pytest.mark.parametrize("fault", ["missing", "altered", "hanging"])
def test_the_app_uses_the_shipped_weights_within_five_seconds_and_says_so(
    hub: Hub, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    with others_litter():  # what Gradio leaves behind
        from lenet_digits.demo import server
    began = time.monotonic()
    model, note = server._load(f"faulty/{fault}")
    assert time.monotonic() - began < 5
    assert model is None
    assert note == f"faulty/{fault} could not be used; reading with the weights shipped."
    assert FAULTS[fault].partition(" within")[0] in caplog.text


# Files that are not LeNet-5's weights; tests/model/test_weights.py has more of them


def test_a_tensor_under_another_name_is_refused_and_named(hub: Hub, model: LeNet5) -> None:
    state = model.state_dict()
    state["conv3.weight"] = state.pop("c3.weight")
    keep(hub, "me/mine", model__safetensors=save(state))
    with pytest.raises(WeightsError, match=r"me/mine .*'c3\.weight'.*'conv3\.weight'"):
        load_model("me/mine")


def test_what_is_not_a_safetensors_file_is_refused(hub: Hub) -> None:
    keep(hub, "me/mine", model__safetensors=b"<html>")
    with pytest.raises(WeightsError, match="is not a safetensors file, or is damaged"):
        load_model("me/mine")


def test_a_pickle_is_never_asked_for(hub: Hub) -> None:
    keep(hub, "me/mine", pytorch_model__bin=b"anything")
    assert "the repository has no such file" in refusal("me/mine")
    assert not [asked for asked in hub.requests if ".bin" in asked]


# The Hub counts downloads by the requests for config.json


def times_counted(hub: Hub, repo: str) -> int:
    pattern = rf"HEAD /{repo}/resolve/[^/]+/config\.json"
    return sum(bool(re.fullmatch(pattern, request)) for request in hub.requests)


def wait_until_counted(hub: Hub, repo: str) -> None:
    deadline = time.monotonic() + 10
    while not times_counted(hub, repo):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_hub_counts_a_download_once_and_none_from_the_cache(hub: Hub, model: LeNet5) -> None:
    commit = model.push_to_hub("me/mine")
    assert times_counted(hub, "me/mine") == 0
    load_model(f"me/mine@{commit}")
    wait_until_counted(hub, "me/mine")
    load_model(f"me/mine@{commit}")
    time.sleep(0.2)
    assert times_counted(hub, "me/mine") == 1


@pytest.mark.parametrize("repo", ["me/bare", "slow/config"])  # it has none; it does not answer
def test_being_counted_neither_delays_nor_fails_a_load(
    hub: Hub, model: LeNet5, repo: str, capfd: pytest.CaptureFixture[str]
) -> None:
    keep(hub, repo, model__safetensors=save(model.state_dict()))
    began = time.monotonic()
    LeNet5.from_pretrained(repo, timeout=PATIENCE)
    assert time.monotonic() - began < PATIENCE
    wait_until_counted(hub, repo)
    assert capfd.readouterr() == ("", "")


def test_a_wait_to_be_counted_would_be_noticed(
    hub: Hub, model: LeNet5, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(hub, "slow/config", model__safetensors=save(model.state_dict()))
    in_thread = module._in_thread

    def wait(work: Callable[[], Any]) -> Any:
        future = in_thread(work)
        future.exception()
        return future

    monkeypatch.setattr(module, "_in_thread", wait)
    began = time.monotonic()
    LeNet5.from_pretrained("slow/config", timeout=PATIENCE)
    assert time.monotonic() - began >= PATIENCE


# The network is left alone

READING = """
import sys
import numpy as np
sys.addaudithook(lambda event, args: event.startswith("socket.") and sys.exit(f"{event} {args}"))
from lenet_digits import LeNet5, load_model, predict
page = np.full((90, 90), 255, np.uint8)
page[15:75, 42:48] = 0
predict(page)
predict(page, model=load_model())
print("huggingface_hub" in sys.modules)
"""


def test_reading_asks_no_network_and_loads_nothing_that_could() -> None:
    command = [sys.executable, "-c", READING]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (process.stdout, process.stderr) == ("False\n", "")
