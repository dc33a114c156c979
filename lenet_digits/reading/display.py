"""Shows arrays as small pictures inside HTML: in a notebook and on the page."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

BOX_COLOUR = "#e8836b"  # of a box drawn around ink; visible on black and on white
TILE = 96  # pixels: height of a picture in a notebook


def data_url(image: NDArray[Any], *, box: tuple[int, int, int, int] | None = None) -> str:
    """An image, (H, W) or (H, W, 3), uint8 or float in [0, 1], as a PNG data URL.

    With ``box`` (left, top, right, bottom), the box is drawn around the ink.
    """
    pixels = image if image.dtype == np.uint8 else np.asarray(image * 255 + 0.5, np.uint8)
    picture = Image.fromarray(pixels)
    if box is not None:
        picture = picture.convert("RGB")
        left, top, right, bottom = box
        ImageDraw.Draw(picture).rectangle(
            (left - 2, top - 2, right + 1, bottom + 1), outline=BOX_COLOUR, width=2
        )
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def mosaic(maps: NDArray[Any], columns: int) -> NDArray[np.float32]:
    """Activations (N, H, W) or (N,) in [-1, 1] as one picture in [0, 1], N / columns rows."""
    if maps.ndim == 1:
        return np.asarray((maps.reshape(-1, columns) + 1) / 2, np.float32)
    padded = np.pad(np.clip(maps, -1, 1), [(0, 0), (0, 1), (0, 1)], constant_values=1)
    count, high, wide = padded.shape
    rows = padded.reshape(count // columns, columns, high, wide).swapaxes(1, 2)
    return np.asarray((rows.reshape(-1, columns * wide) + 1) / 2, np.float32)


def figures_html(pictures: Iterable[tuple[str, NDArray[Any]]]) -> str:
    """Pictures side by side, each under its name, as HTML for a notebook."""
    return "".join(
        '<figure style="display:inline-block;margin:0 0.8em 0 0;vertical-align:bottom">'
        f'<figcaption style="font-size:smaller">{html.escape(name)}</figcaption>'
        f'<img alt="{html.escape(name)}" src="{data_url(image)}" '
        f'style="height:{TILE}px;image-rendering:pixelated"></figure>'
        for name, image in pictures
    )
