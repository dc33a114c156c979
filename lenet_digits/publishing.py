"""Writes the model card, checks the weights, and uploads weights and app to the Hub.

A folder of weights becomes a repository on the Hub. It contains these files:

- ``model.safetensors`` and ``config.json``, the weights and the sizes of the network
- ``metrics.json``, the figures that training wrote
- ``sample.png``, some test digits to check the weights with
- ``README.md``, the model card, made from the metrics
- ``onnx/model.onnx``, made from the weights; the installed package does not contain it
- figures as PNG files
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from os import PathLike
from pathlib import Path

import jinja2
import numpy as np
import torch
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from PIL import Image

from lenet_digits.model import CONFIG, CONFIG_FILE, NUM_CLASSES, LeNet5, tensors_of
from lenet_digits.onnx_file import ONNX_FILE, OPSET, onnx_of
from lenet_digits.reading.framing import IMAGE_SIZE
from lenet_digits.storage.files import write_atomically
from lenet_digits.storage.hub import upload
from lenet_digits.storage.shipped import (
    REPO,
    REVISION,
    SHIPPED_SHA256,
    WEIGHTS_FILE,
    weights_directory,
)
from lenet_digits.training.evaluation import evaluate, wilson
from lenet_digits.training.metrics import METRICS_FILE, Metrics, MetricsError, Sample, Share
from lenet_digits.training.mnist import Digits
from lenet_digits.training.recipes import RECIPES

CARD_FILE = "README.md"
SAMPLE_FILE = "sample.png"
RELIABILITY_FILE = "reliability.png"
REQUIRED_FILES = (CARD_FILE, CONFIG_FILE, METRICS_FILE, WEIGHTS_FILE, SAMPLE_FILE, ONNX_FILE)
# A Space consists of these. It installs requirements.txt and finds the package beside app.py.
SPACE_FILES = ("README.md", "app.py", "requirements.txt")
SPACE_FOLDERS = ("lenet_digits", "weights", "examples")
LEFT_OUT = ("__pycache__", "*.pyc", "*.pyi", ".*", "onnx")
# The README.md of a static Space holds its settings.
STATIC_SPACE = f"""---
title: lenet-digits
emoji: ✍️
colorFrom: green
colorTo: gray
sdk: static
app_file: index.html
short_description: LeNet-5 of 1998 reads digits, all in your browser
license: apache-2.0
models:
  - {REPO}
datasets:
  - ylecun/mnist
tags:
  - mnist
  - lenet
  - handwriting
  - image-classification
---

