"""Training: the original recipe, the same weights again after any fault, nothing half-written."""

from __future__ import annotations

import errno
import inspect
import math
import multiprocessing
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import lenet_digits
from lenet_digits import Digits, LeNet5, TrainingError, evaluate, load_mnist, load_model, train
from lenet_digits.storage.files import write_atomically, written_atomically
from lenet_digits.storage.shipped import WEIGHTS_FILE
from lenet_digits.training import checkpoint, loop
from lenet_digits.training.checkpoint import CHECKPOINT_FILE
from lenet_digits.training.metrics import METRICS_FILE, Metrics
from lenet_digits.training.recipes import RECIPES, Recipe

DATA = Path(__file__).parents[1] / "data"
ORIGINAL = Recipe(epochs=3, batch_size=50)
ELABORATE = Recipe(
    epochs=3, batch_size=50, learning_rate=4e-3, weight_decay=1e-2, muon=5.0, warmup=0.2,
    cosine=True, ema=0.9, distortion=1.0, polish=0.4, drawn=0.2, nondigits=0.1, pieces=0.1,
    slivers=0.1,
)  # fmt: skip
RUN_RECIPES = pytest.mark.parametrize("recipe", [ORIGINAL, ELABORATE], ids=["plain", "elaborate"])
LIMIT = 300  # digits; with ORIGINAL 6 steps an epoch, 18 in all
POOL = 120  # pictures drawn for a run
FILES = {CHECKPOINT_FILE, WEIGHTS_FILE, METRICS_FILE}


@pytest.fixture(scope="module", autouse=True)
def small_pools() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "DRAWN_POOL", POOL)
        yield


@pytest.fixture(scope="module")
def sample():
    return load_mnist(DATA, download=False)


@pytest.fixture(scope="module")
def whole(sample):
    """Uninterrupted runs, by their recipe."""
    return {recipe: train(sample, recipe=recipe, limit=LIMIT) for recipe in (ORIGINAL, ELABORATE)}


