# The app without PyTorch. It needs no root and writes to /tmp alone:
#
#   docker build -t lenet-digits .
#   docker run --read-only --tmpfs /tmp --cap-drop ALL -p 7860:7860 lenet-digits
#
# It was written where there is no Docker, and no image has been built from it yet.
FROM python:3.11-slim
RUN pip install --no-cache-dir "gradio>=6.31,<7" "pillow>=11,<13" "numpy>=1.26,<3" \
    "safetensors>=0.4.5" "opencv-python-headless>=4.10"
COPY . /src
RUN pip install --no-cache-dir --no-deps /src
USER nobody
EXPOSE 7860
HEALTHCHECK CMD python -c "from urllib.request import urlopen as u; u('http://127.0.0.1:7860/health')"
CMD ["lenet-digits", "app", "--host", "0.0.0.0", "--port", "7860"]
