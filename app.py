"""Starts the web app, here or as a Hugging Face Space."""

import os

if os.environ.get("SPACES_ZERO_GPU"):  # set on that hardware alone, where the module is at hand
    import spaces

    @spaces.GPU  # type: ignore[untyped-decorator]
    def unused() -> None:
        """ZeroGPU stops an app that has no such function. This one reads digits on the CPU."""


from lenet_digits.demo.server import launch

if __name__ == "__main__":
    launch()
