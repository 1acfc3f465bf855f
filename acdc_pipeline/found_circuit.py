"""The result of `discover`, a circuit with its run, and the progress bar of a search."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tqdm.std import tqdm

from acdc_pipeline.graph import Circuit, Edge
from acdc_pipeline.models.memory import held_model_of
from acdc_pipeline.plotting.svg import Drawing
from acdc_pipeline.specs import TaskSpec, circuit_method, method_label
from acdc_pipeline.specs.own_metric import Metric
from acdc_pipeline.store import RunRecord, Store
from acdc_pipeline.store.figures import faithfulness_of
from acdc_pipeline.text import without_rounding
from acdc_pipeline.workflows.discovery import worker_factory
from acdc_pipeline.workflows.evaluation_plan import evaluation_plan
from acdc_pipeline.workflows.faithful import Trial

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from acdc_pipeline.execution.worker import Worker
    from acdc_pipeline.graph.circuit import Rank
    from acdc_pipeline.models.memory import MemoryModel
    from acdc_pipeline.workflows.circuit_run import Model, Prompts
    from acdc_pipeline.workflows.evaluation import Evaluation


@dataclass(frozen=True, repr=False)
class CircuitOfRun(Circuit):
    """A circuit with a run that says how it is measured, such as part of a circuit found.

    Args:
        run: gives model, prompts, metric and ablation; it need not have found this circuit.
        own_metric: the metric of one's own that the run names; None for a built-in one.
        given: the model in memory and its tokenizer that `discover` took; None for a reference.
    """

    run: RunRecord = field(kw_only=True, compare=False)
    task: TaskSpec = field(kw_only=True, compare=False)
    own_metric: Metric | None = field(default=None, kw_only=True, compare=False)
    given: tuple[Any, Any] | None = field(default=None, kw_only=True, compare=False)

    @property
    def title(self) -> str:
        """Task and model."""
        return f"{self.run.spec.task} in {self.run.spec.model}"

    @property
    def ranking(self) -> Rank:
        """How the method of the run ranks edges."""
        return circuit_method(self.run.spec.method).ranking

    def __repr__(self) -> str:
        found = self.run.circuit
        changed = "of" if found is not None and self.edges == found.edges else "changed from"
        return (
            f"<circuit: {len(self)} of {self.topology.n_edges} edges, {changed} run "
            f"{self.run.spec.run_id()[:8]}: {self.title}>"
        )

    def without(self, edges: Edge | str | Iterable[Edge | str | tuple[str, str]]) -> CircuitOfRun:
        """Return the circuit without `edges`, measured as this one is; see `Circuit.without`."""
        left = super().without(edges)
        return CircuitOfRun(
            left.topology,
            left.edges,
            left.scores,
            run=self.run,
            task=self.task,
            own_metric=self.own_metric,
            given=self.given,
        )

    def logits(
        self,
        prompts: Prompts | None = None,
        *,
        model: MemoryModel | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        device: str = "auto",
    ) -> Float[Tensor, "answer vocab"]:
        """Return the logits of the circuit at the answers: [prompt, vocabulary].

            circuit.logits([("When Mary and John …", "When Anna and John …")])

        The model of the run is loaded again unless it is given, and removed edges carry what they
        did in the run.
        Ablation by the mean takes that of the counterfactuals among `prompts`. A prompt with
        several answers has a row for each.

        Args:
            prompts: a task, its name, folder or `.jsonl` of pairs; a PromptSet; or pairs
                `(clean, corrupted)` of texts or of token ids, whose logits are those at the last
                token. None for the prompts of the run.
            model, tokenizer: as for `FoundCircuit.evaluate`.
            device: as for `discover`.

        Raises:
            InvalidInput: prompts that the model cannot process.
        """
        from acdc_pipeline.workflows.circuit_run import logits_of_run

        make_worker = self._worker_factory(device, None, model, tokenizer)
        return logits_of_run(make_worker(), self.run.spec, self.task, self, prompts)

    def patched(self, model: Model, corrupted: Any = None) -> AbstractContextManager[Model]:
        """Return a context in which the logits of `model` are those of the circuit.

            with circuit.patched(model, corrupted_ids) as patched:
                patched(ids).logits

        Removed edges carry what they did in the run. `patch_model` says what is patched, and which
        calls are refused.

        Args:
            model: a TransformerBridge, or a causal language model of transformers, with the graph
                of the circuit; it need not be the model of the run.
            corrupted: token ids of the counterfactuals [prompt, position], of the shape of the
                tokens that the model is called on; under ablation by the mean, counterfactuals
                without padding, of their length.

        Raises, when the context is entered:
            InvalidInput: as `patch_model`.
        """
        from acdc_pipeline.workflows.circuit_run import patch_model

        ablation = circuit_method(self.run.spec.method).ablation
        return patch_model(self, model, corrupted, ablation=ablation)

    def evaluate(
        self,
        *,
        model: MemoryModel | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        scope: Literal["basic", "full"] = "basic",
        null: int | None = None,
        draws: int | None = None,
        restarts: int | None = None,
        ablations: Sequence[str] | None = None,
        adversarial: int | None = None,
        seed: int = 0,
        device: str = "auto",
        memory: int | None = None,
        shards: int | None = None,
    ) -> Evaluation:
        """Evaluate the circuit as `FoundCircuit.evaluate` does; nothing is stored.

        Stability and transfer, which repeat a search, are not measured.
        """
        from acdc_pipeline.workflows.evaluate import evaluate

        plan = evaluation_plan(
            scope,
            null=null,
            draws=draws,
            restarts=restarts,
            ablations=ablations,
            forwards=adversarial,
            seed=seed,
        )
        make_worker = self._worker_factory(device, memory, model, tokenizer, shards)
        return evaluate(make_worker(), self.run.spec, self.task, self, [], plan)

    def _worker_factory(
        self,
        device: str,
        memory: int | None,
        model: Any,
        tokenizer: Any,
        shards: int | None = None,
    ) -> Callable[[], Worker]:
        given = self.given if model is None else (model, tokenizer)
        held = None if given is None else held_model_of(self.run.spec, *given)
        return worker_factory(device, memory, model=held, own_metric=self.own_metric, shards=shards)


@dataclass(frozen=True, repr=False)
class FoundCircuit(CircuitOfRun):
    """A circuit with the run that found it.

    Args:
        run: the whole record: spec, decisions, metrics, environment.
        store: the store that holds the run and the other runs of its search; None if the run was
            not stored.
        trials: the circuits tried on the way to a faithfulness, in that order; else empty.
    """

    store: Store | None = field(default=None, kw_only=True, compare=False)
    trials: tuple[Trial, ...] = field(default=(), kw_only=True, compare=False)

    @property
    def run_id(self) -> str:
        """Hash of everything that decides the circuit; the name of the run in a store."""
        return self.run.spec.run_id()

    @property
    def metrics(self) -> dict[str, float]:
        """`kl` in nats (lower is better), `accuracy`, …; of the whole model as `model_…`."""
        return self.run.metrics

    @property
    def faithfulness(self) -> float | None:
        """Faithfulness in the metric of the search: 1 for the model, 0 for the empty circuit.

        None where removing every edge does not change the metric.
        """
        return faithfulness_of(self.metrics, circuit_method(self.run.spec.method).metric)

    @property
    def warnings(self) -> list[str]:
        """Known limits of the result, as sentences; empty if there are none."""
        return list(self.run.details.get("warnings", ()))

    def __repr__(self) -> str:
        kl = without_rounding(self.metrics["kl"])
        return (
            f"<circuit of {self.title} by {method_label(self.run.spec.method)}: {len(self)} of "
            f"{self.topology.n_edges} edges, KL {kl:.3g}, run {self.run_id[:8]}>"
        )

    def draw(self, title: str = "", subtitle: str = "") -> Drawing:
        """Draw the circuit; the default title names the task and the model."""
        found = f"{self.run.spec.method.name}, KL to the whole model {self.metrics['kl']:.3g}."
        if self.run.consensus is None:
            return super().draw(title, subtitle or found)
        from acdc_pipeline.plotting.circuit import draw_circuit
        from acdc_pipeline.plotting.svg import check_title

        check_title(title)
        drawn = draw_circuit(
            self,
            title=title or self.title,
            subtitle=subtitle or found,
            consensus=self.run.consensus,
        )
        return Drawing(drawn)

    def evaluate(
        self,
        *,
        model: MemoryModel | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        scope: Literal["basic", "full"] = "basic",
        null: int | None = None,
        draws: int | None = None,
        restarts: int | None = None,
        resamples: int | None = None,
        ablations: Sequence[str] | None = None,
        adversarial: int | None = None,
        seed: int = 0,
        device: str = "auto",
        memory: int | None = None,
        shards: int | None = None,
    ) -> Evaluation:
        """Evaluate the circuit: its faithfulness and, on request, completeness and stability.

        If the run is in a store, the evaluation is stored with it, and the same call reads it from
        there; otherwise the model is loaded. docs/evaluation.md defines the measures.

        Args:
            model: the model in memory that the circuit was found in; None for the one that
                `discover` took, and for a circuit that was found by a reference.
            tokenizer: tokenizer of `model`, as for `discover`.
            scope: `basic` measures the circuit in every metric, its curve and a null, in seconds;
                `full` measures everything.
            null: number of random circuits of equal size; 0 for none, None for 50, or fewer in
                large models.
            draws: number of random sets of nodes that are removed, for completeness and
                minimality, and of rounds of causal scrubbing; 0 leaves these parts out, None
                measures them if `scope` contains them, with the default number.
            restarts: number of greedy searches for the nodes without which circuit and model
                differ most; 0 and None as for `draws`.
            resamples: number of searches on resampled prompts, for stability and transfer; 0 and
                None as for `draws`.
            ablations: `corrupted`, `zero`, `mean`, `resample`, `adversarial`, under which the
                circuit is measured; `["all"]`, `["none"]`; None for all if `scope` is `full`, else
                the first three.
            adversarial: number of circuits that the search for the worst donors tries; it adds
                `adversarial` to `ablations`, 0 removes it. None for 100.
            seed: seed of all random draws of the evaluation.
            shards: number of other processes that measure, as `--shards` of `acdc evaluate`; None
                for this process alone. Every number gives the same figures.
            device, memory: as for `discover`.

        Raises:
            InvalidInput: an argument is not valid, or the metric has the same value for the whole
                and the ablated model; or the model in memory is not the one that the circuit was
                found in.
            ExecutionFailed: a search did not finish.

        Warns if the evaluation cannot be stored.
        """
        from acdc_pipeline.workflows.evaluate import evaluate
        from acdc_pipeline.workflows.stored_evaluation import evaluate_into

        plan = evaluation_plan(
            scope,
            null=null,
            draws=draws,
            restarts=restarts,
            resamples=resamples,
            ablations=ablations,
            forwards=adversarial,
            seed=seed,
        )
        spec = self.run.spec
        make_worker = self._worker_factory(device, memory, model, tokenizer, shards)
        if self.store is None:
            return evaluate(make_worker(), spec, self.task, self, [self], plan)
        answer = evaluate_into(self.store, make_worker, spec, self.task, self, plan)
        if answer.unkept is not None:
            warnings.warn(f"the evaluation was not stored: {answer.unkept}", stacklevel=2)
        return answer.evaluation


def found_circuit(
    record: RunRecord,
    task: TaskSpec,
    store: Store | None,
    own_metric: Metric | None = None,
    given: tuple[Any, Any] | None = None,
    trials: tuple[Trial, ...] = (),
) -> FoundCircuit:
    """Return the circuit of a run that found one."""
    circuit = record.circuit
    assert circuit is not None, "every method that `discover` takes finds a circuit"
    return FoundCircuit(
        circuit.topology,
        circuit.edges,
        circuit.scores,
        run=record,
        task=task,
        store=store,
        own_metric=own_metric,
        given=given,
        trials=trials,
    )


class SearchBar:
    """A `Progress` bar on stderr that disappears when the search ends.

    It is plain text, which notebooks show without a widget library.
    """

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def start(self, total_edges: int, label: str) -> None:
        self.finish()
        self._bar = tqdm(total=total_edges, desc=label, unit=" edges", leave=False)

    def advance(self, tested: int, kept: int, left: int) -> None:
        """Move the bar; edges that never need a test count as done."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"{tested} tested, {kept} kept", refresh=False)
            self._bar.update((self._bar.total or 0) - left - self._bar.n)

    def finish(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def bar_where_seen() -> SearchBar | None:
    """Return a progress bar in a notebook or on a terminal, and None elsewhere."""
    # inside IPython, the module is imported already
    shell = sys.modules.get("IPython")
    running = None if shell is None else shell.get_ipython()
    in_notebook = type(running).__name__ == "ZMQInteractiveShell"
    return SearchBar() if in_notebook or sys.stderr.isatty() else None
