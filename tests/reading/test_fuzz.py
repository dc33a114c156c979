"""Hostile pictures: any input gets an answer, or an error of ours in one line."""

from __future__ import annotations

import io
import struct
import tracemalloc
import warnings
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.fuzz import SAVES, attempt, damaged, mutations, oddities, outcome, png, seeds
from PIL import Image

from lenet_digits import predict
from lenet_digits.reading.canvas import METHODS, canvas_steps
from lenet_digits.reading.pictures import FORMATS, UnreadableImageError, read

OURS = {"read", "NoInkError", "UnreadableImageError"}


def in_format(name: str, page: Image.Image) -> bytes:
    file = io.BytesIO()
    page.save(file, name)
    return file.getvalue()


def test_every_format_is_among_the_seeds_and_every_seed_is_read() -> None:
    assert {name for name, _, _ in SAVES} == set(FORMATS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the seed with garbage for EXIF
        for file in seeds():
            assert read(file).shape in ((27, 24, 3), (27, 24, 4))


def test_damage_is_the_same_for_the_same_seed() -> None:
    one, other = seeds()[0], seeds()[9]
    assert damaged(one, other, np.random.default_rng(3)) == damaged(
        one, other, np.random.default_rng(3)
    )


def test_hostile_pictures_get_an_answer_or_our_error() -> None:
    strange = [case for case in attempt(oddities()) if case[1] not in OURS]
    strange += [case for case in attempt(islice(mutations(0), 2000)) if case[1] not in OURS]
    assert strange == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(1, 50_000), (50_000, 1), (2, 20_000), (102, 2)])
def test_a_picture_too_narrow_for_a_digit_is_refused(size: tuple[int, int], method: str) -> None:
    with pytest.raises(UnreadableImageError, match=r"crop it to the digit\.$"):
        canvas_steps(Image.new("L", size), method=method)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_a_large_picture_is_made_smaller_before_anything_else(mode: str) -> None:
    """Compositing 49 megapixels at their full size took 3 GB and 8 s."""
    page = read(Image.new("L", (3000, 1600), 255).convert(mode))
    assert page.shape == (534, 1000, 3)


def test_a_large_jpeg_is_refused_by_the_size_in_its_header() -> None:
    """And not by that to which it would be decoded, an eighth of it."""
    jpeg = bytearray(in_format("JPEG", Image.new("L", (16, 16))))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 9000, 9000)
    with pytest.raises(UnreadableImageError, match="9000 x 9000 pixels"):
        canvas_steps(bytes(jpeg))


@pytest.mark.filterwarnings("error")
def test_a_warning_that_the_caller_makes_an_error_becomes_ours() -> None:
    tiff = in_format("TIFF", Image.new("L", (30, 30)))
    with pytest.raises(UnreadableImageError, match="Corrupt EXIF"):
        canvas_steps(tiff[:57])


@pytest.mark.parametrize("name", ["\0", "a\0b.png", "\ud800"])
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    with pytest.raises(UnreadableImageError, match="Cannot open"):
        canvas_steps(name)


@pytest.mark.parametrize(
    "tensor",
    [torch.ones(28, 28).to_sparse(), torch.ones(28, 28, device="meta")],
    ids=["sparse", "meta"],
)
def test_a_tensor_that_numpy_cannot_read_is_refused(tensor: torch.Tensor) -> None:
    with pytest.raises(UnreadableImageError, match="NumPy cannot read"):
        canvas_steps(tensor)


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (-1e9, 1e9)])
def test_an_array_of_eight_bytes_a_number_takes_little_more_memory(
    values: tuple[float, float],
) -> None:
    page = np.full((1500, 1500, 3), values[0], np.float64)
    page[:700] = values[1]
    tracemalloc.start()
    read(page)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < page.nbytes


def test_a_tensor_of_few_numbers_that_stand_for_many_is_refused_before_it_is_copied() -> None:
    tensor = torch.zeros(1, dtype=torch.bfloat16).expand(10**6, 10**6)
    with pytest.raises(UnreadableImageError, match="megapixels; scale it down"):
        canvas_steps(tensor)


def seven() -> np.ndarray:
    page = np.zeros((40, 40), np.float32)
    page[8:12, 10:30] = page[8:32, 24:28] = 1
    return page


@pytest.mark.parametrize(
    "kind", [torch.float16, torch.bfloat16, torch.float64, torch.uint8, torch.bool]
)
def test_a_tensor_of_any_type_is_read(kind: torch.dtype) -> None:
    tensor = torch.from_numpy(seven()).to(kind)
    assert predict(tensor) == predict(seven())


@pytest.mark.parametrize(
    "change",
    [
        lambda page: page[:, ::-1].copy()[:, ::-1],
        lambda page: np.asfortranarray(page),
        lambda page: page.astype(">f4"),
        lambda page: (page * 65535).astype(">u2"),
        lambda page: torch.from_numpy(page).requires_grad_(),
        lambda page: page.astype(np.float64) * 1e308,
        lambda page: (page * 2 - 1).astype(np.float64) * 1.7e308,
    ],
    ids=["stride < 0", "columns first", "big-endian", "16 bit", "gradient", "1e308", "+-1.7e308"],
)
def test_an_array_of_any_memory_layout_and_range_is_read(change: Any) -> None:
    assert predict(change(seven())).digit == predict(seven()).digit


def test_garbage_left_in_a_pictures_palette_does_not_warn() -> None:
    page = Image.effect_noise((30, 30), 90).convert("HSV")
    page.info["transparency"] = b"\0\xff"
    assert outcome(page, method="center-crop") == "read"


def test_a_header_that_promises_more_than_follows_is_refused() -> None:
    with pytest.raises(UnreadableImageError, match=r"^[^\n]*\.$"):
        canvas_steps(png(6000, 6000, b"\0" * 99))
