"""Publishing: weights that are as their files state arrive byte for byte, and others stay here.

The Hub is `hub_server` on loopback. The real ``huggingface_hub`` sends the requests.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import yaml
from hub_server import Hub, serving, using
from PIL import Image

from lenet_digits import LeNet5, WeightsError, evaluate, load_mnist, save_weights
from lenet_digits import publishing as module
from lenet_digits.cli.entry import main
from lenet_digits.onnx_file import ONNX_FILE
from lenet_digits.publishing import (
    PublishingError,
    check_weights,
    copy_space,
    model_card,
    prepare,
    push,
    push_space,
    read_sample,
    write_sample,
)
from lenet_digits.storage.shipped import REPO, REVISION
from lenet_digits.training.metrics import (
    MNIST_SHA256,
    MNIST_TEST,
    CorruptedShare,
    Metrics,
    MetricsError,
    Miss,
    Sample,
    Seeds,
    Share,
)
from lenet_digits.training.mnist import Digits
from lenet_digits.training.recipes import Recipe

# huggingface_hub's own, as it uploads a large file.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "weights"
ACCOUNT = "me/mine"


@pytest.fixture(scope="session")
def digits() -> Digits:
    """Test digits, as many of each as MNIST has, though some of them several times."""
    some = load_mnist(ROOT / "tests" / "data", download=False)[1]
    rows = [torch.nonzero(some.labels == digit)[:, 0] for digit in range(10)]
    order = [row.repeat(-(-n // len(row)))[:n] for row, n in zip(rows, MNIST_TEST, strict=True)]
    return some[torch.cat(order)]


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """A folder of untrained weights, all of whose files agree with each other."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    model = LeNet5().eval()
    save_weights(model, folder / "model.safetensors")
    result = evaluate(model, digits)
    Metrics(
        recipe=Recipe(epochs=1),
        seed=0,
        data_sha256=MNIST_SHA256,
        holdout=0,
        evaluated_on="the test digits",
        accuracy=result.accuracy,
        loss=result.loss,
        confusion=tuple(map(tuple, result.confusion.tolist())),
        epochs=(),
        versions={"torch": torch.__version__},
    ).write(folder / "metrics.json")
    write_sample(digits, folder / "sample.png")
    Image.new("L", (2, 2)).save(folder / "cost.png")
    prepare(folder)
    return folder


@pytest.fixture
def weights(original: Path, tmp_path: Path) -> Path:
    """A copy of this folder, to be damaged."""
    return shutil.copytree(original, tmp_path / "weights")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with serving() as server, using(tmp_path / "cache", server.token) as use:
        use(server.url)
        yield server


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def received(hub: Hub, key: str, revision: str = "main") -> dict[str, bytes]:
    """The files on the Hub, without the one that it made itself."""
    files = dict(hub.repositories[key].files(revision))
    del files[".gitattributes"]
    return files


# The shipped weights


def test_the_shipped_weights_agree_with_all_that_is_said_of_them() -> None:
    assert check_weights(WEIGHTS).sha256 == module.SHIPPED_SHA256


def test_the_shipped_card_is_what_the_hub_wants_of_one() -> None:
    metrics = json.loads((WEIGHTS / "metrics.json").read_text("utf-8"))
    card = huggingface_hub.ModelCard.load(WEIGHTS / "README.md")
    assert card.data.model_name == "LeNet-5"
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "lenet-digits"
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.datasets == ["ylecun/mnist"]
    (result,) = card.data.eval_results
    assert (result.dataset_type, result.dataset_split) == ("ylecun/mnist", "test")
    assert (result.metric_type, result.metric_value) == ("accuracy", metrics["accuracy"])
    for what in ("What it is for", "What it is not for", "How well it reads", "How it was trained"):
        assert f"## {what}\n" in card.text
    assert f'load_model("{REPO}")' in card.text
    shown = set(re.findall(r"!\[[^]]*\]\((.*?)\)", card.text))
    assert shown == {path.name for path in WEIGHTS.glob("*.png")}


# The card


