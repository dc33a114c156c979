"""The command line keeps its promises: answers, exit codes, one clear line for every failure."""

from __future__ import annotations

import contextlib
import csv
import inspect
import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from PIL import Image

from lenet_digits import __version__
from lenet_digits.cli import entry, experiments, predicting, workers
from lenet_digits.model import load_model, save_weights
from lenet_digits.reading.canvas import METHODS, canvas_steps
from lenet_digits.training.loop import train
from lenet_digits.training.recipes import RECIPES

DATA = str(Path(__file__).parents[1] / "data")
EXAMPLES = Path(__file__).parents[2] / "examples"
SEVEN = EXAMPLES / "7-photo.jpg"
TRAIN = ["train", "--data", DATA, "--limit", "200", "--epochs", "2"]


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def command(*words, **options):
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "lenet_digits", *map(str, words)],
        capture_output=True, text=True, timeout=120, check=False, **options,
    )  # fmt: skip


def complaints(capsys):
    return capsys.readouterr().err.splitlines()


# predict


def test_predict_prints_the_digit_and_the_path_of_each_picture(capsys):
    assert entry.main(["predict", str(SEVEN)]) == 0
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.split() == ["digit", "confidence", "picture"]
    assert re.fullmatch(r" +7 +(> )?\d+\.\d %  .*7-photo\.jpg", line)


