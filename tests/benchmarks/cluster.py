"""Reads a directory of pictures on a Ray cluster of two nodes on this machine, a worker killed.

Checks that each picture has its answer, once, and that it is `predict`'s; then measures how much
faster two nodes of one CPU each are than one. Needs ``pip install "lenet-digits[ray]"``, no torch.

python -m tests.benchmarks.cluster [--count N] [--rounds N]
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
NODE = {"OMP_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1", "PYTHONPATH": str(ROOT)}


def read_pictures(ray: Any, folder: Path, answers: Path, *, nodes: int, fatal: Path | None) -> None:
    """Read a directory of pictures to Parquet, with a worker on each of so many nodes.

    The first worker to see the last picture is killed if the file `fatal` is not there yet.
    """
    from lenet_digits import BatchPredictor

    class Mortal(BatchPredictor):
        def __call__(self, batch: Any) -> dict[str, Any]:
            last = any(path.endswith("00008.png") for path in batch["path"])
            if fatal is not None and last and not fatal.exists():
                fatal.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(batch)

    pictures = ray.data.read_binary_files(
        str(folder), include_paths=True, override_num_blocks=8 * nodes, num_cpus=0.25
    )
    predictions = pictures.map_batches(
        Mortal,
        batch_size=32,
        compute=ray.data.ActorPoolStrategy(size=nodes),
        num_cpus=0.5,
        resources={"node": 1},
    )
    predictions.write_parquet(str(answers), ray_remote_args={"num_cpus": 0.25})


def check(folder: Path, answers: Path) -> None:
    """Each picture has the answer that `predict` gives it, or its error, and has it once."""
    import pyarrow.parquet

    from lenet_digits import NoInkError, UnreadableImageError, predict

    rows = pyarrow.parquet.read_table(answers).to_pylist()
    paths = sorted(row["path"] for row in rows)
    assert paths == sorted(map(str, folder.iterdir())), "a picture is lost, or doubled"
    for row in rows:
        try:
            expected = predict(row["path"])
        except (NoInkError, UnreadableImageError) as error:
            wrong = (row["error"], row["digit"]) != (str(error), -1)
        else:
            pairs = zip(row["probabilities"], expected.probabilities, strict=True)
            wrong = row["error"] != "" or max(abs(a - b) for a, b in pairs) > 1e-5
        assert not wrong, f"{row} is not what predict() says"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="pictures")
    parser.add_argument("--rounds", type=int, default=3, help="0: only check")
    given = parser.parse_args()
    import ray
    from ray.cluster_utils import Cluster

    from tests.benchmarks.speed import make_pictures

    os.environ |= NODE | {"RAY_DATA_DISABLE_PROGRESS_BARS": "1", "RAY_DEDUP_LOGS": "0"}
    with tempfile.TemporaryDirectory() as place:
        folder, fatal = Path(place, "pictures"), Path(place, "fatal")
        make_pictures(folder, given.count)
        (folder / "00003.jpg").write_bytes(b"no picture")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        try:
            for _ in range(2):
                cluster.add_node(num_cpus=1, resources={"node": 1})
            ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
            answers = Path(place, "answers")
            read_pictures(ray, folder, answers, nodes=2, fatal=fatal)
            assert fatal.exists(), "no worker was killed"
            check(folder, answers)
            print(f"{given.count} pictures, a worker killed: each answered once, as by predict().")
            seconds: dict[int, list[float]] = {1: [], 2: []}
            for turn in range(given.rounds):
                for nodes, times in seconds.items():
                    began = time.perf_counter()
                    target = Path(place, f"{turn}-{nodes}")
                    read_pictures(ray, folder, target, nodes=nodes, fatal=None)
                    times.append(time.perf_counter() - began)
            if given.rounds:
                one, two = (statistics.median(times) for times in seconds.values())
                print(f"One node {one:.1f} s, two {two:.1f} s: {one / two:.2f} times as fast.")
                print(f"All rounds: {seconds}")
        finally:
            ray.shutdown()
            cluster.shutdown()
    sys.stdout.flush()


if __name__ == "__main__":
    main()
