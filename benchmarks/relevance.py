"""How well methods estimate the effect of ablating a node: `python -m benchmarks.relevance`.

The effect of each head and MLP alone, in each span of the task's positions (at all of them with
`--positions none`), is measured exactly (`node-exact`) and estimated: by gradients (`eap`), by
relevance (`relp`) or by other `--methods`, summed over the edges out of the node. Pearson's
correlation over the nodes of a kind is printed, as in Rezaei Jafari et al. 2025 (arXiv 2508.21258,
table 1: MLP outputs of GPT-2 small 0.195 by gradients and 0.992 by relevance). With `--edges` the
scores of edges are compared too, with the exact effect of removing each alone: as they are, and
their magnitudes. Where no score of a method is negative, magnitudes are compared throughout.

    python -m benchmarks.relevance --models zoo:gpt2-4l-s0 zoo:llama-4l
    python -m benchmarks.relevance --models gguf:FILE --prompts 8 --positions none
    python -m benchmarks.relevance --edges --methods eap atp-star,grad_drop=none conductance
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from acdc_pipeline.algorithms import ScoringProblem, score_edges
from acdc_pipeline.algorithms.scoring import EdgeScores
from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.engine.single_removals import SingleRemovals
from acdc_pipeline.evaluation import differentiable_objective_for, objective_for
from acdc_pipeline.execution.worker import prompts_for
from acdc_pipeline.models import load_model
from acdc_pipeline.specs import find_task, method_for

MEMORY = 4 * 2**30
METRIC = "logit_diff"


def problem_of(bench: Bench) -> ScoringProblem:
    """The problem of scoring edges by the logit difference."""
    return ScoringProblem(
        bench=bench,
        objective=objective_for(bench, METRIC),
        differentiable=differentiable_objective_for(bench, METRIC),
        seed=0,
        memory=MEMORY,
        advance=lambda _: None,
    )


def scores_by(text: str, problem: ScoringProblem) -> EdgeScores:
    """The scores of a method, given by its name and `PARAMETER=VALUE` behind commas."""
    name, *given = text.split(",")
    values = {"share": 1.0, "metric": METRIC} | dict(one.split("=") for one in given)
    method = method_for(name, values, find_task("ioi"), where="benchmark")
    return score_edges(problem, method)  # pyright: ignore[reportArgumentType]


def summed_by_node(scores: EdgeScores) -> dict[str, float]:
    """The estimated effect of each source, by its name and span."""
    total: dict[str, float] = defaultdict(float)
    for edge, score in scores.items():
        total[f"{edge.src}@{edge.span}"] += score
    return total


def exact_by_node(problem: ScoringProblem) -> dict[str, float]:
    """The exact effect of each head and MLP, by its name and span."""
    removals = SingleRemovals(problem.bench, problem.objective, problem.memory)
    baseline = removals.whole()
    return {f"{node}@{span}": value - baseline for node, span, value in removals.without_nodes()}


def correlation(
    exact: Mapping[str, float],
    estimate: Mapping[str, float],
    kind: str = "",
    magnitudes: bool = False,
) -> float:
    """Pearson's correlation over the names that begin with `kind`.

    Args:
        magnitudes: whether magnitudes are compared, as they always are where `estimate` has no
            sign.
    """
    names = [name for name in exact if name.startswith(kind)]
    if len(names) < 3:
        return float("nan")
    both = np.array([[values[name] for name in names] for values in (exact, estimate)])
    if magnitudes or min(estimate.values()) >= 0:
        both = np.abs(both)
    return float(np.corrcoef(both)[0, 1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["zoo:gpt2-4l-s0", "zoo:llama-4l"])
    parser.add_argument("--task", default="ioi")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--positions", choices=("none", "spans"), default="spans")
    parser.add_argument("--methods", nargs="+", default=["eap", "relp"])
    parser.add_argument("--edges", action="store_true", help="also every edge, alone")
    options = parser.parse_args()
    task = find_task(options.task)
    print(f"{options.task}, {options.prompts} prompts, logit difference, corrupted ablation")
    columns = [(name, max(7, len(name))) for name in options.methods]
    heads = [f"{name:>{width}}" for name, width in columns]
    print(f"{'model':22} {'what':16} {'n':>6}", *heads, *(f"s {head}" for head in heads))
    for reference in options.models:
        model = load_model(reference, device="cpu")
        made = prompts_for(model, task, n=options.prompts, seed=0, positions=options.positions)
        problem = problem_of(set_up(model.weights, made, "corrupted"))
        estimates, took = {}, []
        for name, width in columns:
            started = time.perf_counter()
            estimates[name] = scores_by(name, problem)
            took.append(f"{time.perf_counter() - started:{width + 2}.2f}")
        exact = exact_by_node(problem)
        by_node = {name: summed_by_node(scores) for name, scores in estimates.items()}
        place = reference.rpartition("/")[2]
        for what, kind in (("MLP outputs", "m"), ("head outputs", "a"), ("all outputs", "")):
            n = sum(name.startswith(kind) for name in exact)
            each = [f"{correlation(exact, by_node[m], kind):{width}.3f}" for m, width in columns]
            print(f"{place:22} {what:16} {n:6}", *each, *took, flush=True)
        if options.edges:
            truth = {str(e): s for e, s in scores_by("exact", problem).items()}
            named = {m: {str(e): s for e, s in found.items()} for m, found in estimates.items()}
            for what, size in (("edges", False), ("edges, magnitude", True)):
                each = [
                    f"{correlation(truth, named[m], magnitudes=size):{width}.3f}"
                    for m, width in columns
                ]
                print(f"{place:22} {what:16} {len(truth):6}", *each, flush=True)


if __name__ == "__main__":
    main()
