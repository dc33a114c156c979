"""HEIC photos are read from local files where support is installed; else a sentence says how."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from lenet_digits import UnreadableImageError, predict
from lenet_digits.reading.pictures import is_heic, open_local

ROOT = Path(__file__).parents[2]
SEVEN = ROOT / "examples" / "7-photo.jpg"
# How a HEIC photo begins: a box of type "ftyp" with its main brand, a version and more brands.
HEAD = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
GENERIC = b"\0\0\0\x1cftypmif1\0\0\0\0mif1miafheix"
AVIF = b"\0\0\0\x1cftypmif1\0\0\0\0mif1miafavif"


@pytest.mark.parametrize("data", [HEAD, GENERIC])
def test_a_heic_photo_is_told_by_its_content(data: bytes) -> None:
    assert is_heic(data)


@pytest.mark.parametrize("data", [AVIF, b"", b"ftypheic", HEAD[:7], SEVEN.read_bytes()])
def test_other_files_are_not_taken_for_heic(data: bytes) -> None:
    assert not is_heic(data)


def test_without_support_the_sentence_says_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "7.heic"
    path.write_bytes(HEAD)
    code = (
        "import sys\nsys.modules['pillow_heif'] = None  # as if it were not installed\n"
        "from lenet_digits import predict\npredict(sys.argv[1])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, cwd=ROOT
    )
    assert result.stderr.splitlines()[-1].endswith(
        'UnreadableImageError: 7.heic is a HEIC photo. Install support for it: pip install "lenet-'
        'digits[heic]"'
    )


@pytest.mark.parametrize("wrapped", [bytes, io.BytesIO])
def test_a_heic_photo_that_is_not_a_local_file_is_refused(wrapped: type) -> None:
    with pytest.raises(UnreadableImageError, match=r"HEIC photo\. Save it as JPEG or PNG"):
        predict(wrapped(HEAD))  # as the app gives what it was sent


# With support


def saved(path: Path, *, turned: int = 0, size: tuple[int, int] | None = None) -> Path:
    pillow_heif = pytest.importorskip("pillow_heif", reason='needs pip install ".[heic]"')
    picture = Image.new("RGB", size, "white") if size else Image.open(SEVEN).convert("RGB")
    exif = Image.Exif()
    exif[0x112] = 6 if turned else 1
    heic = pillow_heif.from_pillow(picture.rotate(turned, expand=True))
    heic.save(path, exif=exif.tobytes())
    return path


@pytest.mark.parametrize("turned", [0, 90])
def test_a_heic_photo_is_read_upright(turned: int, tmp_path: Path) -> None:
    assert predict(saved(tmp_path / "7.heic", turned=turned)).digit == 7


def test_a_heic_photo_that_is_too_large_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "large.heic", size=(900, 800))
    monkeypatch.setattr("lenet_digits.reading.pictures.MAX_PIXELS", 500_000)
    monkeypatch.setattr("pillow_heif.HeifFile.to_pillow", lambda _: pytest.fail("decoded"))
    with pytest.raises(UnreadableImageError, match="900 x 800"):
        predict(path)


def test_a_damaged_heic_photo_is_a_sentence(tmp_path: Path) -> None:
    data = saved(tmp_path / "7.heic").read_bytes()
    for length in range(24, len(data), len(data) // 40):
        with contextlib.suppress(UnreadableImageError):  # and no other error
            open_local(data[:length], "7.heic")


def test_pillow_itself_does_not_learn_the_format(tmp_path: Path) -> None:
    path = saved(tmp_path / "7.heic")
    code = (
        "import sys\nfrom lenet_digits import predict\npredict(sys.argv[1])\n"
        "from PIL import Image\nImage.init()\n"
        "assert not {'HEIC', 'HEIF'} & set(Image.OPEN)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, cwd=ROOT
    )
    assert result.returncode == 0, result.stderr
