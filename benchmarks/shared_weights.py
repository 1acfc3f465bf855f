"""One copy of weights for the workers of a machine: `python -m benchmarks.shared_weights`.

For each number of workers: the memory by which all of them together grow when they load a model of
the GPT-2-small shape (the sum of their proportional set sizes, /proc/PID/smaps, in which a page
that k processes map counts 1/k in each), with one copy of the weights and with one for each,
and the seconds until all have loaded and prepared it. `--ray` does the same with Ray actors.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from acdc_pipeline.execution.plan import plan_run
from acdc_pipeline.execution.ray.cluster import connect
from acdc_pipeline.execution.ray.shards import ActorChannel
from acdc_pipeline.execution.shards.local import start_process
from acdc_pipeline.execution.shards.messages import Answer, Call, Channel, decode, encode
from acdc_pipeline.execution.shards.shard import Shard, prepare
from acdc_pipeline.models.node_copy import ENVIRONMENT_VARIABLE
from acdc_pipeline.specs import RunSpec, TaskSpec, find_task, method_for
from benchmarks.case import GPT2_SMALL, Case
from benchmarks.measurement import machine

MIB = 2**20
_MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ ")


@dataclass(frozen=True)
class Loaded:
    """Some workers that loaded a model.

    Args:
        grown: bytes by which their `memory_of` grew, all together.
        seconds: until the last one was ready.
    """

    grown: int
    seconds: float


def plan(case: Case, folder: Path, dtype: str) -> tuple[RunSpec, TaskSpec]:
    """A search of the model of a case on random prompts."""
    folder.mkdir(exist_ok=True)
    pairs = folder / f"shared_{case.vocab}.jsonl"
    prompts = case.make_prompts()
    lines = [
        json.dumps({"clean": clean, "corrupted": corrupted, "correct": 0, "incorrect": 1})
        for clean, corrupted in zip(prompts.clean.tolist(), prompts.corrupted.tolist(), strict=True)
    ]
    pairs.write_text("\n".join(lines) + "\n")
    task = find_task(pairs)
    method = method_for("acdc", {"threshold": 1e-3, "metric": "kl"}, task, where="benchmark")
    model, n = f"dir:{case.save_model(folder)}", case.prompts
    return plan_run(task, model, method=method, prompts=n, seed=0, dtype=dtype), task


def memory_of(_: Shard) -> int:
    """Bytes of the weights and of anonymous memory in the proportional set size of a worker.

    Libraries are left out: how many processes map their pages depends on the rest of the machine.
    """
    total, counts = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if _MAPPING.match(line):
            name = line.split(maxsplit=5)[5:]
            counts = not name or name[0].startswith(("[heap]", "[anon", "[stack", "/memfd:"))
            counts |= bool(name) and name[0].endswith(".safetensors")
        elif counts and line.startswith("Pss:"):
            total += int(line.split()[1]) * 1024
    return total


def keep_own(_: Shard, own: bool) -> None:
    """Let a worker keep tensors of its own, or share them."""
    os.environ[ENVIRONMENT_VARIABLE] = "0" if own else "1"


def ask(channels: Sequence[Channel], calls: Sequence[Call]) -> list[Any]:
    """Send each worker its call, then wait for all results."""
    for channel, call in zip(channels, calls, strict=True):
        channel.send(encode([call]))
    answers: list[Answer] = [decode(channel.receive()) for channel in channels]
    for answer in answers:
        if answer.error is not None:
            raise answer.error
    return [answer.result for answer in answers]


def measure(
    case: Case, folder: Path, start: Callable[[int], Channel], n: int, dtype: str, *, own: bool
) -> Loaded:
    """Load the model in n new workers, after all libraries by a model of another size."""
    small = replace(case, layers=1, heads=2, d_model=16, vocab=500)
    channels = [start(number) for number in range(n)]
    try:
        ask(channels, [(keep_own, (own,))] * n)
        for each in (small, case):
            run, task = plan(each, folder, dtype)
            before = sum(ask(channels, [(memory_of, ())] * n))
            begun = time.perf_counter()
            ask(channels, [(prepare, (run, task, 2**30, number, n)) for number in range(n)])
            seconds = time.perf_counter() - begun
            after = sum(ask(channels, [(memory_of, ())] * n))
        return Loaded(after - before, seconds)
    finally:
        for channel in channels:
            channel.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--layers", type=int, default=GPT2_SMALL.layers)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--folder", type=Path, default=Path(".bench"))
    parser.add_argument("--ray", action="store_true")
    options = parser.parse_args()
    case = replace(GPT2_SMALL, layers=options.layers, prompts=32, tokens=4)
    print(f"{machine(torch.device('cpu'))}, load {os.getloadavg()[0]:.1f} before")
    print(f"{case.name}, {options.dtype}, {'Ray actors' if options.ray else 'local processes'}")
    print(f"{'':>7}{'one copy':>20}{'one for each':>20}")
    print(f"{'workers':>7}{'MiB':>12}{'s':>8}{'MiB':>12}{'s':>8}{'part':>8}", flush=True)
    with connect("local", print) if options.ray else nullcontext():
        for n in options.workers:

            def on_ray(number: int) -> Channel:
                return ActorChannel(number, {"CPU": 0.25}, "cpu", 1)

            start = on_ray if options.ray else start_process(n, "cpu", 1)
            one, own = (
                measure(case, options.folder, start, n, options.dtype, own=each)
                for each in (False, True)
            )
            print(
                f"{n:>7}{one.grown / MIB:>12,.0f}{one.seconds:>8.1f}{own.grown / MIB:>12,.0f}"
                f"{own.seconds:>8.1f}{one.grown / own.grown:>8.0%}",
                flush=True,
            )


if __name__ == "__main__":
    # Functions travel to workers by the name of their module, which is not __main__ there.
    from benchmarks import shared_weights  # noqa: PLW0406

    shared_weights.main()
