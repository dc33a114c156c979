"""Every picture that is named has a row, whatever becomes of it; no other file is overwritten."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

from lenet_digits.cli import entry, rows
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
    """A folder as people have them, with one of everything, where PDFs are not supported."""
    monkeypatch.setattr("lenet_digits.reading.pictures.pdf_is_supported", lambda: False)
    (tmp_path / "scans" / "deeper").mkdir(parents=True)
    shutil.copy(SEVEN, "scans/7.jpg")
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


def test_json_and_csv_have_a_row_with_status_and_error_for_every_file(folder, capsys):
    found, _ = answers(capsys, folder, "missing.png", code=1)
    names = [(Path(row["path"]).name, row["page"], row["status"]) for row in found]
    assert names == [
        ("7.jpg", 1, "digit"),
        ("blank.png", 1, "blank"),
        ("damaged.png", 1, "unreadable"),
        ("missing.png", 1, "unreadable"),
    ]
    assert [bool(row["error"]) for row in found] == [False, True, True, True]
    assert entry.main(["predict", "--csv", folder, "missing.png"]) == 1
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    for name in ("path", "status", "error"):
        assert [row[name] for row in table] == [row[name] for row in found]
    assert [row["digit"] for row in table] == ["7", "", "", ""]


def test_blank_and_refused_pictures_are_answers_and_only_unreadable_ones_a_failure(capsys):
    blank().save("blank.png")
    shutil.copy(EXAMPLES / "7-photo.jpg", "7.jpg")
    found, err = answers(capsys, "blank.png", "7.jpg", code=0)
    assert [row["status"] for row in found] == ["blank", "digit"]
    assert len(err.splitlines()) == 1
    assert "1 read, 0 refused (not a digit), 1 blank, 0 unreadable" in err


@pytest.mark.parametrize(
    ("score", "status", "shown"),
    [(0.1, "digit", "    7"), (1.5, "not_a_digit", "    -"), (None, "unknown", "    7")],
)
def test_what_the_weights_say_of_non_digits_is_the_status(
    score, status, shown, capsys, monkeypatch
):
    answer = Prediction((0.0,) * 7 + (1.0, 0.0, 0.0), score)
    monkeypatch.setattr("lenet_digits.reading.prediction.predict_steps", lambda *_, **__: answer)
    (row,), _ = answers(capsys, SEVEN, code=0)
    assert (row["status"], row["outlier_score"]) == (status, score)
    assert entry.main(["predict", "--csv", str(SEVEN)]) == 0
    assert f'"{status}"' in capsys.readouterr().out
    assert entry.main(["predict", str(SEVEN)]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith(shown)


def test_the_last_line_counts_the_answers_and_what_was_left_aside(folder, capsys):
    _, err = answers(capsys, folder, code=1)
    last = err.splitlines()[-1]
    assert "1 read, 0 refused (not a digit), 1 blank, 1 unreadable." in last
    for kind in ("1 PDF", "1 folder", "2 other files", "1 hidden file", "--recursive"):
        assert kind in last


def test_folders_in_folders_are_read_if_asked_for(folder, capsys):
    if sys.platform != "win32":
        Path("scans/deeper/loop").symlink_to("..")
    found, err = answers(capsys, "--recursive", folder, code=1)
    assert [Path(row["path"]).name for row in found].count("0.png") == 1
    assert ("1 folder" in err) == (sys.platform != "win32")  # the link


# Pages


def grey(path):
    return Image.open(path).convert("L").resize((300, 300))


def save_pages(path, first, *others):
    first.save(path, save_all=True, append_images=others)


def test_every_page_of_a_tiff_is_a_row_whether_or_not_the_one_before_could_be_read(capsys):
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
    assert entry.main(["predict", "pages.tif"]) == 1
    names = [line.split("pages.tif")[1] for line in capsys.readouterr().out.splitlines()[1:]]
    assert names == [" (page 1)", " (page 2)  (blank)", " (page 3)  (unreadable)", " (page 4)"]


def test_a_smaller_copy_of_a_page_is_not_a_page(capsys):
    small = grey(SEVEN).resize((60, 60))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    save_pages("pages.tif", grey(SEVEN), small, grey(ZERO))
    found, _ = answers(capsys, "pages.tif", code=0)
    assert [row["digit"] for row in found] == [7, 0]


def test_pages_beyond_the_limit_are_not_dropped_in_silence(capsys, monkeypatch):
    monkeypatch.setattr(rows, "MAX_PAGES", 2)
    save_pages("pages.tif", grey(SEVEN), grey(ZERO), grey(ZERO))
    found, _ = answers(capsys, "pages.tif", code=1)
    assert [row["status"] for row in found] == ["digit", "digit", "unreadable"]
    assert "more than 2 pages" in found[-1]["error"]


def test_of_an_animation_the_first_picture_is_read(capsys):
    save_pages("moving.gif", grey(SEVEN), grey(ZERO))
    found, _ = answers(capsys, "moving.gif", code=0)
    assert [row["digit"] for row in found] == [7]


# Spreadsheets


@pytest.mark.parametrize("name", ["007", "1-2", "3.14", "Mar1", "1e5", "12/007"])
def test_a_name_that_looks_like_a_number_or_a_date_stays_text_in_a_spreadsheet(name, capsys):
    Path(name).parent.mkdir(exist_ok=True)
    shutil.copy(SEVEN, name)
    assert entry.main(["predict", "--csv", name]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["path"].startswith(f".{os.sep}")  # which no number, date or formula begins with
    assert Path(row["path"]) == Path(name)


def test_a_sentence_that_begins_with_a_files_name_is_not_a_formula(capsys):
    Path("=1+1.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    entry.main(["predict", "--csv", "=1+1.heic"])
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert not row["error"].startswith(("=", "+", "-", "@"))


# Files to write


@pytest.mark.parametrize(
    ("words", "parse"),
    [
        (["--output", "a.json"], json.loads),
        (["--output", "a.csv"], lambda text: list(csv.DictReader(io.StringIO(text)))),
        (["--csv", "--output", "a.json"], lambda text: list(csv.DictReader(io.StringIO(text)))),
        (["--output", "a.txt"], lambda text: text.splitlines()[1:]),
    ],
)
def test_answers_go_to_a_file_in_the_form_that_its_name_says(words, parse, capsys):
    assert entry.main(["predict", str(SEVEN), *words]) == 0
    assert capsys.readouterr().out == ""
    assert len(parse(Path(words[-1]).read_text(encoding="utf-8"))) == 1
    assert [path.name for path in Path().iterdir()] == [words[-1]]


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


@pytest.mark.parametrize("words", [("--output", "--csv"), ("--output",)])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),  # with no package that reads it
        ("huge.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\0\0\1\0\0\x08\0\0\0\0"),
        ("drawn.csv", b"P2\n1 1\n255\n7\n"),  # a picture in plain text
        ("table.csv", b"PK\3\4\0\0"),
    ],
)
def test_answers_only_overwrite_text(words, name, content, capsys):
    Path(name).write_bytes(content)
    option, *form = words
    assert entry.main(["predict", str(SEVEN), option, name, *form]) == 1
    assert f"{option} {name} would overwrite" in capsys.readouterr().err
    assert Path(name).read_bytes() == content


@pytest.mark.parametrize("content", [b"", "path,digit\nné.png,7\n".encode()])
def test_answers_overwrite_answers(content):
    Path("a.csv").write_bytes(content)
    assert entry.main(["predict", str(SEVEN), "--output", "a.csv"]) == 0
    assert b"7-photo" in Path("a.csv").read_bytes()


@pytest.mark.parametrize("option", ["--explain", "--inside"])
@pytest.mark.parametrize("name", ["letter.pdf", "logo.svg", "notes.png"])
def test_a_figure_does_not_overwrite_what_others_made(option, name, capsys):
    Path(name).write_bytes(b"%PDF-1.4 <svg/> how I use matplotlib")
    assert entry.main(["predict", str(SEVEN), option, name]) == 1
    assert f"{option} {name} would overwrite" in capsys.readouterr().err
    assert b"how I use" in Path(name).read_bytes()


@pytest.mark.parametrize("option", ["--output=new/a.csv", "--explain=new/a.png"])
def test_a_folder_to_write_to_is_made(option):
    assert entry.main(["predict", str(SEVEN), option]) == 0
    assert len(list(Path("new").iterdir())) == 1


def test_an_empty_path_is_called_empty(capsys):
    assert entry.main(["predict", ""]) == 1
    assert "paths is empty" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a.xlsx", "a.jsonl", "a"])
def test_a_name_that_says_no_form_is_refused(name, capsys):
    assert entry.main(["predict", str(SEVEN), "--output", name]) == 1
    assert "must end in .csv, .json or .txt" in capsys.readouterr().err
    assert entry.main(["predict", str(SEVEN), "--output", name, "--csv"]) == 0
    assert Path(name).exists()


@pytest.mark.parametrize("option", ["--explain", "--inside"])
def test_where_nothing_can_be_drawn_it_says_so(option, capsys):
    blank().save("blank.png")
    assert entry.main(["predict", "blank.png", option, "none.png"]) == 0
    assert "nothing to draw" in capsys.readouterr().err
    assert not Path("none.png").exists()


def test_a_figure_that_cannot_be_drawn_is_refused_before_any_work(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as in the light installation
    monkeypatch.delitem(sys.modules, "lenet_digits.figures", raising=False)
    assert entry.main(["predict", str(SEVEN), "--explain", "steps.png"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "This needs matplotlib" in err


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_a_figure_of_an_earlier_command_is_overwritten(suffix, capsys):
    for picture in (ZERO, SEVEN):
        assert entry.main(["predict", str(picture), "--explain", f"steps.{suffix}"]) == 0
    assert entry.main(["predict", "x", "--explain", "steps.png", "--output", "steps.png"]) == 1
    assert "the same file" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_among_the_pictures_is_refused_and_does_not_hang(capsys):
    Path("pictures").mkdir()
    os.mkfifo("pictures/1.png")
    shutil.copy(SEVEN, "pictures/2.jpg")
    found, err = answers(capsys, "pictures", "/dev/zero", code=1)
    assert [row["status"] for row in found] == ["unreadable", "digit", "unreadable"]
    assert "not a file" in err


def test_inside_draws_the_layers_for_the_first_picture_that_has_ink(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    drawn = []
    monkeypatch.setattr("lenet_digits.figures.plot_activations", drawn.append)
    monkeypatch.setattr("lenet_digits.figures.save_figure", lambda *_: None)
    Image.new("L", (90, 90), 255).save("blank.png")
    seven = str(EXAMPLES / "7-photo.jpg")
    assert entry.main(["predict", "blank.png", seven, "--inside", "inside.png"]) == 0
    (seen,) = drawn
    assert int(seen.output.argmax()) == 7
