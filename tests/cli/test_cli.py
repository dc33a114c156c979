"""The commands besides `predict` and `read`, bad usage, and failures as one clear line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lenet_digits.cli import entry
from lenet_digits.model import load_model, save_weights
from lenet_digits.reading.canvas import METHODS
from lenet_digits.training.recipes import RECIPES

DATA = str(Path(__file__).parents[1] / "data")
SEVEN = str(Path(__file__).parents[2] / "examples" / "7-photo.jpg")
TRAIN = ["train", "--data", DATA, "--limit", "200", "--epochs", "2"]
COMMAND = [sys.executable, "-m", "lenet_digits"]


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def complaints(capsys):
    return capsys.readouterr().err.splitlines()


# train, evaluate, samples, app


def test_a_run_leaves_weights_metrics_and_both_curves(capsys):
    assert entry.main([*TRAIN, "--output", "run", "--pth", "--device", "cpu"]) == 0
    out, _ = capsys.readouterr()
    files = ["accuracy.png", "cost.png", "metrics.json", "model.pth", "model.safetensors"]
    assert set(files) <= {path.name for path in Path("run").iterdir()}
    assert all(name in out for name in files)
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert out.startswith(f"{metrics['accuracy']:.2%} of the test digits read right")
    safe, pickled = (load_model(f"run/model.{suffix}") for suffix in ("safetensors", "pth"))
    assert torch.equal(safe.output.weight, pickled.output.weight)


def test_a_run_is_named_after_its_recipe_and_seed_and_is_never_overwritten(capsys):
    assert entry.main([*TRAIN, "--seed", "3"]) == 0
    assert Path("runs/original-seed3/model.safetensors").exists()
    assert entry.main([*TRAIN, "--seed", "3"]) == 1
    assert "--resume" in complaints(capsys)[-1]
    assert entry.main([*TRAIN, "--seed", "3", "--resume"]) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_an_interrupted_run_says_how_to_continue():
    with subprocess.Popen(
        [*COMMAND, *TRAIN[:-1], "1000", "--output", "my run"], stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as run:  # fmt: skip
        assert run.stderr is not None
        assert run.stderr.readline().startswith("epoch 1:")
        run.send_signal(signal.SIGINT)
        last = run.stderr.read().splitlines()[-1]
    assert run.returncode == 130
    assert last.startswith("lenet-digits: Interrupted.")
    assert last.endswith("--output 'my run' --resume")


def test_evaluate_prints_the_accuracy_and_draws_figures(capsys):
    torch.manual_seed(0)
    from lenet_digits import LeNet5, evaluate, load_mnist

    model = LeNet5().eval()
    save_weights(model, "untrained.safetensors")
    result = evaluate(model, load_mnist(DATA)[1])
    words = ["evaluate", "--weights", "untrained.safetensors", "--data", DATA, "--output", "drawn"]
    assert entry.main(words) == 0
    assert f"{result.accuracy:.2%} of {result.count} test digits" in capsys.readouterr().out
    assert {path.stem for path in Path("drawn").glob("*.png")} == {
        "confusion", "mistakes", "reliability",
    }  # fmt: skip


def test_samples_draws_a_grid_of_either_split(capsys):
    assert entry.main(["samples", "--data", DATA, "--split", "test", "--count", "12"]) == 0
    assert entry.main(["samples", "--data", DATA, "--output", "train.png", "--seed", "1"]) == 0
    assert Path("samples.png").read_bytes() != Path("train.png").read_bytes()


def test_app_passes_on_only_what_was_given(monkeypatch):
    given = []
    server = type(sys)("lenet_digits.demo.server")  # the true one imports Gradio
    server.launch = lambda **options: given.append(options)
    monkeypatch.setitem(sys.modules, "lenet_digits.demo.server", server)
    assert entry.main(["app"]) == 0
    assert entry.main(["app", "--host", "0.0.0.0", "--port", "80", "--share"]) == 0
    assert given == [{}, {"host": "0.0.0.0", "port": 80, "share": True}]


# The whole


def test_ctrl_c_is_one_line_without_a_traceback(capsys, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lenet_digits.cli.rows.pages_of", interrupt)
    assert entry.main(["predict", SEVEN]) == 130
    assert complaints(capsys) == ["lenet-digits: Interrupted."]


@pytest.mark.parametrize(
    "words",
    [[], ["predict"], ["predict", "--json", "--csv", "x"], ["train", "--recipe", "mine"],
     ["predict", "x", "--explain", "steps.doc"], ["train", "--epochs", "many"],
     ["predict", "--jobs", "0", "x"], ["predict", "--jobs", "x", "x"],
     ["read", "x", "--review", "sheet.csv"],
     *[["read", "x", f"--at-least={share}"] for share in ("1.5", "-1", "nan", "much")],
     *[["app", "--port", port] for port in ("65536", "0", "-1", "web")]],
)  # fmt: skip
def test_bad_usage_ends_with_code_2(words, capsys):
    with pytest.raises(SystemExit) as end:
        entry.main(words)
    assert end.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["predict", "x", "--weights", "none.pth"], "none.pth"),
        (["predict", ""], "paths is empty"),
        ([*TRAIN, "--epochs", "0"], "epochs is 0"),
        ([*TRAIN, "--device", "nonsense"], "'nonsense' cannot be used here"),
        ([*TRAIN, "--output", "file/below"], "file"),
        (["samples", "--data", DATA, "--output", "file/below.png"], "file"),
        (["samples", "--data", DATA, "--count", "0"], "must be from 1 to 1000"),
    ],
)
def test_every_other_failure_is_one_clear_line_and_code_1(words, reason, capsys):
    Path("file").touch()
    assert entry.main(words) == 1
    (line,) = complaints(capsys)
    assert line.startswith("lenet-digits: ")
    assert reason in line


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_the_command_ends_in_silence_if_its_output_is_closed(jobs):
    with subprocess.Popen(
        [*COMMAND, "predict", "--jobs", jobs, *[SEVEN] * 3],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as run:  # fmt: skip
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        assert run.stderr.read() == ""
    assert run.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line():
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [*COMMAND, "predict", SEVEN], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert result.returncode == 1
    assert result.stderr == "lenet-digits: No space left on device\n"


def test_the_choices_are_those_of_the_functions():
    for option, choices in (("method", METHODS), ("recipe", RECIPES)):
        for choice in choices:
            command = ["predict", "x"] if option == "method" else ["train"]
            words = [*command, f"--{option}", choice]
            assert getattr(entry.build_parser().parse_args(words), option) == choice