This is the page of [lenet-digits](https://github.com/lenet-digits/lenet-digits) without a server.
The visitor's browser reads the pictures itself and sends them to nobody. `lenet-digits site` makes
this page.
"""
PREPARE = "Make it again with lenet_digits.publishing.prepare."
# An accuracy may differ by this share between machines: rounding decides near-ties, 2 of 10,000.
NEAR_TIES = 2e-4


class PublishingError(ValueError):
    """Weights that differ from what their files state, or an app of which files are missing."""


def read_sample(path: str | PathLike[str]) -> Digits:
    """The digits on a sheet: ten rows, one for each digit 0 to 9; a digit has 28 x 28 pixels.

    Raises PublishingError where the picture has another size.
    """
    with Image.open(path) as picture:
        sheet = np.array(picture.convert("L"))  # (280, 28 * columns) uint8
    columns = sheet.shape[1] // IMAGE_SIZE
    if sheet.shape != (NUM_CLASSES * IMAGE_SIZE, columns * IMAGE_SIZE) or not columns:
        raise PublishingError(f"{path} is not a sheet of ten rows of {IMAGE_SIZE}-pixel digits.")
    tiles = sheet.reshape(NUM_CLASSES, IMAGE_SIZE, columns, IMAGE_SIZE).swapaxes(1, 2)
    images = torch.from_numpy(tiles.reshape(-1, IMAGE_SIZE, IMAGE_SIZE).copy())
    return Digits(images, torch.arange(NUM_CLASSES).repeat_interleave(columns))


def write_sample(digits: Digits, path: str | PathLike[str], *, columns: int = 20) -> None:
    """Write the first ``columns`` digits of each kind as a sheet for `read_sample`."""
    rows = [
        torch.cat(list(digits.images[digits.labels == digit][:columns]), dim=1)
        for digit in range(NUM_CLASSES)
    ]
    Image.fromarray(torch.cat(rows).numpy()).save(path, optimize=True)


def prepare(folder: str | PathLike[str] | None = None) -> None:
    """Complete a folder of weights, metrics and sample, so that it can be published.

    Writes ``config.json``, the ONNX file and the model card. Adds the weights' SHA-256 and their
    errors on the sample to ``metrics.json``. The default folder is that of the shipped weights.
    """
    home = Path(folder) if folder is not None else weights_directory()
    metrics = _read_metrics(home)
    model = LeNet5.from_pretrained(home)
    _write_onnx(model, home)
    result = evaluate(model, read_sample(home / SAMPLE_FILE))
    metrics = replace(
        metrics,
        sha256=hashlib.sha256((home / WEIGHTS_FILE).read_bytes()).hexdigest(),
        sample=Sample(count=result.count, errors=result.errors),
    )
    metrics.write(home / METRICS_FILE)
    write_atomically(home / CONFIG_FILE, (json.dumps(CONFIG, indent=2) + "\n").encode())
    write_atomically(home / CARD_FILE, model_card(metrics, figures=_figures(home)).encode())


def check_weights(folder: str | PathLike[str], digits: Digits | None = None) -> Metrics:
    """Check that the files in a folder of weights agree with each other; returns the metrics.

    Args:
        folder: the folder with the weights.
        digits: MNIST's test digits, to check the stated accuracy with. Without them, only the
            sample in the folder is read.

    Raises:
        PublishingError: a file is missing, does not belong there, or states something wrong. The
            message says which.
        WeightsError: the weights are not LeNet-5's.
    """
    home = Path(folder)
    for name in REQUIRED_FILES:
        if not (home / name).is_file():
            raise PublishingError(f"{home} lacks {name}.")
    belonging = {*REQUIRED_FILES, *_figures(home), Path(ONNX_FILE).parent.name}
    for path in sorted(home.rglob("*")):
        if path.relative_to(home).as_posix() not in belonging:
            raise PublishingError(f"{path} does not belong to the weights. Move it elsewhere.")
    metrics = _read_metrics(home)
    actual = hashlib.sha256((home / WEIGHTS_FILE).read_bytes()).hexdigest()
    if metrics.sha256 != actual:
        raise PublishingError(
            f"{home / METRICS_FILE} was not measured with {WEIGHTS_FILE}: it states the SHA-256 "
            f"{metrics.sha256 or 'of no file'}, and the file's is {actual}."
        )
    if not _is_our_config(home / CONFIG_FILE):
        raise PublishingError(f"{home / CONFIG_FILE} does not describe LeNet-5. {PREPARE}")
    if (home / CARD_FILE).read_text("utf-8") != model_card(metrics, figures=_figures(home)):
        raise PublishingError(
            f"{home / CARD_FILE} does not say what {METRICS_FILE} says. {PREPARE}"
        )
    model = LeNet5.from_pretrained(home)
    result = evaluate(model, read_sample(home / SAMPLE_FILE))
    if metrics.sample != Sample(result.count, result.errors):
        stated = metrics.sample
        raise PublishingError(
            f"{WEIGHTS_FILE} reads {result.errors} of the {result.count} digits in {SAMPLE_FILE} "
            f"wrong; {METRICS_FILE} states "
            f"{f'{stated.errors} of {stated.count}' if stated else 'nothing of them'}."
        )
    if (home / ONNX_FILE).read_bytes() != _onnx(model):
        raise PublishingError(f"{home / ONNX_FILE} was not made from {WEIGHTS_FILE}. {PREPARE}")
    if digits is not None:
        measured = evaluate(model, digits)
        if abs(measured.accuracy - metrics.accuracy) > NEAR_TIES:
            raise PublishingError(
                f"{WEIGHTS_FILE} reads {measured.accuracy:.2%} of the test digits right; "
                f"{METRICS_FILE} states {metrics.accuracy:.2%}."
            )
    return metrics


def push(
    repo: str,
    *,
    folder: str | PathLike[str] | None = None,
    digits: Digits | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
) -> str:
    """Check a folder of weights and upload it to a model repository on the Hub.

    Other files in the repository are deleted. The commit is tagged with the version of this package
    if the weights are those that this version ships.

    Args:
        repo: "owner/name"; created if it does not exist.
        folder: the folder with the weights; the shipped weights by default.
        digits: see `check_weights`.
        private: whether to make a new repository private.
        token: a token that may write there. The default is the one that ``hf auth login`` stored.

    Returns:
        The commit's hash.

    Raises:
        PublishingError, WeightsError: see `check_weights`; nothing was uploaded.
        HubError: the Hub cannot be reached or refuses.
    """
    home = Path(folder) if folder is not None else weights_directory()
    with tempfile.TemporaryDirectory() as scratch:
        if folder is None and not (home / ONNX_FILE).is_file():  # the installed package lacks it
            home = Path(shutil.copytree(home, Path(scratch, home.name)))
            _write_onnx(LeNet5.from_pretrained(home), home)
        metrics = check_weights(home, digits)
        if not (metrics.trained_on_mnist and metrics.tested_on_mnist):
            raise PublishingError(
                f"{home / METRICS_FILE} is of a run that did not train on all of MNIST's 60,000 "
                "training digits, or was not evaluated on its 10,000 test digits. Train without "
                "limit and holdout (--limit, --holdout), then push that run."
            )
        shipped = metrics.sha256 == SHIPPED_SHA256
        if folder is None and not shipped:
            raise PublishingError(f"{home / WEIGHTS_FILE} is not the file that this version ships.")
        return upload(
            home,
            repo,
            private=private,
            token=token,
            message=f"LeNet-5, {metrics.accuracy:.2%} of MNIST's test digits",
            tag=REVISION if shipped else None,
            exact=True,
        )


def copy_space(source: str | PathLike[str], target: str | PathLike[str]) -> None:
    """Copy the files of a Space, and no others, from a checkout into an empty folder.

    Raises PublishingError where one is missing.
    """
    for name in (*SPACE_FILES, *SPACE_FOLDERS, f"weights/{WEIGHTS_FILE}"):
        if not Path(source, name).exists():
            raise PublishingError(f"{source} lacks {name}: run this in a checkout of the project.")
    for name in SPACE_FILES:
        shutil.copy(Path(source, name), target)
    for name in SPACE_FOLDERS:
        ignore = shutil.ignore_patterns(*LEFT_OUT)
        shutil.copytree(Path(source, name), Path(target, name), ignore=ignore)


def push_space(
    repo: str,
    *,
    source: str | PathLike[str] = ".",
    private: bool | None = None,
    hardware: str | None = None,
    token: str | bool | None = None,
) -> str:
    """Upload the app to a Space on the Hub; returns the commit's hash.

    It uploads README.md, app.py, requirements.txt and the folders lenet_digits, weights and
    examples, and nothing else.

    Args:
        repo: "owner/name"; created if it does not exist.
        source: a checkout of the project.
        private: whether to make a new Space private.
        hardware: for a new Space, as the Hub names it, for example "zero-a10g".
        token: a token that may write there. The default is the one that ``hf auth login`` stored.

    Raises:
        PublishingError: a file is missing in the source.
        HubError: the Hub cannot be reached or refuses.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy_space(source, folder)
        return upload(
            Path(folder),
            repo,
            repo_type="space",
            private=private,
            hardware=hardware,
            token=token,
            message=f"lenet-digits {REVISION}",
            exact=True,
        )


def push_static_space(
    repo: str, *, private: bool | None = None, token: str | bool | None = None
) -> str:
    """Upload the static site to a Space on the Hub; returns the commit's hash.

    Visitors' browsers read the pictures themselves; see `lenet_digits.demo.site`.

    Args:
        repo: "owner/name"; created if it does not exist.
        private: whether to make a new Space private.
        token: a token that may write there. The default is the one that ``hf auth login`` stored.

    Raises HubError where the Hub cannot be reached or refuses.
    """
    from lenet_digits.demo.site import write_site

    with tempfile.TemporaryDirectory() as folder:
        write_site(folder)
        Path(folder, "README.md").write_text(STATIC_SPACE, encoding="utf-8")
        return upload(
            Path(folder),
            repo,
            repo_type="space",
            sdk="static",
            private=private,
            token=token,
            message=f"lenet-digits {REVISION}",
            exact=True,
        )


def _figures(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.png") if path.name != SAMPLE_FILE)


def _onnx(model: LeNet5) -> bytes:
    """The content of the ONNX file. Raises PublishingError where the package onnx is missing."""
    tensors = {name: tensor.numpy() for name, tensor in tensors_of(model).items()}
    try:
        return onnx_of(tensors, sees_nondigits=model.sees_nondigits)
    except ModuleNotFoundError as error:
        raise PublishingError(
            f"{ONNX_FILE} cannot be made or checked without the package onnx. Install it: "
            "pip install onnx"
        ) from error


def _write_onnx(model: LeNet5, folder: Path) -> None:
    path = folder / ONNX_FILE
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, _onnx(model))


def _read_metrics(folder: Path) -> Metrics:
    try:
        return Metrics.read(folder / METRICS_FILE)
    except MetricsError as error:
        raise PublishingError(str(error)) from error


def _is_our_config(path: Path) -> bool:
    try:
        return bool(json.loads(path.read_text("utf-8")) == CONFIG)
    except (ValueError, RecursionError):
        return False


# The model card --------------------------------------------------------------------------------


def model_card(metrics: Metrics, *, figures: Sequence[str] = ()) -> str:
    """The model card in Markdown: the template ``model_card.md.jinja``, filled from the metrics.

    Args:
        metrics: parts of the card about figures that were not measured are left out.
        figures: names of PNG files beside the card, which it shows.
    """
    recipe = metrics.recipe
    whole = metrics.trained_on_mnist and metrics.tested_on_mnist
    names = [name for name, known in RECIPES.items() if known == recipe]
    own = {_tested_on(metrics): Share(metrics.accuracy, metrics.count)} if metrics.count else {}
    text = _template().render(
        yaml=_card_data(metrics).to_yaml(),
        metrics=metrics,
        figures=figures,
        repo=REPO,
        opset=OPSET,
        tested_on=_tested_on(metrics),
        recipe_name=names[0] if names and whole else None,
        accuracies=own | metrics.real_input,
        others={name: results for name, results in metrics.others.items() if results},
        settings=asdict(recipe) | {"seed": metrics.seed},
        weaknesses=weaknesses(metrics),
        thousands="{:,}".format,
        percent=_percent,
        interval=_interval,
        words=_words,
    )
    return str(ModelCard(text))  # which checks the YAML


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # it is Markdown
    )
    return environment.get_template("model_card.md.jinja")


