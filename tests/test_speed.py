"""The speed suite measures what it says, and its page shows what was measured."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from benchmarks import speed

DATA = Path(__file__).parent / "data"


def test_the_page_shows_the_results_that_the_commands_wrote() -> None:
    results = json.loads(speed.RESULTS.read_text("utf-8"))
    page = speed.PAGE.read_text("utf-8")
    shown = page.partition(speed.BEGIN)[2].partition(speed.END)[0].strip()
    assert shown == "\n".join(speed.table(results)).strip()


def test_the_two_sides_take_turns() -> None:
    turns: list[str] = []
    seconds = speed.take_turns(lambda: turns.append("ours"), lambda: turns.append("theirs"), 3)
    assert turns == ["ours", "theirs"] * 4  # one to warm up
    assert [len(times) for times in seconds.values()] == [3, 3]
    own = speed.take_turns(lambda: speed.Seconds(7), lambda: 7.0, 1)
    assert own["ours"] == [7.0]
    assert own["theirs"][0] < 7


def test_the_usual_script_trains_the_same_network() -> None:
    assert sum(p.numel() for p in speed.usual_network().parameters()) == 61_706
    script = speed.UsualScript(str(DATA))
    before = script.accuracy()
    script.epoch()
    assert script.accuracy() > before


def test_the_pictures_of_the_directory_can_be_read(tmp_path: Path) -> None:
    from lenet_digits import predict

    speed.make_pictures(tmp_path / "pictures", 6)
    pictures = sorted((tmp_path / "pictures").iterdir())
    assert [path.suffix for path in pictures] == [".png", ".jpg"] * 3
    assert sum(predict(path).is_digit for path in pictures) >= 5


@pytest.mark.parametrize("row", ["forward", "pad", "drawing", "photo", "cell", "five"])
def test_rows_that_take_milliseconds_run(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if row == "forward":
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    seconds = speed.CHILDREN[row](argparse.Namespace(rounds=1))
    assert min(*seconds["ours"], *seconds["theirs"]) > 0
