"""Draws digits the way people do, and things that are not digits; knows no data set, no network.

Extra training data for the styles MNIST hardly has, framed as MNIST is, from tables of strokes
that were written for this project.

A stroke is a list of points ``xxyy`` in a box of 100 by 100, x to the right and y down, joined by
a smooth curve; ``!`` makes a point a corner, ``|`` lifts the pen.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from lenet_digits.images import frame

INK_SIZE = 100  # pixels a side on the drawing board: five for each of the 20 that a digit gets
BOARD_SIZE = 112  # pixels a side, with a margin around the ink
CURVE_STEPS = 8  # straight pieces from one point of a stroke to the next
SUBPIXEL_BITS = 4  # OpenCV takes coordinates in 1/16 pixel
PEN_WIDTH = 2.1  # pixels at 28x28, median; MNIST's is 2.0
PEN_WIDTHS = (1.0, 4.0)  # pixels at 28x28, hairline to marker
# Of all non-digits: glyphs, inventions, numbers, scribbles, textures.
NONDIGIT_SHARES = (0.6, 0.1, 0.12, 0.1, 0.08)

# Label and name, share among the styles of its digit, strokes.
DIGITS = (
    ("0 oval", 3, "6004 3012 1850 3490 6294 8250 7014 4803"),
    ("0 narrow", 1, "5502 3222 2860 4296 6480 7040 6412 4803"),
    ("0 wide", 1, "6010 3005 0545 3088 7588 9550 7510 4508"),
    ("0 gap", 2, "6805 4003 2030 2270 4897 7680 8042 7815"),
    ("0 open top", 1, "4205 2024 1850 2478 4897 7480 8048 7212"),
    ("0 overlap", 2, "4802 2428 2070 5097 7872 8030 5505 3012 2232"),
    ("0 curled in", 1, "7006 3808 1848 3490 6490 8250 6812 4410 4024 6028"),
    ("0 tailed", 1, "9002 6204 3010 1850 3490 6294 8250 7216 5006"),
    ("0 slashed", 3, "6004 3012 1850 3490 6294 8250 7014 4803 | 8802! 1298!"),
    ("0 steep slash", 1, "6004 3012 1850 3490 6294 8250 7014 4803 | 6500! 3899!"),
    ("0 small, slashed", 1, "5515 3822 2850 3682 5688 7250 6522 5215 | 8000! 2599!"),
    ("0 flat slash", 1, "6004 3012 1850 3490 6294 8250 7014 4803 | 9835! 0268!"),
    ("0 short slash", 1, "6004 3012 1850 3490 6294 8250 7014 4803 | 6628! 3672!"),
    ("1 stick", 3, "5000 5050 5099"),
    ("1 flag", 3, "3020 5200! 5050 5099"),
    ("1 up-stroke", 4, "1545 6000! 5850 5699"),
    ("1 long up-stroke", 2, "0568 3540 6000! 5850 5699"),
    ("1 roof", 2, "0885 3042 5200! 5648 5899"),
    ("1 bowed up-stroke", 2, "1550 4228 6200! 5850 5699"),
    ("1 foot", 3, "3022 5200! 5299! | 2299! 8099!"),
    ("1 wide foot", 1, "3022 5200! 5299! | 0499! 9999!"),
    ("1 up-stroke and foot", 2, "1545 5800! 5699! | 2299! 8899!"),
    ("1 hooked", 1, "3820 5200! 4850 4890 6297"),
    ("2 plain", 4, "2025 4003 7412 6845 1897! 5097 8596"),
    ("2 loop", 3, "2225 4504 7418 5560 2594 1582 3280 5892 8594"),
    ("2 big loop", 1, "2222 4503 7220 5855 3290 1280 3270 5888 9292"),
    ("2 swan", 3, "2028 3506 7008 7240 4575 1895! 4090 6498 9090"),
    ("2 curled in", 1, "3830 2518 4402 7414 6245 1897! 5097 8596"),
    ("2 angular", 1, "2012 5004 7509! 1895! 8592!"),
    ("2 low", 1, "1030 3505 7010 6845 0597 4588 9598"),
    ("2 narrow loop", 1, "3425 4805 6416 6030 3882 2894 3084 5090 7896"),
    ("3 round", 3, "2015 4502 7415 6840 4546! 7055 8078 5098 1885"),
    ("3 looped", 3, "2012 5002 7418 5844 3850 4242 7058 7485 4598 1586"),
    ("3 smooth", 1, "2212 5002 7422 5046 7470 5098 2088"),
    ("3 curled", 2, "3020 2408 5002 7420 5446 4047 7060 7685 4898 2290 2280 3480"),
    ("3 flat", 3, "2003! 7803! 4042! 7450 8278 5098 1587"),
    ("3 angular", 1, "2008! 7812! 3844! 8068! 2598!"),
    ("4 open", 3, "2803! 1852! 8852! | 6020! 5899!"),
    ("4 leaning", 2, "4402! 1260! 8858! | 6530! 5599!"),
    ("4 short stick", 2, "4002! 2060! 8055! | 6038! 5899!"),
    ("4 narrow", 2, "4800! 2862! 7257! | 5842! 5699!"),
    ("4 cupped", 3, "2202 2035 3656 7445 8002! 7850 7499"),
    ("4 one stroke", 2, "2803! 1852! 5052 7848! 7805! 7850 7499"),
    ("4 closed", 3, "6299! 6202! 1265! 8865!"),
    ("4 sharp", 2, "7002! 1060! 9062! | 7002! 6050 5699"),
    ("4 curved", 2, "3502 1830 2058 5258 8550 | 6430! 6050 5499"),
    ("4 bowl", 2, "4800 2842 2268 4876 7060 6838! 6670 6299"),
    ("4 round back", 1, "5202 2838 1860 4266 8256 | 7030! 6665 6499"),
    ("5 hat", 4, "3004! 2545! 5038 8060 7090 4598 1585 | 3004! 8003!"),
    ("5 one stroke", 3, "8004! 3004! 2446! 5238 8062 7090 4598 1588"),
    ("5 detached hat", 2, "3014! 2446! 5038 8060 7090 4598 1585 | 4004! 8800!"),
    ("5 rounded", 2, "8003! 4006 3025 3042 6046 7868 6092 3598 1590"),
    ("5 long neck", 1, "3802! 3255! 6250 7672 5596 1592 | 3804! 9002!"),
    ("5 small belly", 1, "4004! 2250 4860 6075 4296 1290 | 4004! 9502!"),
    ("5 curled belly", 1, "8003! 3804! 2844! 5240 7864 7088 4598 2386 2470"),
    ("6 plain", 4, "6802 3530 2068 4597 7582 7058 4552 2275"),
    ("6 curled", 2, "7814 6202 3520 1865 4097 7585 7058 4550 2275"),
    ("6 flagged", 1, "8208 5506! 2545 2280 5098 7880 6458 3862 2278"),
    ("6 straight", 2, "7000! 3848 2278 5098 7878 6055 3562 2478"),
    ("6 low loop", 2, "4502 2840 2280 5098 7482 6264 4262 2680"),
    ("6 big loop", 1, "7802 4510 1845 2285 5598 7874 6250 4050 2068"),
    ("6 spiral", 1, "7005 3525 1865 4095 7585 7062 4858 4072"),
    ("7 plain", 3, "1505! 5004 8504! 6040 4599"),
    ("7 straight", 2, "1505! 8505! 4599!"),
    ("7 upright", 1, "1805! 8004! 7650 7099"),
    ("7 crossed", 4, "1508! 5004 8504! 6040 4599 | 3052! 8248!"),
    ("7 crossed, wavy", 2, "1514 3003 5812 8505! 6040 5099 | 3552! 8550!"),
    ("7 crossed, round", 3, "1518 3004 7006 7225 5299 | 2552! 8852!"),
    ("7 crossed low", 1, "1508! 8504! 4599! | 2066! 7860!"),
    ("7 serif", 2, "1525! 1506! 8505! 6040 4599"),
    ("7 serif, crossed", 2, "1525! 1506! 8505! 6040 4599 | 3052! 8248!"),
    ("7 long serif, crossed", 1, "1238 2210! 5512 8803! 6045 4899 | 2855! 8246!"),
    ("8 from the right", 4, "7616 5002 2820 5048 7875 5098 2275 5048 7220 7008"),
    ("8 from the left", 2, "2820 5048 7875 5098 2275 5048 7220 5002 3012 2826"),
    ("8 two circles", 3, "5003 3012 3035 5047 7035 7012 4803 | 5048 2560 2285 5098 7885 7560 4848"),
    ("8 open top", 2, "7212 4803 2822 5048 7878 4898 2275 5048 8003"),
    ("8 from the middle", 1, "5048 2825 5003 7522 5048 2275 5098 7875 4846"),
    ("8 tailed", 1, "9002 5502 3020 5248 7875 5098 2275 5248 7520 6406"),
    ("9 straight", 3, "7618 5002 2225 4550 7435 7812! 7650 7499"),
    ("9 curved", 3, "7620 5002 2222 4548 7535 7812 7860 5898 2490"),
    ("9 hooked", 3, "7618 5002 2225 4550 7435 7812! 7860 6295 2592 2082"),
    ("9 long hook", 2, "7414 4802 2620 4642 7428 7608! 7850 7090 4598 0592 0886"),
    ("9 with a bowl", 2, "7214 4803 2825 4846 7228 7610! 7860 5598 2294 1580 2570"),
    ("9 open", 2, "6607 4202 2420 4240 6634 7805! 7855 6596 2092"),
    ("9 hasty", 1, "6806 4204 3020 4634 6824 7608! 7850 6894 3096"),
    ("9 like J", 1, "7210 5603 4212 5224 7012! 7050 6288 3899 1886"),
    ("9 like s", 1, "7206 4803 3418 4632 6818! 7055 6292 3499 1590"),
    ("9 slanted", 2, "7818 5502 2822 4246 7226 7810 6055 4599"),
    ("9 stick", 2, "7418 5003 2225 4550 7435 | 7803! 7650 7499"),
)  # fmt: skip

# Letters and signs, name and strokes. What passes for a digit in some hand is left out: letters
# like B C D G I J L O Q S T U Z a b c g i j l o p q r s t z, beta, theta and phi, ( ) / &, circles.
GLYPHS = (
    ("A", "1099! 5000! 9099! | 2860! 7260!"),
    ("A round", "1599 2030 5002 7830 8599 | 1858! 8258!"),
    ("A flat", "1299! 1802! 8202! 8899! | 1652! 8552!"),
    ("A one stroke", "1099! 5000! 8599! 2068! 8862!"),
    ("E", "8002! 2202! 2298! 8298! | 2250! 7050!"),
    ("E round", "7808 4002 2622 5046 2070 4497 8088"),
    ("E cursive", "7015 4503 2522 5045! 1868 3596 8590"),
    ("F", "8202! 2202! 2299! | 2248! 7048!"),
    ("F curved", "8805 5008 1802 | 5505 5075 3598 1588 | 3048! 7848!"),
    ("H", "1500! 1599! | 8500! 8599! | 1550! 8550!"),
    ("K", "2000! 2099! | 8002! 2055! 8299!"),
    ("M", "0599! 1502! 5070! 8502! 9599!"),
    ("N", "1599! 1802! 8299! 8500!"),
    ("P", "2299! 2202! 6504 8025 6548 2252"),
    ("P in two", "2202! 2299! | 0812 5000 8522 6248 2655"),
    ("R", "2099! 2002! 6504 8025 6046 2250! 8299!"),
    ("V", "1002! 5099! 9002!"),
    ("W", "0202! 2598! 5030! 7598! 9802!"),
    ("W round", "0505 1575 3098 5030! 7098 8870 9505"),
    ("X", "1002! 9098! | 8802! 1298!"),
    ("Y", "1002! 5050! 9002! | 5050! 5099!"),
    ("d", "7060 4545 1570 4098 7580 | 7802! 7880 8897"),
    ("e", "1562 8258 7030 4025 1560 3595 8585"),
    ("e cursive", "0570 5055 7525 5005 2540 3085 6598 9578"),
    ("f", "8012 6002 4520 4499 | 1842! 7542!"),
    ("h", "2200! 2299! 2560 5545 7565 7899"),
    ("h cursive", "1055 5020 4502 3020 2899! 3560 5548 6570 7098 9080"),
    ("k", "2400! 2499! | 7540! 2570! 8099!"),
    ("m", "0535! 1098! 1255 3038 4555 4798! 5055 7038 8555 9098"),
    ("n", "1535! 2098! 2558 5538 7858 8298 9592"),
    ("u", "1535 1878 4098 7575 8035! 8085 9598"),
    ("v", "1035 4598! 8535"),
    ("w", "0535 2098! 4855! 7298! 9535"),
    ("x", "1535 5060 8598 | 8535 1598"),
    ("x curly", "1545 3535 5065 6898 8888 | 8538 6040 4090 1592"),
    ("y", "1502! 5055! | 9002! 5055! 2299!"),
    ("alpha", "9005 6060 3095 0860 3025 6050 9298"),
    ("gamma", "0520 2510 5060! 9208! 5060! 4590 5899 6085 5060"),
    ("epsilon", "8010 5002 2525 5546! 2070 4597 8585"),
    ("lambda", "1502 3005 5045 8898 | 5045! 1598!"),
    ("mu", "2599! 2030! 2268 4575 7050 7530! 7870 8875"),
    ("pi", "0520 2010 9510! | 3212! 2898! | 6812! 7095 8090"),
    ("psi", "1010 1550 5060 8550 9010 | 5000! 5099!"),
    ("omega", "2020 0560 2595 4885 5050! 5285 7595 9560 8020"),
    ("sigma", "8502! 1502! 5548! 1298! 8898!"),
    ("Omega", "0598! 3098! 0550 5002 9550 7098! 9598!"),
    ("Zhe", "5000! 5099! | 0502! 5050! 0599! | 9502! 5050! 9599!"),
    ("Sha", "0502! 0598! 9598! 9502! | 5002! 5098!"),
    ("Yu", "1000! 1099! | 1050! 4050! | 7005 4850 7098 9550 7005"),
    ("Ya", "8099! 7802! 3808 3042 7850 | 6050! 1899!"),
    ("Cyrillic I", "1500! 1599! 8500! 8599!"),
    ("alef", "1005! 9095! | 8505! 8535 6055 | 3040! 1565! 1598!"),
    ("da", "0830! 9230! | 5000! 4550 1099 | 5040! 6570 9099"),
    ("shan", "1535! 1598! 8598! 8535! | 5000! 5098!"),
    ("tree", "1030! 9030! | 5000! 5099! | 5030! 1085! | 5030! 9085!"),
    ("gate", "1510! 8510! | 1510! 1599! | 8510! 8590 7595 | 1550! 8550!"),
    ("ki", "1530! 8522! | 0862! 9255! | 4200! 6099!"),
    ("tsu", "0820! 1845! | 4015! 5040! | 9018! 7570 3099"),
    ("yo", "1505! 8505! 8598! 1598! | 1850! 8550!"),
    ("ha", "0505! 9505! | 3005! 3040 0898 | 6505! 6898! 9592"),
    ("ka", "1030! 8830! 8280 7098 6088 | 5002! 4560 1598"),
    ("hangul", "1010! 5510! 4060 1085 | 7500! 7599! | 7545! 9545!"),
    ("ja", "0508! 9508! | 7008! 7099! | 3030 4545 3068 1060 | 4545! 7048!"),
    ("plus", "0550! 9550! | 5005! 5095!"),
    ("minus", "0550! 9550!"),
    ("equals", "0530! 9530! | 0570! 9570!"),
    ("not equal", "0535! 9535! | 0568! 9568! | 7505! 2598!"),
    ("divide", "0550! 9550! | 5012! 5112! | 5088! 5188!"),
    ("star", "2095! 5003! 8095! 0538! 9538! 2095!"),
    ("asterisk", "5005! 5095! | 1028! 9072! | 9028! 1072!"),
    ("hash", "3205! 2595! | 7205! 6595! | 0535! 9535! | 0368! 9368!"),
    ("percent", "9002! 1098! | 2505 1225 2545 4025 2505 | 7555 6275 7598 9075 7555"),
    ("colon", "5010! 5110! | 5090! 5190!"),
    ("dots", "0850! 0950! | 5048! 5148! | 9250! 9350!"),
    ("semicolon", "5015! 5115! | 5270! 5082 4092"),
    ("exclamation", "5000! 5055! | 5095! 5195!"),
    ("question", "2025 4503 7818 5550 5068 | 5095! 5195!"),
    ("at", "6540 4035 3060 4872 6650 6835! 6868 8562 9040 6505 2015 0555 2592 7592"),
    ("greater", "1015! 9050! 1085!"),
    ("less", "8815! 1050! 8885!"),
    ("tilde", "0555 2538 5052 7565 9545"),
    ("brace", "7002 5010 5242 3550! 5258 5090 7098"),
    ("bracket", "7502! 3002! 3098! 7598!"),
    ("arrow right", "0550! 9550! | 6520! 9550! 6580!"),
    ("arrow up", "5099! 5003! | 2032! 5003! 8032!"),
    ("tick", "0555! 3595! 9505!"),
    ("heart", "5030! 7005 9528 5098! 0528 3005 5030!"),
    ("triangle", "5005! 9595! 0595! 5005!"),
    ("square", "0808! 9208! 9292! 0892! 0808!"),
    ("house", "1295! 1242! 5003! 8842! 8895! 1295!"),
    ("smiley", "5002 0850 5098 9250 5002 | 3535! 3537! | 6535! 6537! | 2865 5080 7265"),
    ("flower", "5040 3005 6805 5040! 9525 9560 5550! 7595 4095 5055! 0570 0530 4548"),
    ("bulb", "3870! 3860 1530 5002 8530 6260 6270! 3870! | 3882! 6282! | 4293! 5893!"),
    ("cup", "1020! 1890! 6890! 7520! 1020! | 7535 9540 7070"),
    ("fish", "9520! 3575 0545 3515 9575! 9520!"),
    ("eye", "0350 5018 9750 5082 0350 | 5038 3850 5062 6250 5038"),
    ("cross-hatch", "1002! 2098! | 4002! 5098! | 7002! 8098! | 0230! 9825! | 0270! 9865!"),
    ("envelope", "0520! 9520! 9582! 0582! 0520! 5058! 9520!"),
    ("umbrella", "0545 2515 5005 7515 9545! 0545! | 5005! 5090 4099 3292"),
    ("zigzag", "0290! 1510! 2890! 4210! 5590! 7010! 8290! 9510!"),
    ("waves", "0250 1530 2870 4230 5570 7030 8270 9850"),
    ("loops", "0290 2530 2005 1030 3590 5030 4505 3530 6090 7530 7005 6030 9085"),
    ("spiral", "5050 6045 5862 4060 4038 6530 7655 6075 3075 2045 4015 7515 9550 7590 4096"),
)  # fmt: skip


def draw_digits(count: int, *, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw ``count`` digits, each of the ten as often as the others, in random order.

    Returns canvases, (count, 28, 28) uint8, and labels, (count,) int64. The same generator state
    draws the same digits.
    """
    labels = rng.permutation(np.arange(count) % 10)
    canvases = np.zeros((count, 28, 28), np.uint8)
    for digit in range(10):
        places = np.flatnonzero(labels == digit)
        styles = [style for style in DIGITS if style[0][0] == str(digit)]
        shares = np.array([share for _, share, _ in styles], float)
        chosen = rng.choice(len(styles), len(places), p=shares / shares.sum())
        for index, (_, _, strokes) in enumerate(styles):
            canvases[places[chosen == index]] = _draw(strokes, np.sum(chosen == index), rng)
    return canvases, labels


