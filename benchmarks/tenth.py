"""How much a tenth of the edges keeps on IOI: `python -m benchmarks.tenth`.

The circuits that `eap-ig-inputs` finds in the models of the zoo with at most 10 % of the edges,
searched by KL and by the logit difference, in one round and in four, all else the same for all;
measured on the prompts that were searched and on as many of another seed. Faithfulness in KL is
1 - KL(model ‖ circuit) / KL(model ‖ nothing), where nothing is the model with every edge removed.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence

import torch

from acdc_pipeline.engine import Bench, set_up
from acdc_pipeline.evaluation import measure_scale, measure_value
from acdc_pipeline.graph import Circuit
from acdc_pipeline.models import LoadedModel, load_model
from acdc_pipeline.prompts import make_prompts
from acdc_pipeline.specs import TaskSpec, find_task
from acdc_pipeline.specs.names import MetricName
from benchmarks.searches import find_circuit

MODELS = ("gpt2-4l-s0", "neox-4l", "opt-4l", "llama-4l", "attn-4l")
SHARE = 0.1
SEARCHED, FRESH = 0, 1
MEASURED: tuple[MetricName, ...] = ("kl", "logit_diff")


def bench_of(model: LoadedModel, task: TaskSpec, prompts: int, seed: int) -> Bench:
    """`model` on `prompts` prompts of `task`."""
    assert model.tokenizer is not None, "models of the zoo have a tokenizer"
    drawn = make_prompts(task, model.tokenizer, n=prompts, seed=seed)
    return set_up(model.weights, drawn, "corrupted")


def circuit_of(
    name: str, task: TaskSpec, bench: Bench, metric: MetricName, rounds: int, steps: int
) -> Circuit:
    """What `eap-ig-inputs` finds, with no more than `SHARE` of the edges."""
    most = math.floor(SHARE * bench.weights.topology.n_edges)
    return find_circuit(
        "eap-ig-inputs",
        task,
        bench,
        model=f"zoo:{name}",
        seed=SEARCHED,
        metric=metric,
        steps=steps,
        rounds=rounds,
        edges=most,
    ).circuit


def rows(name: str, asked: argparse.Namespace) -> Iterator[str]:
    """The lines of the table for one model."""
    task, model = find_task("ioi"), load_model(f"zoo:{name}", device="cpu")
    benches = [bench_of(model, task, asked.prompts, seed) for seed in (SEARCHED, FRESH)]
    scales = {by: [measure_scale(bench, by) for bench in benches] for by in MEASURED}
    for metric in asked.metrics:
        for rounds in asked.rounds:
            circuit = circuit_of(name, task, benches[0], metric, rounds, asked.steps)
            size = f"{len(circuit)} of {circuit.topology.n_edges}"
            found = [
                scale.faithfulness(measure_value(bench, by, circuit.edges))
                for by in MEASURED
                for bench, scale in zip(benches, scales[by], strict=True)
            ]
            cells = [name, size, f"`{metric}`", str(rounds), *(f"{value:.3f}" for value in found)]
            yield f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--metrics", nargs="*", default=list(MEASURED))
    parser.add_argument("--rounds", nargs="*", type=int, default=[1, 4])
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--steps", type=int, default=5)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    heads = [f"in `{by}`, {where}" for by in MEASURED for where in ("searched", "fresh")]
    print(f"| model | edges | searched by | rounds | {' | '.join(heads)} |")
    print("|---" * (4 + len(heads)) + "|")
    for name in asked.models:
        for line in rows(name, asked):
            print(line, flush=True)


if __name__ == "__main__":
    main()
