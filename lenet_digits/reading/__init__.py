"""From a picture to an answer, with NumPy, OpenCV, Pillow and safetensors alone."""
