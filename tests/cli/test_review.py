"""The review sheet in a real browser: a person corrects a line and saves the table."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("playwright", reason="playwright is not installed")
from playwright.sync_api import Browser, Page

from lenet_digits import read
from lenet_digits.cli import entry, review
from lenet_digits.cli.lines import LineRow, ReadingRow, text_cell

NUMBERS = Path(__file__).parents[2] / "examples" / "numbers"
# Names that could end the script, open a tag, fetch something, or begin a comment.
STRANGE = (
    "a< script>document.title='shot'<!--.png",
    '<img src=x onerror="document.title=`shot`">.png',
    "b@script@@policy@&lt;'$&.png",
)


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def open_sheet(browser: Browser) -> Iterator[Callable[[str], tuple[Page, list[str]]]]:
    """Opens a sheet; gives the page and a list of its requests, messages and errors."""
    context = browser.new_context(accept_downloads=True)

    def opened(name: str) -> tuple[Page, list[str]]:
        page, seen = context.new_page(), []
        address = Path(name).absolute().as_uri()
        page.on("request", lambda request: seen.append(request.url))
        page.on("console", lambda message: seen.append(message.text))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.goto(address)
        seen[:] = [x for x in seen if x != address and not x.startswith("data:image/jpeg;base64,")]
        return page, seen

    yield opened
    context.close()


def saved(page: Page) -> str:
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    return Path(download.value.path()).read_bytes().decode()


def rows_of(table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table)))


def fields(page: Page) -> list[str]:
    values: list[str] = page.locator("input").evaluate_all("all => all.map(one => one.value)")
    return values


def written(capsys: Any, *words: str, code: int = 0) -> str:
    """The table of a command that also writes ``sheet.html``."""
    assert entry.main(["read", "--csv", *words, "--review", "sheet.html"]) == code
    return str(capsys.readouterr().out)


def test_without_corrections_the_sheet_saves_the_table_of_csv(open_sheet: Any, capsys: Any) -> None:
    Path("not.png").write_text("This is not a picture.")
    table = written(capsys, "not.png", str(NUMBERS), "--at-least", "0.98", code=1)
    page, seen = open_sheet("sheet.html")
    assert saved(page) == table
    assert page.locator("li").count() == len(rows_of(table))
    assert seen == []


def test_a_corrected_line_is_saved_with_its_correction(open_sheet: Any, capsys: Any) -> None:
    before = rows_of(written(capsys, str(NUMBERS)))
    page, _ = open_sheet("sheet.html")
    texts = fields(page)
    first, second, third = (next(n for n, text in enumerate(texts) if text == word)
                            for word in ("2718", "60221", "2024"))  # fmt: skip
    page.locator("input").nth(first).fill("007")
    page.locator("input").nth(second).fill('=HYPERLINK("x")')
    page.locator("input").nth(third).fill("  2024 ")  # as it was
    after = rows_of(saved(page))
    corrections = {"2718": '="007"', "60221": '="=HYPERLINK(""x"")"'}
    for old, new in zip(before, after, strict=True):
        if old["text"] in corrections:
            assert new == old | {
                "text": corrections[old["text"]], "confidence": "", "status": "corrected",
            }  # fmt: skip
        else:
            assert new == old
    assert "2 of" in page.get_by_role("status").inner_text()


def test_the_sheet_writes_a_text_as_the_command_does(open_sheet: Any, capsys: Any) -> None:
    written(capsys, str(NUMBERS / "2024-drawn.png"))
    page, _ = open_sheet("sheet.html")
    for text in ("", "0", "7", "00", "1 2", "12·5", "·6", "12345678901", "1" * 12):
        page.locator("input").fill(text)
        (row,) = rows_of(saved(page))
        assert row["text"] == text_cell(text)


def test_the_doubtful_lines_come_first_and_have_alternatives_to_choose(
    open_sheet: Any, capsys: Any
) -> None:
    rows = rows_of(written(capsys, str(NUMBERS)))
    doubtful = min(rows, key=lambda row: float(row["confidence"]))
    page, _ = open_sheet("sheet.html")
    first = page.locator("li").first
    assert first.locator("input").input_value() == doubtful["text"]
    assert first.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)")
    another = first.locator("button").nth(1)
    other = another.inner_text().rsplit(" ", 2)[0]
    assert other != doubtful["text"]
    another.click()
    assert first.locator("input").input_value() == other
    page.keyboard.press("Enter")
    assert page.locator("input").nth(1).evaluate("one => one === document.activeElement")


def test_an_unsure_line_is_empty_until_a_person_fills_it(open_sheet: Any, capsys: Any) -> None:
    picture = str(NUMBERS / "24-12-98-date.png")
    confidence = read(picture).lines[0].confidence
    (row,) = rows_of(written(capsys, picture, "--at-least", str(confidence + 1e-6)))
    assert (row["text"], row["status"]) == ("", "unsure")
    page, _ = open_sheet("sheet.html")
    assert fields(page) == [""]
    page.locator("li button").first.click()
    (row,) = rows_of(saved(page))
    assert (row["text"], row["status"]) == (read(picture).text, "corrected")


# Safety


@pytest.mark.skipif(sys.platform == "win32", reason="Windows allows no such names")
def test_names_are_text_never_markup(open_sheet: Any, capsys: Any) -> None:
    for name in STRANGE:
        shutil.copy(NUMBERS / "2024-drawn.png", name)
    ending = Path("x<", "script>alert(1)<", "script>.png")  # "</script>" holds the separator
    ending.parent.mkdir(parents=True)
    shutil.copy(NUMBERS / "2024-drawn.png", ending)
    table = written(capsys, *STRANGE, str(ending))
    assert str(ending) in table  # as the names reach the sheet
    page, seen = open_sheet("sheet.html")
    assert seen == []
    assert page.title() == "Review of numbers"
    assert page.locator("script").count() == 2
    assert page.locator(".name").all_inner_texts() == [*STRANGE, str(ending)]
    assert saved(page) == table


def test_the_sheet_allows_no_network_and_no_script_but_its_own(
    open_sheet: Any, capsys: Any
) -> None:
    written(capsys, str(NUMBERS / "2024-drawn.png"))
    page, seen = open_sheet("sheet.html")
    page.evaluate(
        """() => {
            document.body.append(Object.assign(new Image(), {src: "http://127.0.0.1:9/x.png"}));
            const script = document.createElement("script");
            script.textContent = "document.title = 'shot'";
            document.body.append(script);
        }"""
    )
    refused = page.evaluate("fetch('http://127.0.0.1:9/x').then(() => '', error => error.name)")
    assert refused == "TypeError"
    assert page.title() == "Review of numbers"
    assert sum("Content Security Policy" in line for line in seen) >= 3


def test_the_same_script_would_run_without_the_policy(open_sheet: Any, capsys: Any) -> None:
    """The twin of the tests above: without the policy, the same attempts do harm."""
    written(capsys, str(NUMBERS / "2024-drawn.png"))
    sheet = Path("sheet.html").read_text(encoding="utf-8")
    sheet = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", sheet)
    Path("open.html").write_text(
        sheet.replace("</body>", "<script>document.title = 'shot'</script></body>"),
        encoding="utf-8",
    )
    page, _ = open_sheet("open.html")
    assert page.title() == "shot"


# Size


def test_five_hundred_pictures_have_room_and_more_only_for_the_doubtful() -> None:
    (line,) = read(NUMBERS / "2024-drawn.png").lines
    crop = np.random.default_rng(0).bytes(6000)
    rows = [LineRow(ReadingRow(f"scan-{n:04}.jpg", 1, "read"), 1, line, "read", crop)
            for n in range(800)]  # fmt: skip
    for count in (500, 800):
        sheet = review.sheet_of(rows[:count], "sheet.csv").decode()
        assert len(sheet.encode()) <= 5_000_000
        data = json.loads(re.search(r'id="data">(.*?)</script>', sheet, re.S).group(1))  # type: ignore[union-attr]
        with_picture = [bool(entry["crop"]) for entry in data["lines"]]
        assert len(with_picture) == count
        assert all(with_picture) == (count == 500)
        assert sorted(with_picture, reverse=True) == with_picture


def test_a_drawing_on_a_transparent_layer_has_its_picture_on_the_sheet() -> None:
    layer = NUMBERS.parent / "3-transparent.png"
    assert entry.main(["read", str(layer), "--review", "sheet.html"]) == 0
    assert "data:image/jpeg" in Path("sheet.html").read_text(encoding="utf-8")
