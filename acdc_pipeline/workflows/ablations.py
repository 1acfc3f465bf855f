"""The faithfulness of one circuit under every ablation, side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine import Bench
from acdc_pipeline.engine.bench import ablated_outputs, mean_over_prompts
from acdc_pipeline.engine.spill import Spill
from acdc_pipeline.evaluation import circuit_logits
from acdc_pipeline.evaluation.donors import (
    Adversarial,
    DonorBench,
    Donors,
    Resampled,
    resample,
    search_donors,
)
from acdc_pipeline.evaluation.measure import CircuitScores, score
from acdc_pipeline.graph import Circuit
from acdc_pipeline.specs.names import Ablation, ComparedAblation, MetricKey
from acdc_pipeline.workflows.evaluation_plan import CHEAP
from acdc_pipeline.workflows.measured import Measured, measured_metrics

DonorRuns = tuple[tuple[tuple[int, int], ...], ...]
"""For each prompt the donors of the sources in the graph's order: a donor, and of how many."""


@dataclass(frozen=True)
class Ablated:
    """A circuit under one ablation.

    Args:
        metrics: with their faithfulness on the scale of this ablation; that of `adversarial` is the
            scale of `resample`, so that its faithfulness is the lower of the two.
        forwards: circuits that were measured for it, beside the circuit itself.
        donors: what removed edges carried, see `evaluation.donors.Donors`; None unless adversarial.
    """

    metrics: Mapping[MetricKey, Measured]
    forwards: int
    donors: DonorRuns | None = None


def compare_ablations(
    bench: Bench,
    own: Ablation,
    circuit: Circuit,
    metrics: Mapping[MetricKey, Measured],
    metric: MetricKey,
    names: Sequence[ComparedAblation],
    *,
    forwards: int,
    seed: int,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[ComparedAblation, Ablated]:
    """Measure `circuit` under each of `names`.

    Args:
        own: the ablation of `bench`.
        metrics: what was measured of the circuit under it.
        metric: in which the adversarial search makes the circuit worse.
        forwards: the most circuits that this search tries.
        seed: of the resamples of the intervals.

    Raises:
        PromptError: `resample` or `adversarial`, and prompts have whole answers of several tokens.
    """
    plain = {name: replace(one, by_prompt=None) for name, one in metrics.items()}
    model = score(bench, bench.logits, list(metrics))
    corrupted = bench.ablated if own == "corrupted" else None
    out: dict[ComparedAblation, Ablated] = {}

    def measured(circuit: CircuitScores, ablated: CircuitScores) -> dict[MetricKey, Measured]:
        found = measured_metrics(circuit, model, ablated, metrics, seed)
        return {name: replace(one, by_prompt=None) for name, one in found.items()}

    for name in names:
        if name not in CHEAP:
            continue
        if name == own:
            out[name] = Ablated(plain, 0)
            continue
        if corrupted is None:
            corrupted = _corrupted_outputs(bench)
        there = replace(bench, ablated=_ablated(bench, corrupted, name), score_elsewhere=None)
        nothing = score(there, circuit_logits(there, ()), list(metrics))
        found = nothing
        if circuit.edges:
            found = score(there, circuit_logits(there, circuit.edges), list(metrics))
        out[name] = Ablated(measured(found, nothing), 1)
        advance(1)
    if not {"resample", "adversarial"}.intersection(names):
        return out
    carrier = DonorBench(bench, _corrupted_outputs(bench) if corrupted is None else corrupted)
    mask = bench.weights.topology.edge_mask(circuit.edges)
    worse = np.sign(metrics[metric].ablated - metrics[metric].model)

    def harm(found: CircuitScores) -> Float[np.ndarray, " batch"]:
        return worse * found.by_prompt[metric]

    every: Resampled = resample(carrier, mask, list(metrics), harm, advance)
    if "resample" in names:
        out["resample"] = Ablated(measured(every.circuit, every.ablated), every.forwards)
    if "adversarial" in names:
        worst: Adversarial = search_donors(
            carrier, mask, list(metrics), harm, every.worst, forwards=forwards, advance=advance
        )
        out["adversarial"] = Ablated(
            measured(worst.circuit, every.ablated),
            every.forwards + worst.forwards,
            _runs(worst.donors),
        )
    return out


def count_forwards(names: Sequence[ComparedAblation], prompts: int, forwards: int) -> int:
    """Return about how many circuits `compare_ablations` measures."""
    total = sum(name in CHEAP for name in names)
    if {"resample", "adversarial"}.intersection(names):
        total += 2 * prompts
    return total + (forwards if "adversarial" in names else 0)


def donors_from_runs(runs: DonorRuns) -> Donors:
    """Return the donor of each source and prompt from `Ablated.donors`."""
    return np.array([[d for d, n in of_prompt for _ in range(n)] for of_prompt in runs]).T


def _runs(donors: Donors) -> DonorRuns:
    return tuple(
        tuple((donor, len(list(same))) for donor, same in groupby(of_prompt))
        for of_prompt in donors.T.tolist()
    )


def _corrupted_outputs(bench: Bench) -> Float[Tensor, "src batch pos d_model"]:
    prompts, spill = bench.prompts, None if bench.spill is None else Spill()
    sides = prompts.corrupted, prompts.lengths
    return ablated_outputs(bench.weights, *sides, "corrupted", prompts.counterpart, spill)


def _ablated(
    bench: Bench, corrupted: Float[Tensor, "src batch pos d_model"], ablation: ComparedAblation
) -> Float[Tensor, "src batch pos d_model"]:
    """What removed edges carry, from the outputs of sources on the counterfactuals."""
    if ablation == "corrupted":
        return corrupted
    if ablation == "zero":
        return corrupted.new_zeros(()).expand(corrupted.shape)
    return mean_over_prompts(corrupted, bench.prompts.lengths, bench.spill)
