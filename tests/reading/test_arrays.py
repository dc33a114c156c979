"""Arrays and Pillow's modes: one picture is read as it is, and several are not taken for one."""

from __future__ import annotations

import io
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from lenet_digits import BatchPredictor, UnreadableImageError, load_mnist, predict, predict_many
from lenet_digits.reading import pictures

ROOT = Path(__file__).parents[2]
SEVEN = ROOT / "examples" / "7-photo.jpg"


@pytest.fixture(scope="module")
def greys() -> np.ndarray:
    """Test digits, (500, 28, 28) uint8, in a random order."""
    images = load_mnist(ROOT / "tests" / "data", download=False)[1].images.numpy()
    return images[np.random.default_rng(0).permutation(len(images))]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_stack_of_grey_pictures_is_refused_with_a_pointer_to_predict_many(
    greys: np.ndarray, count: int
) -> None:
    refused = 0
    for first in range(0, 120, count):
        stack = greys[first : first + count]
        try:
            predict(stack)
        except UnreadableImageError as error:
            refused += "predict_many" in str(error) and f"({count}, 28, 28)" in str(error)
        assert len(list(predict_many(stack))) == count
    assert refused >= 120 // count - 1


def test_without_the_threshold_they_would_be_read_as_one(
    greys: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "ALIKE", 0.0)
    predict(greys[:3])


def test_three_equal_planes_are_a_grey_picture(greys: np.ndarray) -> None:
    for grey in greys[:20]:
        one = predict(grey)
        for stack in (np.stack([grey] * 3), torch.from_numpy(np.stack([grey] * 3)) / 255):
            assert predict(stack).probabilities == pytest.approx(one.probabilities, abs=1e-6)


@pytest.mark.parametrize("ink", [(255, 0, 0), (0, 0, 255), (30, 160, 60), (255, 255, 0)])
@pytest.mark.parametrize("paper", [(255, 255, 255), (0, 0, 0), (120, 60, 20)])
def test_a_picture_in_colour_may_have_its_planes_first(
    greys: np.ndarray, ink: tuple[int, ...], paper: tuple[int, ...]
) -> None:
    share = greys[0][:, :, None] / 255
    colour = np.uint8(np.array(paper) * (1 - share) + np.array(ink) * share)
    assert predict(colour.transpose(2, 0, 1)) == predict(colour)


def test_photos_may_have_their_planes_first() -> None:
    for path in sorted((ROOT / "examples").glob("*.jpg")):
        colour = np.asarray(Image.open(path).convert("RGB"))
        assert predict(colour.transpose(2, 0, 1)) == predict(colour)


def converted(picture: Image.Image, mode: str) -> Image.Image:
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        lab = ImageCms.profileToProfile(picture, *profiles, outputMode="LAB")
        assert lab is not None
        return lab
    if mode == "La":
        return picture.convert("LA").convert(mode)
    if mode in ("PA", "RGBa"):
        return picture.convert("RGBA").convert(mode)
    return picture.convert(mode)


MODES = ["1", "L", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "F"]
MODES += ["LA", "La", "PA", "RGBa"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("width", [400, 1600])  # the large one is averaged before it is converted
def test_a_picture_in_any_of_pillows_modes_is_read(mode: str, width: int) -> None:
    picture = Image.open(SEVEN).convert("RGB")
    picture = picture.resize((width, width * picture.height // picture.width))
    answer = predict(converted(picture, mode))
    assert (answer.digit, answer.is_digit) == (7, True)


@pytest.mark.parametrize("mode", ["LA", "La", "PA", "RGBA", "RGBa"])
def test_ink_on_a_transparent_layer_is_read_in_any_mode_that_has_alpha(mode: str) -> None:
    grey = np.asarray(Image.open(SEVEN).convert("L").resize((300, 300)))
    layer = Image.new("RGBA", (300, 300), (0, 0, 0, 0))
    layer.putalpha(Image.fromarray(np.where(grey < 110, 255, 0).astype(np.uint8)))
    assert predict(converted(layer, mode)).digit == predict(layer).digit


# Memory


class Hungry(io.BytesIO):
    """A file whose reading runs out of memory."""

    def read(self, size: int | None = -1) -> bytes:
        raise MemoryError


class HungryArray:
    """An array of which no copy can be made."""

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise MemoryError


def test_a_lack_of_memory_is_not_taken_for_a_damaged_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = Image.open(SEVEN)
    for source in (Hungry(), HungryArray()):
        with pytest.raises(MemoryError):
            predict(source)  # type: ignore[arg-type]

    def full(*args: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "load", full)
    with pytest.raises(MemoryError), picture:
        predict(picture)
    with pytest.raises(MemoryError):
        BatchPredictor()({"bytes": [SEVEN.read_bytes()]})
    monkeypatch.setattr(Image.Image, "load", lambda self: 1 / 0)  # the twin: any other error is one
    with pytest.raises(UnreadableImageError, match="damaged"):
        predict(SEVEN)


# Streams


class Dribble(io.RawIOBase):
    """A file that gives a few bytes at a time, cannot go back, and counts what it gave."""

    def __init__(self, content: bytes) -> None:
        self.content, self.given = content, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        part = self.content[self.given : self.given + min(1000, size)]
        self.given += len(part)
        return part

    def seekable(self) -> bool:
        return False


def test_a_file_that_gives_its_content_in_parts_is_read_to_its_end() -> None:
    content = SEVEN.read_bytes()
    file = Dribble(content)
    assert predict(file) == predict(content)  # type: ignore[arg-type]
    assert file.given == len(content)


def test_no_more_is_read_than_a_picture_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_BYTES", 5000)
    file = Dribble(bytes(100_000))
    with pytest.raises(UnreadableImageError, match="larger than"):
        predict(file)  # type: ignore[arg-type]
    assert file.given == 5001


def test_a_raw_socket_is_read_to_its_end() -> None:
    content = SEVEN.read_bytes()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        thread = threading.Thread(target=lambda: (theirs.sendall(content), theirs.close()))
        thread.start()
        with ours.makefile("rb", buffering=0) as file:
            assert predict(file) == predict(content)
        thread.join()
