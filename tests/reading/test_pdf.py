"""The pages of PDFs are read from local files where that is supported; else a sentence says how."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from lenet_digits import UnreadableImageError, predict, read
from lenet_digits.cli import entry, rows
from lenet_digits.reading import pictures
from lenet_digits.reading.pictures import is_pdf, pdf_pages

ROOT = Path(__file__).parents[2]
NUMBERS = ROOT / "examples" / "numbers"
PAGE, DRAWN, SEVEN = NUMBERS / "page.png", NUMBERS / "2024-drawn.png", ROOT / "examples/7-photo.jpg"
needs_pdfium = pytest.mark.skipif(
    find_spec("pypdfium2") is None, reason='needs pypdfium2: pip install ".[pdf]"'
)


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def saved(name: str, *pages: Path | Image.Image) -> Path:
    first, *others = [
        page if isinstance(page, Image.Image) else Image.open(page).convert("RGB") for page in pages
    ]
    first.save(name, save_all=True, append_images=others, resolution=100)
    return Path(name)


def blank() -> Image.Image:
    return Image.new("RGB", (400, 300), "white")


def test_a_pdf_is_told_by_its_content() -> None:
    assert is_pdf(saved("a.pdf", DRAWN).read_bytes())
    assert is_pdf(b"\n" * 1000 + b"%PDF-1.4")
    for data in (b"", b"PDF", b"\n" * 1024 + b"%PDF-", SEVEN.read_bytes()):
        assert not is_pdf(data)


@pytest.mark.parametrize("command", ["read", "predict"])
def test_without_support_the_sentence_says_what_to_install(command: str) -> None:
    saved("scan.pdf", DRAWN)
    code = (
        "import sys\nsys.modules['pypdfium2'] = None  # as if it were not installed\n"
        "from lenet_digits.cli.entry import main\nsys.exit(main(sys.argv[1:]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, command, "--json", "scan.pdf"], capture_output=True, text=True
    )
    assert result.returncode == 1
    (row,) = json.loads(result.stdout)
    sentence = 'scan.pdf is a PDF. Install support for it: pip install "lenet-digits[pdf]"'
    assert (row["status"], row["error"]) == ("unreadable", sentence)


@pytest.mark.parametrize("wrapped", [bytes, io.BytesIO])
def test_a_pdf_that_is_not_a_local_file_is_not_opened(wrapped: type) -> None:
    data = saved("a.pdf", DRAWN).read_bytes()
    for function in (predict, read):
        with pytest.raises(UnreadableImageError, match="not a picture in a format"):
            function(wrapped(data))  # as the app gives what it was sent


def test_the_library_names_the_command_for_a_pdf() -> None:
    with pytest.raises(UnreadableImageError, match=r"a\.pdf is a PDF\. .*: lenet-digits read"):
        read(saved("a.pdf", DRAWN))


def test_without_support_pdfs_in_a_folder_are_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "pdf_is_supported", lambda: False)
    saved("a.pdf", DRAWN)
    Image.open(DRAWN).save("a.png")
    assert entry.main(["read", "."]) == 0
    said = capsys.readouterr().err
    assert "1 PDF" in said
    assert 'pip install "lenet-digits[pdf]"' in said


# With support


@needs_pdfium
def test_every_page_is_read_as_a_page_of_its_file(capsys: pytest.CaptureFixture[str]) -> None:
    saved("scan.pdf", PAGE, blank(), DRAWN)
    assert entry.main(["read", "--csv", "."]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["page"], row["line"], row["text"], row["status"]) for row in table] == [
        ("1", "1", '="314 159"', "read"),
        ("1", "2", "2718", "read"),
        ("1", "3", "60221", "read"),
        ("1", "4", "1998", "read"),
        ("2", "", "", "blank"),
        ("3", "1", "2024", "read"),
    ]


@needs_pdfium
def test_predict_reads_the_digit_on_every_page(capsys: pytest.CaptureFixture[str]) -> None:
    saved("scan.pdf", SEVEN, blank(), ROOT / "examples" / "0-marker.png")
    assert entry.main(["predict", "--json", "scan.pdf"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["page"], row["digit"]) for row in found] == [(1, 7), (2, None), (3, 0)]


@needs_pdfium
def test_too_many_pages_are_refused_before_one_is_drawn(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "MAX_PAGES", 2)
    saved("two.pdf", DRAWN, DRAWN)
    saved("three.pdf", DRAWN, DRAWN, DRAWN)
    assert entry.main(["read", "--json", "two.pdf", "three.pdf"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [row["status"] for row in found] == ["read", "read", "unreadable"]
    assert "3 pages, more than 2" in found[2]["error"]


def page_of(width: float, height: float) -> bytes:
    """A PDF of one empty page of this size, in points."""
    return (
        "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
        "2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        f"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 {width} {height}]>>endobj\n"
        "trailer<</Root 1 0 R>>\n%%EOF\n"
    ).encode()


@needs_pdfium
@pytest.mark.parametrize(
    ("size", "drawn"), [((595, 842), (1653, 2339)), ((14400, 7200), (4000, 2000))]
)
def test_a_page_is_drawn_at_the_size_of_a_scan_and_a_huge_one_smaller(
    size: tuple[float, float], drawn: tuple[int, int]
) -> None:
    (page,) = pdf_pages(page_of(*size), "a.pdf", most=1)
    assert page.size == pytest.approx(drawn, abs=1)


@needs_pdfium
def test_a_page_that_cannot_be_drawn_does_not_stop_the_next(
    capsys: pytest.CaptureFixture[str],
) -> None:
    strip = Image.new("RGB", (9000, 20), "white")  # too narrow to be read
    saved("scan.pdf", strip, DRAWN)
    assert entry.main(["read", "--json", "scan.pdf"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [row["status"] for row in found] == ["unreadable", "read"]


@needs_pdfium
@pytest.mark.parametrize("data", [b"%PDF-1.4 rubbish", b"%PDF-", page_of(10, 10)[:80]])
def test_a_damaged_pdf_is_one_sentence(data: bytes) -> None:
    with pytest.raises(
        UnreadableImageError, match=r"a\.pdf is damaged and cannot be read: .*\w.*\.$"
    ):
        list(pdf_pages(data, "a.pdf", most=9))
