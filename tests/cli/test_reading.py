"""`read` on the command line: every line of digits has a row, and every picture one at least."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lenet_digits import Mark, Reading, load_model, read, save_weights
from lenet_digits.cli import entry, lines
from lenet_digits.cli.lines import COLUMNS, text_cell

NUMBERS = Path(__file__).parents[2] / "examples" / "numbers"
PAGE, DRAWN = NUMBERS / "page.png", NUMBERS / "2024-drawn.png"
BOXED, TOUCHING = NUMBERS / "5073-boxed.png", NUMBERS / "853-touching.png"


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder():
    """A folder with a page of four lines, a number, and pictures without any."""
    Path("scans", "deeper").mkdir(parents=True)
    shutil.copy(PAGE, "scans/page.png")
    shutil.copy(TOUCHING, "scans/deeper/853.png")
    Image.new("RGB", (60, 60), "white").save("scans/blank.png")
    Path("scans/damaged.png").write_text("This is not a picture.")
    return "scans"


def table(capsys, *words, code=0):
    """The rows of a command, as CSV has them, and what it wrote to standard error."""
    assert entry.main(["read", "--csv", *map(str, words)]) == code
    out, err = capsys.readouterr()
    return list(csv.DictReader(io.StringIO(out))), err


def pages(capsys, *words, code=0):
    assert entry.main(["read", "--json", *map(str, words)]) == code
    out, err = capsys.readouterr()
    return json.loads(out), err


def answer_with(monkeypatch, reading):
    monkeypatch.setattr("lenet_digits.reading.numbers.read", lambda *_, **__: reading)


def box(row):
    return tuple(int(row[edge]) for edge in ("left", "top", "right", "bottom"))


def opened(path):
    with Image.open(path) as picture:
        return picture.convert("RGB")


# Rows


def test_csv_has_a_row_for_every_line_and_one_at_least_for_every_file(folder, capsys):
    rows, err = table(capsys, folder, "missing.png", code=1)
    assert tuple(rows[0]) == COLUMNS
    assert [(Path(row["path"]).name, row["line"], row["status"]) for row in rows] == [
        ("blank.png", "", "blank"),
        ("damaged.png", "", "unreadable"),
        ("page.png", "1", "read"),
        ("page.png", "2", "read"),
        ("page.png", "3", "read"),
        ("page.png", "4", "read"),
        ("missing.png", "", "unreadable"),
    ]
    expected = read(PAGE)
    for row, line in zip(rows[2:6], expected.lines, strict=True):
        assert row["text"] == text_cell(line.text)
        assert float(row["confidence"]) == line.confidence
        assert box(row) == line.box
    assert all(row["error"] for row in rows if row["status"] != "read")
    last = err.splitlines()[-1]
    assert "4 lines on 1 page, 0 without digits, 1 blank, 2 unreadable" in last
    assert "--recursive" in last


def test_json_is_the_reading_of_each_page(folder, capsys):
    found, _ = pages(capsys, folder, "--recursive", code=1)
    by_name = {Path(page["path"]).name: page for page in found}
    assert by_name["damaged.png"]["error"]
    assert by_name["blank.png"]["lines"] == []
    page = by_name["page.png"]
    for line in page["lines"]:
        assert line.pop("status") == "read"
    assert {name: page[name] for name in read(PAGE).to_dict()} == read(PAGE).to_dict()
    assert by_name["853.png"]["text"] == "853"


def test_the_plain_table_has_the_text_of_each_line(folder, capsys):
    assert entry.main(["read", folder]) == 1
    out, _ = capsys.readouterr()
    _, *rows = out.splitlines()
    for word in ("(blank)", "(unreadable)", *read(PAGE).text.split("\n")):
        assert sum(word in row for row in rows) == 1, word


def test_a_picture_of_letters_has_ink_but_no_digits(capsys, monkeypatch):
    answer_with(monkeypatch, Reading(marks=(Mark("other", (1, 2, 3, 4)),)))
    rows, err = table(capsys, DRAWN, BOXED)
    assert [row["status"] for row in rows] == ["no_digits"] * 2
    assert "0 lines on 0 pages, 2 without digits, 0 blank" in err


def test_standard_input_is_a_picture(monkeypatch, capsys):
    with DRAWN.open("rb") as file:
        keep = os.dup(0)
        os.dup2(file.fileno(), 0)
        try:
            (row,), _ = table(capsys, "-")
        finally:
            os.dup2(keep, 0)
            os.close(keep)
    assert (row["path"], row["text"]) == ("-", "2024")


def test_the_number_of_digits_is_passed_on(capsys):
    (row,), _ = table(capsys, "--digits", 3, TOUCHING)
    assert row["text"] == "853"
    rows, _ = table(capsys, "--digits", 1, TOUCHING)
    assert [row["text"] for row in rows] != ["853"]


def test_several_processes_give_the_rows_that_one_gives(folder, capsys):
    one = table(capsys, "--jobs", 1, folder, code=1)
    assert table(capsys, "--jobs", 2, folder, code=1) == one


# Boxes


def test_boxes_are_in_pixels_of_a_picture_of_any_size(capsys):
    small = opened(DRAWN)
    factor = 9  # more pixels on a side than a page is read at
    large = small.resize((small.width * factor, small.height * factor), Image.Resampling.BICUBIC)
    large.save("large.png")
    (row,), _ = table(capsys, DRAWN)
    (other,), _ = table(capsys, "large.png")
    assert other["text"] == row["text"]
    assert box(other) == pytest.approx([edge * factor for edge in box(row)], abs=4 * factor)


@pytest.mark.parametrize("turned", [90, 180, 270])
def test_the_box_of_a_turned_picture_is_where_the_ink_is_in_the_file(turned, capsys, monkeypatch):
    upright = read(DRAWN)
    picture = opened(DRAWN)
    turning = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180,
               270: Image.Transpose.ROTATE_270}[turned]  # fmt: skip
    picture.transpose(turning).save("lying.png")  # turned clockwise, it stands upright again
    answer_with(monkeypatch, Reading(upright.lines, turned=turned))
    (row,), _ = table(capsys, "lying.png")
    expected = opened("lying.png").crop(box(row)).transpose(
        {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180,
         270: Image.Transpose.ROTATE_90}[turned]
    )  # fmt: skip
    assert expected.tobytes() == picture.crop(upright.lines[0].box).tobytes()


# Unsure lines


def test_unsure_lines_are_left_empty_and_counted(capsys):
    sure = read(PAGE)
    least = sorted(line.confidence for line in sure.lines)[1]
    rows, err = table(capsys, PAGE, "--at-least", least)
    status = ["read" if line.confidence >= least else "unsure" for line in sure.lines]
    assert [row["status"] for row in rows] == status
    assert [bool(row["text"]) for row in rows] == [word == "read" for word in status]
    assert [float(row["confidence"]) for row in rows] == [line.confidence for line in sure.lines]
    assert "1 left empty" in err
    (page,), _ = pages(capsys, PAGE, "--at-least", least)
    assert [line["status"] for line in page["lines"]] == status
    assert page["text"].split("\n").count("") == 1
    assert entry.main(["read", str(PAGE), "--at-least", str(least)]) == 0
    assert capsys.readouterr().out.count("(unsure)") == 1


# Spreadsheets


def test_only_a_text_that_a_spreadsheet_would_change_is_written_as_a_formula():
    for text in ("", "0", "7", "42", "2024", "12·5", "·6", "24·12·98"):
        assert text_cell(text) == text
    for text in ("007", "00", "1 2", "123456789012", "=1+1", "1-2", "12/5", "-6"):
        assert text_cell(text) == f'="{text}"'


def test_leading_zeros_survive_in_the_table(capsys, monkeypatch):
    (line,) = read(DRAWN).lines
    answer_with(monkeypatch, Reading((replace(line, text="007"),)))
    (row,), _ = table(capsys, DRAWN)
    assert row["text"] == '="007"'
    (page,), _ = pages(capsys, DRAWN)
    assert page["lines"][0]["text"] == "007"


# Cells


def cells(capsys, *words, code=0):
    assert entry.main(["read", "--cells", *map(str, words)]) == code
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_every_cell_of_a_grid_has_a_row_the_blank_ones_too(capsys):
    rows = cells(capsys, BOXED)
    expected = read(BOXED).cells
    for row, cell in zip(rows, expected, strict=True):
        assert (row["row"], row["column"]) == (str(cell.row + 1), str(cell.column + 1))
        assert (row["text"], box(row)) == (cell.text, cell.box)
        assert row["status"] == ("read" if cell.text else "blank")
        assert row["confidence"] == (str(read(BOXED).lines[0].confidence) if cell.text else "")
    unsure = cells(capsys, BOXED, "--at-least", 1)
    assert sum(row["status"] == "unsure" for row in unsure) >= 1
    assert not any(row["text"] for row in unsure if row["status"] == "unsure")


def test_a_picture_without_a_grid_has_a_row_that_says_so(folder, capsys):
    rows = cells(capsys, folder, code=1)
    assert [row["status"] for row in rows] == ["no_cells", "unreadable", "no_cells"]
    assert all(row["error"] for row in rows)


# Files to write


def test_a_review_sheet_does_not_overwrite_a_picture(capsys):
    shutil.copy(DRAWN, "sheet.html")
    assert entry.main(["read", "sheet.html", "--review", "sheet.html"]) == 1
    assert "--review sheet.html would overwrite a picture" in capsys.readouterr().err
    assert Path("sheet.html").read_bytes() == DRAWN.read_bytes()


def test_the_figure_shows_every_page_with_its_digits(folder, capsys, monkeypatch):
    drawn = []
    monkeypatch.setattr("lenet_digits.figures.plot_reading", lambda pages: drawn.extend(pages))
    monkeypatch.setattr("lenet_digits.figures.save_figure", lambda *_: None)
    assert entry.main(["read", folder, "--recursive", "--explain", "figure.png"]) == 1
    assert [name for name, *_ in drawn] == ["blank.png", "853.png", "page.png"]
    _, picture, reading = drawn[2]
    with Image.open(PAGE) as page:
        assert picture.shape[:2] == page.size[::-1]
    assert reading == read(PAGE)


def test_it_needs_none_of_the_large_packages():
    code = (
        "import sys\n"
        "for name in ('torch', 'gradio', 'matplotlib', 'huggingface_hub', 'tqdm'):\n"
        "    sys.modules[name] = None  # as if it were not installed\n"
        "from lenet_digits.cli.entry import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = ["read", str(DRAWN), "--review", "sheet.html", "--output", "rows.csv"]
    result = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert Path("sheet.html").exists()
    assert '"2024"' in Path("rows.csv").read_text()


# Weights


def test_other_weights_read_the_lines(capsys):
    save_weights(load_model(), "same.safetensors")
    rows, _ = table(capsys, PAGE, "--weights", "same.safetensors")
    assert [row["text"] for row in rows] == [text_cell(line.text) for line in read(PAGE).lines]


def test_weights_that_read_refuses_are_refused_once_in_one_sentence(folder, capsys, monkeypatch):
    def refuse(*_, model=None, **__):
        raise ValueError("These weights cannot read numbers.")

    save_weights(load_model(), "some.safetensors")
    monkeypatch.setattr("lenet_digits.reading.numbers.read", refuse)
    assert entry.main(["read", "--csv", folder, "--weights", "some.safetensors"]) == 1
    assert capsys.readouterr() == ("", "lenet-digits: These weights cannot read numbers.\n")


# Crops


def test_the_picture_of_any_line_is_small():
    noise = np.random.default_rng(0).integers(0, 256, (900, 3000, 3), np.uint8)
    file = lines._jpeg(noise)
    assert len(file) <= lines.CROP_BYTES
    assert Image.open(io.BytesIO(file)).width > 50
