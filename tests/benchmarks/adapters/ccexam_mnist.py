"""Runs ccexam 1.0.0 (PyPI, with its own weights) as an adapter; measures nothing.

    python -m venv ENV && ENV/bin/pip install ccexam==1.0.0

Of its three models the one trained on MNIST, through ``InferenceFactory``, which its
``run_inference`` makes anew for every call. Its model card wants "MNIST style" pictures, so it gets
light ink on dark.
"""

from __future__ import annotations

from ccexam.inference import InferenceFactory
from protocol import answer, light_on_dark

if __name__ == "__main__":
    inference = InferenceFactory.create("mnist", device="cpu")
    answer(lambda path: inference.predict(light_on_dark(path)))
