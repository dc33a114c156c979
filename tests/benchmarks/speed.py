"""How fast it is, against what else one would do; each row a ratio measured side by side.

The two sides of a row take turns, so that whatever else the machine does hits both. Writes
``results/speed.json``, a row at a time, and the table in ``SPEED.md``. Run it on a quiet machine. A
row says "not measured" where there is no GPU, MNIST or ONNX Runtime (``pip install onnx
onnxruntime``).

python -m tests.benchmarks.speed [--data FOLDER] [--rounds N] [ROW ...]
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
RESULTS = Path(__file__).parent / "results" / "speed.json"
PAGE = Path(__file__).parent / "SPEED.md"
BEGIN, END = "<!-- speed -->", "<!-- /speed -->"
TARGET = 0.9856  # of the test digits read right: what the original project reports

Side = Callable[[], object]
# The command line, and then how much memory it took at most, in MB, of Linux's account.
AND_MEMORY = """
import sys
from pathlib import Path
from lenet_digits.cli.entry import main
code = main()
status = Path("/proc/self/status")
if status.exists():
    print(int(status.read_text().split("VmHWM:")[1].split()[0]) // 1024, file=sys.stderr)
sys.exit(code)
"""


class MissingError(Exception):
    """What a row needs, this machine lacks."""


class Seconds(float):
    """How long something took, where the whole side of a row would be too much."""


# The rows --------------------------------------------------------------------------------------


def epoch(given: argparse.Namespace) -> dict[str, Any]:
    """One epoch of training, 60,000 digits, original recipe, and a look at the test digits."""
    from lenet_digits import train

    usual = UsualScript(given.data)
    digits = mnist(given.data)
    return take_turns(
        lambda: train(digits, epochs=1),
        lambda: usual.epoch() and usual.accuracy(),
        given.rounds or 5,
    )


def target(given: argparse.Namespace) -> dict[str, Any]:
    """From nothing to 98.56% of the test digits."""
    from lenet_digits import train
    from lenet_digits.training.recipes import RECIPES

    digits = mnist(given.data)
    quicker = replace(RECIPES["quick"], epochs=1, batch_size=96, muon=7.0, warmup=0.05)
    seeds = iter(range(1000))
    reached = []

    def ours() -> None:
        reached.append(train(digits, recipe=quicker, seed=next(seeds)).evaluation.accuracy)
        if reached[-1] < TARGET:
            raise SystemExit(f"Our schedule reached only {reached[-1]:.2%}.")

    def theirs() -> None:
        usual = UsualScript(given.data)
        while True:
            usual.epoch()
            if usual.accuracy() >= TARGET:
                return

    result = take_turns(ours, theirs, given.rounds or 3, warm=False)
    return result | {"note": f"ours reached {', '.join(f'{share:.2%}' for share in reached)}"}


def gpu(given: argparse.Namespace) -> dict[str, Any]:
    """An epoch on a GPU, digits resident, against a plain eager loop over the same."""
    import torch
    import torch.nn.functional as F

    from lenet_digits import train
    from lenet_digits.training.evaluation import as_canvases

    if not torch.cuda.is_available():
        raise MissingError("no GPU")
    digits = mnist(given.data)
    images, labels = as_canvases(digits[0].images.cuda()), digits[0].labels.cuda()
    network = usual_network().cuda()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def theirs() -> None:
        for batch in torch.randperm(len(images), device="cuda").split(100):
            optimizer.zero_grad()
            F.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
        torch.cuda.synchronize()

    def ours() -> Seconds:
        run = train(digits, epochs=6, device="cuda")
        return Seconds(statistics.median(record.seconds for record in run.epochs[1:]))

    return take_turns(ours, theirs, given.rounds or 5) | {"note": torch.cuda.get_device_name()}


def forward_1(given: argparse.Namespace) -> dict[str, Any]:
    """The forward pass of 1,000 canvases, one thread."""
    return in_child("forward", given, threads=1)


def forward_2(given: argparse.Namespace) -> dict[str, Any]:
    """The forward pass of 1,000 canvases, two threads."""
    return in_child("forward", given, threads=2)


def forward(given: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    from lenet_digits.reading.prediction import shipped_network

    threads = int(os.environ["OMP_NUM_THREADS"])
    canvases = np.random.default_rng(0).random((1000, 28, 28), np.float32)
    session, network = onnx_session(threads), shipped_network()
    batch = canvases[:, None]
    assert np.abs(session.run(None, {"canvases": batch})[0] - network.logits(canvases)).max() < 1e-4
    return take_turns(
        lambda: network.logits(canvases, threads=threads),
        lambda: session.run(None, {"canvases": batch}),
        given.rounds or 50,
    )


def pad(given: argparse.Namespace) -> dict[str, Any]:
    """`predict()` on the pad's own picture, ink on a transparent layer."""
    return in_child("pad", given, threads=1)


def drawing(given: argparse.Namespace) -> dict[str, Any]:
    return in_child("drawing", given, threads=1)


def photo(given: argparse.Namespace) -> dict[str, Any]:
    return in_child("photo", given, threads=1)


def cell(given: argparse.Namespace) -> dict[str, Any]:
    return in_child("cell", given, threads=1)


def five(given: argparse.Namespace) -> dict[str, Any]:
    """`read()` of five digits on the pad."""
    return in_child("five", given, threads=1)


def page(given: argparse.Namespace) -> dict[str, Any]:
    """`read()` of a photo of a page."""
    return in_child("page", given, threads=1)


def _pad(given: argparse.Namespace) -> dict[str, Any]:
    from lenet_digits import predict

    ours, theirs = layer([7]), opaque(layer([7]))
    return take_turns(lambda: predict(ours), lambda: predict(theirs), given.rounds or 200)


def _against_original(source: bytes, given: argparse.Namespace) -> dict[str, Any]:
    """`predict()` on the bytes of a picture, and the original pipeline on the same."""
    import torch
    from PIL import Image, ImageOps
    from torchvision.transforms.functional import to_tensor

    from lenet_digits import predict

    network = usual_network().eval()

    def original() -> object:
        with Image.open(io.BytesIO(source)) as file:
            picture = file.convert("RGB")
        cropped = ImageOps.fit(picture, (min(picture.size),) * 2).convert("L")
        grey = ImageOps.invert(cropped).resize((28, 28))
        with torch.no_grad():
            return network(to_tensor(grey)[None]).softmax(dim=1).tolist()

    return take_turns(lambda: predict(source), original, given.rounds or 200)


def _drawing(given: argparse.Namespace) -> dict[str, Any]:
    return _against_original(opaque(layer([7])), given)


def _photo(given: argparse.Namespace) -> dict[str, Any]:
    return _against_original((ROOT / "examples" / "7-photo.jpg").read_bytes(), given)


def _cell(given: argparse.Namespace) -> dict[str, Any]:
    return _against_original(boxed(7), given)


def _five(given: argparse.Namespace) -> dict[str, Any]:
    from lenet_digits import predict, read

    number, digit = layer([7, 2, 1, 0, 4]), layer([7])
    assert read(number).text == "72104"
    return take_turns(lambda: read(number), lambda: predict(digit), given.rounds or 100)


def _page(given: argparse.Namespace) -> dict[str, Any]:
    from PIL import Image

    from lenet_digits import read

    photo = lines(4000, 3000)

    def decode() -> object:
        with Image.open(io.BytesIO(photo)) as file:
            return file.load()

    found = read(photo).text.splitlines()
    result = take_turns(lambda: read(photo), decode, given.rounds or 10)
    return result | {
        "note": f"it finds {len(found)} lines of {', '.join(map(str, map(len, found)))} digits"
    }


def numbers(given: argparse.Namespace) -> dict[str, Any]:
    """2,000 pictures of numbers to CSV, on all cores."""
    return to_csv("read", make_numbers, 2_000, "each-number", given)


def each_number(given: argparse.Namespace) -> None:
    """What `numbers` is measured against: one `read()` at a time."""
    from lenet_digits import read

    table = csv.writer(sys.stdout)
    for path in sorted(Path(given.rows[0]).iterdir()):
        table.writerow([path, read(path).text])


def largest(given: argparse.Namespace) -> dict[str, Any]:
    """`read` of the largest picture allowed, and the memory that it takes."""
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder, "largest.jpg")
        picture.write_bytes(lines(8000, 6250))
        command = [sys.executable, "-c", AND_MEMORY]
        small = memory_of([*command, "predict", "examples/4-pencil.png"])
        memory = {name: memory_of([*command, name, str(picture)]) for name in ("predict", "read")}
        decode = f"from PIL import Image; Image.open({str(picture)!r}).load()"
        result = take_turns(
            lambda: spawn([sys.executable, "-m", "lenet_digits", "read", str(picture)]),
            lambda: spawn([sys.executable, "-c", decode]),
            given.rounds or 5,
        )
    note = (
        f"most memory: `read` {memory['read']} MB, `predict` {memory['predict']} MB, of a small "
        f"picture {small} MB"
    )
    return result | {"note": note}


