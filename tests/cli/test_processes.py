"""The library in other people's processes: threads, forks, event loops, signals, unchanged state.

Each test runs a fresh interpreter, which reports its position if it hangs.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parents[1] / "data"

BEGIN = """
import faulthandler, os, signal, sys, threading, warnings
faulthandler.dump_traceback_later(150, exit=True)
import numpy as np

def page(turns, size=90):
    picture = np.full((size, size), 255, np.uint8)
    picture[size // 6 : size * 5 // 6, size * 7 // 15 : size * 8 // 15] = 0
    return np.rot90(picture, turns).copy()

pages = [page(turns, size) for turns in (0, 1) for size in (28, 90, 900)]  # 900: on all cores
"""


def output_of(code: str, *arguments: object, ignoring: str | None = None) -> str:
    """What code prints in a fresh interpreter in which every warning is an error."""
    options = ["-W", "error", *(["-W", f"ignore::{ignoring}"] if ignoring else [])]
    done = subprocess.run(
        [sys.executable, *options, "-c", BEGIN + code, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


THREADS_THAT_BEGIN = """
together = threading.Barrier(16)
answers = [None] * 16
def work(number):
    together.wait(100)
    import lenet_digits  # at the same time in all threads
    answers[number] = [lenet_digits.predict(page) for page in pages]
threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
from lenet_digits import predict_many
expected = [answer.digit for answer in predict_many(pages)]
assert [[a.digit for a in some] for some in answers] == [expected] * 16
print("all right")
"""


def test_sixteen_threads_that_import_load_and_predict_at_once_get_right_answers() -> None:
    assert output_of(THREADS_THAT_BEGIN) == "all right\n"


FORKS = """
from lenet_digits import predict, predict_many
from lenet_digits.reading import prediction
expected = [answer.digit for answer in predict_many(pages)]
done = threading.Event()
def load():  # again and again, so that every fork happens during a load
    while not done.is_set():
        prediction.shipped_network.cache_clear()
        predict(pages[1])
def read():
    while not done.is_set():
        list(predict_many(pages))
threads = [threading.Thread(target=task) for task in (load, load, read)]
for thread in threads: thread.start()
failures = []
for _ in range(12):
    child = os.fork()
    if not child:
        signal.alarm(60)  # the child has no watchdog thread
        right = [predict(page).digit for page in pages] == expected
        os._exit(0 if right else 7)
    status = os.waitpid(child, 0)[1]
    if status: failures.append(status)
done.set()
for thread in threads: thread.join()
print(failures)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_process_forked_while_other_threads_load_and_predict_gets_right_answers() -> None:
    assert output_of(FORKS, ignoring="DeprecationWarning") == "[]\n"


LOOP = """
import asyncio
from lenet_digits import predict, predict_many
async def cell():
    expected = [predict(page) for page in pages]
    aside = await asyncio.gather(*(asyncio.to_thread(predict, page) for page in pages * 4))
    assert list(aside) == expected * 4
    assert [answer.digit for answer in predict_many(pages)] == [a.digit for a in expected]
    assert asyncio.get_running_loop() is loop
loop = asyncio.new_event_loop()
loop.run_until_complete(cell())
loop.run_until_complete(loop.shutdown_default_executor())
loop.close()
print("all right")
"""


def test_it_works_inside_a_running_event_loop_as_in_a_notebook() -> None:
    assert output_of(LOOP) == "all right\n"


INTERRUPTED = """
from lenet_digits import predict, predict_many
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has none
given, answered = 0, 0
def endless():
    global given
    while True:
        given += 1
        if given == 20: signal.raise_signal(signal.SIGINT)
        yield pages[given % 2]
try:
    for answer in predict_many(endless(), batch_size=8): answered += 1
except KeyboardInterrupt:
    print("interrupted", given, answered)
print(predict(pages[0]).digit == next(predict_many(pages)).digit, threading.active_count())
"""


def test_ctrl_c_ends_predict_many_at_once_and_does_no_harm() -> None:
    assert output_of(INTERRUPTED) == "interrupted 20 16\nTrue 1\n"


ALARMS = """
from lenet_digits import predict
from lenet_digits.reading import prediction
expected = [predict(page).probabilities for page in pages]
rung, wrong = 0, 0
def ring(*_):
    global rung, wrong
    rung += 1
    number = rung % 2
    prediction.shipped_network.cache_clear()
    wrong += predict(pages[number]).probabilities != expected[number]
signal.signal(signal.SIGALRM, ring)
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
while rung < 25:
    for page, right in zip(pages, expected):
        wrong += predict(page).probabilities != right
signal.setitimer(signal.ITIMER_REAL, 0)
print(wrong)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGALRM")
def test_a_signal_handler_may_predict_while_the_program_does() -> None:
    assert output_of(ALARMS) == "0\n"


STATE = """
import decimal, locale, logging, random
import cv2, torch
from PIL import Image, ImageFile
random.seed(1); np.random.seed(2); torch.manual_seed(3)
torch.set_num_threads(2); cv2.setNumThreads(3)
# Its first optimiser makes torch set a filter of warnings and a variable of the environment.
first = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], fused=True)
first.zero_grad(); first.step()

