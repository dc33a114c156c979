"""Gives the front end and `predict` every kind of hostile picture, and reports what went wrong.

It makes pictures in every accepted format and mode and damages them: it cuts, flips and splices
bytes, and corrects checksums afterwards. It also makes arrays, tensors and Pillow images of every
kind. The only errors allowed are ours, in one line, within the limits of time and memory. It does
not check whether an answer is right.

python -m tests.benchmarks.fuzz --inputs 100000 --seed 0
"""

from __future__ import annotations

import argparse
import io
import json
import struct
import sys
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from lenet_digits import predict
from lenet_digits.reading.canvas import METHODS, canvas_steps
from lenet_digits.reading.pictures import NoInkError, UnreadableImageError

MAX_SECONDS = 2.0  # of processor time, for one picture
MAX_GROWTH = 300  # MB of memory at the peak, above what the libraries need
SAVES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    *(("PNG", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    ("PNG", "P", {"transparency": 3}),
    ("PNG", "RGBA", {"save_all": True}),
    *(("JPEG", mode, {}) for mode in ("L", "RGB", "CMYK")),
    ("JPEG", "RGB", {"progressive": True, "exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0"}),
    ("JPEG", "RGB", {"icc_profile": b"\0\0\2\0lcms" * 40}),
    ("WEBP", "RGB", {}),
    ("WEBP", "RGBA", {"lossless": True}),
    ("WEBP", "RGBA", {"save_all": True}),
    ("GIF", "P", {}),
    ("GIF", "P", {"transparency": 0}),
    ("GIF", "P", {"save_all": True}),
    *(("BMP", mode, {}) for mode in ("1", "L", "P", "RGB", "RGBA")),
    *(("TIFF", mode, {}) for mode in ("1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I", "F")),
    *(("TIFF", "RGB", {"compression": way}) for way in ("tiff_lzw", "packbits", "jpeg", "zstd")),
    ("TIFF", "1", {"compression": "group4"}),
    ("TIFF", "LAB", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", "L", {"save_all": True}),
    *(("PPM", mode, {}) for mode in ("1", "L", "RGB", "I;16", "F")),
    ("AVIF", "RGB", {"quality": 50, "speed": 10}),
    ("AVIF", "RGBA", {"quality": 50, "speed": 10, "save_all": True}),
)
NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
VALUES = (0.0, 1.0, -1.0, 255.0, 65535.0, 1e-300, 1e308, -1e308, np.nan, np.inf, -np.inf)
DTYPES = (
    "?", "b", "B", "h", "H", "i", "I", "l", "L", "q", "Q", "e", "f", "d", "g", "F", "D", "O",
    "S3", "U2", "M8[s]", "m8[s]", "V4", ">u2", ">i4", ">f4", ">f8", "<u2",
)  # fmt: skip
MODES = (
    "1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB",
    "HSV", "I", "F", "I;16", "I;16B", "I;16L",
)  # fmt: skip


def drawn(mode: str, side: int = 24) -> Image.Image:
    """A 7 on a page, in a mode of Pillow."""
    page = Image.new("L", (side, side + 3), 255)
    pen = ImageDraw.Draw(page)
    pen.line([(5, 4), (side - 6, 4), (side // 2, side - 2)], 0, 3, joint="curve")
    if mode == "LAB":
        return Image.frombytes("LAB", page.size, page.convert("RGB").tobytes())
    if mode in ("LA", "RGBA"):
        coat = page.convert(mode)
        coat.putalpha(Image.eval(page, lambda value: 255 - value))
        return coat
    if mode == "I;16":
        return Image.fromarray(np.asarray(page, np.uint16) * 257)
    return page.convert(mode)


def seeds() -> list[bytes]:
    """A small file of each kind."""
    files = []
    for name, mode, options in SAVES:
        file, page = io.BytesIO(), drawn(mode)
        if "save_all" in options:
            others = [page.rotate(90), page.rotate(180)]
            options = options | {"append_images": others}
        page.save(file, name, **options)
        files.append(file.getvalue())
    return files


def png(width: int, height: int, rows: bytes, *, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG with any size in its header."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )


def with_checksums(data: bytes) -> bytes:
    """A PNG with corrected checksums, so that the damage is not found by them."""
    whole, at = bytearray(data), 8
    while at + 12 <= len(whole):
        end = at + 8 + int.from_bytes(whole[at : at + 4], "big")
        if end + 4 > len(whole):
            break
        whole[end : end + 4] = struct.pack(">I", zlib.crc32(whole[at + 4 : end]))
        at = end + 4
    return bytes(whole)


def damaged(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """The file, damaged in one to four ways."""
    whole = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(whole))) if rng.random() < 0.5 else int(rng.integers(64))
        at = min(at, len(whole) - 1)
        way = int(rng.integers(9))
        if way == 0:
            whole[at] ^= 1 << int(rng.integers(8))
        elif way == 1:
            whole[at] = int(rng.integers(256))
        elif way == 2:
            size = int(rng.choice([1, 2, 4]))
            number = int(rng.choice(NUMBERS)) & (256**size - 1)
            whole[at : at + size] = number.to_bytes(size, "big" if rng.random() < 0.5 else "little")
        elif way == 3:
            del whole[at : at + int(rng.integers(1, 40))]
        elif way == 4:
            whole[at:at] = rng.bytes(int(rng.integers(1, 40)))
        elif way == 5:
            part = whole[at : at + int(rng.integers(1, 60))]
            whole[at:at] = part * int(rng.integers(1, 4))
        elif way == 6:
            begin = int(rng.integers(len(other)))
            whole[at : at + 30] = other[begin : begin + 30]
        elif way == 7:
            del whole[at + 1 :]
        else:
            whole[:12] = other[:12]
        if not whole:
            whole = bytearray(b"\0")
    hurt = bytes(whole)
    return with_checksums(hurt) if hurt.startswith(b"\x89PNG") and rng.random() < 0.7 else hurt


def an_array(rng: np.random.Generator) -> Any:
    """An array of any shape, type, stride and content."""
    ends = (0, 1, 2, 3, 4, 5, 27, 28, 29, 40)
    shape = tuple(int(n) for n in rng.choice(ends, int(rng.integers(0, 6))))
    if rng.random() < 0.5:  # likely a picture
        shape = (
            tuple(int(n) for n in rng.integers(1, 60, 2))
            + ((), (1,), (3,), (4,))[int(rng.integers(4))]
        )
    if np.prod(shape, dtype=float) > 1e5:
        shape = shape[:3]
    values = rng.normal(0.5, 1, shape) * float(rng.choice([0, 1, 255, 70000, 1e-9, 1e306]))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if rng.random() < 0.3 and values.size:
            values = np.asarray(values)
            values.flat[int(rng.integers(values.size))] = rng.choice(VALUES)
        kind = str(rng.choice(DTYPES)) if rng.random() < 0.6 else str(rng.choice(["B", "f", "d"]))
        array = np.asarray(values)
        if kind[-1] in "bBhHiIlLqQ24" and kind[-2:-1] not in "fV":
            array = np.nan_to_num(array, posinf=2**62, neginf=-(2**62)).clip(-(2**62), 2**62)
            array = array.astype(np.int64)
        elif kind[0] in "MmV":
            array = np.zeros(shape, np.int64)
        array = array.astype(kind)
    way = int(rng.integers(6))
    if way == 0 and array.ndim:
        array = array[::-1]
    elif way == 1 and array.ndim > 1:
        array = array[:, ::-2]
    elif way == 2:
        array = np.asfortranarray(array)
    elif way == 3:
        array = array.T
    elif way == 4 and array.ndim:
        array = np.broadcast_to(array[:1], array.shape)
    array = np.asarray(array)
    array.flags.writeable = False
    return array


def a_tensor(rng: np.random.Generator) -> Any:
    """A tensor of any type, layout and content."""
    kinds = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.uint8]
    kinds += [torch.int8, torch.int16, torch.int64, torch.complex64, torch.uint16]
    shape = tuple(int(n) for n in rng.choice([0, 1, 3, 4, 20, 28, 33], int(rng.integers(0, 5))))
    if rng.random() < 0.5:
        shape = ((28, 28), (1, 28, 28), (1, 1, 28, 28), (3, 40, 30), (40, 30, 3))[
            int(rng.integers(5))
        ]
    tensor = torch.from_numpy(np.asarray(rng.normal(0.5, 1, shape) * rng.choice([1, 255, 1e38])))
    if rng.random() < 0.2 and tensor.numel():
        tensor.view(-1)[0] = float(rng.choice(VALUES))
    way = int(rng.integers(8))
    if way == 0:
        return tensor.requires_grad_()
    if way == 1:
        return tensor.to("meta")
    if way == 2:
        return tensor.to_sparse() if tensor.ndim else tensor
    tensor = tensor.to(kinds[int(rng.integers(len(kinds)))])
    if way == 3 and tensor.ndim > 1:
        return tensor.transpose(0, -1)
    if way == 4 and tensor.is_floating_point():
        return torch.nn.Parameter(tensor)
    if way == 5 and tensor.is_complex():
        return tensor.conj()
    return tensor


def a_pillow_image(rng: np.random.Generator) -> Image.Image:
    """A Pillow image of any mode, of any small or narrow size."""
    mode = str(rng.choice(MODES))
    width, height = (int(n) for n in rng.choice([0, 1, 2, 3, 5, 28, 64, 65, 200, 3000], 2))
    if width * height > 300_000:
        width = 64
    page = Image.new(mode, (width, height))
    length = len(page.tobytes()) if width * height else 0
    page.frombytes(rng.bytes(length)) if length and rng.random() < 0.6 else None
    way = int(rng.integers(6))
    if way == 0:
        page.info["transparency"] = [0, 300, -1, (1, 2, 3), b"\0\xff", b"", "no", 1.5][
            int(rng.integers(8))
        ]
    elif way == 1:
        page.info["exif"] = rng.bytes(int(rng.integers(0, 60)))
    elif way == 2:
        page.info["exif"] = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12" + rng.bytes(20)
    elif way == 3:
        page.info["icc_profile"] = rng.bytes(60)
    elif way == 4:
        page.close()
    return page


def oddities() -> Iterator[tuple[str, Any]]:
    """Cases made by hand: sizes and headers that no seed has."""
    for width, height in ((1, 1), (1, 50_000), (50_000, 1), (2, 20_000), (300, 5), (7000, 7000)):
        for colour, channels in ((0, 1), (2, 3), (6, 4)):
            row = b"\0" + bytes(range(256)) * (width * channels // 256 + 1)
            row = row[: width * channels + 1]
            rows = row * min(height, 25_000_000 // len(row))  # the largest one is cut short
            yield f"png {width}x{height}, colour {colour}", png(width, height, rows, colour=colour)
    for width, height in ((0, 0), (2**31 - 1, 2**31 - 1), (2**32 - 1, 1), (100_000, 100_000)):
        yield f"png header of {width}x{height}", png(width, height, b"\0")
        yield f"ppm header of {width}x{height}", b"P6 %d %d 255\n" % (width, height) + bytes(99)
        yield (
            f"bmp header of {width}x{height}",
            b"BM"
            + bytes(12)
            + struct.pack("<IIIHHIIIIII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0),
        )
        yield (
            f"gif header of {width}x{height}",
            b"GIF89a" + struct.pack("<HH", width & 65535, height & 65535) + bytes(40),
        )
    yield "nothing", b""
    for item in (None, 7, 1.5, [], {}, object(), print, range(3), "", "\0", "x" * 9999, "/", "."):
        yield f"a {type(item).__name__}", item
    yield "an empty file", io.BytesIO()
    yield "a file of text", io.StringIO("text")
    for value in VALUES:
        yield f"all {value}", np.full((30, 30), value)
        ramp = np.ones((30, 30))
        ramp[10:20, 15] = value
        yield f"ones and {value}", ramp
    yield "a 0-d array", np.array(5)
    yield "bare numbers", np.arange(28 * 28)
    yield "a long thin array", np.zeros((1, 50_000))
    yield "a huge view of one byte", np.broadcast_to(np.uint8(0), (10**6, 10**6))
    yield "a masked array", np.ma.masked_all((28, 28))
    yield "a record array", np.zeros((28, 28), [("a", "u1"), ("b", "f4")])
    big = Image.effect_noise((700, 700), 90)
    for mode in ("L", "RGB", "RGBA", "LA", "I", "F", "CMYK"):
        yield f"noise, {mode}", big.convert(mode)


def truncations() -> Iterator[tuple[str, bytes]]:
    """Every file cut short at every length."""
    for (name, mode, _), file in zip(SAVES, seeds(), strict=True):
        for length in range(len(file)):
            yield f"{name} {mode} cut to {length}", file[:length]


def mutations(seed: int) -> Iterator[tuple[str, Any]]:
    """An endless sequence of damaged files, arrays, tensors and Pillow images."""
    files = seeds()
    makers: tuple[Callable[[np.random.Generator], Any], ...] = (an_array, a_tensor, a_pillow_image)
    number = 0
    while True:
        rng = np.random.default_rng((seed, number))  # each case can be made again by itself
        way = int(rng.integers(10))
        if way < len(makers):
            yield f"{makers[way].__name__} ({seed}, {number})", makers[way](rng)
        else:
            which, other = (int(n) for n in rng.integers(len(files), size=2))
            name, mode, _ = SAVES[which]
            yield f"{name} {mode} ({seed}, {number})", damaged(files[which], files[other], rng)
        number += 1


def outcome(image: Any, *, method: str, answer: bool = False) -> str:
    """The result for a picture: "read", or the name of our error. Other errors are raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            if answer:
                prediction = predict(image, method=method)
                assert abs(sum(prediction.probabilities) - 1) < 1e-6
                return "read"
            steps = canvas_steps(image, method=method)
        except (NoInkError, UnreadableImageError) as error:
            if len(str(error).splitlines()) != 1:
                raise AssertionError(f"an error of none or many lines: {error!r}") from error
            return type(error).__name__
    assert steps.canvas.shape == (28, 28)
    assert steps.canvas.dtype == np.float32
    assert steps.canvas.min() >= 0
    assert steps.canvas.max() <= 1
    return "read"


def attempt(cases: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, str, float]]:
    """Each case with its result and the seconds of processor time that it took."""
    for number, (name, image) in enumerate(cases):
        began = time.process_time()
        try:
            result = outcome(image, method=METHODS[number % 5 == 0], answer=number % 3 == 0)
        except Exception as error:
            calls = traceback.extract_tb(error.__traceback__)
            last = [call for call in calls if "lenet_digits" in call.filename][-1]
            result = f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"
        yield name, result, time.process_time() - began


def peak() -> float:
    """The peak memory of this process in MB."""
    import resource

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / 2**20 if sys.platform == "darwin" else size / 2**10


def main() -> int:
    """Run all cases; returns 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mutations", action="store_true", help="no others")
    parser.add_argument("--seconds", type=float, default=1e9, help="after which to stop")
    given = parser.parse_args()
    torch.set_num_threads(1)
    predict(drawn("L", 60))
    base, began = peak(), time.monotonic()
    counts: Counter[str] = Counter()
    worst, slowest, bad, told = base, (0.0, ""), 0, Counter[str]()

    def cases() -> Iterator[tuple[str, Any]]:
        if not given.mutations:
            yield from oddities()
            yield from truncations()
        yield from mutations(given.seed)

    for done, (name, result, seconds) in enumerate(attempt(cases()), 1):
        ours = result in ("read", "NoInkError", "UnreadableImageError")
        counts[result if ours else result.split(":")[0]] += 1
        slowest = max(slowest, (seconds, name))
        grown, worst = peak() - worst, peak()
        if not ours or seconds > MAX_SECONDS or grown > 30:
            bad += not ours or seconds > MAX_SECONDS
            told[result.rpartition(" (")[2]] += 1
            if told[result.rpartition(" (")[2]] <= 5:  # of each kind
                print(f"{name}: {result}, {seconds:.2f} s, {grown:.0f} MB more", flush=True)
        if done >= given.inputs or time.monotonic() - began > given.seconds:
            break
    report = {"inputs": done, "seed": given.seed, "outcomes": dict(counts), "bad": bad}
    report |= {
        "slowest": slowest,
        "growth_mb": round(worst - base),
        "seconds": int(time.monotonic() - began),
    }
    print(json.dumps(report))
    return int(bad > 0 or worst - base > MAX_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
