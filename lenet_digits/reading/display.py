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
OUTLINE = "#6f9692"  # of a picture in a notebook, and the gaps between maps in it; see BOX_COLOUR
GAP_COLOUR = (0x6F, 0x96, 0x92)  # the same
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


def mosaic(maps: NDArray[Any], columns: int) -> NDArray[np.uint8]:
    """Activations (N, H, W), or units (N,), in [-1, 1] as one RGB picture of N / columns rows."""
    if maps.ndim == 1:  # single units, side by side
        maps, columns = maps.reshape(1, -1, columns), 1
    grey = np.rint((np.clip(maps, -1, 1) + 1) * 127.5).astype(np.uint8)
    count, high, wide = grey.shape
    framed = np.empty((count, high + 1, wide + 1, 3), np.uint8)
    framed[:] = GAP_COLOUR
    framed[:, :high, :wide] = grey[..., None]
    rows = framed.reshape(count // columns, columns, high + 1, wide + 1, 3).swapaxes(1, 2)
    return rows.reshape(-1, columns * (wide + 1), 3)[:-1, :-1]


def figures_html(pictures: Iterable[tuple[str, NDArray[Any]]]) -> str:
    """Pictures side by side, each under its name, as HTML for a notebook."""
    figures = "".join(
        '<figure style="margin:0">'
        f'<figcaption style="font-size:smaller">{html.escape(name)}</figcaption>'
        f'<img alt="{html.escape(name)}" src="{data_url(_shrunk(image))}" '
        f'style="height:{TILE}px;max-width:none;outline:1px solid {OUTLINE};'
        'image-rendering:pixelated"></figure>'
        for name, image in pictures
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:0.4em">{figures}</div>'


def _shrunk(image: NDArray[Any]) -> NDArray[Any]:
    """An image of less than twice the height of a tile: a notebook stores what it shows."""
    factor = image.shape[0] // TILE
    if factor < 2:
        return image
    if image.dtype != np.uint8:
        image = np.asarray(image * 255 + 0.5, np.uint8)
    return np.asarray(Image.fromarray(image).reduce(factor))
