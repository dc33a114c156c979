"""Runs Tesseract 5.3.0 (Debian 12, with English) on numbers as an adapter; measures nothing.

    apt-get install tesseract-ocr && python -m venv ENV && ENV/bin/pip install pillow numpy

Page segmentation 6 is its mode for a block of text, and digits alone are allowed. It wants dark ink
on light and some paper around it; pictures under 300 pixels are enlarged four times for it, as for
RapidOCR.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from PIL import Image, ImageOps
from protocol import answer, light_on_dark

OPTIONS = ("--psm", "6", "-c", "tessedit_char_whitelist=0123456789", "--dpi", "300")
SMALL = 300  # pixels: the longest side below which a picture is enlarged
MARGIN = 20  # pixels: of the paper added around it


def read(path: str) -> str:
    """All digits that it reads, from the top."""
    picture = ImageOps.invert(light_on_dark(path))
    if max(picture.size) < SMALL:
        picture = ImageOps.scale(picture, 4, resample=Image.Resampling.BICUBIC)
    paper = picture.resize((1, 1)).getpixel((0, 0))
    ImageOps.expand(picture, MARGIN, paper).save(copy)
    done = subprocess.run(
        ["tesseract", copy, "-", *OPTIONS], capture_output=True, text=True, check=True
    )
    return " ".join(done.stdout.split()) or "-"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        copy = str(Path(folder, "picture.png"))
        answer(read)
