"""`predict` on the command line: every picture has a row, and no other file is overwritten."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from PIL import Image

from lenet_digits.cli import entry, pictures, rows
from lenet_digits.model import load_model, save_weights
from lenet_digits.reading.prediction import Prediction

EXAMPLES = Path(__file__).parents[2] / "examples"
SEVEN, ZERO = EXAMPLES / "7-photo.jpg", EXAMPLES / "0-marker.png"


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def blank():
    return Image.new("RGB", (60, 60), "white")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with one of everything, where PDFs are not supported."""
    monkeypatch.setattr("lenet_digits.reading.pictures.pdf_is_supported", lambda: False)
    (tmp_path / "scans" / "deeper").mkdir(parents=True)
    shutil.copy(SEVEN, "scans/7.JPG")
    shutil.copy(ZERO, "scans/deeper/0.png")
    blank().save("scans/blank.png")
    for name in ("damaged.png", "page.pdf", "note.txt", "table.xlsx", ".hidden.png"):
        Path("scans", name).write_text("This is not a picture.")
    return "scans"


def answers(capsys, *words, code):
    """The rows of a command, as JSON has them, and what it wrote to standard error."""
    assert entry.main(["predict", "--json", *map(str, words)]) == code
    out, err = capsys.readouterr()
    return json.loads(out), err


def table(capsys, *words, code=0):
    assert entry.main(["predict", "--csv", *map(str, words)]) == code
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


# Answers


def test_every_file_has_a_row_with_its_status_and_error(folder, capsys):
    found, err = answers(capsys, folder, "missing.png", code=1)
    names = [(Path(row["path"]).name, row["page"], row["status"]) for row in found]
    assert names == [
        ("7.JPG", 1, "digit"),
        ("blank.png", 1, "blank"),
        ("damaged.png", 1, "unreadable"),
        ("missing.png", 1, "unreadable"),
    ]
    assert [bool(row["error"]) for row in found] == [False, True, True, True]
    rows_of_csv = table(capsys, folder, "missing.png", code=1)
    for name in ("path", "status", "error"):
        assert [row[name] for row in rows_of_csv] == [row[name] for row in found]
    assert [row["digit"] for row in rows_of_csv] == ["7", "", "", ""]
    *bad, last = err.splitlines()
    assert [line.split(": ")[:2] for line in bad] == [
        ["lenet-digits", row["path"]] for row in found[2:]
    ]
    assert "1 read, 0 refused (not a digit), 1 blank, 2 unreadable." in last
    for kind in ("1 PDF", "1 folder", "2 other files", "1 hidden file", "--recursive"):
        assert kind in last


def test_blank_pictures_are_answers_and_not_failures(capsys):
    blank().save("blank.png")
    found, _ = answers(capsys, "blank.png", SEVEN, code=0)
    assert [row["status"] for row in found] == ["blank", "digit"]


def test_a_directory_without_pictures_is_a_failure_that_says_so(capsys):
    Path("empty").mkdir()
    (row,), _ = answers(capsys, "empty", code=1)
    assert (row["path"], row["status"]) == ("empty", "unreadable")
    assert "no pictures" in row["error"]


