"""The installed command as a process: its imports, its streams, and requests to stop."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEVEN = ROOT / "examples" / "7-photo.jpg"
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
ENVIRONMENT["PYTHONPATH"] = str(ROOT)
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell or signals")


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """The command as pip writes it from pyproject.toml."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    module, function = pyproject["project"]["scripts"]["lenet-digits"].split(":")
    path = tmp_path_factory.mktemp("bin") / "lenet-digits"
    path.write_text(
        f"import sys\nfrom {module} import {function}\n"
        f"if __name__ == '__main__':\n    sys.exit({function}())\n"
    )
    return str(path)


# Files of the folder

SHADOWED = ("pickle", "numpy", "cv2", "multiprocessing", "threading", "struct", "torch", "argparse")


@pytest.fixture
def planted(tmp_path):
    """A folder of 60 pictures, with modules beside them that write a file, the canary, when run."""
    folder = tmp_path / "pictures"
    (folder / "PIL").mkdir(parents=True)
    canary = tmp_path / "canary"
    for number in range(60):
        shutil.copy(ROOT / "examples" / "9-tiny.png", folder / f"{number}.png")
    for name in (*(f"{name}.py" for name in SHADOWED), "PIL/__init__.py", "sitecustomize.py"):
        code = f"open({str(canary)!r}, 'a').write({name!r} + '\\n')\nraise ImportError({name!r})\n"
        (folder / name).write_text(code)
    return folder, canary


def read_folder(command, folder):
    """Run ``lenet-digits predict .`` in a folder, with two processes."""
    return subprocess.run(
        [sys.executable, *command, "predict", "--jobs=2", "--csv", "."],
        cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("flags", [[], ["-E"], ["-P"]])
def test_no_file_of_the_folder_is_imported_by_the_command_or_its_workers(script, planted, flags):
    folder, canary = planted
    if flags == ["-E"]:  # PYTHONPATH is ignored as well
        start = f"import sys; sys.path[0] = {str(ROOT)!r}; sys.argv[0] = 'lenet-digits'"
        command = ["-E", "-c", f"{start}; from lenet_digits.cli.start import run; sys.exit(run())"]
    else:
        command = [*flags, script]
    result = read_folder(command, folder)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 61
    assert not canary.exists(), canary.read_text()


def test_the_canary_would_be_written(planted):
    folder, canary = planted
    read_folder(["-m", "lenet_digits"], folder)  # which puts the folder on the path
    assert canary.exists()


WORKERS = """
import os, sys
from lenet_digits.cli import workers
if {unsafe}:
    workers.SAFE_PATH = "IRRELEVANT"  # twin: what the workers do without it
if __name__ == "__main__":
    before = dict(os.environ)
    print(*set(workers.map_in_processes(abs, range(9), jobs=2)))
    assert dict(os.environ) == before
"""


@pytest.mark.parametrize("unsafe", [False, True])
def test_what_keeps_the_workers_off_the_folder_is_the_safe_path(unsafe, planted, tmp_path):
    folder, canary = planted
    main = tmp_path / "main.py"
    main.write_text(WORKERS.format(unsafe=unsafe))
    result = subprocess.run(
        [sys.executable, str(main)], cwd=folder, capture_output=True, text=True, timeout=60,
        env=ENVIRONMENT,
    )  # fmt: skip
    assert canary.exists() == unsafe
    if not unsafe:
        assert result.returncode == 0, result.stderr


# Streams


def shell(script, words, **options):
    """Run the command with these words in a shell."""
    line = f"exec {sys.executable} {script} {words}"
    return subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, timeout=120, env=ENVIRONMENT, **options
    )


@posix
def test_messages_are_not_written_into_the_answers_if_standard_error_is_closed(script, tmp_path):
    result = shell(script, f"predict --json missing.png {SEVEN} 2>&-", cwd=tmp_path)
    assert [row["status"] for row in json.loads(result.stdout)] == ["unreadable", "digit"]
    result = shell(script, f"predict missing.png {SEVEN} --output a.json 2>&-", cwd=tmp_path)
    assert len(json.loads((tmp_path / "a.json").read_text())) == 2
    assert (result.stdout, result.returncode) == ("", 1)


@posix
@pytest.mark.parametrize("closed", [">&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_the_command_works_with_closed_streams(script, closed, tmp_path):
    result = shell(script, f"predict {SEVEN} --explain steps.png {closed}", cwd=tmp_path)
    assert (result.stderr, result.returncode) == ("", 0)
    assert (tmp_path / "steps.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_answers_are_written_even_if_standard_error_is_full(script, tmp_path):
    result = shell(script, f"predict --json missing.png {SEVEN} 2>/dev/full", cwd=tmp_path)
    assert [row["status"] for row in json.loads(result.stdout)] == ["unreadable", "digit"]
    assert result.returncode == 1


# Requests to stop

# Reports when it listens for signals: the test leaves out the time that Python needs to start.
LISTENING = """
import sys, os
from lenet_digits.cli import signals
listen = signals.listen
def told():
    listen()
    os.write(1, b"!")
signals.listen = told
from lenet_digits.cli.start import run
if __name__ == "__main__":
    sys.exit(run())
"""


@posix
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_is_one_line_at_any_moment(jobs, tmp_path):
    main = tmp_path / "main.py"
    main.write_text(LISTENING)
    chance = random.Random(jobs)
    for _ in range(12):
        with subprocess.Popen(
            [sys.executable, str(main), "predict", f"--jobs={jobs}", "--output", "a.csv",
             *[str(SEVEN)] * 3000],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            env=ENVIRONMENT, cwd=tmp_path,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as run:  # fmt: skip
            assert run.stdout is not None
            assert run.stdout.read(1) == "!"
            with pytest.raises(subprocess.TimeoutExpired):
                run.wait(chance.uniform(0, 0.4 if jobs == 1 else 1.0))
            os.killpg(run.pid, signal.SIGINT)  # as a terminal does
            _, said = run.communicate(timeout=60)
        assert (said, run.returncode) == ("lenet-digits: Interrupted.\n", 130)
        assert [path.name for path in tmp_path.iterdir()] == ["main.py"]


LOST = """
import os, signal, time
from lenet_digits.cli import signals
signals.listen()
class Thing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000): pass
Thing()  # Python drops an exception that is raised in a finaliser
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("heard")
"""


@posix
def test_a_request_is_repeated_if_python_dropped_its_exception():
    result = subprocess.run(
        [sys.executable, "-c", LOST], capture_output=True, text=True, timeout=50, env=ENVIRONMENT
    )
    assert (result.stdout, result.stderr) == ("heard\n", "")
