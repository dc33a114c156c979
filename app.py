"""Starts the web app, here or as a Hugging Face Space."""

from lenet_digits.demo import launch

if __name__ == "__main__":
    launch()
