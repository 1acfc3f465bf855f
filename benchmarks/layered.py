"""A model of several times the memory budget: `python -m benchmarks.layered`.

A model with random weights in the shape of Llama is searched twice, in processes of their own: held
in memory, and with a budget of a quarter of its weights, so that its layers stay in their files.
Scores, decisions and head scores must be the same to the bit. The memory of a process is what it
has allocated (`anonymous`), beside pages of files that are mapped while they are read, which the
system takes back when it needs them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.measurement import machine

GIB = 2**30
VOCAB, TOKENS, PROMPTS = 1000, 8, 4
SEARCH = 128 * 2**20
"""Bytes of the search, the same for both: batches depend on it, and roundings on batches."""


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
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    return 4 * sum(parameter.numel() for parameter in model.parameters())


def compute(folder: str, memory: int) -> None:
    """Print the seconds of each step and the hash of its result, as JSON."""
    from acdc_pipeline.algorithms import acdc
    from acdc_pipeline.engine import set_up
    from acdc_pipeline.evaluation import objective_for
    from acdc_pipeline.heads.random_weights import random_models
    from acdc_pipeline.heads.task_scores import task_scores
    from acdc_pipeline.models.load import load_reference
    from acdc_pipeline.specs.model_ref import ModelRef
    from tests.prompt_sets import random_prompts
    from tests.scoring import scores_of

    began = time.perf_counter()
    seconds: dict[str, float] = {}
    hashes: dict[str, str] = {}

    def done(step: str, result: Any) -> None:
        nonlocal began
        seconds[step] = time.perf_counter() - began
        hashes[step] = hashlib.sha256(repr(result).encode()).hexdigest()
        began = time.perf_counter()

    model = load_reference(ModelRef.parse(f"dir:{folder}"), "float32", "cpu", memory)
    assert model.is_layered == (memory < 100 * GIB)
    done("load", ())
    prompts = random_prompts(PROMPTS, TOKENS, VOCAB, seed=5)
    bench = set_up(model.weights, prompts, "corrupted")
    done("clean and ablated forwards", bench.logprobs.tolist())
    scores = scores_of("eap-ig-inputs", bench, memory=SEARCH)
    done("eap-ig-inputs, 3 steps", sorted(scores.items()))
    searched = acdc(
        bench.search(objective_for(bench, "kl"), memory=SEARCH),
        model.topology,
        threshold=1.0,
        order="reverse-heads",
        difference="signed",
    )
    done("acdc, no edge kept", searched.decisions)
    found = task_scores(model.weights, prompts, memory=SEARCH)
    drawn = [one.w_u.sum().item() for one in random_models(model.weights, 0)]
    done("head scores", ({n: s.tolist() for n, s in found.samples.items()}, drawn))
    print(json.dumps({"seconds": seconds, "hashes": hashes}))


def measure(folder: Path, memory: int) -> tuple[dict[str, Any], float, float]:
    """Return what `compute` printed, and the largest anonymous and mapped memory in GiB."""
    command = [sys.executable, "-m", "benchmarks.layered", "--child", str(folder), str(memory)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    anonymous = mapped = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        sizes = dict(line.split(":", 1) for line in status.splitlines() if line.startswith("Rss"))
        if sizes:
            anonymous = max(anonymous, int(sizes["RssAnon"].split()[0]))
            mapped = max(mapped, int(sizes["RssFile"].split()[0]))
        time.sleep(0.02)
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(process.returncode)
    return json.loads(out.splitlines()[-1]), anonymous / 2**20, mapped / 2**20


def main() -> None:
    """Measure and print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--child", nargs=2, metavar=("FOLDER", "MEMORY"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        compute(arguments.child[0], int(arguments.child[1]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        size = write_model(folder, arguments.layers, arguments.width)
        budget = size // 4
        whole, *of_whole = measure(folder, 1000 * GIB)
        layered, *of_layered = measure(folder, budget)
    print(machine(torch.device("cpu")))
    print(
        f"{arguments.layers} layers of width {arguments.width}, {size / GIB:.2f} GiB of weights, "
        f"a budget of {budget / GIB:.2f} GiB"
    )
    print(f"{'step':<28}{'in memory':>11}{'layered':>11}{'slower':>8}  result")
    for step, seconds in whole["seconds"].items():
        other = layered["seconds"][step]
        same = whole["hashes"][step] == layered["hashes"][step]
        verdict = "the same" if same else "DIFFERENT"
        print(f"{step:<28}{seconds:>9.1f} s{other:>9.1f} s{other / seconds:>7.1f}x  {verdict}")
    for label, values in (("in memory", of_whole), ("layered", of_layered)):
        print(f"{label}: {values[0]:.2f} GiB anonymous, {values[1]:.2f} GiB of mapped files")
    if whole["hashes"] != layered["hashes"]:
        raise SystemExit("results differ")


if __name__ == "__main__":
    main()
