"""The plain oracle's side: a full forward of the original model for every edge."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from acdc_pipeline.models.bridge import load_bridge
from benchmarks.case import Case
from benchmarks.measurement import Measurement, peak_bytes
from tests.oracles.bridge_patching import BridgePatching
from tests.oracles.plain_acdc import plain_acdc, uniform_steps


def measure_oracle(case: Case, folder: Path, thresholds: list[float]) -> list[Measurement]:
    """The oracle's measurement at each threshold, once each: it is far slower than any noise."""
    prompts = case.make_prompts()
    bridge = load_bridge(case.save_model(folder), dtype=torch.float32)
    out = []
    for threshold in thresholds:
        started = time.perf_counter()
        patching = BridgePatching(bridge, prompts.clean, prompts.corrupted, "corrupted")
        log = plain_acdc(
            patching.kl,
            steps=uniform_steps(case.layers, has_mlp=True, parallel=False),
            n_heads=case.heads,
            threshold=threshold,
        )
        seconds = time.perf_counter() - started
        kept = frozenset(step.edge for step in log if not step.removed)
        out.append(
            Measurement(
                "oracle", threshold, len(log), kept, seconds, 1, peak_bytes(torch.device("cpu"))
            )
        )
    return out
