"""Reads any kind of picture, within limits of size, into an array of pixels."""

from __future__ import annotations

import importlib.util
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from lenet_digits.storage.files import open_at_once

if TYPE_CHECKING:
    from torch import Tensor

    ImageInput: TypeAlias = (
        str | os.PathLike[str] | bytes | BinaryIO | Image.Image | NDArray[Any] | Tensor
    )
else:
    ImageInput = Any

MAX_BYTES = 64 * 2**20  # of a file
MAX_PIXELS = 50_000_000  # of a picture, as its header states them; a large phone photo has 50 MP
MAX_ASPECT = 50  # of the longer side to the shorter; a digit's is 20 at most
FINE_SIZE = 768  # pixels: longest side, about, that a large picture is reduced to as it is read
# Least correlation, without its sign, of the two most alike planes of a picture in colour. Tuned on
# the open real-world sets (2026-11): of 1,359 pictures in colour there, 1,356 have more. Of 4,000
# stacks of three MNIST test digits, 2 have.
ALIKE = 0.9
INK_SHARE = 0.4  # of a picture: as much at most of a layer is ink; tuned on drawings, 2026-11
PLATE = 0.85  # of its convex hull: what is opaque and fills more is not ink; tuned as above
OWN_PAPER = 40  # grey levels in what is opaque: with more it has paper of its own; tuned as above
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
PDF_DPI = 200  # pixels per inch of a page, as scanners save it: a digit of 5 mm has 40
PDF_SIDE = 4000  # pixels: longest side, at most, of a page
HEIC_SUFFIXES = (".heic", ".heif", ".hif")
# Brands of HEIF files whose pictures are coded as HEVC: ISO/IEC 23008-12, annex B.
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}

Bytes: TypeAlias = NDArray[np.uint8]

# The C library of Linux gives freed memory back to the system when the free memory exceeds twice
# the largest block that was ever freed. A picture of 512 x 512 pixels is just at that limit: each
# call may get 500 to 800 pages of memory anew, which takes a fifth of the time of a sketchpad's
# picture. One block of 4 MiB, freed at once and never written to, raises the limit to 8 MiB.
np.empty(4 * 2**20, np.uint8)


class UnreadableImageError(ValueError):
    """The input is not a picture that can be read, or one too large to be read safely."""


class NoInkError(ValueError):
    """The picture holds no ink: it is blank, or all of it is noise, ruling or border."""


def read(image: ImageInput, *, fine_size: int = FINE_SIZE) -> Bytes:
    """The picture, upright: (H, W, 3) uint8, or (H, W, 4) where it is a layer of ink.

    A layer of ink is transparent where nothing is drawn; other pictures with alpha are composited
    over the paper that they imply. A picture whose longest side has more than `fine_size` pixels is
    reduced to about that many. See `canvas_steps` for what is read, and errors.
    """
    if isinstance(image, Image.Image):
        page = image
    elif hasattr(image, "__array__") or hasattr(image, "cpu"):
        return _from_array(image, fine_size)
    else:
        page = opened(image)
    _check_size(page.width, page.height)
    try:
        if page is not image:
            page.draft("RGB", (fine_size, fine_size))  # JPEG: decode at a fraction of the size
        page.load()
        page = _thinned(_in_common_mode(page), fine_size)
        if page.getexif().get(ExifTags.Base.Orientation, 1) != 1:  # else it would only be copied
            page = ImageOps.exif_transpose(page)
        if page.mode in ("I", "F") or page.mode.startswith("I;16"):
            return _from_array(np.asarray(page), fine_size)
        if page.has_transparency_data:
            return _on_paper(page if page.mode == "RGBA" else page.convert("RGBA"))
        return np.asarray(page if page.mode == "RGB" else page.convert("RGB"))
    except (NoInkError, UnreadableImageError, MemoryError):
        raise
    except Exception as error:  # a damaged picture makes Pillow raise nearly anything
        raise UnreadableImageError(
            f"The picture is damaged and cannot be read: {_in_one_line(error)}."
        ) from None