def test_the_card_says_what_the_metrics_say(weights: Path) -> None:
    metrics = Metrics.read(weights / "metrics.json")
    card = model_card(metrics)
    assert f"| MNIST's 10,000 test digits | 10,000 | {metrics.right / 100:.2f} % |" in card
    assert f"It reads {10_000 - metrics.right} of MNIST's 10,000 test digits wrong:" in card
    assert "- MNIST's 60,000 training digits\n" in card
    assert metrics.sha256 in card
    assert "| learning rate | 0.001 |" in card


def test_the_card_tells_more_where_more_was_measured(weights: Path) -> None:
    bare = Metrics.read(weights / "metrics.json")
    metrics = replace(
        bare,
        real_input={"Drawings": Share(accuracy=0.97, count=100)},
        others={"Theirs 1.0": {"Drawings": Share(accuracy=0.5, count=10)}, "Theirs 2.0": {}},
        numbers={"Cheques": Share(accuracy=0.5, count=10)},
        mnist_c={"motion_blur": CorruptedShare(bare=0.9, pipeline=0.8, count=1000)},
        misses=(Miss(digit=1, read_as=7, count=3, of=50),),
        calibration={"test_digits": 0.00123},
        refusal={"blank": 1.0, "symbol": 0.9, "digits": 0.0098, "AUROC": 0.99},
        seeds=Seeds(
            count=5,
            mean=0.9955,
            deviation=0.0003,
            lowest=0.995,
            highest=0.996,
            calibration_error=0.002,
        ),
    )
    figures = ["cost.png", "mistakes.png", "reliability.png"]
    card = model_card(metrics, figures=figures)
    for words in (
        "| Drawings | 100 | 97.00 % | 91.55 to 98.97 % |",  # Wilson's, by hand
        "| Drawings | 50.0 (23.7 to 76.3) |\n",
        "| Cheques | 10 | 50.0 % | 23.7 to 76.3 % |",
        "Theirs 1.0 read at most 10 of each set, drawn at random.",
        "| motion blur | 90.0 % | 80.0 % |",
        "1 as 7 (3 of 50)",
        "| test digits | 0.0012 |",
        "| symbol | 90.0 % |",
        "takes for digits: symbol 10%.",
        "The same recipe was run 5 times",
        "99.55 % ± 0.03 %",
        *(f"]({name})" for name in figures),
    ):
        assert words in card
    assert len(model_card(bare)) < len(model_card(metrics)) < len(card)


def test_the_card_of_a_run_on_other_digits_does_not_speak_of_mnists(weights: Path) -> None:
    metrics = Metrics.read(weights / "metrics.json")
    held_out = replace(metrics, holdout=10_000, evaluated_on="10,000 held-out training digits")
    limited = replace(held_out, limit=3000)
    other = replace(metrics, accuracy=1.0, confusion=TEN_EACH, data_sha256="0" * 64)
    for changed, training, testing in (
        (held_out, "training digits with the SHA-256", "% of 10,000 held-out training digits"),
        (limited, "the first 3,000 training digits", "% of 10,000 held-out training digits"),
        (other, "training digits with the SHA-256", "% of 100 test digits other than MNIST's"),
    ):
        card = model_card(changed)
        assert training in card
        assert testing in card
        for claim in ("MNIST's 10,000", "60,000", "split: test"):
            assert claim not in card
            assert claim in model_card(metrics)
        assert "trains it again" not in card
    assert "trains it again" in model_card(replace(metrics, recipe=Recipe()))


# Metrics


