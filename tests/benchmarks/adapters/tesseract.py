"""Runs Tesseract 5.3.0 (Debian 12, with English) as an adapter; measures nothing.

    apt-get install tesseract-ocr && python -m venv ENV && ENV/bin/pip install pillow numpy

Page segmentation 10 is its mode for a single character, and digits alone are allowed. Its
documentation ("Improving the quality of the output") wants dark ink on light, some paper around it
and characters of 20 pixels or more; of three sizes tried, the one that suits it best is taken.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from PIL import Image, ImageOps
from protocol import answer, light_on_dark

OPTIONS = ("--psm", "10", "-c", "tessedit_char_whitelist=0123456789", "--dpi", "300")
SIDE, MARGIN = 48, 20  # pixels: of the picture, and of the paper added around it


def read(path: str) -> str:
    """The first digit that it reads, if any."""
    picture = ImageOps.invert(light_on_dark(path))
    factor = SIDE / min(picture.size)
    way = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
    picture = ImageOps.scale(picture, factor, resample=way)
    paper = picture.resize((1, 1)).getpixel((0, 0))
    ImageOps.expand(picture, MARGIN, paper).save(copy)
    done = subprocess.run(
        ["tesseract", copy, "-", *OPTIONS], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()[:1] or "-"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        copy = str(Path(folder, "picture.png"))
        answer(read)