def same(one, other) -> bool:
    """Whether two runs, or models, have the same weights, bit for bit."""
    pairs = zip(*(getattr(each, "model", each).parameters() for each in (one, other)), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# Recipes


def test_the_defaults_are_the_original_recipe():
    parameters = inspect.signature(train).parameters
    assert parameters["recipe"].default == "original"
    assert parameters["epochs"].default is None
    original = asdict(RECIPES["original"])
    told = {name: original.pop(name) for name in ("epochs", "batch_size", "learning_rate")}
    assert told == {"epochs": 50, "batch_size": 100, "learning_rate": 1e-3}
    assert original.pop("temperature") == 1
    assert not any(original.values())


def test_the_original_recipe_is_adam_on_cross_entropy(sample):
    digits = sample[0][:100]  # one batch an epoch: its order does not matter
    torch.manual_seed(5)
    plain = LeNet5()
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-3)
    losses = []
    for _ in range(4):
        loss = F.cross_entropy(plain(digits.images[:, None] / 255), digits.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    run = train(sample, limit=100, epochs=4, seed=5)
    assert [record.train_loss for record in run.epochs] == pytest.approx(losses, rel=1e-4)
    for ours, theirs in zip(run.model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_the_rate_climbs_and_falls_as_the_recipe_says(sample):
    recipe = Recipe(epochs=8, batch_size=50, learning_rate=0.01, warmup=0.25, cosine=True)
    rates = [record.learning_rate for record in train(sample, recipe=recipe, limit=100).epochs]
    assert rates[0] < rates[1] == pytest.approx(0.01)
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[4] == pytest.approx(0.005)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains(sample, name):
    assert len(train(sample, recipe=name, epochs=1, limit=200).epochs) == 1


def test_the_average_of_the_weights_is_what_counts(sample, whole):
    averaged = train(sample, recipe=replace(ORIGINAL, ema=0.9), limit=LIMIT)
    assert averaged.epochs[0].train_loss == whole[ORIGINAL].epochs[0].train_loss
    assert not same(averaged, whole[ORIGINAL])
    assert set(averaged.model.state_dict()) == set(LeNet5().state_dict())


def test_a_runs_calibration_changes_its_loss_and_no_answer(sample):
    recipe = replace(ORIGINAL, epochs=1)
    plain, warm = (
        train(sample, recipe=replace(recipe, temperature=t, evidence=t - 1), limit=LIMIT)
        for t in (1.0, 2.0)
    )
    assert torch.equal(plain.evaluation.confusion, warm.evaluation.confusion)
    assert warm.evaluation.loss > plain.evaluation.loss


RECIPE_FAULTS = {
    "epochs": ([0, 1.5, True, "3", math.nan], "1 or more|a whole number"),
    "batch_size": ([0, 2.5, "3", None], "1 or more|a whole number"),
    "learning_rate": ([-1, 0, math.nan, math.inf, True, "1"], "above 0|a finite number"),
    "weight_decay": ([-1, math.nan, math.inf], "0 or more|a finite number"),
    "muon": ([-1, math.nan, math.inf], "0 or more|a finite number"),
    "warmup": ([-0.1, 1, math.nan], "from 0 to below 1|a finite number"),
    "cosine": ([1, "yes", None], "True or False"),
    "ema": ([-0.1, 1, math.nan], "from 0 to below 1|a finite number"),
    "distortion": ([-1, math.nan, math.inf], "0 or more|a finite number"),
    "polish": ([-0.1, 2, math.nan], "from 0 to 1|a finite number"),
    "drawn": ([-1, math.nan, math.inf], "0 or more|a finite number"),
    "nondigits": ([-1, math.nan, math.inf], "0 or more|a finite number"),
    "pieces": ([-1, math.nan, math.inf], "0 or more|a finite number"),
    "slivers": ([-1, math.nan, math.inf], "0 or more|a finite number"),
    "temperature": ([0, -1, 1e-300, 1e300, math.inf, math.nan], "from 0.01 to 100|a finite number"),
    "evidence": ([1e30, -1e30, math.inf, math.nan], "from -100 to 100|a finite number"),
}


@pytest.mark.parametrize("field", [field.name for field in fields(Recipe)])
def test_a_recipe_with_a_field_out_of_range_is_an_error_that_names_it(field):
    values, accepted = RECIPE_FAULTS[field]
    for value in values:
        with pytest.raises(ValueError, match=rf"^{field} is .*; it must be ({accepted})\.$"):
            Recipe(**{field: value})


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"recipe": "bset"}, "no recipe 'bset'; there are original, quick, best"),
        ({"recipe": None}, "recipe is None; it must be a Recipe, or original or quick or best"),
        ({"device": "nosuch"}, "device 'nosuch' cannot be used here: "),
        ({"device": "meta"}, "device meta holds no numbers"),
        ({"epochs": 0}, "epochs is 0; it must be 1 or more"),
        ({"limit": 0}, "limit is 0; it must be a whole number of 1 or more"),
        ({"holdout": -1}, "holdout is -1; it must be a whole number from 0 to 999"),
        ({"holdout": 1000}, "holdout is 1000; it must be a whole number from 0 to 999"),
        ({"resume": True}, "resume needs output"),
        *(
            ({"seed": seed}, "seed is .*; it must be a whole number from 0 to")
            for seed in (-1, 2**63, 1.0, True, "0", None)
        ),
    ],
)
def test_options_out_of_range_are_refused(sample, options, complaint):
    with pytest.raises(ValueError, match=complaint):
        train(sample, **options)


# Runs


def test_two_epochs_teach_something(sample):
    run = train(sample, recipe=Recipe(epochs=2, batch_size=10, learning_rate=2e-3))
    first, second = run.epochs
    assert second.train_loss < first.train_loss / 2
    assert second.test_accuracy == run.evaluation.accuracy > 0.8
    assert second.test_loss == pytest.approx(run.evaluation.loss)
    assert run.evaluation.count == 500
    assert not run.model.training


def test_the_elaborate_recipe_learns_too(sample):
    run = train(sample, recipe=replace(ELABORATE, epochs=4, batch_size=20))
    assert run.evaluation.accuracy > 0.7


def test_epochs_and_batches_are_reported_as_they_finish(sample, tmp_path):
    epochs, batches = [], []

    def on_epoch(record):
        epochs.append(record)
        assert (tmp_path / CHECKPOINT_FILE).exists()  # before the epoch is reported

    run = train(sample, recipe=ORIGINAL, limit=LIMIT - 20, output=tmp_path,
                on_epoch=on_epoch, on_batch=lambda *args: batches.append(args))  # fmt: skip
    assert epochs == run.epochs
    assert [record.epoch for record in epochs] == [1, 2, 3]
    assert all(record.seconds > 0 and record.learning_rate == 1e-3 for record in epochs)
    assert [batch for batch, _, _ in batches] == list(range(1, 19))
    assert {total for _, total, _ in batches} == {18}
    means = [mean for _, _, mean in batches[5::6]]
    assert means == pytest.approx([record.train_loss for record in epochs])