def directory(given: argparse.Namespace) -> dict[str, Any]:
    """10,000 JPEG and PNG pictures to CSV, on all cores."""
    return to_csv("predict", make_pictures, 10_000, "each", given)


def each(given: argparse.Namespace) -> None:
    """What `directory` is measured against: one `predict()` at a time."""
    from lenet_digits import predict

    table = csv.writer(sys.stdout)
    for path in sorted(Path(given.rows[0]).iterdir()):
        table.writerow([path, *predict(path).to_dict().values()])


def shell(given: argparse.Namespace) -> dict[str, Any]:
    """From the shell to an answer: `lenet-digits predict x.png`."""
    answer = [sys.executable, "-m", "lenet_digits", "predict", "examples/4-pencil.png"]
    imports = [sys.executable, "-c", "import torch, torchvision"]
    return take_turns(lambda: spawn(answer), lambda: spawn(imports), given.rounds or 15)


def importing(given: argparse.Namespace) -> dict[str, Any]:
    """`import lenet_digits`."""
    ours, theirs = ([sys.executable, "-c", f"import {name}"] for name in ("lenet_digits", "numpy"))
    return take_turns(lambda: spawn(ours), lambda: spawn(theirs), given.rounds or 15)


ORIGINAL = "the original pipeline: decode, crop, grey, invert, resize, forward"
ROWS: dict[str, tuple[Callable[[argparse.Namespace], dict[str, Any]], str, str, str]] = {
    # name: what measures it, what it is, against what, how many times as fast it should be
    "epoch": (
        epoch,
        "training epoch, 60,000 digits, original recipe, CPU",
        "the usual script: `DataLoader` and `ToTensor`, same network, batch and threads",
        "3",
    ),
    "target": (
        target,
        "to 98.56% of the test digits, CPU",
        "the usual script with the original recipe",
        "10",
    ),
    "gpu": (
        gpu,
        "training epoch on a GPU, digits resident",
        "the same network in plain eager mode, digits resident",
        "10",
    ),
    "forward-1": (forward_1, "forward pass, 1,000 canvases, 1 thread", "ONNX Runtime", "1"),
    "forward-2": (forward_2, "forward pass, 1,000 canvases, 2 threads", "ONNX Runtime", "1"),
    "pad": (
        pad,
        "`predict()` on a drawing as the pad sends it, a PNG with a transparent ground",
        "the same drawing on white",
        "1",
    ),
    "drawing": (drawing, "`predict()` on that drawing on white", ORIGINAL, "0.67"),
    "photo": (photo, "`predict()` on a photo, `examples/7-photo.jpg`", "the same", "0.67"),
    "cell": (cell, "`predict()` on a digit in a printed box, 240×240", "the same", "0.67"),
    "five": (five, "`read()` of five digits on the pad", "`predict()` of one", "0.25"),
    "page": (page, "`read()` of a 12-megapixel JPEG of five lines", "Pillow decodes it", "0.5"),
    "numbers": (
        numbers,
        "2,000 pictures of numbers to CSV, all cores",
        "the same, one `read()` at a time",
        "1.8",
    ),
    "largest": (
        largest,
        "shell to answer, `lenet-digits read` of a JPEG of 50 megapixels",
        "Python and Pillow decode it",
        "-",
    ),
    "directory": (
        directory,
        "10,000 JPEG and PNG pictures to CSV, all cores",
        "the same, one `predict()` at a time",
        "1.8",
    ),
    "shell": (
        shell,
        "shell to answer, `lenet-digits predict x.png`",
        '`python -c "import torch, torchvision"`',
        "1",
    ),
    "import": (importing, "`import lenet_digits`", "`import numpy`", "0.33"),
}
CHILDREN = {
    "forward": forward,
    "pad": _pad,
    "drawing": _drawing,
    "photo": _photo,
    "cell": _cell,
    "five": _five,
    "page": _page,
    "each": each,
    "each-number": each_number,
}