def _card_data(metrics: Metrics) -> ModelCardData:
    """The YAML of the card. It states an accuracy only if that is on MNIST's test digits."""
    accuracy = EvalResult(
        task_type="image-classification",
        task_name="Handwritten digit recognition",
        dataset_type="ylecun/mnist",
        dataset_name="MNIST",
        dataset_split="test",
        metric_type="accuracy",
        metric_name="Accuracy",
        metric_value=metrics.accuracy,
    )
    stated = metrics.tested_on_mnist
    return ModelCardData(
        model_name="LeNet-5" if stated else None,
        eval_results=[accuracy] if stated else None,
        license="apache-2.0",
        library_name="lenet-digits",
        pipeline_tag="image-classification",
        datasets=["ylecun/mnist"],
        metrics=["accuracy"],
        tags=[
            *("lenet", "lenet-5", "mnist", "handwriting", "digit-recognition"),
            *("pytorch", "onnx", "safetensors"),
        ],
    )


def _tested_on(metrics: Metrics) -> str:
    if metrics.tested_on_mnist:
        return f"MNIST's {metrics.count:,} test digits"
    if metrics.holdout:
        return metrics.evaluated_on
    return f"{metrics.count:,} test digits other than MNIST's"


def weaknesses(metrics: Metrics) -> list[str]:
    """Sentences about the mistakes that the metrics contain; as many as there are kinds of them."""
    found = []
    if metrics.real_input:
        lowest = sorted(metrics.real_input.items(), key=lambda item: item[1].accuracy)[:4]
        shares = (
            f"{what.partition(': ')[2] or what} ({result.accuracy:.1%})" for what, result in lowest
        )
        found.append(f"The sets it reads worst: {'; '.join(shares)}.")
    if metrics.misses:
        each = (
            f"{miss.digit} as {miss.read_as} ({miss.count} of {miss.of})"
            for miss in metrics.misses
            if miss.read_as is not None
        )
        found.append(f"What it takes for what, on real input: {', '.join(each)}.")
    if refusal := metrics.refusal:
        kinds = {k: v for k, v in refusal.items() if k not in ("all", "digits", "AUROC") and v < 1}
        worst = sorted(kinds.items(), key=lambda item: item[1])[:4]
        shares = (f"{_words(kind).replace('-', ' ')} {1 - share:.0%}" for kind, share in worst)
        found.append(f"Pictures of other things that it takes for digits: {', '.join(shares)}.")
    if metrics.mnist_c:
        worst_kinds = sorted((r.pipeline, _words(kind)) for kind, r in metrics.mnist_c.items())[:3]
        shares = (f"{kind} ({share:.1%})" for share, kind in worst_kinds)
        found.append(f"MNIST-C's corruptions that it minds most: {', '.join(shares)}.")
    return found


def _percent(share: float, digits: int) -> str:
    return f"{100 * share:.{digits}f} %"


def _interval(result: Share, digits: int) -> str:
    """The 95 % interval of an accuracy, in per cent."""
    low, high = wilson(round(result.accuracy * result.count), result.count)
    return f"{100 * low:.{digits}f} to {100 * high:.{digits}f}"


def _words(name: str) -> str:
    return name.replace("_", " ")
