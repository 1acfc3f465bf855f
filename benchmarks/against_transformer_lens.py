"""TransformerLens's scores and ours: `python -m benchmarks.against_transformer_lens`.

TransformerLens 4 has attribution patching of its own (`tools.analysis.attribution_patching`). It
scores a source at one position by (output on prompt A - output on prompt B) · gradient on B, for
one prompt pair at a time, of nodes or of edges; there is no ablation but by the other prompt, and
no integrated gradient. That is `eap` under corrupted ablation with A the counterfactual, B the
clean prompt and minus the logit difference as the metric; the score of our edge is the sum over its
positions. Of nodes it is `node-attribution`: the sum over the edges out of a node. `patch` is
activation patching of every head at all positions (`patching.get_act_patch_attn_head_out_all_pos`,
one forward for each head), beside the exact effects of `node-exact`.

Both read the same bridge in float32, in the same process, in turns. Ours includes the forwards that
prepare it; loading is in neither. `largest difference` is relative to the largest score, and in
units of float32's rounding of it (2^-23). Where TransformerLens refuses a model, its reason is
printed. It refuses edges under grouped queries: for `--real`, SmolLM2-135M, edges are compared on a
copy with a key and value head for each query head, which computes the same function.

    python -m benchmarks.against_transformer_lens
    python -m benchmarks.against_transformer_lens --real --prompts 2 --repeats 1
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from acdc_pipeline.algorithms.nodes import scored_outputs, summed_effects
from acdc_pipeline.engine import set_up
from acdc_pipeline.engine.single_removals import SingleRemovals
from acdc_pipeline.execution.worker import prompts_for
from acdc_pipeline.models import LoadedModel, load_model
from acdc_pipeline.models.location import locate
from acdc_pipeline.prompts.prompt_set import PromptSet
from acdc_pipeline.specs import ModelRef, find_task
from benchmarks.measurement import machine
from benchmarks.real_model import fetch_model
from benchmarks.relevance import problem_of, scores_by

Kind = Literal["edge", "node", "patch"]

MODELS = ("gpt2-4l-s0", "neox-4l", "opt-4l", "llama-4l", "attn-4l")
ROUNDING = 2.0**-23


Scores = Callable[[], dict[str, float]]
"""What was found, by the names of our edges or nodes; naming is in nobody's seconds."""


def scores_of_transformer_lens(bridge: Any, prompts: PromptSet, kind: Kind) -> Scores:
    """Scores of edges or nodes, summed over positions; of nodes without the input.

    In units of the logit difference, mean over answers; higher means that ablation costs more.

    Raises:
        ValueError: TransformerLens does not score this model.
    """
    if kind == "patch":
        return _patched(bridge, prompts)
    from transformer_lens.tools.analysis.attribution_patching import (
        EdgeAttributionConfig,
        attribution_patch,
    )

    config, found = EdgeAttributionConfig(granularity=kind), []
    for row in range(len(prompts)):
        length = int(prompts.lengths[row])
        clean, corrupted = (x[row : row + 1, :length] for x in (prompts.clean, prompts.corrupted))
        cost = partial(_cost, prompts, row)
        found.append(attribution_patch(bridge, corrupted, clean, cost, config))

    def named() -> dict[str, float]:
        totals: dict[str, float] = defaultdict(float)
        for result in found:
            if kind == "node":
                for node, score in result.node_scores.items():
                    totals[_named(node)] += score
            for (writer, reader), score in result.edge_scores.items():
                totals[f"{_named(writer)}->{_named(reader)}"] += score
        totals.pop("input", None)
        return dict(totals)

    return named


@torch.no_grad()
def _patched(bridge: Any, prompts: PromptSet) -> Scores:
    """The exact effect of each head, with prompts of one length in a batch."""
    from transformer_lens.patching import get_act_patch_attn_head_out_all_pos

    totals: dict[str, float] = defaultdict(float)
    for length in prompts.lengths.unique().tolist():
        rows = (prompts.lengths == length).nonzero().flatten().tolist()
        clean, corrupted = (x[rows, :length] for x in (prompts.clean, prompts.corrupted))

        def cost(logits: Tensor, rows: list[int] = rows) -> Tensor:
            each = [_cost(prompts, row, logits[i : i + 1]) for i, row in enumerate(rows)]
            return torch.stack(each).sum()

        _, cache = bridge.run_with_cache(corrupted, names_filter=lambda n: n.endswith("hook_z"))
        before = cost(bridge(clean))
        with contextlib.redirect_stderr(io.StringIO()):  # a bar of progress
            after = get_act_patch_attn_head_out_all_pos(bridge, clean, cache, cost)
        for layer, row in enumerate((after - before).tolist()):
            for head, effect in enumerate(row):
                totals[f"a{layer}.h{head}"] += effect
    return lambda: dict(totals)


def _cost(prompts: PromptSet, row: int, logits: Tensor) -> Tensor:
    """Minus the logit difference of the answers of one prompt, divided by the number of all."""
    total = logits.new_zeros(())
    for answer, at in enumerate(prompts.answer_row.tolist()):
        if at == row:
            here = logits[0, int(prompts.answer_pos[answer])]
            wrong, right = (list(x[answer]) for x in (prompts.incorrect, prompts.correct))
            total = total + here[wrong].mean() - here[right].mean()
    return total / len(prompts.correct)


def _named(node: Any) -> str:
    match node.kind:
        case "embed":
            return "input"
        case "attn_head_out":
            return f"a{node.layer}.h{node.head}"
        case "mlp_out" | "mlp_in":
            return f"m{node.layer}"
        case "logits":
            return "logits"
    return f"a{node.layer}.h{node.head}<{node.kind[0]}>"