@RUN_RECIPES
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(sample, whole, recipe):
    assert same(train(sample, recipe=recipe, limit=LIMIT), whole[recipe])
    assert not same(train(sample, recipe=recipe, limit=LIMIT, seed=2**63 - 1), whole[recipe])


def test_a_limit_takes_the_first_digits_and_a_holdout_evaluates_on_the_last(sample):
    run = train(sample, limit=100, holdout=200, epochs=1)
    by_hand = train((sample[0][:100], sample[0][800:]), epochs=1)
    assert same(run, by_hand)
    assert torch.equal(run.evaluation.confusion, by_hand.evaluation.confusion)
    assert run.metrics.evaluated_on == "200 held-out training digits"
    with pytest.raises(ValueError, match="it must be a whole number from 0 to 99"):
        train((sample[0][:100], sample[1]), holdout=100, epochs=1)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: Digits(d.images, d.labels + 3), "labels are from 3 to 12"),
        (lambda d: Digits(d.images, d.labels - 1), "labels are from -1 to 8"),
        (lambda d: Digits(d.images, d.labels[:90]), "labels have the shape"),
        (lambda d: Digits(d.images, d.labels.float()), "labels have the shape"),
        (lambda d: Digits(d.images.float() / 255, d.labels), "images have the shape"),
        (lambda d: Digits(d.images[:, :27], d.labels), "images have the shape"),
    ],
)
def test_digits_out_of_range_are_neither_learned_nor_evaluated_on(sample, change, complaint):
    wrong = change(sample[0][:100])
    with pytest.raises(ValueError, match=complaint):
        train((wrong, sample[1]), epochs=1)
    with pytest.raises(ValueError, match=complaint):
        evaluate(LeNet5(), wrong)


def test_labels_of_another_whole_type_are_learned_and_no_data_changes(sample):
    digits = sample[0][:100]
    small = Digits(digits.images.clone(), digits.labels.to(torch.uint8))
    recipe = replace(ELABORATE, epochs=1)
    runs = [train((each, sample[1]), recipe=recipe) for each in (digits, small)]
    assert same(*runs)
    assert torch.equal(small.images, digits.images)
    assert small.labels.dtype == torch.uint8


@pytest.mark.parametrize("nondigits", [0.0, 0.1])
def test_the_model_says_whether_it_saw_nondigits(sample, tmp_path, nondigits):
    recipe = replace(ELABORATE, epochs=1, nondigits=nondigits)
    run = train(sample, recipe=recipe, limit=50, output=tmp_path)
    assert run.model.sees_nondigits is (nondigits > 0)
    assert load_model(tmp_path / WEIGHTS_FILE).sees_nondigits is (nondigits > 0)


def test_by_default_it_trains_on_mnist_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LENET_DIGITS_DATA", str(DATA))
    assert train(epochs=1, limit=100).evaluation.count == 500
    assert list(tmp_path.iterdir()) == []


@RUN_RECIPES
def test_a_run_by_autograd_as_on_a_gpu_goes_the_same_way(sample, whole, monkeypatch, recipe):
    monkeypatch.setattr(loop, "Backpropagation", lambda *_, **__: None)
    run = train(sample, recipe=recipe, limit=LIMIT)
    for one, other in zip(run.epochs, whole[recipe].epochs, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-3)
        assert one.test_loss == pytest.approx(other.test_loss, rel=1e-2)
    assert run.evaluation.accuracy == pytest.approx(whole[recipe].evaluation.accuracy, abs=0.01)


# What a run writes


