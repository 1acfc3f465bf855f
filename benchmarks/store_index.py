"""A store of 50,000 made-up runs: what commands that list and compare them take.

`python -m benchmarks.store_index FOLDER` makes the store once, then prints, for processes from
start to end: the first list, which builds the index; `acdc runs list --limit 50`; the same with a
filter, and after the index was deleted, after a part of it was overwritten, after a run was deleted
and after one was added without the index; a filtered `acdc compare` of a search that was really
run, before and after its curve was measured; and how many runs are committed in a second. Beside
each figure stands what it should not exceed.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from acdc_pipeline.specs import AcdcMethod, RunSpec
from acdc_pipeline.specs.base import read_json
from acdc_pipeline.store import RunRecord, Store, layout, open_store
from acdc_pipeline.store.codec import encode, json_bytes
from acdc_pipeline.store.marker import Marker
from benchmarks.trivial import record_of

RUNS = 50_000
TASKS = ("ioi", "induction", "docstring", "greater_than", "acronyms")
MODELS = 100
THRESHOLDS = 10

REAL = ("induction", "zoo:attn-2l")
"""Task and model of the runs that `compare` measures."""


def spec(number: int) -> RunSpec:
    """The run of that number: tasks x models x thresholds x seeds."""
    task, rest = number % len(TASKS), number // len(TASKS)
    model, rest = rest % MODELS, rest // MODELS
    threshold, seed = rest % THRESHOLDS, rest // THRESHOLDS
    method = AcdcMethod(
        name="acdc",
        threshold=0.1 / (threshold + 1),
        metric="kl",
        ablation="corrupted",
        order="reverse-heads",
        difference="signed",
    )
    return RunSpec(
        task=TASKS[task],
        task_hash=f"{task:064x}",
        model=f"hf:lab/model-{model:03d}",
        model_revision=f"{model:040x}",
        method=method,
        prompts=64,
        seed=seed,
        dtype="float32",
    )


def make_store(folder: Path, runs: int) -> None:
    """Write a store from before there was an index; nothing is synced to the disk."""
    tables = encode(record_of(spec(0)))
    for number in range(runs):
        write_run(folder, record_of(spec(number)), tables)


def write_run(folder: Path, record: RunRecord, tables: Mapping[str, bytes]) -> Path:
    """Write a run as a commit of an earlier version left it, without its care for crashes.

    All runs have the same circuit, so the bytes of its `tables` are made once.
    """
    run_id = record.spec.run_id()
    document = read_json(tables[layout.RUN]) | {"run_id": run_id, "spec": record.spec.plain()}
    files = {**tables, layout.RUN: json_bytes(document)}
    where = folder / layout.RUNS / run_id
    where.mkdir(parents=True)
    for name, content in files.items():
        (where / name).write_bytes(content)
    (where / layout.MARKER).write_bytes(Marker.of(run_id, files).encode())
    return where


def report(what: str, most: float | None, *command: str, folder: Path) -> None:
    """Print wall and CPU seconds of a command, best of three, and what it said of the index."""
    seconds, cpu, said = [], [], ""
    for _ in range(1 if most is None else 3):
        started, before = time.perf_counter(), _cpu_of_children()
        done = subprocess.run(
            [sys.executable, "-m", "acdc_pipeline", *command, "--store", str(folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: {done.stderr}")
        seconds.append(time.perf_counter() - started)
        cpu.append(_cpu_of_children() - before)
        said = said or next((line for line in done.stderr.splitlines() if "index of" in line), "")
    limit = "" if most is None else f" (<= {most:g})"
    print(f"{what:28} {min(seconds):6.2f} s{limit}, {min(cpu):.2f} s of CPU  {said}", flush=True)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def report_commits(what: str, store: Store, records: Sequence[RunRecord]) -> None:
    """Print how many runs a second one process commits, and the CPU time of a commit."""
    started, before = time.perf_counter(), time.process_time()
    for record in records:
        store.commit(record)
    seconds, cpu = time.perf_counter() - started, time.process_time() - before
    each = f"{1000 * seconds / len(records):.1f} ms each, {1000 * cpu / len(records):.1f} of CPU"
    print(f"{what:28} {len(records) / seconds:6.0f} runs/s (>= 100), {each}", flush=True)


def break_index(folder: Path, how: str) -> None:
    """Delete the index, overwrite the middle of its largest part, or change the runs beside it."""
    index, runs = folder.joinpath(*layout.INDEX), folder / layout.RUNS
    if how == "deleted":
        shutil.rmtree(index)
    elif how == "overwritten":
        part = max(index.glob("*.parquet"), key=lambda path: path.stat().st_size)
        content = bytearray(part.read_bytes())
        content[len(content) // 2] ^= 1
        part.write_bytes(content)
    elif how == "a run deleted":
        shutil.rmtree(next(runs.iterdir()))
    else:
        record = record_of(spec(time.time_ns() % 10**9 + RUNS))
        write_run(folder, record, encode(record))


def main() -> None:
    """Run everything in the folder given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=RUNS)
    arguments = parser.parse_args()
    folder: Path = arguments.folder / "store"
    if not folder.exists():
        started = time.perf_counter()
        make_store(arguments.folder / "new", arguments.runs)
        (arguments.folder / "new").rename(folder)
        print(f"made in {time.perf_counter() - started:.0f} s", flush=True)
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    some = ("runs", "list", "--limit", "50")
    if not folder.joinpath(*layout.INDEX).exists():
        report("first list", None, *some, folder=folder)
    report("list --limit 50", 1, *some, folder=folder)
    report("list --limit 50 --task", 1, *some, "--task", "ioi", folder=folder)
    for how in ("overwritten", "a run deleted", "a run added", "deleted"):
        break_index(folder, how)
        report(f"list, {how}", None, *some, folder=folder)
        report("list again", 1, *some, folder=folder)
    task, model = REAL
    for threshold in ("0.1", "0.03"):
        command = ("discover", task, model, "--threshold", threshold)
        report(f"discover at {threshold}", None, *command, folder=folder)
    compare = ("compare", "--task", task, "--model", model)
    report("compare, not evaluated", 3, *compare, folder=folder)
    report("compare --measure", None, *compare, "--measure", folder=folder)
    report("compare, evaluated", 3, *compare, folder=folder)
    report("all runs", None, "runs", "list", folder=folder)
    records = [record_of(spec(RUNS + number)) for number in range(2000)]
    report_commits("commit", open_store(arguments.folder / "new-store", "write"), records[:1000])
    report_commits("commit into the large store", open_store(folder, "write"), records[1000:])
    for record in records[1000:]:
        shutil.rmtree(folder / layout.RUNS / record.spec.run_id())
    shutil.rmtree(arguments.folder / "new-store")


if __name__ == "__main__":
    main()