def draw_nondigits(count: int, *, rng: np.random.Generator) -> np.ndarray:
    """Draw ``count`` things that nobody would read as one digit, (count, 28, 28) uint8.

    Letters and signs, invented characters, several digits side by side, scribbles, blobs and
    textures. Whatever passes for a digit in some hand is left out, lest it teach a network to
    refuse real digits.
    """
    kinds = (_draw_glyph, _draw_invention, _draw_number, _draw_scribble, _draw_texture)
    canvases = np.zeros((count, 28, 28), np.uint8)
    for canvas, kind in zip(canvases, rng.choice(5, count, p=NONDIGIT_SHARES), strict=True):
        canvas[:] = kinds[kind](rng)
    return canvases


def _draw_glyph(rng: np.random.Generator) -> np.ndarray:
    return _draw(GLYPHS[rng.integers(len(GLYPHS))][1], 1, rng)


def _draw_invention(rng: np.random.Generator) -> np.ndarray:
    """A character of no script: five to eight strokes between points of a grid."""
    points = rng.integers(0, 4, (rng.integers(5, 9), 2, 2)) * 32 + 1
    return _draw(" | ".join(f"{a:02}{b:02} {c:02}{d:02}" for (a, b), (c, d) in points), 1, rng)


def _draw_number(rng: np.random.Generator) -> np.ndarray:
    """Two to four digits side by side."""
    paths: list[np.ndarray] = []
    left = 0.0
    styles = rng.integers(len(DIGITS), size=rng.choice((2, 3, 4), p=(0.6, 0.25, 0.15)))
    for style in styles:
        digit = _distort(_trace(DIGITS[style][2], 1, rng), rng)
        across = np.concatenate(digit, axis=1)[..., 0]
        place = np.array((left - across.min(), rng.normal(0, 0.04)))
        paths += [path + place for path in digit]
        left += np.ptp(across) + rng.uniform(0.12, 0.4)
    return _ink(paths, rng, pen_width=PEN_WIDTH * 1.2 / len(styles))