# What they are measured against ----------------------------------------------------------------


def usual_network() -> Any:
    """LeNet-5 as one would write it."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten(),
        nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip


class UsualScript:
    """Training on MNIST as tutorials have it, with the original's recipe."""

    def __init__(self, data: str | None) -> None:
        import torch
        from torch.utils.data import DataLoader
        from torchvision.datasets import MNIST
        from torchvision.transforms import ToTensor

        mnist(data)
        from lenet_digits.training.mnist import default_root

        root = str(data or default_root())
        training, testing = (
            MNIST(root, train=part, transform=ToTensor()) for part in (True, False)
        )
        self.training = DataLoader(training, batch_size=100, shuffle=True)
        self.testing = DataLoader(testing, batch_size=100)
        self.network = usual_network()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        self.cost = torch.nn.CrossEntropyLoss()

    def epoch(self) -> bool:
        self.network.train()
        for images, labels in self.training:
            self.optimizer.zero_grad()
            self.cost(self.network(images), labels).backward()
            self.optimizer.step()
        return True

    def accuracy(self) -> float:
        import torch

        self.network.eval()
        with torch.no_grad():
            right = sum(
                int((self.network(images).argmax(dim=1) == labels).sum())
                for images, labels in self.testing
            )
        return right / len(self.testing.dataset)