def test_a_run_writes_its_weights_and_its_story(sample, tmp_path):
    folder = tmp_path / "runs" / "first"
    run = train(sample, recipe=ELABORATE, limit=LIMIT, seed=7, output=folder)
    assert {path.name for path in folder.iterdir()} == FILES
    assert same(load_model(folder / WEIGHTS_FILE), run)
    metrics = Metrics.read(folder / METRICS_FILE)
    assert metrics == run.metrics
    assert (metrics.recipe, metrics.seed, metrics.limit) == (ELABORATE, 7, LIMIT)
    assert metrics.evaluated_on == "the test digits"
    assert (metrics.accuracy, metrics.loss) == (run.evaluation.accuracy, run.evaluation.loss)
    assert [list(row) for row in metrics.confusion] == run.evaluation.confusion.tolist()
    assert list(metrics.epochs) == run.epochs
    assert metrics.versions["lenet_digits"] == lenet_digits.__version__
    assert metrics.versions["torch"] == torch.__version__
    assert metrics.versions["python"] == platform.python_version()
    assert len(metrics.data_sha256) == len(metrics.sha256) == 64


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", [WEIGHTS_FILE, METRICS_FILE])
def test_a_run_does_not_overwrite_weights_that_it_did_not_make(sample, tmp_path, name, resume):
    (tmp_path / name).write_bytes(b"precious")
    with pytest.raises(TrainingError, match="Name another directory"):
        train(sample, epochs=1, limit=100, output=tmp_path, resume=resume)
    assert content_of(tmp_path) == {name: b"precious"}


@pytest.mark.parametrize("limit", [50, LIMIT])  # the only step spoils the weights; or an early one
def test_a_run_whose_loss_is_not_finite_stops(sample, tmp_path, limit):
    recipe = replace(ORIGINAL, learning_rate=1e38)
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) in epoch 1.*is too high"):
        train(sample, recipe=recipe, limit=limit, output=tmp_path)
    assert list(tmp_path.iterdir()) == []


# Resuming


def interrupt(sample, folder, *, epoch=None, batch=None, **options) -> None:
    """Train until Ctrl-C is pressed: within a batch, or after the checkpoint of an epoch."""

    def press(now, wanted):
        if now == wanted:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(sample, output=folder, on_epoch=lambda record: press(record.epoch, epoch),
              on_batch=lambda now, *_: press(now, batch), **{"limit": LIMIT} | options)  # fmt: skip


@RUN_RECIPES
@pytest.mark.parametrize("when", [{"epoch": 1}, {"batch": 10}, {"epoch": 3}], ids=str)
def test_a_resumed_run_ends_as_an_uninterrupted_one(sample, whole, tmp_path, recipe, when):
    interrupt(sample, tmp_path, recipe=recipe, **when)
    seen = []
    run = train(sample, recipe=recipe, limit=LIMIT, output=tmp_path, resume=True,
                on_epoch=lambda record: seen.append(record.epoch))  # fmt: skip
    assert seen == list(range(when.get("epoch", 1) + 1, 4))
    assert same(run, whole[recipe])
    for ours, theirs in zip(run.epochs, whole[recipe].epochs, strict=True):
        assert replace(ours, seconds=0.0) == replace(theirs, seconds=0.0)


def test_a_run_whose_loss_explodes_later_can_be_resumed(sample, whole, tmp_path):
    def explode(batch, *_):
        if batch == 8:
            patch.setattr(F, "cross_entropy", lambda *_, **__: torch.tensor(math.nan))

    with pytest.MonkeyPatch.context() as patch, pytest.raises(TrainingError, match="in epoch 2"):
        train(sample, recipe=ORIGINAL, limit=LIMIT, output=tmp_path, on_batch=explode)
    resumed = train(sample, recipe=ORIGINAL, limit=LIMIT, output=tmp_path, resume=True)
    assert same(resumed, whole[ORIGINAL])


def test_clocks_set_back_change_nothing_but_the_seconds(sample, whole, tmp_path, monkeypatch):
    interrupt(sample, tmp_path, epoch=2, recipe=ORIGINAL)
    for name in ("time", "perf_counter", "monotonic"):  # a day back, and running backwards
        clock, start = getattr(time, name), getattr(time, name)()
        monkeypatch.setattr(time, name, lambda c=clock, s=start: s - 86_400 - (c() - s))
    for path in tmp_path.iterdir():
        os.utime(path, (2e9, 2e9))  # written in 2033
    resumed = train(sample, recipe=ORIGINAL, limit=LIMIT, output=tmp_path, resume=True)
    assert resumed.epochs[-1].seconds < 0
    assert same(resumed, whole[ORIGINAL])


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks Linux what is mapped")
def test_a_resumed_run_does_not_keep_its_checkpoint_mapped(sample, tmp_path):
    """Windows replaces no file that is mapped into memory, and each epoch replaces this one."""
    interrupt(sample, tmp_path, epoch=1, recipe=ORIGINAL)
    maps = []
    train(sample, recipe=ORIGINAL, limit=LIMIT, output=tmp_path, resume=True,
          on_epoch=lambda _: maps.append(Path("/proc/self/maps").read_text("utf-8")))  # fmt: skip
    assert maps
    assert not [lines for lines in maps if str(tmp_path) in lines]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"resume": False}, "holds a run already"),
        ({"seed": 1}, "another seed than this one"),
        ({"recipe": replace(ORIGINAL, batch_size=60)}, "another recipe than"),
        ({"epochs": 4}, "another recipe than"),
        ({"limit": 200}, "another data_sha256 and limit than"),
        ({"holdout": 10}, "another holdout than"),
        ({"flipped": True}, "another data_sha256 than"),
    ],
    ids=str,
)
def test_a_run_is_not_overwritten_or_resumed_as_another(sample, tmp_path, options, complaint):
    interrupt(sample, tmp_path, epoch=1, recipe=ORIGINAL)
    before = content_of(tmp_path)
    arguments = {"recipe": ORIGINAL, "limit": LIMIT, "resume": True} | options
    if arguments.pop("flipped", False):
        sample = (Digits(sample[0].images.flip(0), sample[0].labels.flip(0)), sample[1])
    with pytest.raises(TrainingError, match=complaint) as caught:
        train(sample, output=tmp_path, **arguments)
    assert "\n" not in str(caught.value)
    assert content_of(tmp_path) == before