def _draw_scribble(rng: np.random.Generator) -> np.ndarray:
    """One curve that wanders through eight to thirty points."""
    points = rng.integers(0, 100, (rng.integers(8, 31), 2))
    marks = rng.choice(("", "!"), len(points), p=(0.8, 0.2))
    scribble = " ".join(f"{x:02}{y:02}{mark}" for (x, y), mark in zip(points, marks, strict=True))
    return _ink(_trace(scribble, 1, rng), rng, pen_width=PEN_WIDTH / 2)


def _draw_texture(rng: np.random.Generator) -> np.ndarray:
    """Noise from coarse to fine, cut off at some level inside some oval: blobs, clouds, dust."""
    cells = int(np.exp(rng.uniform(np.log(3), np.log(29))))
    noise = rng.random((cells, cells), np.float32)
    field = cv2.resize(noise, (BOARD_SIZE, BOARD_SIZE), interpolation=cv2.INTER_CUBIC)
    wide, high = rng.uniform((0.5, 0.25), 1.5)
    down, across = np.linspace(-1, 1, BOARD_SIZE)[:, None], np.linspace(-1, 1, BOARD_SIZE)
    ink = field - np.maximum((across / wide) ** 2 + (down / high) ** 2 - 1, 0)
    level, softness = np.quantile(ink, rng.uniform(0.3, 0.99)), rng.choice((0.02, 0.5))
    return _to_uint8(frame(np.clip((ink - level) / softness, 0, 1).astype(np.float32)))


