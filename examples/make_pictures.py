"""Draws the example pictures: digits as people write them with a pen, a chalk or a mouse.

The pictures in `numbers` hold several digits. Each run draws the same pictures:
python examples/make_pictures.py
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from lenet_digits.training.drawing import EXAMPLES, read_stroke

FOLDER = Path(__file__).parent
SHARP = 3  # pixels drawn for every pixel of the picture, each way


def write(
    name: str, rng: np.random.Generator, *, page: tuple[int, int], box: tuple[float, ...],
    pen: float, slant: float = 0.08, turn: float = 2.0, pressure: float = 0.15,
) -> np.ndarray:  # fmt: skip
    """Write a digit of ``glyphs.txt``: how much ink lies on each pixel, (H, W) in [0, 1].

    page: width and height in pixels. box: left, top, width and height of the digit, in pixels.
    pen: its width in pixels. turn: degrees. pressure: how unevenly the pen is pressed.
    """
    board = np.zeros((page[1] * SHARP, page[0] * SHARP), np.uint8)
    left, top, width, height = box
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    for stroke in EXAMPLES[name].split("|"):
        points, curve = read_stroke(stroke, steps=60)
        path = curve @ (points + rng.normal(0, 0.008, points.shape)) - 0.5
        path += tremor(len(path), rng, 0.006)
        path[:, 0] -= slant * path[:, 1]
        path = path @ np.array([[cos, sin], [-sin, cos]])
        pixels = (path + 0.5) * (width, height) + (left, top)
        widths = pen * (1 + pressure * tremor(len(path), rng, 1.0)[:, 0])
        for (x, y), dab in zip(pixels * SHARP, widths * SHARP, strict=True):
            cv2.circle(
                board, (round(x * 16), round(y * 16)), max(8, round(dab * 8)), 255, -1,
                cv2.LINE_AA, 4,
            )  # fmt: skip
    return cv2.resize(board, page, interpolation=cv2.INTER_AREA) / 255


def tremor(length: int, rng: np.random.Generator, size: float) -> np.ndarray:
    """Smooth noise of two coordinates, (length, 2): a hand is never quite steady."""
    knots = rng.normal(0, size, (max(4, length // 40), 2))
    return cv2.resize(knots, (2, length), interpolation=cv2.INTER_CUBIC)


def grain(
    page: tuple[int, int], rng: np.random.Generator, size: float, *, soft: float
) -> np.ndarray:
    """The grain of paper, film or chalk: noise (H, W) of standard deviation ``size``."""
    noise = cv2.GaussianBlur(rng.normal(0, 1, (page[1], page[0])), (0, 0), soft)
    return size * noise / noise.std()


def ink_on(
    paper: np.ndarray | tuple[int, ...], ink: tuple[int, ...], mask: np.ndarray
) -> np.ndarray:
    """Ink on paper, (H, W, 3) in 0..255; the mask, (H, W), says how much of each pixel is ink."""
    return np.asarray(paper) * (1 - mask[..., None]) + np.asarray(ink) * mask[..., None]


def picture(pixels: np.ndarray) -> Image.Image:
    """Values in 0..255, rounded, as a picture."""
    return Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))


def marker(rng: np.random.Generator) -> Image.Image:
    page = (280, 280)
    mask = write("0", rng, page=page, box=(75, 50, 135, 180), pen=22)
    return picture(ink_on((255, 255, 255), (12, 12, 14), mask))


def slashed(rng: np.random.Generator) -> Image.Image:
    page = (240, 300)
    mask = write("0 slashed", rng, page=page, box=(60, 60, 120, 175), pen=9, turn=5)
    return picture(ink_on((253, 251, 244), (40, 40, 46), mask * 0.95))


def ballpoint(rng: np.random.Generator) -> Image.Image:
    page = (320, 320)
    mask = write("1", rng, page=page, box=(100, 60, 110, 190), pen=3.2, turn=-3, pressure=0.3)
    flow = np.clip(0.8 + grain(page, rng, 0.15, soft=1.5), 0.3, 1)
    return picture(ink_on((250, 250, 248), (28, 40, 130), mask * flow))


def up_stroke(rng: np.random.Generator) -> Image.Image:
    page = (260, 300)
    mask = write("1 long up-stroke", rng, page=page, box=(70, 50, 120, 190), pen=13, turn=4)
    return picture(ink_on((255, 255, 255), (90, 25, 30), mask))


def chalk(rng: np.random.Generator) -> Image.Image:
    page = (260, 260)
    board = np.array([38, 50, 45]) + grain(page, rng, 4, soft=6)[..., None]
    mask = write("2", rng, page=page, box=(60, 45, 140, 165), pen=12, pressure=0.25)
    dust = np.clip(0.82 + grain(page, rng, 0.22, soft=0.8), 0, 1)
    return picture(ink_on(board, (238, 240, 232), mask * dust)).quantize(32, dither=0)


def ruled(rng: np.random.Generator) -> Image.Image:
    page = (300, 300)
    paper = np.full((300, 300, 3), (249, 247, 240), np.float64)
    for y in range(28, 300, 52):
        paper[y : y + 2] = (176, 198, 224)
    paper[:, 34:36] = (232, 170, 170)
    mask = write("2 looped", rng, page=page, box=(105, 82, 110, 150), pen=7, turn=4)
    return picture(ink_on(paper, (22, 30, 92), mask * 0.95))


def transparent(rng: np.random.Generator) -> Image.Image:
    page = (280, 280)
    mask = write("3", rng, page=page, box=(70, 45, 140, 185), pen=14)
    pixels = np.zeros((280, 280, 4))
    pixels[..., 3] = mask * 255
    return picture(pixels)


def coloured(rng: np.random.Generator) -> Image.Image:
    page = (280, 300)
    mask = write("4 open", rng, page=page, box=(65, 55, 150, 185), pen=11, turn=3, pressure=0.2)
    wax = np.clip(0.86 + grain(page, rng, 0.2, soft=0.9), 0, 1)
    return picture(ink_on((246, 222, 122), (36, 120, 66), mask * wax)).quantize(48, dither=0)


def pencil(rng: np.random.Generator) -> Image.Image:
    page = (260, 260)
    mask = write("4", rng, page=page, box=(60, 50, 130, 155), pen=4.5, turn=-2, pressure=0.3)
    lead = np.clip(0.55 + grain(page, rng, 0.16, soft=0.7), 0.1, 0.9)
    return picture(ink_on((246, 245, 241), (60, 60, 64), mask * lead)).convert("L").quantize(32)


def scan(rng: np.random.Generator) -> Image.Image:
    page = (300, 340)
    paper = 226 + grain(page, rng, 3, soft=1.2) + grain(page, rng, 4, soft=40)
    mask = write("5", rng, page=page, box=(85, 75, 130, 180), pen=8.5, turn=-4, pressure=0.25)
    flow = np.clip(0.85 + grain(page, rng, 0.12, soft=1.5), 0, 1)
    pixels = paper * (1 - mask * flow) + 52 * mask * flow
    for x, y in rng.integers(10, 290, (7, 2)):  # dust on the glass
        cv2.circle(pixels, (int(x), int(y)), 1, 120, -1, cv2.LINE_AA)
    return picture(cv2.GaussianBlur(pixels, (0, 0), 0.7))


def corner(rng: np.random.Generator) -> Image.Image:
    page = (600, 800)
    mask = write("7", rng, page=page, box=(480, 60, 52, 76), pen=5)
    return picture(ink_on((255, 255, 255), (20, 20, 20), mask)).convert("L")


def curled_six(rng: np.random.Generator) -> Image.Image:
    page = (280, 280)
    mask = write("6", rng, page=page, box=(70, 45, 145, 185), pen=17, turn=6)
    return picture(ink_on((16, 16, 20), (250, 250, 250), mask)).convert("L")


def photo(rng: np.random.Generator) -> Image.Image:
    page = (480, 400)
    x, y = np.meshgrid(np.linspace(0, 1, page[0]), np.linspace(0, 1, page[1]))
    light = 0.94 - 0.38 * x - 0.15 * y
    edge = 1 / (1 + np.exp(-(x + 0.35 * y - 0.95) * 18))  # the shadow of the hand with the camera
    light -= 0.16 * edge
    paper = np.array([236, 229, 212]) + grain(page, rng, 2, soft=0.8)[..., None]
    mask = write("7 crossed", rng, page=page, box=(160, 95, 140, 200), pen=10, turn=-6)
    pixels = ink_on(paper, (44, 46, 60), mask * 0.93) * light[..., None]
    pixels = cv2.GaussianBlur(pixels, (0, 0), 1.3) + rng.normal(0, 3, pixels.shape)
    return picture(pixels)


def turned(rng: np.random.Generator) -> Image.Image:
    page = (300, 400)
    x, y = np.meshgrid(np.linspace(0, 1, page[0]), np.linspace(0, 1, page[1]))
    light = 1.02 - 0.25 * y - 0.1 * x
    mask = write("8", rng, page=page, box=(75, 80, 150, 220), pen=12, turn=3)
    paper = np.array([214, 216, 222]) + grain(page, rng, 2, soft=1)[..., None]
    pixels = cv2.GaussianBlur(ink_on(paper, (30, 32, 40), mask) * light[..., None], (0, 0), 1)
    # Lying on its side in the file: only its EXIF tag says which way is up.
    return picture(pixels).transpose(Image.Transpose.ROTATE_90)


def tiny(rng: np.random.Generator) -> Image.Image:
    page = (28, 28)
    mask = write("9", rng, page=page, box=(6.5, 4, 15, 20), pen=2.2)
    return picture(255 * (1 - mask))


def felt_nine(rng: np.random.Generator) -> Image.Image:
    page = (300, 260)
    mask = write("9 curled", rng, page=page, box=(95, 40, 120, 175), pen=15, turn=5)
    return picture(ink_on((255, 236, 240), (196, 40, 96), mask * 0.92))


def number(
    text: str, rng: np.random.Generator, *, page: tuple[int, int], left: float, top: float,
    size: tuple[float, float], step: float, pen: float, climb: float = 0.0,
) -> np.ndarray:  # fmt: skip
    """The ink of a line of digits, (H, W) in [0, 1]; a space is a gap, a slash is one stroke.

    left, top: of the first digit. size: width and height of a digit. step: from one digit's left
    to the next one's. climb: how far the line rises from one digit to the next. All in pixels.
    """
    ink = np.zeros((page[1], page[0]))
    for place, char in enumerate(text):
        x, y = left + place * step, top - place * climb + rng.normal(0, 0.02) * size[1]
        if char == " ":
            continue
        if char == "/":
            board = np.zeros((page[1] * SHARP, page[0] * SHARP), np.uint8)
            ends = np.array([(x + size[0], y - 0.15 * size[1]), (x, y + 1.15 * size[1])]) * SHARP
            start, stop = ends.round().astype(int).tolist()
            cv2.line(board, start, stop, 255, round(pen * SHARP), cv2.LINE_AA)
            mask = cv2.resize(board, page, interpolation=cv2.INTER_AREA) / 255
        else:
            width = size[0] * (0.7 if char == "1" else 1) * rng.uniform(0.9, 1.1)
            box = (x, y, width, size[1] * rng.uniform(0.95, 1.05))
            mask = write(char, rng, page=page, box=box, pen=pen, turn=rng.normal(0, 3))
        ink = np.maximum(ink, mask)
    return ink


def drawn_year(rng: np.random.Generator) -> Image.Image:
    page = (560, 280)
    mask = number("2024", rng, page=page, left=60, top=70, size=(80, 130), step=112, pen=12)
    return picture(ink_on((255, 255, 255), (22, 33, 58), mask))


def photographed(rng: np.random.Generator) -> Image.Image:
    page = (640, 360)
    x, y = np.meshgrid(np.linspace(0, 1, page[0]), np.linspace(0, 1, page[1]))
    light = 0.98 - 0.35 * x - 0.2 * y
    paper = np.array([236, 229, 212]) + grain(page, rng, 2, soft=0.8)[..., None]
    mask = number(
        "90210", rng, page=page, left=90, top=160, size=(58, 92), step=92, pen=7, climb=9
    )  # fmt: skip
    pixels = ink_on(paper, (44, 46, 60), mask * 0.92) * light[..., None]
    pixels = cv2.GaussianBlur(pixels, (0, 0), 1.2) + rng.normal(0, 3, pixels.shape)
    return picture(pixels)


def boxed(rng: np.random.Generator) -> Image.Image:
    page = (560, 170)
    pixels = np.full((page[1], page[0], 3), (252, 252, 250), np.float64)
    for column in range(6):  # five boxes; the first one stays empty
        left = 30 + 100 * column
        cv2.line(pixels, (left, 30), (left, 140), (70, 70, 74), 2)
    cv2.line(pixels, (30, 30), (530, 30), (70, 70, 74), 2)
    cv2.line(pixels, (30, 140), (530, 140), (70, 70, 74), 2)
    mask = number("5073", rng, page=page, left=155, top=50, size=(46, 70), step=100, pen=5.5)
    return picture(ink_on(pixels, (24, 40, 130), mask))


def touching(rng: np.random.Generator) -> Image.Image:
    page = (360, 240)
    rng = np.random.default_rng(56)  # a hand whose digits touch, but whose 5 and 3 are not an 8
    mask = number("853", rng, page=page, left=60, top=55, size=(84, 125), step=57, pen=9)
    return picture(ink_on((255, 255, 255), (20, 20, 24), mask))


def page_of_numbers(rng: np.random.Generator) -> Image.Image:
    page = (700, 620)
    rng = np.random.default_rng(21)  # a hand whose page is read upright and on either side
    paper = np.full((page[1], page[0], 3), (250, 248, 242), np.float64)
    for y in range(90, 620, 118):
        paper[y : y + 2] = (176, 198, 224)
    lines = ["314 159", "2718", "60221", "1998"]
    ink = np.zeros((page[1], page[0]))
    for row, line in enumerate(lines):
        ink = np.maximum(
            ink,
            number(
                line, rng, page=page, left=70, top=118 + 118 * row, size=(44, 70), step=68, pen=6
            ),
        )
    return picture(ink_on(paper, (22, 30, 92), ink * 0.95)).quantize(64, dither=0)


def date(rng: np.random.Generator) -> Image.Image:
    page = (620, 220)
    mask = number("24/12/98", rng, page=page, left=50, top=60, size=(44, 90), step=68, pen=7)
    return picture(ink_on((255, 255, 255), (150, 30, 40), mask))


PICTURES = {
    "0-marker.png": marker,
    "0-slashed.png": slashed,
    "1-ballpoint.png": ballpoint,
    "1-long-up-stroke.png": up_stroke,
    "2-chalk.png": chalk,
    "2-ruled-paper.png": ruled,
    "3-transparent.png": transparent,
    "4-crayon-on-yellow.png": coloured,
    "4-pencil.png": pencil,
    "5-scan.jpg": scan,
    "6-white-on-black.png": curled_six,
    "7-corner.png": corner,
    "7-photo.jpg": photo,
    "8-lying-on-its-side.jpg": turned,
    "9-felt-pen.png": felt_nine,
    "9-tiny.png": tiny,
}

NUMBERS = {
    "numbers/2024-drawn.png": drawn_year,
    "numbers/90210-photo.jpg": photographed,
    "numbers/5073-boxed.png": boxed,
    "numbers/853-touching.png": touching,
    "numbers/page.png": page_of_numbers,
    "numbers/24-12-98-date.png": date,
}


def main() -> None:
    (FOLDER / "numbers").mkdir(exist_ok=True)
    for seed, (name, draw) in enumerate((PICTURES | NUMBERS).items()):
        image = draw(np.random.default_rng(seed))
        options: dict[str, object] = {"optimize": True}
        if name.endswith(".jpg"):
            options |= {"quality": 72}
        if draw is turned:
            exif = Image.Exif()
            exif[0x0112] = 6  # orientation: turn clockwise by 90 degrees to see it upright
            options |= {"exif": exif}
        image.save(FOLDER / name, **options)


if __name__ == "__main__":
    main()