@pytest.fixture(scope="module")
def first_checkpoint(sample, tmp_path_factory) -> bytes:
    """The checkpoint after the first epoch of the elaborate recipe."""
    folder = tmp_path_factory.mktemp("run")
    interrupt(sample, folder, epoch=1, recipe=ELABORATE)
    return (folder / CHECKPOINT_FILE).read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:7],
        lambda whole: whole[:3000],
        lambda whole: whole[:-1],
        lambda whole: b"{}" * 500,
        lambda whole: bytes([*whole[:-5], whole[-5] ^ 4, *whole[-4:]]),
        lambda whole: whole[:100_000] + bytes([whole[100_000] ^ 64]) + whole[100_001:],
        lambda whole: whole.replace(b'\\"epoch\\": 1', b'\\"epoch\\": 2'),
        lambda whole: whole.replace(b"test_loss", b"best_loss"),
        lambda whole: whole.replace(b"adamw.3.", b"adamw.x."),
        lambda whole: b"cos\nsystem\n(S'echo'\ntR.",  # a pickle that would run a program
    ],
)
def test_a_damaged_checkpoint_is_refused_in_one_sentence(
    sample, tmp_path, first_checkpoint, damage
):
    assert damage(first_checkpoint) != first_checkpoint
    (tmp_path / CHECKPOINT_FILE).write_bytes(damage(first_checkpoint))
    with pytest.raises(TrainingError, match=r"is damaged \(.*cannot be resumed") as caught:
        train(sample, recipe=ELABORATE, limit=LIMIT, output=tmp_path, resume=True)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / WEIGHTS_FILE).exists()


# Faults of the disk, and other programs


def test_an_output_that_is_a_file_or_vanishes_is_an_error_of_ours(sample, tmp_path):
    (tmp_path / "file").write_text("")
    gone = tmp_path / "gone"
    with pytest.raises(TrainingError, match="cannot be written"):
        train(sample, epochs=1, limit=100, output=tmp_path / "file")
    with pytest.raises(TrainingError, match="cannot be written"):
        train(sample, epochs=1, limit=100, output=gone, on_batch=lambda *_: gone.rmdir())


def test_what_a_killed_run_left_half_written_is_removed_and_nothing_else(sample, tmp_path):
    strangers = {".checkpoint.safetensors.backup", ".notes", "a.checkpoint.safetensors.0123abcd"}
    for name in strangers:
        (tmp_path / name).write_text("")
    for resume in (False, True):
        for name in FILES:
            (tmp_path / f".{name}.0123abcd").write_bytes(b"half")
        train(sample, epochs=1, limit=100, output=tmp_path, resume=resume)
        assert {path.name for path in tmp_path.iterdir()} == strangers | FILES


def test_two_runs_in_one_directory_do_not_mix(sample, tmp_path):
    def meddle(record):
        if record.epoch == 1:
            (tmp_path / CHECKPOINT_FILE).unlink()
            others.append(train(sample, epochs=1, limit=100, seed=1, output=tmp_path))

    others = []
    with pytest.raises(TrainingError, match="Another run has written"):
        train(sample, recipe=ORIGINAL, limit=LIMIT, output=tmp_path, on_epoch=meddle)
    assert same(load_model(tmp_path / WEIGHTS_FILE), others[0])


