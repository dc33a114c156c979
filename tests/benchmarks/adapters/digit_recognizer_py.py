"""Runs digit-recognizer-py 0.1.0 (PyPI, with its own weights) as an adapter; measures nothing.

    python -m venv ENV && ENV/bin/pip install digit-recognizer-py==0.1.0

``DigitRecognizer.predict`` is what its README shows for many pictures. It tells dark ink from light
by itself (``invert="auto"``, its default), so the picture is given as it is.
"""

from __future__ import annotations

from digit_recognizer import DigitRecognizer
from protocol import answer, open_picture

if __name__ == "__main__":
    recognizer = DigitRecognizer(device="cpu")
    answer(lambda path: recognizer.predict(open_picture(path)))
