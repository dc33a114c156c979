"""The library in ten lines: reads the pictures beside it."""

from pathlib import Path

import lenet_digits

for path in sorted(Path(__file__).parent.glob("*-*.*")):
    prediction = lenet_digits.predict(path)
    verdict = str(prediction.digit) if prediction.is_digit else "not a digit"
    print(f"{path.name:24} {verdict} at {prediction.confidence:.1%}")