def onnx_session(threads: int) -> Any:
    """ONNX Runtime with the shipped weights."""
    try:
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise MissingError(f"no {error.name}") from None
    from safetensors.numpy import load

    from lenet_digits.storage.shipped import shipped_weights

    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    steps: list[tuple[str, str, dict[str, Any]]] = [
        ("Conv", "c1", {"pads": [2] * 4}), ("Tanh", "", {}), ("AveragePool", "", pool),
        ("Conv", "c3", {}), ("Tanh", "", {}), ("AveragePool", "", pool),
        ("Conv", "c5", {}), ("Tanh", "", {}), ("Flatten", "", {}),
        ("Gemm", "f6", {"transB": 1}), ("Tanh", "", {}), ("Gemm", "output", {"transB": 1}),
    ]  # fmt: skip
    names = ["canvases", *(f"x{number}" for number in range(1, len(steps))), "logits"]
    nodes = [
        helper.make_node(
            kind,
            [names[i], *([f"{layer}.weight", f"{layer}.bias"] if layer else [])],
            [names[i + 1]],
            **options,
        )
        for i, (kind, layer, options) in enumerate(steps)
    ]
    graph = helper.make_graph(
        nodes,
        "LeNet5",
        [helper.make_tensor_value_info("canvases", TensorProto.FLOAT, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(value, name) for name, value in load(shipped_weights()).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)


def mnist(data: str | None) -> Any:
    from lenet_digits import DatasetNotFoundError, load_mnist

    try:
        return load_mnist(data, download=False)
    except DatasetNotFoundError:
        raise MissingError("no MNIST") from None


def written(digits: list[int]) -> Any:
    """Test digits side by side, 280 pixels high: how much ink there is, (280, W) uint8."""
    import cv2
    import numpy as np

    from lenet_digits import load_mnist

    test = load_mnist(ROOT / "tests" / "data", download=False)[1]
    images, labels = test.images.numpy(), test.labels.tolist()
    row = np.hstack([images[labels.index(digit)][:, 3:25] for digit in digits])
    return cv2.resize(row, None, fx=10, fy=10, interpolation=cv2.INTER_CUBIC)


def layer(digits: list[int]) -> bytes:
    """Digits as the pad sends them: ink on a transparent layer, a PNG."""
    import numpy as np
    from PIL import Image

    ink = written(digits)
    layer = np.empty((*ink.shape, 4), np.uint8)
    layer[..., :3], layer[..., 3] = (22, 33, 58), ink
    return _encoded(Image.fromarray(layer), "PNG")


def opaque(layer: bytes) -> bytes:
    """A layer on white, a PNG."""
    from PIL import Image

    with Image.open(io.BytesIO(layer)) as ink:
        white = Image.new("RGBA", ink.size, "white")
        return _encoded(Image.alpha_composite(white, ink).convert("RGB"), "PNG")


def boxed(digit: int) -> bytes:
    """A digit in a printed box, 240×240, a PNG."""
    from PIL import Image, ImageDraw, ImageOps

    ink = ImageOps.invert(Image.fromarray(written([digit])))
    cell = Image.new("RGB", (240, 240), (246, 244, 238))
    cell.paste(ink.resize((134, 170)), (53, 35))
    ImageDraw.Draw(cell).rectangle((18, 18, 221, 221), outline=(70, 70, 80), width=4)
    return _encoded(cell, "PNG")


def lines(width: int, height: int) -> bytes:
    """A photo of five lines of six digits, a JPEG."""
    import cv2
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    page = np.full((height, width), 205, np.float32)
    high = height // 10
    for line in range(5):
        ink = written(rng.integers(0, 10, 6).tolist())
        ink = cv2.resize(ink, (round(ink.shape[1] * high / 280), high))
        top, left = round(height * (0.12 + 0.17 * line)), width // 8
        page[top : top + high, left : left + ink.shape[1]] -= ink * np.float32(0.6)
    page += np.linspace(-20, 20, width, dtype=np.float32)  # a shadow
    page += cv2.resize(
        rng.normal(0, 5, (height // 2, width // 2)).astype(np.float32), (width, height)
    )
    colours = np.stack([page + 6, page, page - 10], axis=2).clip(0, 255).astype(np.uint8)
    return _encoded(Image.fromarray(colours), "JPEG", quality=90)


def _encoded(picture: Any, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def make_numbers(folder: Path, count: int) -> None:
    """Drawings of four-digit numbers on white, all of them different."""
    folder.mkdir()
    for number in range(count):
        digits = [(number // 10**place) % 10 for place in range(4)]
        (folder / f"{number:04}.png").write_bytes(opaque(layer(digits)))


def make_pictures(folder: Path, count: int) -> None:
    """Photos of test digits, JPEG and PNG in turn, of 256 to 512 pixels a side."""
    import numpy as np
    from PIL import Image

    from lenet_digits import load_mnist

    images = load_mnist(ROOT / "tests" / "data", download=False)[1].images.numpy()
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        side = 256 + 16 * (number % 17)
        ink = Image.fromarray(images[number % len(images)]).resize((side, side))
        pixels = 200 - np.asarray(ink, np.int16)[:, :, None] * 150 // 255
        pixels = pixels + rng.integers(-9, 9, (side, side, 1)) + np.array([9, 3, -9])
        page = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        page.save(folder / f"{number:05}.{'jpg' if number % 2 else 'png'}", compress_level=1)


# Measuring -------------------------------------------------------------------------------------


def take_turns(ours: Side, theirs: Side, rounds: int, *, warm: bool = True) -> dict[str, Any]:
    """Seconds of each side, round by round; a side may return `Seconds` of its own instead."""
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    sides = {"ours": ours, "theirs": theirs}
    for turn in range(rounds + warm):
        for name, side in sides.items():
            time.sleep(0.05)  # the other side's threads wait busily for a while
            began = time.perf_counter()
            result = side()
            took = time.perf_counter() - began
            if turn or not warm:
                seconds[name].append(float(result) if isinstance(result, Seconds) else took)
    return seconds


def to_csv(
    command: str, make: Callable[[Path, int], None], count: int, child: str,
    given: argparse.Namespace,
) -> dict[str, Any]:  # fmt: skip
    """A command on a folder of pictures, against `child`, which takes them one at a time."""
    with tempfile.TemporaryDirectory() as folder:
        pictures, out = Path(folder, "pictures"), Path(folder, "answers.csv")
        make(pictures, count)
        some = sorted(pictures.iterdir())[: count // 10]
        words = [sys.executable, "-c", AND_MEMORY, command, "--csv"]
        memory = [memory_of([*words, *map(str, some)], out), ""]

        def ours() -> None:
            memory[1] = memory_of([*words, str(pictures)], out)

        def theirs() -> None:
            module = "tests.benchmarks.speed"
            spawn([sys.executable, "-m", module, "--child", child, str(pictures)], out)

        result = take_turns(ours, theirs, given.rounds or 1, warm=False)
    note = "most memory that the command takes {} MB, with a tenth of the pictures {} MB"
    return result | {"note": note.format(memory[1], memory[0]), "cores": os.cpu_count()}


def in_child(name: str, given: argparse.Namespace, *, threads: int) -> dict[str, Any]:
    """A row in a process of its own, with so many threads."""
    count = str(threads)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    rounds = ["--rounds", str(given.rounds)] if given.rounds else []
    child = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.speed", "--child", name, *rounds],
        env=os.environ | dict.fromkeys(names, count),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(child.stdout)
    if "lacks" in result:
        raise MissingError(result["lacks"])
    return result


def spawn(command: list[str], out: Path | None = None) -> str:
    """Run a command to its end; what it says on stderr."""
    with (out or Path(os.devnull)).open("w") as file:
        done = subprocess.run(
            command, cwd=ROOT, stdout=file, stderr=subprocess.PIPE, text=True, check=False
        )
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:6])} ended with {done.returncode}: {done.stderr}")
    return done.stderr.strip()


def memory_of(command: list[str], out: Path | None = None) -> str:
    """Run `AND_MEMORY`; its last line on stderr, MB."""
    return spawn(command, out).splitlines()[-1]


def machine() -> dict[str, Any]:
    """Where it was measured, with what."""
    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((li.split(":")[1].strip() for li in lines if li.startswith("model name")), cpu)
    packages = ("torch", "torchvision", "numpy", "opencv-python-headless", "onnxruntime")
    versions = {"python": platform.python_version()}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "?"
    return {"cpu": cpu, "cores": os.cpu_count(), "load": load, "versions": versions}


def table(results: dict[str, dict[str, Any]]) -> list[str]:
    """The results as a table in Markdown, with what they were measured on below."""
    lines = [
        "| What | Against | Ours | Theirs | Times as fast | Spread | Goal |",
        "| --- | --- | --: | --: | --: | --- | --: |",
    ]
    notes = []
    for name, (_, what, against, goal) in ROWS.items():
        result = results.get(name, {"lacks": "not run"})
        if "lacks" in result:
            lines.append(f"| {what} | {against} | | | not measured: {result['lacks']} | | {goal} |")
            continue
        ours, theirs = (statistics.median(result[side]) for side in ("ours", "theirs"))
        ratios = sorted(b / a for a, b in zip(result["ours"], result["theirs"], strict=True))
        low, high = ratios[len(ratios) // 10], ratios[-1 - len(ratios) // 10]
        spread = f"{low:.2f} to {high:.2f}, n = {len(ratios)}"
        lines.append(
            f"| {what} | {against} | {_duration(ours)} | {_duration(theirs)} | "
            f"**{theirs / ours:.2f}** | {spread} | {goal} |"
        )
        if note := result.get("note"):
            notes.append(f"- {what}: {note}.")
    where = [
        f"- {', '.join(names)}: {setting}"
        for setting, names in _by_machine(results).items()
    ]  # fmt: skip
    return [*lines, "", *notes, *where]


def _by_machine(results: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, result in results.items():
        if "machine" in result:
            about = result["machine"]
            versions = ", ".join(f"{key} {value}" for key, value in about["versions"].items())
            setting = (
                f"{about['cpu']}, {about['cores']} cores, load {about['load']} before; {versions}."
            )
            found.setdefault(setting, []).append(name)
    return found


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def write(results: dict[str, dict[str, Any]]) -> None:
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    before, after = page.partition(BEGIN)[0], page.partition(END)[2]
    PAGE.write_text("\n".join([before + BEGIN, *table(results), END]) + after, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", help=f"of {', '.join(ROWS)}; all by default")
    parser.add_argument("--data", help="folder of MNIST")
    parser.add_argument("--rounds", type=int, help="how often the two sides take turns")
    parser.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        try:
            result = CHILDREN[given.child](given)
        except MissingError as error:
            result = {"lacks": str(error)}
        if result is not None:
            print(json.dumps(result))
        return
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in given.rows or ROWS:
        about = machine()
        try:
            results[name] = ROWS[name][0](given) | {"machine": about}
        except MissingError as error:
            results[name] = {"lacks": str(error)}
        ordered = {row: results[row] for row in ROWS if row in results}
        write(ordered)
        print(f"{name} done", file=sys.stderr)
    print("\n".join(table(ordered)))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    main()