def state():
    return {
        "torch threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "OpenCV": (cv2.getNumThreads(), cv2.useOptimized(), cv2.ocl.useOpenCL()),
        "random numbers": (random.getstate(), str(np.random.get_state()),
            torch.get_rng_state().tolist()),
        "torch": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(),
            torch.get_default_dtype(), torch.get_default_device(),
            torch.are_deterministic_algorithms_enabled(), torch.backends.mkldnn.enabled,
            torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()),
        "NumPy": (np.geterr(), np.get_printoptions()),
        "Pillow": (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES),
        "warnings": [filter[:3] for filter in warnings.filters],
        "locale": locale.setlocale(locale.LC_ALL),
        "environment": dict(os.environ),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "handlers": (logging.root.handlers[:], logging.root.level),
        "hooks": (sys.excepthook, sys.displayhook, threading.excepthook, sys.stdout, sys.stderr),
        "threads": threading.active_count(),
        "path": (sys.path[:], os.getcwd(), sys.getrecursionlimit(), sys.getswitchinterval()),
        "decimal": str(decimal.getcontext()),
    }

before = state()
def check(what):
    for name, value in state().items():
        assert value == before[name], f"{what} changes {name}: {before[name]} to {value}"

import lenet_digits
check("importing")
[getattr(lenet_digits, name) for name in lenet_digits.__all__]
check("importing all")
for one in pages: lenet_digits.predict(one)
check("predicting")
next(lenet_digits.predict_many(pages, batch_size=2))
check("an unfinished predict_many")
model = lenet_digits.load_model()
lenet_digits.predict(pages[0], model=model)
check("loading")
for wrong in (b"", np.zeros((9, 9)), "nowhere.png"):
    try: lenet_digits.predict(wrong)
    except ValueError: pass
check("failing")
from lenet_digits.training import loop
from lenet_digits.training.recipes import Recipe
loop.DRAWN_POOL = 60
digits = lenet_digits.load_mnist(sys.argv[1], download=False)
recipe = Recipe(epochs=1, ema=0.9, distortion=1.0, drawn=0.5, nondigits=0.5, cosine=True)
lenet_digits.train(digits, recipe=recipe, limit=100, output=sys.argv[2])
check("training")
try: lenet_digits.train(digits, recipe=Recipe(epochs=9, learning_rate=1e30), limit=300)
except lenet_digits.TrainingError: pass
check("training that fails")
print("unchanged")
"""


def test_importing_predicting_and_training_change_nothing_of_the_callers_process(
    tmp_path: Path,
) -> None:
    assert output_of(STATE, DATA, tmp_path) == "unchanged\n"
