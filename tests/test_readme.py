"""What the README shows works as shown, and what it claims is what was measured."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest

from lenet_digits.cli import entry
from lenet_digits.training.metrics import Metrics

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_python_in_it_runs_and_prints_what_it_should(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    for code in blocks("python"):
        if "gradio_client" not in code:  # tests/demo/test_page.py runs that one
            exec(compile(code, "README.md", "exec"), names)
    answers = capsys.readouterr().out
    digit, confidence, *rest = blocks("text")[0].split(maxsplit=2)
    shown = answers.split(maxsplit=2)
    assert shown[0] == digit
    assert float(shown[1]) == pytest.approx(float(confidence), abs=1e-4)  # machines round apart
    assert shown[2].startswith(rest[0])
    assert "<Prediction: 0 at" in answers
    assert "<Prediction: 1 at" in answers
    assert "tensor(7)" in answers


def test_every_command_in_it_is_one_the_command_line_knows():
    text = "\n".join(blocks("sh"))
    commands = re.findall(r"lenet-digits [^|&#\n]+", text)
    assert len(commands) >= 8
    for command in commands:
        entry.build_parser().parse_args(shlex.split(command)[1:])


def test_every_command_to_publish_is_one_the_command_line_knows():
    text = (ROOT / "RELEASE.md").read_text(encoding="utf-8")
    commands = re.findall(r"^(?:fresh/bin/)?(lenet-digits [^|&#\n]+)", text, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        entry.build_parser().parse_args(shlex.split(command)[1:])


def test_it_tells_how_to_run_and_how_to_test_in_one_command_each():
    assert "pip install . && lenet-digits app\n" in blocks("sh")
    assert 'pip install ".[test]" && pytest\n' in blocks("sh")


def test_whatever_it_links_to_is_there():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    local = [link for link in links if not link.startswith("http")]
    assert len(local) >= 5
    assert [link for link in local if not (ROOT / link).exists()] == []


def test_the_figures_are_those_of_the_files_that_commands_wrote():
    report = runpy.run_path(str(ROOT / "tests/benchmarks/report.py"))
    for page in report["PAGES"]:
        text = page.read_text(encoding="utf-8")
        assert report["filled"](text) == text, "run python -m tests.benchmarks.report"


def test_the_model_card_has_the_figures_of_the_benchmark():
    report = runpy.run_path(str(ROOT / "tests/benchmarks/report.py"))
    metrics = Metrics.read(ROOT / "weights/metrics.json")
    assert report["measured_metrics"](metrics) == metrics, "run python -m tests.benchmarks.report"


@pytest.mark.parametrize("name", ["mnist.json", "realworld.json"])
def test_the_figures_are_those_of_the_weights_that_are_shipped(name):
    metrics = json.loads((ROOT / "weights/metrics.json").read_text(encoding="utf-8"))
    results = json.loads((ROOT / "tests/benchmarks/results" / name).read_text(encoding="utf-8"))
    assert results["weights"] == metrics["sha256"], "measure the new weights (tests/benchmarks)"


def test_results_and_card_say_where_it_fails_and_show_it():
    card = (ROOT / "weights/README.md").read_text(encoding="utf-8")
    results = (ROOT / "tests/benchmarks/RESULTS.md").read_text(encoding="utf-8")
    for text, picture in ((results, "../../weights/mistakes.png"), (card, "mistakes.png")):
        part = text.split("What it is not good at\n")[1].split("\n#")[0]
        assert part.count("\n- ") == 4
        assert f"]({picture})" in part


@pytest.mark.parametrize(
    ("key", "allowed"),
    [
        ("title", r"\S.*"),
        ("sdk", "gradio"),
        ("sdk_version", r"6\.\d+\.\d+"),
        ("python_version", r'"?3\.\d+(\.\d+)?"?'),
        ("app_file", r"app\.py"),
        ("short_description", r".{1,60}"),
        ("license", "apache-2.0"),
        ("colorFrom", "red|yellow|green|blue|indigo|purple|pink|gray"),
        ("colorTo", "red|yellow|green|blue|indigo|purple|pink|gray"),
    ],
)
def test_the_front_matter_is_what_a_space_wants(key, allowed):
    head = README.split("---\n")[1]
    value = re.search(rf"^{key}: (.*)$", head, re.MULTILINE)
    assert value is not None
    assert re.fullmatch(allowed, value[1])