def opened(source: str | os.PathLike[str] | bytes | BinaryIO) -> Image.Image:
    """A picture file, by its path, its bytes or an open file, without decoding its pixels."""
    try:
        if isinstance(source, (str, os.PathLike)):
            return open_local(read_file(source), Path(source).name)
        if isinstance(source, bytes | bytearray | memoryview):
            data = bytes(source)
        elif hasattr(source, "read"):
            data = _read_all(source)
        else:
            raise UnreadableImageError(
                f"A {type(source).__name__} is not a picture: give a path, bytes, a binary file, "
                "a Pillow image, an array or a tensor."
            )
        if is_heic(data):
            raise UnreadableImageError("The picture is a HEIC photo. Save it as JPEG or PNG.")
        return _open_encoded(data)
    except (MemoryError, UnreadableImageError):
        raise
    except Exception as error:  # a name that no file can have, a file that cannot be read
        reason = getattr(error, "strerror", None) or _in_one_line(error)
        name = source if isinstance(source, (str, os.PathLike)) else "the picture"
        raise UnreadableImageError(f"Cannot open {name}: {reason}.") from None


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The first `MAX_BYTES` + 1 bytes of a picture file.

    Raises:
        OSError: the file cannot be opened.
        UnreadableImageError: it is a pipe, a socket or a device, which might never end.
    """
    with open(path, "rb", opener=open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UnreadableImageError(
                f"{Path(path).name} is a pipe, a socket or a device, not a file."
            )
        return file.read(MAX_BYTES + 1)


def open_local(data: bytes, name: str) -> Image.Image:
    """Opens a picture file of the user's own, HEIC included, without decoding its pixels.

    What others send is not opened here: the decoder of HEIC is for files that the user chose.
    ``name`` is the file's name, for the error. Raises UnreadableImageError.
    """
    if is_pdf(data):
        raise UnreadableImageError(
            f"{name} is a PDF. Read its pages with the command: lenet-digits read FILE"
        )
    return _open_heic(data, name) if is_heic(data) else _open_encoded(data)


def is_heic(data: bytes) -> bool:
    """Whether a file says that it holds a HEIC photo, as phones take them."""
    if data[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(data[:4], "big"), 256)  # of the list of brands; a dozen is a lot
    return any(data[start : start + 4] in HEIC_BRANDS for start in (8, *range(16, end, 4)))


def heic_is_supported() -> bool:
    """Whether the optional package that reads HEIC photos is installed."""
    return importlib.util.find_spec("pillow_heif") is not None


def _open_heic(data: bytes, name: str) -> Image.Image:
    """Opens and decodes the main picture of a HEIC photo, upright.

    Pillow itself does not learn the format: the rest of the process cannot reach this decoder.
    """
    try:
        from pillow_heif import open_heif
    except ImportError:
        raise UnreadableImageError(
            f'{name} is a HEIC photo. Install support for it: pip install "lenet-digits[heic]"'
        ) from None
    _check_bytes(data)
    try:
        photo = open_heif(data)  # the header alone
        _check_size(*photo.size)
        page: Image.Image = photo.to_pillow()
    except (MemoryError, UnreadableImageError):
        raise
    except Exception as error:
        raise UnreadableImageError(
            f"The picture is damaged and cannot be read: {_in_one_line(error)}."
        ) from None
    return page


def is_pdf(data: bytes) -> bool:
    """Whether a file says that it is a PDF: within its first 1,024 bytes, as readers ask for."""
    return b"%PDF-" in data[:1024]


def pdf_is_supported() -> bool:
    """Whether the optional package that reads PDFs is installed."""
    return importlib.util.find_spec("pypdfium2") is not None


def pdf_pages(data: bytes, name: str, *, most: int) -> Iterator[Image.Image]:
    """The pages of a PDF of the user's own, each drawn when it is asked for.

    A page has `PDF_DPI` pixels per inch, or fewer where it would have more than `PDF_SIDE` on a
    side. A page that cannot be drawn raises UnreadableImageError; the next may be asked for.

    Args:
        data: the file.
        name: the file's name, for errors.
        most: pages that a file may have.

    Raises UnreadableImageError, before any page is drawn, for a file that is damaged, too large,
    locked with a password, or has too many pages.
    """
    try:
        import pypdfium2
    except ImportError:
        raise UnreadableImageError(
            f'{name} is a PDF. Install support for it: pip install "lenet-digits[pdf]"'
        ) from None
    _check_bytes(data)
    try:
        document = pypdfium2.PdfDocument(data)
        document.init_forms()  # else fields that were filled in on a computer stay empty
        count = len(document)
    except pypdfium2.PdfiumError as error:
        locked = "password" in str(error).lower()
        raise UnreadableImageError(
            f"{name} is locked with a password; save it without one."
            if locked
            else f"{name} is damaged and cannot be read: {_in_one_line(error).rstrip('.')}."
        ) from None
    if count > most:
        raise UnreadableImageError(f"{name} has {count:,} pages, more than {most:,}; split it.")

    def drawn(number: int) -> Image.Image:
        try:
            page = document[number]
            width, height = page.get_size()  # in points, 1/72 inch
            scale = min(PDF_DPI / 72, PDF_SIDE / max(width, height, 1.0))
            _check_size(round(width * scale), round(height * scale))
            picture: Image.Image = page.render(scale=scale).to_pil()
        except pypdfium2.PdfiumError as error:
            raise UnreadableImageError(
                f"The page is damaged and cannot be read: {_in_one_line(error).rstrip('.')}."
            ) from None
        return picture

    return map(drawn, range(count))


def _open_encoded(data: bytes) -> Image.Image:
    _check_bytes(data)
    try:
        page = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_size(page.width, page.height)
        return page
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImageError(
            f"The picture has more than {MAX_PIXELS // 10**6} megapixels; scale it down."
        ) from None
    except UnidentifiedImageError:
        raise UnreadableImageError(
            f"This is not a picture in a format that can be read ({', '.join(FORMATS)})."
        ) from None
    except (MemoryError, UnreadableImageError):
        raise
    except Exception as error:  # a damaged picture makes Pillow raise nearly anything
        raise UnreadableImageError(f"Cannot open the picture: {_in_one_line(error)}.") from None


def _check_bytes(data: bytes) -> None:
    if len(data) > MAX_BYTES:
        raise UnreadableImageError(
            f"The file is larger than {MAX_BYTES // 2**20} MiB; save the picture smaller."
        )


def _read_all(file: BinaryIO) -> bytes:
    """All of an open file, up to one byte more than is allowed; a socket gives it in parts."""
    parts: list[bytes] = []
    left = MAX_BYTES + 1
    while left > 0 and (part := file.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise UnreadableImageError("The picture has no pixels.")
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(
            f"The picture has {width} x {height} pixels, more than {MAX_PIXELS // 10**6} "
            "megapixels; scale it down."
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise UnreadableImageError(
            f"The picture has {width} x {height} pixels, one side more than {MAX_ASPECT} times "
            "the other; crop it to the digit."
        )


def _in_common_mode(page: Image.Image) -> Image.Image:
    """A picture in a mode that Pillow can convert to RGB and reduce."""
    if page.mode == "La":
        return page.convert("LA")
    if page.mode == "RGBa":
        return page.convert("RGBA")
    if page.mode == "LAB":
        from PIL import ImageCms

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(page, lab, srgb, outputMode="RGB") or page
    return page


def _thinned(page: Image.Image, fine_size: int) -> Image.Image:
    """A large picture, averaged to about `fine_size`, so that no step copies all of its pixels."""
    factor = max(page.size) // fine_size
    if factor < 2:
        return page
    if page.mode in ("1", "P", "PA"):
        page = page.convert("RGBA" if page.has_transparency_data else "RGB")
    elif page.mode.startswith("I;16"):
        page = page.convert("I")
    return page.reduce(factor)


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _from_array(image: Any, fine_size: int) -> Bytes:
    """An array or tensor as a picture; see `canvas_steps` for shapes and ranges."""
    try:
        if hasattr(image, "detach"):
            if image.numel() > 4 * MAX_PIXELS:  # before it is copied, from another device, say
                raise UnreadableImageError(
                    f"The tensor has more than {MAX_PIXELS // 10**6} megapixels; scale it down."
                )
            image = image.detach().cpu()
            image = image.float() if "bfloat16" in str(image.dtype) else image  # NumPy has none
        values = np.asarray(image)
    except (UnreadableImageError, MemoryError):
        raise
    except Exception as error:  # sparse, without data, another library's
        raise UnreadableImageError(
            f"NumPy cannot read this {type(image).__name__} as an array: {_in_one_line(error)}."
        ) from None
    if values.ndim == 4 and values.shape[0] == 1:
        values = values[0]
    planes_first = values.ndim == 3 and values.shape[0] <= 4 and values.shape[2] > 4
    if planes_first:  # as tensors have it
        values = values.transpose(1, 2, 0)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.dtype.kind not in "buif" or not (
        values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (2, 3, 4))
    ):
        raise UnreadableImageError(
            f"An array of shape {values.shape} and type {values.dtype} is not a picture: give "
            "(H, W), (H, W, 3) or (3, H, W) of integers or floats. For several pictures, use "
            "predict_many."
        )
    _check_size(values.shape[1], values.shape[0])
    pixels = _to_bytes(values)
    if planes_first and pixels.ndim == 3 and not _are_planes_alike(pixels):
        count, size = pixels.shape[2], f"{pixels.shape[0]}, {pixels.shape[1]}"
        raise UnreadableImageError(
            f"An array of shape ({count}, {size}) looks like {count} grey pictures, not like one "
            f"in colour: read them with predict_many, or give one in colour as ({size}, {count})."
        )
    if pixels.ndim == 3 and pixels.shape[2] == 3 and max(pixels.shape) < 2 * fine_size:
        return np.ascontiguousarray(pixels)
    page = _thinned(Image.fromarray(pixels), fine_size)
    if page.mode in ("LA", "RGBA"):
        return _on_paper(page.convert("RGBA"))
    return np.asarray(page.convert("RGB"))


def _are_planes_alike(pixels: Bytes) -> bool:
    """Whether planes, (H, W, 2 to 4), are the colours of one picture (then alpha), see `ALIKE`."""
    step = max(1, max(pixels.shape[:2]) // 256)
    planes = pixels[::step, ::step, :3].reshape(-1, min(3, pixels.shape[2])).T
    planes = planes[planes.min(axis=1) < planes.max(axis=1)]  # a plane of one value tells nothing
    if len(planes) < 2:
        return True
    correlations = np.abs(np.corrcoef(planes))
    np.fill_diagonal(correlations, 0)
    return float(correlations.max()) >= ALIKE


def _to_bytes(values: NDArray[Any]) -> Bytes:
    """Any numbers as uint8, by the range they appear to be in."""
    if values.dtype == np.uint8 and values.max() > 1:
        return values
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UnreadableImageError("The array holds values that are not finite numbers.")
    shifted = False
    if low >= 0 and high <= 1:
        scale = 255.0
    elif low >= 0 and high <= 255:
        scale = 1.0
    elif low >= 0 and values.dtype.kind in "ui" and high <= 65535:
        scale = 255 / 65535
    else:  # normalised floats, say: only the differences carry meaning
        low, high = low / 2, high / 2  # so that they do not overflow
        scale, shifted = 255 / max(high - low, 1e-9), True
    pixels = np.empty(values.shape, np.uint8)
    rows = 2**20 * len(values) // values.size + 1
    for top in range(0, len(values), rows):  # in bands: an array may have eight bytes a number
        band = values[top : top + rows]
        band = band.astype(np.float64) / 2 - low if shifted else band
        pixels[top : top + rows] = band * scale + 0.5
    return pixels


def _on_paper(page: Image.Image) -> Bytes:
    """Returns a layer of ink unchanged, (H, W, 4), and any other picture on its paper, (H, W, 3).

    Raises NoInkError if all of the picture is transparent.
    """
    pixels = np.asarray(page)
    alpha = np.asarray(cv2.extractChannel(pixels, 3))
    low, high, *_ = cv2.minMaxLoc(alpha)
    if high == 0:
        raise NoInkError("The picture is wholly transparent.")
    if low == high:
        return np.ascontiguousarray(pixels[:, :, :3])
    return pixels if _is_layer(alpha) else composited(pixels)


def _is_layer(alpha: NDArray[Any]) -> bool:
    """Whether what is opaque is ink: little of the picture, or at least not a solid plate."""
    _, opaque = cv2.threshold(alpha, 127, 1, cv2.THRESH_BINARY)
    if np.count_nonzero(opaque) <= INK_SHARE * opaque.size:
        return True
    outlines, _ = cv2.findContours(opaque, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outline = max(outlines, key=lambda each: float(cv2.contourArea(each)))
    return bool(cv2.contourArea(outline) < PLATE * cv2.contourArea(cv2.convexHull(outline)))


def composited(pixels: Bytes) -> Bytes:
    """Pixels with alpha, (H, W, 4), over their paper: ink of any colour stays ink."""
    alpha = np.asarray(cv2.extractChannel(pixels, 3))
    luma = cv2.cvtColor(pixels, cv2.COLOR_RGBA2GRAY)
    opaque = alpha > 127
    visible = luma[opaque] if opaque.any() else luma[alpha > 0]
    share = np.count_nonzero(opaque) / opaque.size
    if share > INK_SHARE and int(visible.max()) - int(visible.min()) > OWN_PAPER:
        # The opaque part holds paper of its own (a cut-out photo): continue that paper.
        paper = np.median(pixels[opaque][:, :3], axis=0)
    else:
        middle = np.sort(visible, kind="stable")[[(visible.size - 1) // 2, visible.size // 2]]
        paper = np.full(3, 255.0 if middle.mean() < 128 else 0.0)
    height, width = alpha.shape
    row = np.tile((paper + 0.5).astype(np.uint8), width)
    mixed = np.tile(row, (height, 1)).reshape(height, width, 3)  # faster than `np.full`
    mixed = np.asarray(cv2.copyTo(cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB), alpha, mixed), np.uint8)
    between = np.flatnonzero((alpha > 0) & (alpha < 255))  # the others are all ink or all paper
    inks = pixels.reshape(-1, 4)[between]
    shares = inks[:, 3:].astype(np.float32) / 255
    mixed.reshape(-1, 3)[between] = paper + shares * (inks[:, :3] - paper) + 0.5
    return mixed