# Real faults: every run below is a process of its own.

METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
processes = multiprocessing.get_context(METHOD)
if METHOD == "forkserver":
    processes.set_forkserver_preload(["pytest", "torchvision", "lenet_digits.training.loop"])
DISK_FULL = 28  # exit code of a process that ended as it should on a full disk
needs_sigkill = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")


def write_in_place(path: Path, content: bytes) -> None:
    """Write a file as it should not be written: for a while it is empty."""
    with path.open("wb") as file:
        file.write(content)


def train_until(folder, recipe, fault, moment, write=write_atomically, announce=None) -> None:
    """Train in this process, or resume, until a fault at some moment, counted from 1.

    The process is killed before a batch or before any line of the code that writes files; or the
    disk is full at such a line.
    """
    loop.DRAWN_POOL = POOL
    checkpoint.write_atomically = write
    writers = {checkpoint.write_atomically.__code__, written_atomically.__wrapped__.__code__}
    moments = 0

    def reached() -> None:
        nonlocal moments
        moments += 1
        if moments == moment and fault == "disk full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if moments == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def trace(frame, event, argument):
        if frame.f_code in writers and event == "line":
            reached()
        return trace if frame.f_code in writers else None

    def on_batch(*_) -> None:
        if fault == "killed":
            reached()

    if fault != "none":
        sys.settrace(trace)
    try:
        train(load_mnist(DATA, download=False), recipe=recipe, limit=LIMIT, output=folder,
              resume=True, on_batch=on_batch, on_epoch=announce)  # fmt: skip
    except TrainingError as error:
        sys.exit(DISK_FULL if "No space left on device" in str(error) else str(error))


def exit_code_of_run(*arguments) -> int:
    process = processes.Process(target=train_until, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def exit_codes(folder: Path, *arguments, **options) -> list[int]:
    """Resume a run, each time with the fault one moment later, until a process ends by itself."""
    codes = [-1]
    while codes[-1] in (-1, -signal.SIGKILL, DISK_FULL):
        codes.append(exit_code_of_run(folder, *arguments, len(codes), *options.values()))
        if codes[-1] != 1:
            assert_what_is_there_is_whole(folder)
    return codes[1:]


def assert_what_is_there_is_whole(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name == METRICS_FILE:
            Metrics.read(path)
        elif path.name == WEIGHTS_FILE:
            load_model(path)
        elif path.name != CHECKPOINT_FILE:  # the resumed run reads that
            assert path.name.startswith(".")


@needs_sigkill
@pytest.mark.parametrize(
    ("fault", "code", "recipe"),
    [
        ("killed", -signal.SIGKILL, replace(ELABORATE, batch_size=200, nondigits=0.0, pieces=0.0)),
        ("disk full", DISK_FULL, replace(ORIGINAL, batch_size=300)),
    ],
    ids=["killed", "disk full"],
)
def test_a_run_that_a_fault_ends_at_any_moment_goes_on_to_the_same_weights(
    sample, tmp_path, fault, code, recipe
):
    *faults, end = exit_codes(tmp_path, recipe, fault)
    assert end == 0
    assert faults == [code] * len(faults)
    assert len(faults) > 10
    assert same(load_model(tmp_path / WEIGHTS_FILE), train(sample, recipe=recipe, limit=LIMIT))
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert len(Metrics.read(tmp_path / METRICS_FILE).epochs) == 3


@needs_sigkill
def test_files_that_are_not_written_whole_would_be_noticed(tmp_path):
    recipe = replace(ORIGINAL, batch_size=300)
    assert exit_codes(tmp_path, recipe, "killed", write=write_in_place)[-1] == 1


@needs_sigkill
def test_a_run_killed_from_outside_goes_on_to_the_same_weights(whole, tmp_path):
    for _ in range(2):
        ours, theirs = processes.Pipe()
        arguments = (tmp_path, ELABORATE, "none", 0, write_atomically, theirs.send)
        process = processes.Process(target=train_until, args=arguments)
        process.start()
        ours.recv()  # an epoch is done: kill it somewhere in the next
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        ours.close()
        theirs.close()
        assert_what_is_there_is_whole(tmp_path)
    assert exit_code_of_run(tmp_path, ELABORATE, "none", 0) == 0
    assert same(load_model(tmp_path / WEIGHTS_FILE), whole[ELABORATE])
