"""Removed edges that carry outputs on other prompts: resample and adversarial ablation.

A *donor* is a prompt whose activations the removed edges of another prompt carry: any clean or
corrupted prompt of the task of the same token length, but for the prompt itself. Resample ablation
is the mean over donors. The worst donor of every prompt is what Adversarial Circuit Evaluation
reports (uit de Bos and Garriga-Alonso 2024, arXiv 2407.15166, section 3: the divergence of circuit
and model on a pair of an input and the input that it is patched with). `search_donors` goes on from
there: the removed edges of each source may carry a donor of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from acdc_pipeline.engine import Bench
from acdc_pipeline.engine.spill import empty
from acdc_pipeline.errors import PromptError
from acdc_pipeline.evaluation.measure import Advance, CircuitScores, score_circuits
from acdc_pipeline.prompts import PromptSet
from acdc_pipeline.specs.names import MetricKey

CANDIDATES = 4
"""Donors that the search tries for each prompt and block of sources: its worst as donors of all."""

Donors = Int[np.ndarray, "src batch"]
"""The donor that removed edges of each source carry on each prompt.

Of n prompts, donor d is clean prompt d below n, else the counterfactual of prompt d - n.
"""


@dataclass(frozen=True)
class Resampled:
    """A circuit under every donor, each of which serves all removed edges of a prompt.

    Args:
        circuit, ablated: the metrics of the circuit and of no edges, by prompt the mean over its
            donors.
        worst: the donors of each prompt, those under which the circuit is worst first.
        forwards: circuits measured.
    """

    circuit: CircuitScores
    ablated: CircuitScores
    worst: tuple[tuple[int, ...], ...]
    forwards: int


@dataclass(frozen=True)
class Adversarial:
    """A circuit under the donors that a search found worst.

    Args:
        circuit: its metrics, measured under these donors.
        forwards: circuits measured by the search and for the result.
    """

    circuit: CircuitScores
    donors: Donors
    forwards: int


def donors_of(prompts: PromptSet) -> list[list[int]]:
    """Return the donors of each prompt, see `Donors`: its own counterfactual first.

    Raises:
        PromptError: prompts have whole answers, whose rows are no prompts.
    """
    if prompts.whole is not None:
        raise PromptError(
            "prompts with whole answers of several tokens cannot be exchanged",
            allowed="answers of one token",
        )
    lengths = prompts.lengths.tolist()
    n = len(lengths)
    out: list[list[int]] = []
    for prompt, length in enumerate(lengths):
        others = [i for i in range(n) if lengths[i] == length and i != prompt]
        out.append([n + prompt, *(n + i for i in others), *others])
    return out


class DonorBench:
    """A bench whose removed edges carry donors, one state after another in the same memory.

    Args:
        bench: the model on the prompts; its ablation is not used.
        corrupted: the output of each source on the counterfactuals, at the clean positions.
    """

    def __init__(self, bench: Bench, corrupted: Float[Tensor, "src batch pos d_model"]) -> None:
        self._sides = bench.clean.outputs, corrupted
        carried = empty(tuple(corrupted.shape), corrupted, bench.spill)
        self.bench = replace(bench, ablated=carried, score_elsewhere=None)
        self.donors: Donors = np.full(corrupted.shape[:2], -1)
        n = len(bench.prompts)
        self.carry(np.tile(np.arange(n, 2 * n), (len(corrupted), 1)))

    def carry(self, donors: Donors, sources: slice = slice(None)) -> None:
        """Let the removed edges of some consecutive sources carry these donors."""
        held, carried = self.donors[sources], self.bench.ablated[sources]
        sides = [side[sources] for side in self._sides]
        for prompt in (held != donors).any(0).nonzero()[0].tolist():
            wanted = donors[:, prompt]
            for donor in np.unique(wanted).tolist():
                side, number = divmod(donor, donors.shape[1])
                at = torch.from_numpy((wanted == donor).nonzero()[0]).to(carried.device)
                carried[at, prompt] = sides[side][at, number]
        held[:] = donors

    def score(
        self, masks: Sequence[Bool[np.ndarray, " edge"]], metrics: Sequence[MetricKey]
    ) -> list[CircuitScores]:
        """Return the metrics of circuits under the donors carried."""
        return score_circuits(self.bench, masks, metrics)


def resample(
    carrier: DonorBench,
    mask: Bool[np.ndarray, " edge"],
    metrics: Sequence[MetricKey],
    harm: Callable[[CircuitScores], Float[np.ndarray, " batch"]],
    advance: Advance = lambda _: None,
) -> Resampled:
    """Measure a circuit under every donor of every prompt: the exact mean of resample ablation.

    Args:
        mask: the edges of the circuit.
        harm: from the metrics under some donors to how bad they are for each prompt.
    """
    prompts = carrier.bench.prompts
    donors = donors_of(prompts)
    n_sources, n, most = len(carrier.donors), len(donors), max(map(len, donors))
    harms = np.full((most, n), -np.inf)
    sums = [{name: np.zeros(n) for name in metrics} for _ in range(2)]
    for number in range(most):
        some = np.array([number < len(of_prompt) for of_prompt in donors])
        tried = [of_prompt[min(number, len(of_prompt) - 1)] for of_prompt in donors]
        carrier.carry(np.tile(np.array(tried), (n_sources, 1)))
        found = carrier.score([mask, np.zeros_like(mask)], metrics)
        harms[number, some] = harm(found[0])[some]
        for total, scores in zip(sums, found, strict=True):
            for name, by_prompt in scores.by_prompt.items():
                total[name][some] += by_prompt[some]
        advance(1)
    counts = np.array(list(map(len, donors)))
    circuit, ablated = (
        _scores({name: total / counts for name, total in of.items()}, prompts) for of in sums
    )
    order = (-harms).argsort(axis=0, kind="stable").T
    worst = zip(order.tolist(), donors, strict=True)
    return Resampled(
        circuit, ablated, tuple(tuple(of[i] for i in best[: len(of)]) for best, of in worst), most
    )


def search_donors(
    carrier: DonorBench,
    mask: Bool[np.ndarray, " edge"],
    metrics: Sequence[MetricKey],
    harm: Callable[[CircuitScores], Float[np.ndarray, " batch"]],
    worst: Sequence[Sequence[int]],
    *,
    forwards: int,
    advance: Advance = lambda _: None,
) -> Adversarial:
    """Search for the donors that harm a circuit most, prompt by prompt.

    Coordinate ascent from the worst single donor of each prompt. The sources with a removed edge
    are divided into 2, 4, 8, ... blocks of neighbours, down to single ones; in each block every
    prompt tries its `CANDIDATES` worst donors and keeps one that harms it more. Prompts do not
    depend on each other, so that one forward pass tries a donor for each of them.

    Args:
        worst: the donors of each prompt, the worst first (`Resampled.worst`).
        forwards: the most circuits that the search measures; 0 leaves the worst single donors.
    """
    prompts, n_sources = carrier.bench.prompts, len(carrier.donors)
    measured = partial(carrier.score, [mask], metrics)
    carrier.carry(np.tile(np.array([of_prompt[0] for of_prompt in worst]), (n_sources, 1)))
    (found,) = measured()
    used, best = 1, harm(found)
    for block, place in _steps(carrier.bench, mask, max(map(len, worst))):
        if used > forwards:
            break
        before = carrier.donors[block].copy()
        tried = np.array([of_prompt[min(place, len(of_prompt) - 1)] for of_prompt in worst])
        if (before == tried).all():
            continue
        carrier.carry(np.tile(tried, (len(before), 1)), block)
        (found,) = measured()
        now = harm(found)
        better = now > best
        best = np.where(better, now, best)
        carrier.carry(np.where(better, tried, before), block)
        used += 1
        advance(1)
    (found,) = measured()
    return Adversarial(
        _scores({name: found.by_prompt[name] for name in metrics}, prompts),
        carrier.donors.copy(),
        used + 1,
    )


def _steps(
    bench: Bench, mask: Bool[np.ndarray, " edge"], n_donors: int
) -> Iterator[tuple[slice, int]]:
    """Yield the blocks of sources, and the place of the donor among the worst, to be tried."""
    removed = np.unique(bench.weights.topology.edge_sources[~mask])
    blocks = 2
    while blocks < 2 * len(removed):
        for block in np.array_split(removed, min(blocks, len(removed))):
            for place in range(min(CANDIDATES, n_donors)):
                yield slice(int(block[0]), int(block[-1]) + 1), place
        blocks *= 2


def _scores(
    by_prompt: dict[MetricKey, Float[np.ndarray, " batch"]], prompts: PromptSet
) -> CircuitScores:
    """The means over answers of metrics that were summed over the answers of each prompt."""
    answers = len(prompts.correct)
    return CircuitScores(
        {name: float(values.sum()) / answers for name, values in by_prompt.items()}, by_prompt
    )
