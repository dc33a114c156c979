"""Speaks the benchmark's protocol for the adapters beside it; knows none of the systems they run.

A path a line comes in, a digit a line goes out, ``-`` where there is none. What a picture file can
do to a reader that is not about reading is put right for every system alike: each picture is turned
upright, and a transparent layer is laid on paper that its ink shows on.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageOps


def open_picture(path: str) -> Image.Image:
    """An upright picture in RGB."""
    with Image.open(path) as file:
        picture = ImageOps.exif_transpose(file)
        if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
            layer = picture.convert("RGBA")
            pixels = np.asarray(layer)
            opaque = pixels[pixels[..., 3] > 127][:, :3]
            paper = "black" if opaque.size and opaque.mean() > 127 else "white"
            picture = Image.alpha_composite(Image.new("RGBA", layer.size, paper), layer)
        return picture.convert("RGB")


def light_on_dark(path: str) -> Image.Image:
    """A grey picture with light ink, as MNIST's, told by the brightness of its border."""
    picture = open_picture(path).convert("L")
    grey = np.asarray(picture)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return ImageOps.invert(picture) if np.median(border) > 127 else picture


def answer(read: Callable[[str], object]) -> None:
    """Answer every path on standard input with what `read` makes of it."""
    for line in sys.stdin:
        try:
            with contextlib.redirect_stdout(sys.stderr):
                digit = str(read(line.rstrip("\n")))
        except Exception as error:  # whatever it is, this picture was not read, and the next may be
            print(f"{line.rstrip()}: {error!r}", file=sys.stderr)
            digit = "-"
        print(digit, flush=True)