def _draw(strokes: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """One figure, ``count`` times: (count, 28, 28) uint8."""
    return _ink(_distort(_trace(strokes, count, rng), rng), rng)


@lru_cache(maxsize=512)
def _parse(stroke: str) -> tuple[np.ndarray, np.ndarray]:
    """One stroke's points, (P, 2) in the unit box, and its curve, (T, P).

    The path is curve @ points: a cubic Hermite spline with Catmull and Rom's tangents, which
    vanish at ends and corners.
    """
    words = stroke.split()
    points = np.array([(int(word[:2]), int(word[2:4])) for word in words]) / 100
    smooth = np.array([not word.endswith("!") for word in words])
    smooth[[0, -1]] = False
    count = len(words)
    tangents = np.zeros((count, count))
    inner = np.flatnonzero(smooth)
    tangents[inner, inner + 1], tangents[inner, inner - 1] = 0.5, -0.5
    values = np.eye(count)
    t = np.arange(CURVE_STEPS)[:, None] / CURVE_STEPS
    pieces = [
        (1 + 2 * t) * (1 - t) ** 2 * values[i]
        + t * (1 - t) ** 2 * tangents[i]
        + t**2 * (3 - 2 * t) * values[i + 1]
        + t**2 * (t - 1) * tangents[i + 1]
        for i in range(count - 1)
    ]
    return points, np.concatenate([*pieces, values[-1:]])


def _trace(strokes: str, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Follow a style's strokes ``count`` times, no two alike: one path (count, T, 2) a stroke."""
    paths = []
    carelessness = rng.gamma(4, 1 / 4, (count, 1, 1))  # mean 1, one hand in ten above 1.7
    for stroke in strokes.split("|"):
        points, curve = _parse(stroke)
        moved = points + rng.normal(0, 0.028, (count, *points.shape)) * carelessness
        centre = moved.mean(axis=1, keepdims=True)
        moved = centre + (moved - centre) * rng.normal(1, 0.06, (count, 1, 1))
        moved += rng.normal(0, 0.018, (count, 1, 2)) * carelessness
        path = curve @ moved
        hook = rng.normal(0, 0.035, (count, 1, 2)) * (rng.random((count, 1, 1)) < 0.3)
        paths.append(np.concatenate([path[:, :1] + hook, path], axis=1))
    return paths


def _distort(paths: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Bend, narrow, slant and turn all strokes of a figure together, as a hand would."""
    count = len(paths[0])
    path = np.concatenate(paths, axis=1) - 0.5
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 2))
    swing = rng.normal(0, 0.04, (count, 1, 2))
    path += swing * np.sin(rng.uniform(2, 7, (count, 1, 2)) * path[..., ::-1] + phase)
    path[..., 1] += rng.normal(0, 0.25, (count, 1)) * (path[..., 1] ** 2)  # a bigger top or foot
    narrowing = np.exp(rng.normal(-0.03, 0.2, (count, 1)))
    slant = rng.normal(0.12, 0.2, (count, 1))
    angle = np.radians(rng.normal(0, 6, (count, 1)))
    x = narrowing * path[..., 0] - slant * path[..., 1]
    y = path[..., 1]
    turned = np.stack(
        [np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y], axis=-1
    )
    return np.split(turned, np.cumsum([p.shape[1] for p in paths[:-1]]), axis=1)


def _ink(
    paths: list[np.ndarray], rng: np.random.Generator, *, pen_width: float = PEN_WIDTH
) -> np.ndarray:
    """Draw figures, paths (count, T, 2) of any size, with pens of any width: (count, 28, 28)."""
    count = len(paths[0])
    canvases = np.zeros((count, 28, 28), np.uint8)
    everything = np.concatenate(paths, axis=1)
    low = everything.min(axis=1, keepdims=True)  # (count, 1, 2)
    high = everything.max(axis=1, keepdims=True)
    widths = np.clip(pen_width * np.exp(rng.normal(0, 0.3, count)), *PEN_WIDTHS)
    pens = np.rint(widths * INK_SIZE / 20).astype(int)
    # The longest side becomes INK_SIZE, pen included.
    scale = (INK_SIZE - pens)[:, None, None] / (high - low).max(axis=2, keepdims=True)
    placed = [(path - (low + high) / 2) * scale + BOARD_SIZE / 2 for path in paths]
    lines = [np.rint(path * 2**SUBPIXEL_BITS).astype(np.int32) for path in placed]
    for index in range(count):
        board = np.zeros((BOARD_SIZE, BOARD_SIZE), np.uint8)
        strokes = [line[index] for line in lines]
        cv2.polylines(board, strokes, False, 255, int(pens[index]), cv2.LINE_AA, SUBPIXEL_BITS)
        canvases[index] = _to_uint8(frame(np.divide(board, 255, dtype=np.float32)))
    return canvases


def _to_uint8(canvas: np.ndarray) -> np.ndarray:
    grey: np.ndarray = np.rint(canvas * 255).astype(np.uint8)
    return grey
