"""The pictures in examples/ are what they are said to be, and are read right."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from lenet_digits import predict, read

EXAMPLES = Path(__file__).parents[2] / "examples"
PICTURES = sorted(path for path in EXAMPLES.iterdir() if path.suffix in (".png", ".jpg"))
NUMBERS = {
    "2024-drawn.png": "2024",
    "90210-photo.jpg": "90210",
    "5073-boxed.png": "5073",
    "853-touching.png": "853",
    "page.png": "314 159\n2718\n60221\n1998",
    "24-12-98-date.png": "24·12·98",
}


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_is_read_as_it_was_drawn(name):
    assert read(EXAMPLES / "numbers" / name).text == NUMBERS[name]


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_every_picture_is_read_as_the_digit_its_name_begins_with(path):
    prediction = predict(path)
    assert prediction.digit == int(path.name[0])
    assert prediction.is_digit


def test_there_are_a_dozen_small_pictures_and_each_digit_at_least_once():
    assert len(PICTURES) >= 12
    assert {path.name[0] for path in PICTURES} == set("0123456789")
    assert max(path.stat().st_size for path in PICTURES) < 40_000


def test_the_kinds_of_picture_are_as_different_as_their_names_say():
    def opened(name):
        return Image.open(EXAMPLES / name)

    with opened("3-transparent.png") as transparent, opened("9-tiny.png") as tiny:
        assert transparent.mode == "RGBA"
        assert tiny.size == (28, 28)
    with opened("8-lying-on-its-side.jpg") as turned, opened("6-white-on-black.png") as light:
        assert turned.getexif()[0x0112] == 6
        assert light.getpixel((0, 0)) < 50


def test_the_pictures_can_be_drawn_anew(tmp_path):
    shutil.copy(EXAMPLES / "make_pictures.py", tmp_path)
    runpy.run_path(str(tmp_path / "make_pictures.py"), run_name="__main__")
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {path.name for path in PICTURES} | {"make_pictures.py", "numbers"}
    assert {path.name for path in (tmp_path / "numbers").iterdir()} == set(NUMBERS)
    for path in [*PICTURES, *(EXAMPLES / "numbers" / name for name in NUMBERS)]:
        with Image.open(path) as old, Image.open(tmp_path / path.relative_to(EXAMPLES)) as new:
            assert old.size == new.size


def test_the_quickstart_reads_every_picture():
    result = subprocess.run(
        [sys.executable, EXAMPLES / "quickstart.py"], capture_output=True, text=True, check=True
    )
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [(line[0], line[1]) for line in lines] == [(p.name, p.name[0]) for p in PICTURES]
