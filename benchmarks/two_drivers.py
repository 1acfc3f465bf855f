"""What a second driver on one store is worth: wall time of one and of two, and who executed what.

`python -m benchmarks.two_drivers FOLDER` measures, in a folder and in an object store of this
machine (moto), runs that take a fixed time without computing anything, so that the figures show
claims and commits and not the load of the machine; then one of two drivers that is killed in the
middle. `--real` adds searches: `acdc run` of a sweep on models of the zoo, with one thread each.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from acdc_pipeline.execution.checkpoint import Checkpoint
from acdc_pipeline.execution.executor import LocalExecutor
from acdc_pipeline.execution.progress import Progress, SilentSweep
from acdc_pipeline.specs import RunSpec, TaskSpec
from acdc_pipeline.store import RunRecord, open_store
from benchmarks.trivial import record_of, trivial_runs
from tests.s3_server import KEY, REGION, SECRET, running_s3_server

RUNS = 16
SECONDS = 3.0
LEASE = 3.0

SWEEP = """
name: two-drivers
tasks: [ioi, induction]
models: ["zoo:gpt2-4l-s0", "zoo:gpt2-4l-s1", "zoo:gpt2-4l-s2"]
methods: [{name: acdc, thresholds: [0.1, 0.03]}]
prompts: 32
seeds: [0, 1, 2, 3, 4, 5]
"""


class Waiting:
    """Executes a run by waiting."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def execute(
        self,
        run: RunSpec,
        task: TaskSpec,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> RunRecord:
        """Wait, then return the same small circuit for every run."""
        time.sleep(self.seconds)
        return record_of(run)


def drive(url: str) -> None:
    """Execute the runs as one driver; print ready, wait for a line, print the outcomes."""
    store = open_store(url, "write")
    runs = trivial_runs(RUNS)
    print("ready", flush=True)
    sys.stdin.readline()
    executor = LocalExecutor(lambda: Waiting(SECONDS), lease=LEASE)
    outcomes = executor.execute(runs, store, SilentSweep())
    print(json.dumps({o.planned.run_id: o.state for o in outcomes}))


def start(url: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start a driver, and return when it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.two_drivers", "--drive", url],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def measure(url: str, drivers: int, environment: dict[str, str], *, kill: bool = False) -> float:
    """Return the wall seconds of some drivers at once, after checking what each executed."""
    processes = [start(url, environment) for _ in range(drivers)]
    started = time.perf_counter()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    if kill:
        time.sleep(RUNS * SECONDS / 6)
        processes.pop().send_signal(signal.SIGKILL)
    ended = [json.loads(process.communicate()[0]) for process in processes]
    seconds = time.perf_counter() - started
    committed = [sum(state == "committed" for state in states.values()) for states in ended]
    assert all(len(states) == RUNS for states in ended)
    what = f"{drivers} driver{'s' * (drivers > 1)}{', one killed' * kill}"
    once = "every run executed once" if sum(committed) == RUNS or kill else "SOME RUNS TWICE"
    executed = " + ".join(map(str, committed))
    print(f"  {what:22} {seconds:6.1f} s  executed {executed} of {RUNS}, {once}", flush=True)
    return seconds


def compare(where: str, url: str, environment: dict[str, str]) -> None:
    """Print the wall time of one driver, of two, and of two of which one is killed."""
    print(f"{where}: {RUNS} runs of {SECONDS:g} s, lease {LEASE:g} s")
    one = measure(f"{url}/one", 1, environment)
    two = measure(f"{url}/two", 2, environment)
    print(f"  two / one              {two / one:6.2f} (<= 0.6)")
    measure(f"{url}/killed", 2, environment, kill=True)


def searches(folder: Path) -> None:
    """Print the wall time of real searches by one `acdc run` and by two at once."""
    sweep = folder / "two-drivers.yaml"
    sweep.write_text(SWEEP)
    seconds = []
    for drivers in (1, 2):
        store = str(folder / f"real-{drivers}")
        command = ["run", str(sweep), "--store", store, "--threads", "1", "--json"]
        started = time.perf_counter()
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "acdc_pipeline", *command],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for _ in range(drivers)
        ]
        ended = [json.loads(process.communicate()[0])["runs"] for process in processes]
        seconds.append(time.perf_counter() - started)
        committed = [sum(run["state"] == "committed" for run in runs) for runs in ended]
        print(
            f"  {drivers} at once  {seconds[-1]:6.1f} s  executed {' + '.join(map(str, committed))}"
        )
    print(f"  two / one              {seconds[1] / seconds[0]:6.2f} (<= 0.6)")


@contextmanager
def object_store() -> Iterator[tuple[str, dict[str, str]]]:
    """Give the URL of a place in an object store of this machine, and how it is reached."""
    with running_s3_server() as server:
        environment = {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": server.url,
        }
        yield f"s3://{server.bucket()}", environment


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--drive", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        drive(options.drive)
        return
    if options.folder is None:
        parser.error("name a folder that does not exist yet")
    options.folder.mkdir(parents=True)
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    compare("a folder", str(options.folder), {})
    with object_store() as (url, environment):
        compare("an object store", url, environment)
    if options.real:
        print("searches on models of the zoo, one thread each")
        searches(options.folder)


if __name__ == "__main__":
    main()
