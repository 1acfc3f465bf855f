"""A model of several times the memory budget: `python -m benchmarks.layered`.

A model with random weights in the shape of Llama is searched, scored and profiled twice, in
processes of their own: held in memory, and with a budget of a quarter of its weights, so that its
layers stay in their files and activations are spilled. Log-probabilities, scores, decisions and the
profile of its heads must be the same to the bit. The memory of a process is what it allocates
beyond that after its imports (`allocated`), beside pages of files that are mapped while they are
read, which the system takes back when it needs them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from acdc_pipeline.specs import ProfileMethod
from benchmarks.measurement import machine

GIB = 2**30
VOCAB, TOKENS, PROMPTS = 500, 8, 12
PROFILE = ProfileMethod(name="profile", period=6, sequences=2, tokens=16, text=None)


def write_model(folder: Path, layers: int, width: int) -> int:
    """Write a checkpoint in bfloat16; return the bytes of its weights in float32."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=width,
        intermediate_size=8 * width // 3 // 64 * 64,
        num_hidden_layers=layers,
        num_attention_heads=width // 128,
        num_key_value_heads=width // 128,
        max_position_embeddings=64,
        initializer_range=0.03,
    )
    whole: Any = LlamaForCausalLM(config)
    model = whole.to(torch.bfloat16)
    model.save_pretrained(folder)
    return 4 * sum(parameter.numel() for parameter in model.parameters())


def write_pairs(folder: Path) -> None:
    """Write a task of pairs of token ids."""
    drawn = torch.randint(VOCAB, (PROMPTS, TOKENS + 3), generator=torch.Generator().manual_seed(5))
    lines = [
        {
            "clean": row[:TOKENS],
            "corrupted": [*row[: TOKENS - 1], row[TOKENS]],
            "correct": row[TOKENS + 1],
            "incorrect": row[TOKENS + 2],
        }
        for row in drawn.tolist()
    ]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))


def compute(folder: Path, memory: int, search: int) -> None:  # noqa: PLR0915
    """Print the seconds of each step and the hash of its result, as JSON.

    Args:
        folder: of model and pairs.
        memory: bytes of the budget that the model is loaded with.
        search: bytes of it beside the weights, the same for both: batches depend on it, and
            roundings on batches.
    """
    from acdc_pipeline.algorithms import acdc
    from acdc_pipeline.engine import set_up
    from acdc_pipeline.evaluation import objective_for
    from acdc_pipeline.execution.plan import plan_run
    from acdc_pipeline.execution.profile_run import Profiler
    from acdc_pipeline.execution.progress import Silent
    from acdc_pipeline.execution.worker import prompts_for
    from acdc_pipeline.models.load import LoadedModel, load_reference
    from acdc_pipeline.models.mapped import release_freed_memory
    from acdc_pipeline.specs import find_task
    from acdc_pipeline.specs.model_ref import ModelRef
    from tests.scoring import scores_of

    task = find_task(folder / "pairs.jsonl")

    def load(name: str, budget: int) -> LoadedModel:
        return load_reference(ModelRef.parse(f"dir:{folder / name}"), "float32", "cpu", budget)

    small = load("small", 1000 * GIB)  # what libraries allocate when they are first used
    warm = set_up(small.weights, prompts_for(small, task, n=PROMPTS, seed=0), "corrupted")
    scores_of("eap-ig-inputs", warm, memory=search)
    warm.search(objective_for(warm, "kl"), memory=search)
    del small, warm
    release_freed_memory()
    before = resident()["RssAnon"]
    watch = Watch()
    watch.start()
    began = time.perf_counter()
    seconds: dict[str, float] = {}
    hashes: dict[str, str] = {}
    allocated: dict[str, float] = {}
    mapped = 0

    def done(step: str, result: Iterable[Any]) -> None:
        nonlocal began, mapped
        seconds[step] = time.perf_counter() - began
        digest = hashlib.sha256()
        for part in result:
            digest.update(repr(part).encode())
        hashes[step] = digest.hexdigest()
        allocated[step] = (watch.peaks["RssAnon"] - before) / 2**20
        mapped = max(mapped, watch.peaks["RssFile"])
        watch.peaks.clear()
        watch.peaks |= resident()
        began = time.perf_counter()

    model = load("model", memory)
    within = model.is_layered
    assert within == (memory < 100 * GIB)
    done("load", ())
    prompts = prompts_for(model, task, n=PROMPTS, seed=0)
    bench = set_up(model.weights, prompts, "corrupted", memory=search if within else None)
    assert within is (bench.spill is not None)
    done("clean and ablated forwards", bench.logprobs.tolist())
    scores = scores_of("eap-ig-inputs", bench, memory=search)
    done("eap-ig-inputs, 3 steps", scores.items())
    beside = 0 if within else bench.memory_plan().sources
    searched = acdc(
        bench.search(objective_for(bench, "kl"), memory=search + beside),
        model.topology,
        threshold=1.0,
        order="reverse-heads",
        difference="signed",
    )
    done("acdc, no edge kept", searched.decisions)
    del bench, scores, searched
    run = plan_run(task, str(model.ref), method=PROFILE, prompts=PROMPTS, seed=0, dtype="float32")
    profile, metrics = Profiler().profile(model, run, PROFILE, task, prompts, search, Silent())
    done("profile of all heads", [*profile.scores, *metrics.items()])
    print(
        json.dumps(
            {
                "seconds": seconds,
                "hashes": hashes,
                "allocated": allocated,
                "mapped": mapped / 2**20,
                "before": before / 2**20,
            }
        )
    )


