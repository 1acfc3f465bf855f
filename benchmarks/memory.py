"""What fits where: `python -m benchmarks.memory`.

The plan for a Llama-3-8B-shaped model, its weights counted on the meta device, and a scaled-down
search whose real peak is held against its own plan.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from acdc_pipeline.engine.memory_plan import MemoryPlan, ModelShape
from acdc_pipeline.graph import Topology
from acdc_pipeline.models import resolve_device
from benchmarks.case import Case
from benchmarks.engine_side import bench_of, search
from benchmarks.measurement import machine, peak_bytes

GIB = 2**30
CARD = 80 * 10**9
SCALED_DOWN = Case(layers=2, heads=4, d_model=512, vocab=1000, prompts=64, tokens=32)
PROMPTS = ((4, 15), (16, 15), (32, 15), (16, 30), (64, 15))


def eight_billion() -> tuple[ModelShape, int]:
    """Llama 3 8B: its shape, and its parameters counted without allocating one."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        hidden_size=4096,
        intermediate_size=14336,
        vocab_size=128256,
    )
    with torch.device("meta"):
        parameters = sum(p.numel() for p in LlamaForCausalLM(config).parameters())
    shape = ModelShape(Topology(32, 32, has_mlp=True), 4096, 128, 14336, 128256)
    return shape, parameters


def planned() -> None:
    """The table of the plan."""
    shape, parameters = eight_billion()
    weights = 2 * parameters
    print(f"Llama-3-8B shape, {parameters / 1e9:.2f} B parameters, {weights / GIB:.1f} GiB in bf16")
    print(f"{'prompts':>12}{'sources':>10}{'receivers':>11}{'a state':>9}{'in all':>9}  in 80 GB")
    for prompts, tokens in PROMPTS:
        plan = MemoryPlan(shape, prompts=prompts, tokens=tokens, answers=prompts)
        total = weights + plan.most
        print(
            f"{prompts:>7} x {tokens:<2}{plan.sources / GIB:>10.1f}{plan.receivers / GIB:>11.1f}"
            f"{plan.state / GIB:>9.1f}{total / GIB:>9.1f}"
            f"  {'fits' if total <= CARD else 'too much'}"
        )


def measured(folder: Path, device: str) -> None:
    """A search that keeps nearly every edge, and what it took beside its model."""
    bench = bench_of(SCALED_DOWN, folder, device)
    plan = bench.memory_plan()
    search(bench, 1.0, memory=2 * plan.most)
    before = peak_bytes(resolve_device(device))
    held = 2 * plan.sources // 3
    search(bench, 1e-7, memory=plan.most)
    grown = peak_bytes(resolve_device(device)) - before
    rows = SCALED_DOWN.prompts * SCALED_DOWN.tokens
    print(f"{SCALED_DOWN.name}, {SCALED_DOWN.prompts} x {SCALED_DOWN.tokens} tokens")
    print(f"budget {plan.most / GIB:.2f} GiB, of which the bench holds {held / GIB:.2f}")
    print(f"grew by {grown / GIB:.2f} GiB, {(grown + held) / rows / 2**20:.2f} MiB a prompt token")


def main() -> None:
    """Plan and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, default=Path(".bench"))
    options = parser.parse_args()
    print(machine(resolve_device(options.device)))
    planned()
    measured(options.folder, options.device)


if __name__ == "__main__":
    main()