def our_scores(model: LoadedModel, prompts: PromptSet, kind: Kind) -> Scores:
    """Scores of `eap`, first-order effects of nodes, or exact effects of heads."""
    problem = problem_of(set_up(model.weights, prompts, "corrupted"))
    if kind == "patch":
        removals = SingleRemovals(problem.bench, problem.objective, problem.memory)
        whole = removals.whole()
        effects = {node: value - whole for node, _, value in removals.without_nodes()}
        return lambda: {str(n): effect for n, effect in effects.items() if n.kind == "head"}
    if kind == "node":
        each = summed_effects(problem).tolist()
        return lambda: {
            str(node): effect
            for (node, _), effect in zip(scored_outputs(problem.topology), each, strict=True)
        }
    scores = scores_by("eap", problem)
    return lambda: {str(edge): score for edge, score in scores.items()}


def largest_difference(ours: Mapping[str, float], theirs: Mapping[str, float]) -> float:
    """The largest difference of two scores, relative to the largest of `theirs`.

    Raises:
        ValueError: they are not of the same edges or nodes.
    """
    if ours.keys() != theirs.keys():
        apart = sorted(ours.keys() ^ theirs.keys())
        raise ValueError(f"{len(apart)} of the scores are of one side alone, such as {apart[0]}")
    return max(abs(ours[name] - theirs[name]) for name in ours) / max(map(abs, theirs.values()))


def with_all_key_heads(directory: Path, to: Path) -> Path:
    """Write a copy of a Llama model that has a key and value head for each query head."""
    shutil.copytree(directory, to, ignore=shutil.ignore_patterns("*.safetensors*"))
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    query, kv = config["num_attention_heads"], config["num_key_value_heads"]
    config["num_key_value_heads"] = query
    (to / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tensors: dict[str, Tensor] = {}
    for file in sorted(directory.glob("*.safetensors")):
        tensors |= load_file(file)
    for name in [n for n in tensors if n.endswith(("k_proj.weight", "v_proj.weight"))]:
        heads = tensors[name].unflatten(0, (kv, -1))
        tensors[name] = heads.repeat_interleave(query // kv, 0).flatten(0, 1).contiguous()
    save_file(tensors, to / "model.safetensors", metadata={"format": "pt"})
    return to


@contextlib.contextmanager
def with_graph(bridge: Any) -> Iterator[None]:
    """Let the parameters of a bridge have gradients, without which its hooks see none."""
    for parameter in bridge.parameters():
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in bridge.parameters():
            parameter.requires_grad_(False)


def _seconds(work: Callable[[], Scores]) -> tuple[dict[str, float], float]:
    started = time.perf_counter()
    found = work()
    seconds = time.perf_counter() - started
    return found(), seconds


def compare(name: str, model: LoadedModel, prompts: PromptSet, kind: Kind, repeats: int) -> str:
    """A row of the table: what both found, and the median seconds of each."""
    bridge: Any = model.bridge
    bridge.eval()
    seconds: dict[str, list[float]] = {"theirs": [], "ours": []}
    theirs: dict[str, float] = {}
    ours: dict[str, float] = {}
    start = f"{name:<26}{kind:<6}"
    try:
        for _ in range(repeats):
            with with_graph(bridge):
                theirs, took = _seconds(partial(scores_of_transformer_lens, bridge, prompts, kind))
            seconds["theirs"].append(took)
            ours, took = _seconds(partial(our_scores, model, prompts, kind))
            seconds["ours"].append(took)
    except (ValueError, NotImplementedError) as error:
        return f"{start}refused: {error}"
    apart = largest_difference(ours, theirs)
    their_median, our_median = (statistics.median(seconds[side]) for side in seconds)
    return (
        f"{start}{len(ours):>8,}{apart:>10.1e}{apart / ROUNDING:>8.1f}"
        f"{their_median:>11.3f}{our_median:>9.3f}{their_median / our_median:>8.1f}x"
    )


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="*", default=[f"zoo:{name}" for name in MODELS])
    parser.add_argument("--real", action="store_true", help="SmolLM2-135M alone")
    parser.add_argument("--kinds", nargs="+", default=list(get_args(Kind)), choices=get_args(Kind))
    parser.add_argument("--task", default="ioi")
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.task}, {options.prompts} prompts; {machine(torch.device('cpu'))}")
    header = f"{'model':<26}{'of':<6}{'scores':>8}{'apart':>10}{'ulp':>8}{'theirs s':>11}"
    print(f"{header}{'ours s':>9}{'ratio':>9}")
    task = find_task(options.task)

    def rows(name: str, ref: str, kinds: Sequence[Kind]) -> None:
        model = load_model(ref, device="cpu")
        prompts = prompts_for(model, task, n=options.prompts, seed=0)
        for kind in kinds:
            if kind in options.kinds:
                print(compare(name, model, prompts, kind, options.repeats), flush=True)

    if not options.real:
        for ref in options.models:
            rows(ref.rpartition("/")[2], ref, ("patch", "node", "edge"))
        return
    ref = f"gguf:{fetch_model()}"
    rows("SmolLM2-135M", ref, ("patch", "node", "edge"))
    with tempfile.TemporaryDirectory() as folder:
        copy = with_all_key_heads(locate(ModelRef.parse(ref)).directory, Path(folder) / "model")
        rows("SmolLM2-135M, 9 key heads", f"dir:{copy}", ("edge",))


if __name__ == "__main__":
    main()