def test_a_directory_stands_for_the_pictures_in_it_sorted_by_name(tmp_path, capsys):
    for name in ("b.jpg", "a.JPG", "._a.jpg", "c.txt"):
        shutil.copy(SEVEN, tmp_path / name)
    (tmp_path / "deeper").mkdir()
    assert entry.main(["predict", "--json", "."]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [answer["path"] for answer in answers] == [f".{os.sep}a.JPG", f".{os.sep}b.jpg"]


def test_json_and_csv_hold_all_ten_probabilities(capsys):
    assert entry.main(["predict", "--json", str(SEVEN)]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert entry.main(["predict", "--csv", str(SEVEN)]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert answer["digit"] == int(row["digit"]) == 7
    assert answer["path"] == row["path"] == str(SEVEN)
    assert answer["probabilities"] == [float(row[f"p{digit}"]) for digit in range(10)]
    assert sum(answer["probabilities"]) == pytest.approx(1)


def test_a_bad_file_is_one_line_on_stderr_and_does_not_stop_the_rest(tmp_path, capsys):
    (tmp_path / "text.png").write_text("no picture")
    bad = ["text.png", "missing.png", "-"]
    assert entry.main(["predict", "--json", *bad, str(SEVEN)]) == 1
    out, err = capsys.readouterr()
    assert [answer["digit"] for answer in json.loads(out)] == [None, None, None, 7]
    *lines, total = err.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [["lenet-digits", b] for b in bad]
    assert "1 read, 0 refused (not a digit), 0 blank, 3 unreadable" in total


def test_a_directory_without_pictures_is_a_failure_that_says_so(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert entry.main(["predict", "--json", "empty"]) == 1
    out, err = capsys.readouterr()
    assert [(row["path"], row["status"]) for row in json.loads(out)] == [("empty", "unreadable")]
    assert "no pictures" in err


def test_a_dash_reads_standard_input():
    with SEVEN.open("rb") as file:
        result = command("predict", "--json", "-", stdin=file)
    assert [answer["digit"] for answer in json.loads(result.stdout)] == [7]


def test_what_is_no_digit_is_said_to_be_none(capsys, monkeypatch):
    doubtful = cli_prediction(outlier_score=1.5)
    monkeypatch.setattr("lenet_digits.reading.prediction.predict_steps", lambda *_, **__: doubtful)
    assert entry.main(["predict", str(SEVEN)]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.startswith("    - ")
    assert line.endswith("(not a digit; closest: 7)")


def cli_prediction(outlier_score):
    from lenet_digits.reading.prediction import Prediction

    return Prediction((0.0,) * 7 + (1.0, 0.0, 0.0), outlier_score)


@pytest.mark.parametrize("form", ["--csv", "--json", "--explain=steps.png"])
def test_a_file_name_cannot_steer_the_terminal(form, capsys):
    name = "a\x1b[31m\n\u202e\udcff\x9b$x$.jpg"
    shutil.copy(SEVEN, name)
    assert entry.main(["predict", form, name, "missing\x1b\n"]) == 1
    for text in capsys.readouterr():
        assert text.replace("\n", "").isprintable()
        assert text.isascii()
    assert len(capsys.readouterr().err.splitlines()) <= 1


@pytest.mark.parametrize(
    "name", ["=1+1.jpg", "+1.jpg", "@sum.jpg", "-1.jpg", "a;=1+1.jpg", "\t=1.jpg"]
)
def test_a_file_name_cannot_become_a_formula_in_a_spreadsheet(name, capsys):
    shutil.copy(SEVEN, name)
    assert entry.main(["predict", "--csv", "--", name]) == 0
    text = capsys.readouterr().out
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["path"][0] in "./\\a"
    assert text.splitlines()[1].startswith(f'"{row["path"]}",')  # quoted, whatever the separator


def test_an_explanation_is_drawn_for_each_picture_that_could_be_read(capsys):
    assert (
        entry.main(["predict", str(SEVEN), "missing", str(SEVEN), "--explain", "new/steps.png"])
        == 1
    )
    with Image.open("new/steps.png") as figure:
        assert figure.height > 500  # two rows


def test_the_plain_crop_can_be_chosen(capsys):
    assert entry.main(["predict", "--method", "center-crop", "--json", str(SEVEN)]) == 0
    (cropped,) = json.loads(capsys.readouterr().out)
    assert entry.main(["predict", "--json", str(SEVEN)]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert cropped["probabilities"] != found["probabilities"]


# predict, in several processes


@pytest.fixture
def many(tmp_path):
    """A folder with so many pictures that all cores read them; one is damaged, one blank."""
    for number in range(predicting.MANY):
        shutil.copy(EXAMPLES / ("9-tiny.png" if number % 3 else "0-marker.png"), f"{number:03}.png")
    Path("007.png").write_text("no picture")
    Image.new("RGB", (50, 50), "white").save("030.png")
    return "."


def test_all_cores_give_the_answers_that_one_process_gives(many, capsys, monkeypatch):
    began = []
    start = workers.map_in_processes
    monkeypatch.setattr(
        workers, "map_in_processes", lambda *a, **kw: began.append(kw) or start(*a, **kw)
    )
    assert entry.main(["predict", "--csv", "--jobs", "1", many]) == 1
    alone = capsys.readouterr()
    assert began == []
    assert entry.main(["predict", "--csv", many]) == 1
    assert capsys.readouterr() == alone
    assert began == [{"jobs": None}]
    unreadable, total = alone.err.splitlines()
    assert unreadable.startswith("lenet-digits: ./007.png: ")
    assert f"{predicting.MANY - 2} read" in total
    assert len(alone.out.splitlines()) == 1 + predicting.MANY


def test_the_callers_weights_reach_every_process(capsys, monkeypatch):
    model = load_model()
    with torch.no_grad():
        model.output.weight.zero_()
        model.output.bias.copy_(torch.eye(10)[3] * 4)
    save_weights(model, "three.safetensors")
    assert (
        entry.main(["predict", "--csv", "--jobs=2", "--weights=three.safetensors", str(SEVEN)]) == 0
    )
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["digit"] == "3"


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_the_first_pictures_are_explained_whoever_reads_the_rest(many, jobs, monkeypatch):
    drawn = []
    monkeypatch.setattr("lenet_digits.figures.plot_steps", lambda rows, **_: drawn.extend(rows))
    monkeypatch.setattr("lenet_digits.figures.save_figure", lambda *_: None)
    assert entry.main(["predict", "--jobs", jobs, "--explain=steps.png", many]) == 1
    assert [name for name, *_ in drawn] == [
        f"{n:03}.png" for n in range(predicting.EXPLAINED) if n != 7
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_interrupting_several_processes_is_one_line():
    with subprocess.Popen(
        [sys.executable, "-m", "lenet_digits", "predict", "--jobs=2", *[str(SEVEN)] * 3000],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hear_interrupts,
        start_new_session=True,
    ) as run:  # fmt: skip
        assert run.stdout is not None
        assert run.stderr is not None
        assert run.stdout.readline().startswith("digit")  # the workers are at work
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does
        threading.Thread(target=run.stdout.read).start()
        assert run.stderr.read() == "lenet-digits: Interrupted.\n"
    assert run.returncode == 130


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX terminal")
def test_one_who_watches_sees_a_progress_bar_with_the_complaints_above_it(many):
    import fcntl
    import pty
    import termios

    watcher, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))  # its size
    with Path("answers.csv").open("w") as answers, subprocess.Popen(
        [sys.executable, "-m", "lenet_digits", "predict", "--csv", many],
        stdout=answers, stderr=terminal,
    ) as run:  # fmt: skip
        os.close(terminal)
        seen = b""
        with contextlib.suppress(OSError):  # what Linux says at the end
            while text := os.read(watcher, 4096):
                seen += text
    os.close(watcher)
    assert run.returncode == 1
    shown = [line.rstrip() for line in re.split(r"[\r\n]+", seen.decode())]
    assert any(f"{predicting.MANY}/{predicting.MANY}" in line for line in shown)
    assert sum(line.startswith("lenet-digits: ./0") for line in shown) == 1
    assert len(Path("answers.csv").read_text().splitlines()) == 1 + predicting.MANY


# train, evaluate, samples, app


def test_a_run_leaves_weights_metrics_and_both_curves(capsys):
    assert entry.main([*TRAIN, "--output", "run", "--pth", "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    files = ["accuracy.png", "cost.png", "metrics.json", "model.pth", "model.safetensors"]
    assert set(files) <= {path.name for path in Path("run").iterdir()}
    assert all(name in out for name in files)
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert out.startswith(f"{metrics['accuracy']:.2%} of the test digits read right")
    assert sum(line.startswith("epoch ") for line in err.splitlines()) == 2
    safe, pickled = (load_model(f"run/model.{suffix}") for suffix in ("safetensors", "pth"))
    assert torch.equal(safe.output.weight, pickled.output.weight)


def test_a_run_is_named_after_its_recipe_and_seed_and_is_never_overwritten(capsys):
    assert entry.main([*TRAIN, "--seed", "3"]) == 0
    assert Path("runs/original-seed3/model.safetensors").exists()
    assert entry.main([*TRAIN, "--seed", "3"]) == 1
    assert "--resume" in complaints(capsys)[-1]
    assert entry.main([*TRAIN, "--seed", "3", "--resume"]) == 0


def hear_interrupts():
    """Undo what a shell does to jobs in its background: they, and their children, ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_interrupting_a_run_tells_how_to_go_on():
    words = [*TRAIN[:-1], "1000", "--output", "my run"]
    with subprocess.Popen(
        [sys.executable, "-m", "lenet_digits", *words], stderr=subprocess.PIPE, text=True,
        preexec_fn=hear_interrupts,
    ) as run:  # fmt: skip
        assert run.stderr is not None
        assert run.stderr.readline().startswith("epoch 1:")
        run.send_signal(signal.SIGINT)
        last = run.stderr.read().splitlines()[-1]
    assert run.returncode == 130
    assert last.startswith("lenet-digits: Interrupted.")
    assert last.endswith("--output 'my run' --resume")


def test_interrupting_anything_else_is_one_line(capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("lenet_digits.reading.canvas.canvas_steps", interrupted)
    assert entry.main(["predict", str(SEVEN)]) == 130
    assert complaints(capsys) == ["lenet-digits: Interrupted."]


def test_evaluate_prints_the_accuracy_and_draws_confusion_and_mistakes(capsys, tmp_path):
    torch.manual_seed(0)
    from lenet_digits import LeNet5, evaluate, load_mnist

    model = LeNet5().eval()
    save_weights(model, "untrained.safetensors")
    result = evaluate(model, load_mnist(DATA)[1])
    words = ["evaluate", "--weights", "untrained.safetensors", "--data", DATA, "--output", "drawn"]
    assert entry.main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{result.accuracy:.2%} of {result.count} test digits")
    rows = [line.split() for line in lines[3:13]]
    assert [int(row[0]) for row in rows] == list(range(10))
    assert sum(int(row[1]) for row in rows) == result.count - result.errors
    assert sorted(path.name for path in Path("drawn").iterdir()) == [
        "confusion.png",
        "mistakes.png",
        "reliability.png",
    ]


def test_samples_draws_a_grid_of_either_split(capsys):
    assert entry.main(["samples", "--data", DATA, "--split", "test", "--count", "12"]) == 0
    assert entry.main(["samples", "--data", DATA, "--output", "train.png", "--seed", "1"]) == 0
    assert Path("samples.png").read_bytes() != Path("train.png").read_bytes()
    assert entry.main(["samples", "--data", DATA, "--count", "0"]) == 1
    assert complaints(capsys) == ["lenet-digits: --count is 0; it must be from 1 to 1000."]


def test_app_passes_on_only_what_was_given(monkeypatch):
    given = []
    demo = type(sys)("lenet_digits.demo.server")
    demo.launch = lambda **options: given.append(options)
    monkeypatch.setitem(sys.modules, "lenet_digits.demo.server", demo)
    assert entry.main(["app"]) == 0
    assert entry.main(["app", "--host", "0.0.0.0", "--port", "80", "--share"]) == 0
    assert given == [{}, {"host": "0.0.0.0", "port": 80, "share": True}]


# The whole


def test_help_and_version_come_without_loading_anything_heavy():
    script = (
        "import sys; sys.argv = ['lenet-digits', {!r}]\n"
        "from lenet_digits.cli.entry import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {{'torch', 'numpy', 'PIL', 'matplotlib', 'gradio'}} & set(sys.modules)"
    )
    for words, expected in (("--version", f"lenet-digits {__version__}\n"), ("--help", "usage:")):
        result = subprocess.run(
            [sys.executable, "-c", script.format(words)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith(expected)


@pytest.mark.parametrize(
    "words",
    [[], ["predict"], ["predict", "--json", "--csv", "x"], ["train", "--recipe", "mine"],
     ["predict", "x", "--explain", "steps.doc"], ["train", "--epochs", "many"],
     ["predict", "--jobs", "0", "x"], ["predict", "--jobs", "x", "x"],
     *[["app", "--port", port] for port in ("99999", "80000", "65536", "0", "-1", "web")]],
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
        ([*TRAIN, "--epochs", "0"], "epochs is 0"),
        ([*TRAIN, "--device", "nonsense"], "'nonsense' cannot be used here"),
        ([*TRAIN, "--output", "file/below"], "file"),
        (["samples", "--data", DATA, "--output", "file/below.png"], "file"),
    ],
)
def test_every_other_failure_is_one_clear_line_and_code_1(words, reason, capsys):
    Path("file").touch()
    assert entry.main(words) == 1
    (line,) = complaints(capsys)
    assert line.startswith("lenet-digits: ")
    assert reason in line


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_reader_that_has_seen_enough_ends_the_command_in_silence(jobs):
    with subprocess.Popen(
        [sys.executable, "-m", "lenet_digits", "predict", "--jobs", jobs, *[str(SEVEN)] * 3],
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
            [sys.executable, "-m", "lenet_digits", "predict", "--json", str(SEVEN)],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr == "lenet-digits: No space left on device\n"


def test_what_the_help_says_of_choices_and_defaults_is_what_the_functions_have():
    parser = entry.build_parser()
    (commands,) = (a for a in parser._actions if isinstance(a.choices, dict))
    options = {
        (name, action.dest): action
        for name, command in commands.choices.items()
        for action in command._actions
    }
    assert tuple(options["predict", "method"].choices) == METHODS
    assert tuple(options["train", "recipe"].choices) == tuple(RECIPES)
    defaults = {
        **{("train", n): p.default for n, p in inspect.signature(train).parameters.items()},
        **{
            ("samples", n): p.default
            for n, p in inspect.signature(experiments._samples).parameters.items()
        },
        ("predict", "method"): inspect.signature(canvas_steps).parameters["method"].default,
    }
    stated = 0
    for key, action in options.items():
        said = re.search(r"\(default: (\w+)\)|(\w+) \(the default\)", action.help or "")
        if said and key in defaults and key != ("train", "device"):
            assert (said[1] or said[2]) == str(defaults[key]), key
            stated += 1
    assert stated >= 4