def mutations(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places in JSON; of lists the first and the last, of groups of like entries the first."""
    if path:
        yield path
    if isinstance(value, dict):
        keys = list(value) if len(path) < 2 or path[0] == "recipe" else list(value)[:1]
        for key in keys:
            yield from mutations(value[key], (*path, key))
    elif isinstance(value, list):
        for index in sorted({0, len(value) - 1}):
            yield from mutations(value[index], (*path, index))


def mutated(text: str, path: tuple[Any, ...], value: Any) -> str:
    """The JSON with another value in that place; without the place where the value is `...`."""
    whole = json.loads(text)
    place = whole
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(whole)


STORY = (WEIGHTS / "metrics.json").read_text("utf-8")
VALUES = [..., None, "x", -1, 1e308, 10**400, math.nan, math.inf, True, [[[]]], {"a": 1}, {}, []]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: str(value)[:9])
def test_metrics_that_are_wrong_anywhere_are_one_sentence_or_make_a_card(
    tmp_path: Path, value: Any
) -> None:
    file = tmp_path / "metrics.json"
    places = list(mutations(json.loads(STORY)))
    assert len(places) * len(VALUES) >= 340
    complaints = []
    for path in places:
        file.write_text(mutated(STORY, path, value))
        try:
            metrics = Metrics.read(file)
        except MetricsError as error:
            complaints.append(str(error))
            continue
        assert " nan" not in model_card(metrics)
        metrics.write(file)
        assert Metrics.read(file) == metrics
    for complaint in complaints:
        assert complaint.startswith(f"{file} does not hold the metrics of a training run: ")
        assert "\n" not in complaint
        assert len(complaint) < 400
    # What training does not measure may be absent, and so may a set of pictures.
    assert len(complaints) >= (15 if value in (..., None, {}, []) else len(places) // 2)


NOT_METRICS = [b" ", b"[]", b"null", b"7", STORY[:2000].encode(), b"[" * 100_000, b"\xff\xfe"]
NOT_METRICS += [b"\xef\xbb\xbf" + STORY.encode(), b'{"seed": 1' + b"0" * 5000, b"{}"]
NOT_METRICS += [STORY.replace('"accuracy": 0.99', '"accuracy": 0.98', 1).encode()]


@pytest.mark.parametrize("content", NOT_METRICS, ids=range(len(NOT_METRICS)))
def test_what_is_not_metrics_is_one_sentence(weights: Path, content: bytes) -> None:
    (weights / "metrics.json").write_bytes(content)
    for act in (check_weights, prepare, lambda folder: push(ACCOUNT, folder=folder)):
        with pytest.raises(PublishingError, match="does not hold the metrics") as caught:
            act(weights)
        assert "\n" not in str(caught.value)
        assert "Expecting" not in str(caught.value)  # what Python's parser says
        assert "Exceeds" not in str(caught.value)


def test_metrics_come_back_as_they_were_written(tmp_path: Path) -> None:
    metrics = Metrics.parse(STORY)
    assert metrics.trained_on_mnist
    assert metrics.tested_on_mnist
    metrics.write(tmp_path / "metrics.json")
    assert (tmp_path / "metrics.json").read_text("utf-8") == STORY
    assert Metrics.read(tmp_path / "metrics.json") == metrics


# The sample


def test_a_sample_comes_back_as_it_was_written(digits: Digits, tmp_path: Path) -> None:
    write_sample(digits, tmp_path / "sample.png", columns=3)
    sample = read_sample(tmp_path / "sample.png")
    assert sample.labels.tolist() == [digit for digit in range(10) for _ in range(3)]
    for digit in range(10):
        expected = digits.images[digits.labels == digit][:3]
        assert torch.equal(sample.images[sample.labels == digit], expected)


@pytest.mark.parametrize("size", [(27, 280), (28, 279), (30, 280)])
def test_a_picture_that_is_not_a_sample_is_refused(size: tuple[int, int], tmp_path: Path) -> None:
    Image.new("L", size).save(tmp_path / "sample.png")
    with pytest.raises(PublishingError, match="is not a sheet of ten rows"):
        read_sample(tmp_path / "sample.png")


# Weights against themselves


def test_weights_that_agree_with_themselves_pass(weights: Path, digits: Digits) -> None:
    assert check_weights(weights, digits).accuracy == pytest.approx(0.1, abs=0.1)


def edit(path: Path, **changes: Any) -> None:
    """Change some of the metrics, and the card with them."""
    metrics = replace(Metrics.read(path / "metrics.json"), **changes)
    metrics.write(path / "metrics.json")
    (path / "README.md").write_text(model_card(metrics, figures=["cost.png"]), encoding="utf-8")


def other_weights(path: Path) -> None:
    torch.manual_seed(1)
    edit(path, sha256=save_weights(LeNet5(), path / "model.safetensors"))


TEN_EACH = tuple(tuple(10 * (row == column) for column in range(10)) for row in range(10))
DAMAGES: dict[str, Callable[[Path], Any]] = {
    "lacks sample.png": lambda path: (path / "sample.png").unlink(),
    "lacks README.md": lambda path: (path / "README.md").unlink(),
    "lacks onnx/model.onnx": lambda path: (path / ONNX_FILE).unlink(),
    "notes.txt does not belong to": lambda path: (path / "notes.txt").touch(),
    "model_int8.onnx does not belong to": lambda path: (path / "onnx/model_int8.onnx").touch(),
    ".git does not belong to": lambda path: (path / ".git").mkdir(),
    "was not measured with": lambda path: edit(path, sha256="0" * 64),
    "config.json does not describe LeNet-5": lambda path: (path / "config.json").write_text("{}"),
    "does not say what metrics.json says": lambda path: (path / "README.md").write_text("# 100 %"),
    "metrics.json states 0 of 200": lambda path: edit(path, sample=Sample(count=200, errors=0)),
    "metrics.json states nothing of them": lambda path: edit(path, sample=None),
    "digits in sample.png wrong": other_weights,
    "model.onnx was not made from model.safetensors": lambda path: shutil.copy(
        WEIGHTS / ONNX_FILE, path / ONNX_FILE
    ),
}
OTHER_RUNS: list[dict[str, Any]] = [
    {"holdout": 9, "evaluated_on": "9 held-out training digits"},
    {"limit": 9},
    {"data_sha256": "0" * 64},
    {"accuracy": 1.0, "confusion": TEN_EACH},
]


def assert_stays_here(weights: Path, hub: Hub, complaint: str) -> None:
    with pytest.raises(PublishingError, match=complaint) as caught:
        push(ACCOUNT, folder=weights)
    assert "\n" not in str(caught.value)
    assert hub.requests == []


@pytest.mark.parametrize("complaint", DAMAGES)
def test_weights_that_disagree_with_themselves_stay_here(
    weights: Path, hub: Hub, complaint: str
) -> None:
    DAMAGES[complaint](weights)
    assert_stays_here(weights, hub, complaint)


@pytest.mark.parametrize("changes", OTHER_RUNS, ids=range(4))
def test_weights_of_a_run_on_other_digits_stay_here(
    weights: Path, hub: Hub, changes: dict[str, Any]
) -> None:
    edit(weights, **changes)
    assert_stays_here(weights, hub, "60,000 training digits, or was not evaluated on its 10,000")


def test_weights_of_another_network_stay_here(weights: Path, hub: Hub) -> None:
    (weights / "model.safetensors").write_bytes(b"no weights")
    edit(weights, sha256=hashlib.sha256(b"no weights").hexdigest())
    with pytest.raises(WeightsError, match="not a safetensors file"):
        push(ACCOUNT, folder=weights)
    assert hub.requests == []


def test_all_the_digits_tell_what_the_sample_does_not(weights: Path, digits: Digits) -> None:
    confusion = torch.diag(torch.tensor(MNIST_TEST))
    edit(weights, accuracy=1.0, confusion=tuple(map(tuple, confusion.tolist())))
    check_weights(weights)
    with pytest.raises(PublishingError, match=r"metrics.json states 100.00%"):
        check_weights(weights, digits)


def test_weights_that_are_not_those_of_this_version_are_not_passed_off_as_such(
    weights: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "weights_directory", lambda: weights)
    with pytest.raises(PublishingError, match="is not the file that this version ships"):
        push(ACCOUNT)
    assert hub.requests == []


# Pushing weights


def test_pushed_weights_come_back_byte_for_byte(weights: Path, hub: Hub, tmp_path: Path) -> None:
    commit = push(ACCOUNT, folder=weights, private=True)
    repository = hub.repositories[f"models/{ACCOUNT}"]
    assert repository.settings["visibility"] == "private"
    assert set(repository.refs) == {"main"}  # the tag is for the weights of this version
    assert received(hub, f"models/{ACCOUNT}", commit) == contents(weights)
    for name in contents(weights):
        path = huggingface_hub.hf_hub_download(ACCOUNT, name, revision=commit)
        assert Path(path).read_bytes() == (weights / name).read_bytes()


def test_pushing_again_leaves_exactly_what_was_pushed(weights: Path, hub: Hub) -> None:
    push(ACCOUNT, folder=weights)
    (weights / "cost.png").rename(weights / "costs.png")
    prepare(weights)
    push(ACCOUNT, folder=weights)
    assert received(hub, f"models/{ACCOUNT}") == contents(weights)


def test_the_command_pushes_the_shipped_weights_tagged_as_this_version(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", ACCOUNT]) == 0
    assert f"{hub.url}/{ACCOUNT} has the weights, at " in capsys.readouterr().out
    assert received(hub, f"models/{ACCOUNT}", REVISION) == contents(WEIGHTS)


def test_an_installed_package_pushes_the_onnx_file_too(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignore = shutil.ignore_patterns("onnx")  # as the wheel does
    installed = shutil.copytree(WEIGHTS, tmp_path / "weights", ignore=ignore)
    monkeypatch.setattr(module, "weights_directory", lambda: installed)
    push(ACCOUNT)
    assert received(hub, f"models/{ACCOUNT}", REVISION) == contents(WEIGHTS)
    assert not (installed / "onnx").exists()


def test_without_the_package_onnx_nothing_is_pushed_in_one_line(
    weights: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(PublishingError, match=r"Install it: pip install onnx$"):
        push(ACCOUNT, folder=weights)
    assert hub.requests == []


def test_a_refused_push_is_one_line(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert main(["push", ACCOUNT]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"Nothing was published to {ACCOUNT}: the Hub asks for a login" in line


# The Space


def test_the_space_is_a_clean_copy_of_what_is_needed(hub: Hub) -> None:
    commit = push_space(ACCOUNT, source=ROOT, hardware="zero-a10g")
    settings = hub.repositories[f"spaces/{ACCOUNT}"].settings
    assert (settings["type"], settings["sdk"]) == ("space", "gradio")
    assert settings["hardware"] == "zero-a10g"
    files = received(hub, f"spaces/{ACCOUNT}", commit)
    assert {"README.md", "app.py", "requirements.txt", "lenet_digits/demo/page.py"} <= set(files)
    assert files["weights/model.safetensors"] == (WEIGHTS / "model.safetensors").read_bytes()
    folders = {name.partition("/")[0] for name in files if "/" in name}
    assert folders == {"lenet_digits", "weights", "examples"}
    assert not [name for name in files if "__pycache__" in name or "/." in name]
    assert not [name for name in files if name.endswith(".onnx")]


def test_a_space_that_must_be_paid_for_is_one_line(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push-space", "me/unpaid", "--source", str(ROOT)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "the Hub asks for money for that hardware; another (zero-a10g) may be free" in line


def test_a_space_is_made_from_a_checkout_alone(tmp_path: Path) -> None:
    with pytest.raises(PublishingError, match=r"lacks README.md: run this in a checkout"):
        copy_space(tmp_path, tmp_path / "space")


def test_the_command_pushes_the_static_site_as_a_static_space(
    hub: Hub, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["push-space", ACCOUNT, "--static"]) == 0
    commit = capsys.readouterr().out.split()[-1].rstrip(".")
    settings = hub.repositories[f"spaces/{ACCOUNT}"].settings
    assert (settings["type"], settings["sdk"]) == ("space", "static")
    files = received(hub, f"spaces/{ACCOUNT}", commit)
    settings = yaml.safe_load(files.pop("README.md").decode().split("---\n")[1])
    assert (settings["sdk"], settings["app_file"]) == ("static", "index.html")
    assert len(settings["short_description"]) <= 60
    assert main(["site", str(tmp_path)]) == 0
    site = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in site}


def test_a_static_space_takes_neither_checkout_nor_hardware(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push-space", ACCOUNT, "--static", "--source", str(ROOT)]) == 1
    assert "leave out --source" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["push-space", ACCOUNT, "--static", "--hardware", "zero-a10g"])
    assert not hub.repositories


# Settings that must agree


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture(scope="module")
def front_matter() -> dict[str, Any]:
    text = (ROOT / "README.md").read_text("utf-8")
    assert text.startswith("---\n")
    return yaml.safe_load(text.split("---\n")[1])


def test_space_and_image_install_what_the_package_wants(project: dict[str, Any]) -> None:
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    space = {line for line in lines if not line.startswith("#")}
    image = set(re.findall(r'"([a-z-]+[<>=].*?)"', (ROOT / "Dockerfile").read_text("utf-8")))
    assert min(len(space), len(image)) >= 5
    assert space | image <= set(project["dependencies"])
    assert not [line for line in space if "gradio" in line]  # a Space installs it by itself


def test_the_space_runs_a_gradio_and_a_python_that_the_package_allows(
    project: dict[str, Any], front_matter: dict[str, Any]
) -> None:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    allowed = {Requirement(line).name: Requirement(line) for line in project["dependencies"]}
    assert front_matter["sdk_version"] in allowed["gradio"].specifier
    assert front_matter["python_version"] in SpecifierSet(project["requires-python"])
    assert front_matter["python_version"] in ("3.10.13", "3.12.12")  # what ZeroGPU has


def test_the_front_matter_is_what_a_space_wants(front_matter: dict[str, Any]) -> None:
    assert front_matter["sdk"] == "gradio"
    assert (ROOT / front_matter["app_file"]).is_file()
    assert len(front_matter["short_description"]) <= 60
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {front_matter["colorFrom"], front_matter["colorTo"]} <= colours
    assert front_matter["models"] == [REPO]
    assert front_matter["license"] == "apache-2.0"


ZERO_GPU = """
import sys, types
decorated = []
sys.modules["spaces"] = types.SimpleNamespace(GPU=lambda function: decorated.append(function))
sys.modules["lenet_digits.demo.server"] = types.SimpleNamespace(launch=None)
import app
print(len(decorated))
"""


@pytest.mark.parametrize(("hardware", "functions"), [({"SPACES_ZERO_GPU": "true"}, 1), ({}, 0)])
def test_the_app_offers_a_gpu_function_on_that_hardware_alone(
    hardware: dict[str, str], functions: int
) -> None:
    output = subprocess.check_output([sys.executable, "-c", ZERO_GPU], cwd=ROOT, env=hardware)
    assert int(output) == functions


# PyPI


def test_pypi_renders_the_description_without_front_matter_and_links_to_nowhere(
    tmp_path: Path,
) -> None:
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    check = [sys.executable, "-m", "twine", "check", "--strict", *tmp_path.iterdir()]
    process = subprocess.run(check, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = BytesParser().parsebytes(archive.read(name))
    description = metadata.get_payload()
    assert description.lstrip().startswith("# lenet-digits\n")
    targets = [part.partition(")")[0] for part in description.split("](")[1:]]
    assert targets
    assert [target for target in targets if not target.startswith(("https://", "http://"))] == []
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert len(metadata.get_all("Project-URL")) >= 3


def test_a_tag_is_published_by_a_workflow_that_holds_no_secret() -> None:
    text = (ROOT / ".github" / "workflows" / "publish.yml").read_text("utf-8")
    workflow = yaml.safe_load(text)
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML reads the key "on" as a boolean
    assert workflow["permissions"] == {"contents": "read"}
    job = workflow["jobs"]["publish"]
    assert (job["needs"], job["permissions"]) == ("build", {"id-token": "write"})
    assert job["steps"][-1]["uses"].startswith("pypa/gh-action-pypi-publish@")
    assert "secrets." not in text
    assert "password" not in text


@pytest.mark.parametrize("name", ["dependabot.yml", "workflows/test.yml", "workflows/publish.yml"])
def test_what_github_reads_is_yaml(name: str) -> None:
    assert yaml.safe_load((ROOT / ".github" / name).read_text("utf-8"))