def resident() -> dict[str, int]:
    """Return the KiB of memory of this process, by kind."""
    status = Path("/proc/self/status").read_text()
    lines = (line.split(":", 1) for line in status.splitlines() if line.startswith("Rss"))
    return {name: int(size.split()[0]) for name, size in lines}


class Watch(threading.Thread):
    """Follows the memory of this process: `peaks` has the most at once, by kind, in KiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peaks: dict[str, int] = {}

    def run(self) -> None:
        while True:
            for kind, size in resident().items():
                self.peaks[kind] = max(size, self.peaks.get(kind, 0))
            time.sleep(0.01)


def measure(folder: Path, memory: int, search: int) -> dict[str, Any]:
    """Run `compute` in a process of its own; return what it printed."""
    command = [sys.executable, "-m", "benchmarks.layered", "--child"]
    done = subprocess.run(
        [*command, str(folder), str(memory), str(search)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure and print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        folder, memory, search = arguments.child
        compute(Path(folder), int(memory), int(search))
        return
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        size = write_model(folder / "model", arguments.layers, arguments.width)
        write_model(folder / "small", 2, 128)
        write_pairs(folder)
        budget = size // 4
        whole = measure(folder, 1000 * GIB, budget // 2)
        layered = measure(folder, budget, budget // 2)
    print(machine(torch.device("cpu")))
    print(
        f"{arguments.layers} layers of width {arguments.width}, {size / GIB:.2f} GiB of weights, "
        f"a budget of {budget / GIB:.3f} GiB, {PROMPTS} prompts of {TOKENS} tokens"
    )
    print(f"{'':<28}{'in memory':>22}{'within the budget':>22}{'':>8}")
    print(f"{'step':<28}{'time':>11}{'allocated':>11}{'time':>11}{'allocated':>11}{'slower':>8}")
    for step, seconds in whole["seconds"].items():
        other = layered["seconds"][step]
        same = whole["hashes"][step] == layered["hashes"][step]
        print(
            f"{step:<28}{seconds:>9.1f} s{whole['allocated'][step]:>11.3f}"
            f"{other:>9.1f} s{layered['allocated'][step]:>11.3f}{other / seconds:>7.1f}x"
            f"  {'the same' if same else 'DIFFERENT'}"
        )
    print(
        f"mapped files: {whole['mapped']:.2f} GiB in memory, {layered['mapped']:.2f} GiB within "
        f"the budget; before a model is loaded, a process has {layered['before']:.2f} GiB"
    )
    if whole["hashes"] != layered["hashes"]:
        raise SystemExit("results differ")


if __name__ == "__main__":
    main()
