"""Runs RapidOCR 1.4 (text detection and recognition) as an adapter; measures nothing.

    python -m venv ENV && ENV/bin/pip install rapidocr-onnxruntime

It finds little in small pictures: those under 300 pixels are enlarged four times for it.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from protocol import answer, open_picture
from rapidocr_onnxruntime import RapidOCR

SMALL = 300  # pixels: the longest side below which a picture is enlarged
ENGINE = RapidOCR()


def read(path: str) -> str:
    """All text that it finds, from the top."""
    picture = open_picture(path)
    if max(picture.size) < SMALL:
        size = (4 * picture.width, 4 * picture.height)
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    found, _ = ENGINE(np.asarray(picture)[:, :, ::-1])
    lines = sorted(found or [], key=lambda line: (round(line[0][0][1] / 40), line[0][0][0]))
    return " ".join(line[1] for line in lines) or "-"


if __name__ == "__main__":
    answer(read)