def test_a_folder_that_cannot_be_listed_is_a_row_with_the_reason(folder, capsys, monkeypatch):
    listed = os.scandir

    def refuse(path):
        if path.endswith("deeper"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    for words in (["--recursive", folder], [f"{folder}/deeper"]):
        found, _ = answers(capsys, *words, code=1)
        (row,) = (row for row in found if row["path"].endswith("deeper"))
        assert (row["status"], row["error"]) == ("unreadable", "Permission denied")


def test_folders_in_folders_are_read_if_asked_for(folder, capsys):
    if sys.platform != "win32":
        Path("scans/deeper/loop").symlink_to("..")
    found, err = answers(capsys, "--recursive", folder, code=1)
    assert [Path(row["path"]).name for row in found].count("0.png") == 1
    assert ("1 folder" in err) == (sys.platform != "win32")  # the link


def test_json_and_csv_hold_all_ten_probabilities(capsys):
    (answer,), _ = answers(capsys, SEVEN, code=0)
    (row,) = table(capsys, SEVEN)
    assert answer["digit"] == int(row["digit"]) == 7
    assert answer["path"] == row["path"] == str(SEVEN)
    assert answer["probabilities"] == [float(row[f"p{digit}"]) for digit in range(10)]
    assert sum(answer["probabilities"]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("score", "status", "shown"),
    [(0.1, "digit", "    7"), (1.5, "not_a_digit", "    -"), (None, "unknown", "    7")],
)
def test_every_form_says_whether_it_is_a_digit(score, status, shown, capsys, monkeypatch):
    answer = Prediction((0.0,) * 7 + (1.0, 0.0, 0.0), score)
    monkeypatch.setattr("lenet_digits.reading.prediction.predict_steps", lambda *_, **__: answer)
    (row,), _ = answers(capsys, SEVEN, code=0)
    assert (row["status"], row["outlier_score"]) == (status, score)
    assert table(capsys, SEVEN)[0]["status"] == status
    assert entry.main(["predict", str(SEVEN)]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.startswith(shown)
    assert ("not a digit; closest: 7" in line) == (status == "not_a_digit")


def test_the_plain_crop_can_be_chosen(capsys):
    (cropped,), _ = answers(capsys, "--method", "center-crop", SEVEN, code=0)
    (found,), _ = answers(capsys, SEVEN, code=0)
    assert cropped["probabilities"] != found["probabilities"]


# Several processes


@pytest.fixture
def many():
    """A folder with so many pictures that all cores read them; one is damaged, one blank."""
    for number in range(pictures.MANY):
        shutil.copy(EXAMPLES / ("9-tiny.png" if number % 3 else "0-marker.png"), f"{number:03}.png")
    Path("007.png").write_text("This is not a picture.")
    blank().save("030.png")
    return "."


def test_all_cores_give_the_answers_that_one_process_gives(many, capsys):
    assert entry.main(["predict", "--csv", "--jobs", "1", many]) == 1
    alone = capsys.readouterr()
    assert entry.main(["predict", "--csv", many]) == 1
    assert capsys.readouterr() == alone
    assert len(alone.out.splitlines()) == 1 + pictures.MANY


def test_a_progress_bar_is_shown_on_a_terminal_and_messages_stay_whole(many, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    assert entry.main(["predict", "--jobs=1", "--output=answers.csv", many]) == 1
    lines = re.split(r"[\r\n]+", sys.stderr.getvalue())
    assert any(f"{pictures.MANY}/{pictures.MANY}" in line for line in lines)
    assert sum(line.startswith("lenet-digits: ./007.png: ") for line in lines) == 1


def test_other_weights_reach_every_process(capsys):
    model = load_model()
    with torch.no_grad():
        model.output.weight.zero_()
        model.output.bias.copy_(torch.eye(10)[3] * 4)
    save_weights(model, "three.safetensors")
    (row,) = table(capsys, "--jobs=2", "--weights=three.safetensors", SEVEN)
    assert row["digit"] == "3"


# Pages


def grey(path):
    return Image.open(path).convert("L").resize((300, 300))


def save_pages(path, first, *others):
    first.save(path, save_all=True, append_images=others)


def test_every_page_of_a_tiff_is_a_row_even_after_an_unreadable_one(capsys):
    strip = Image.new("L", (300, 5))  # too narrow to be read
    save_pages("pages.tif", grey(SEVEN), blank().convert("L"), strip, grey(ZERO))
    found, err = answers(capsys, "pages.tif", SEVEN, code=1)
    assert [(row["page"], row["status"], row["digit"]) for row in found] == [
        (1, "digit", 7),
        (2, "blank", None),
        (3, "unreadable", None),
        (4, "digit", 0),
        (1, "digit", 7),
    ]
    assert err.startswith("lenet-digits: pages.tif (page 3): ")


def test_a_smaller_copy_of_a_page_is_not_a_page(capsys):
    small = grey(SEVEN).resize((60, 60))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    save_pages("pages.tif", grey(SEVEN), small, grey(ZERO))
    found, _ = answers(capsys, "pages.tif", code=0)
    assert [row["digit"] for row in found] == [7, 0]


def test_pages_beyond_the_limit_are_reported(capsys, monkeypatch):
    monkeypatch.setattr(rows, "MAX_PAGES", 2)
    save_pages("pages.tif", grey(SEVEN), grey(ZERO), grey(ZERO))
    found, _ = answers(capsys, "pages.tif", code=1)
    assert [row["status"] for row in found] == ["digit", "digit", "unreadable"]
    assert "more than 2 pages" in found[-1]["error"]


def test_of_an_animation_the_first_picture_is_read(capsys):
    save_pages("moving.gif", grey(SEVEN), grey(ZERO))
    found, _ = answers(capsys, "moving.gif", code=0)
    assert [row["digit"] for row in found] == [7]


# Names


@pytest.mark.parametrize("form", ["--csv", "--json", "--explain=steps.png"])
def test_a_file_name_cannot_steer_the_terminal(form, capsys):
    name = "a\x1b[31m\n\u202e\udcff\x9b$x$.jpg"
    shutil.copy(SEVEN, name)
    assert entry.main(["predict", form, name, "missing\x1b\n"]) == 1
    for text in capsys.readouterr():
        assert text.replace("\n", "").isprintable()
        assert text.isascii()


@pytest.mark.parametrize(
    "name",
    ["=1+1.jpg", "+1.jpg", "@sum.jpg", "-1.jpg", "a;=1+1.jpg", "\t=1.jpg", "007", "1-2", "3.14",
     "Mar1", "1e5", "12/007"],
)  # fmt: skip
def test_a_spreadsheet_takes_no_file_name_for_a_formula_a_number_or_a_date(name, capsys):
    Path(name).parent.mkdir(exist_ok=True)
    shutil.copy(SEVEN, name)
    assert entry.main(["predict", "--csv", "--", name]) == 0
    text = capsys.readouterr().out
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["path"].startswith((f".{os.sep}", "a;", "\\t"))  # no formula, number or date does
    assert text.splitlines()[1].startswith(f'"{row["path"]}",')  # quoted, whatever the separator


def test_an_error_that_begins_with_a_file_name_is_not_a_formula(capsys):
    Path("=1+1.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    entry.main(["predict", "--csv", "=1+1.heic"])
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert not row["error"].startswith(("=", "+", "-", "@"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_among_the_pictures_is_refused_and_does_not_hang(capsys):
    Path("pictures").mkdir()
    os.mkfifo("pictures/1.png")
    shutil.copy(SEVEN, "pictures/2.jpg")
    found, _ = answers(capsys, "pictures", "/dev/zero", code=1)
    assert [row["status"] for row in found] == ["unreadable", "digit", "unreadable"]


# Files to write


@pytest.mark.parametrize("words", [["a.json"], ["a.csv"], ["a.json", "--csv"], ["new/a.txt"]])
def test_answers_go_to_a_file_in_the_form_that_its_name_says(words, capsys):
    assert entry.main(["predict", str(SEVEN), "--output", *words]) == 0
    assert capsys.readouterr().out == ""
    (file,) = Path().rglob("a.*")
    text = file.read_text(encoding="utf-8")
    form = words[-1][-3:]
    if form == "son":
        assert json.loads(text)[0]["digit"] == 7
    else:
        assert len(text.splitlines()) == 2
        assert text.startswith('"path"') == (form == "csv")


@pytest.mark.parametrize("name", ["a.xlsx", "a.jsonl", "a"])
def test_a_name_that_says_no_form_is_refused(name, capsys):
    assert entry.main(["predict", str(SEVEN), "--output", name]) == 1
    assert "must end in .csv, .json or .txt" in capsys.readouterr().err
    assert entry.main(["predict", str(SEVEN), "--output", name, "--csv"]) == 0
    assert Path(name).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_output_file_appears_whole_or_not_at_all(number):
    Path("answers.csv").write_text("before")
    with subprocess.Popen(
        [sys.executable, "-m", "lenet_digits", "predict", "--csv", "--jobs=1", "--output",
         "answers.csv", *[str(SEVEN)] * 3000],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as run:  # fmt: skip
        assert run.stderr is not None
        timer = threading.Timer(60, run.kill)
        timer.start()
        while not any(path.stat().st_size for path in Path().glob(".answers.csv.*")):
            assert run.poll() is None  # it writes beside the file
        run.send_signal(number)
        said = run.stderr.read()
        timer.cancel()
    assert run.returncode == 128 + number
    assert said == ("lenet-digits: Interrupted.\n" if number == signal.SIGINT else "")
    assert [path.name for path in Path().iterdir()] == ["answers.csv"]
    assert Path("answers.csv").read_text() == "before"


@pytest.mark.parametrize("option", ["--explain", "--inside", "--output"])
def test_a_picture_is_never_overwritten(option, capsys):
    for name in ("a.png", "b.png"):
        shutil.copy(ZERO, name)
    cases = [("a.png", "a.png"), ("a.png", "b.png")]  # the second: what `--explain *.png` means
    if sys.platform != "win32":
        Path("linked.png").symlink_to("a.png")
        cases.append(("linked.png", "a.png"))
    for target, read in cases:
        assert entry.main(["predict", option, target, read]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert f"{option} {target} would overwrite a picture" in err
    assert Path("a.png").read_bytes() == ZERO.read_bytes()


@pytest.mark.parametrize(
    ("options", "name", "content"),
    [
        *[
            (options, name, content)
            for options in (["--csv", "--output"], ["--output"])
            for name, content in {
                "photo.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",  # no package reads it
                "huge.png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\0\0\1\0\0\x08\0\0\0\0",
                "drawn.csv": b"P2\n1 1\n255\n7\n",  # a picture in plain text
                "table.csv": b"PK\3\4\0\0",
            }.items()
        ],
        *[
            ([option], name, b"%PDF-1.4 <svg/> how I use matplotlib")
            for option in ("--explain", "--inside")
            for name in ("letter.pdf", "logo.svg", "notes.png")
        ],
    ],
)
def test_only_files_of_earlier_commands_are_overwritten(options, name, content, capsys):
    Path(name).write_bytes(content)
    assert entry.main(["predict", str(SEVEN), *options, name]) == 1
    assert f"{options[-1]} {name} would overwrite" in capsys.readouterr().err
    assert Path(name).read_bytes() == content


@pytest.mark.parametrize("content", [b"", "path,digit\nné.png,7\n".encode()])
def test_answers_overwrite_answers(content):
    Path("a.csv").write_bytes(content)
    assert entry.main(["predict", str(SEVEN), "--output", "a.csv"]) == 0
    assert b"7-photo" in Path("a.csv").read_bytes()


# Figures


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_a_figure_of_an_earlier_command_is_overwritten(suffix, capsys):
    for picture in (ZERO, SEVEN):
        assert entry.main(["predict", str(picture), "--explain", f"new/steps.{suffix}"]) == 0
    assert entry.main(["predict", "x", "--explain", "steps.png", "--output", "steps.png"]) == 1
    assert "the same file" in capsys.readouterr().err


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_the_first_pictures_are_explained_in_any_number_of_processes(many, jobs, monkeypatch):
    drawn = []
    monkeypatch.setattr("lenet_digits.figures.plot_steps", lambda rows, **_: drawn.extend(rows))
    monkeypatch.setattr("lenet_digits.figures.save_figure", lambda *_: None)
    assert entry.main(["predict", "--jobs", jobs, "--explain=steps.png", many]) == 1
    assert [name for name, *_ in drawn] == [
        f"{n:03}.png" for n in range(pictures.EXPLAINED) if n != 7
    ]


def test_inside_draws_the_layers_for_the_first_picture_that_has_ink(monkeypatch):
    drawn = []
    monkeypatch.setattr("lenet_digits.figures.plot_activations", drawn.append)
    monkeypatch.setattr("lenet_digits.figures.save_figure", lambda *_: None)
    blank().save("blank.png")
    assert entry.main(["predict", "blank.png", str(SEVEN), "--inside", "inside.png"]) == 0
    (seen,) = drawn
    assert int(seen.output.argmax()) == 7


@pytest.mark.parametrize("option", ["--explain", "--inside"])
def test_it_says_so_if_nothing_can_be_drawn(option, capsys):
    blank().save("blank.png")
    assert entry.main(["predict", "blank.png", option, "none.png"]) == 0
    assert "nothing to draw" in capsys.readouterr().err
    assert not Path("none.png").exists()


def test_a_figure_is_refused_before_any_work_if_matplotlib_is_missing(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as in the light installation
    monkeypatch.delitem(sys.modules, "lenet_digits.figures", raising=False)
    assert entry.main(["predict", str(SEVEN), "--explain", "steps.png"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "This needs matplotlib" in err
