"""The result of `discover`, a circuit with its run, and the progress bar of a search."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tqdm.std import tqdm

from acdc_pipeline.graph import Circuit
from acdc_pipeline.models.memory import held_model_of
from acdc_pipeline.plotting.svg import Drawing
from acdc_pipeline.specs import TaskSpec
from acdc_pipeline.specs.own_metric import Metric
from acdc_pipeline.store import RunRecord, Store
from acdc_pipeline.workflows.discovery import worker_factory
from acdc_pipeline.workflows.evaluate import evaluate
from acdc_pipeline.workflows.evaluation import Evaluation, evaluation_plan
from acdc_pipeline.workflows.faithful import Trial
from acdc_pipeline.workflows.stored_evaluation import evaluate_into

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from acdc_pipeline.models.memory import MemoryModel


@dataclass(frozen=True, repr=False)
class FoundCircuit(Circuit):
    """A circuit with the run that found it.

    Args:
        run: the whole record: spec, decisions, metrics, environment.
        store: the store that holds the run and the other runs of its search; None if the run was
            not stored.
        own_metric: the metric of one's own by which it was found; None for a built-in one.
        given: the model in memory and its tokenizer that `discover` took; None for a reference.
        trials: the circuits tried on the way to a faithfulness, in that order; else empty.
    """

    run: RunRecord = field(kw_only=True, compare=False)
    task: TaskSpec = field(kw_only=True, compare=False)
    store: Store | None = field(default=None, kw_only=True, compare=False)
    own_metric: Metric | None = field(default=None, kw_only=True, compare=False)
    given: tuple[Any, Any] | None = field(default=None, kw_only=True, compare=False)
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
    def warnings(self) -> list[str]:
        """Known limits of the result, as sentences; empty if there are none."""
        return list(self.run.details.get("warnings", ()))

    def __repr__(self) -> str:
        spec = self.run.spec
        return (
            f"<circuit of {spec.task} in {spec.model} by {spec.method.name}: {len(self)} of "
            f"{self.topology.n_edges} edges, KL {self.metrics['kl']:.3g}, run {self.run_id[:8]}>"
        )

    def _repr_svg_(self) -> str:
        return self.draw().svg

    def draw(self, title: str = "", subtitle: str = "") -> Drawing:
        """Draw the circuit; the default title names the task and the model."""
        spec = self.run.spec
        return super().draw(
            title or f"{spec.task} in {spec.model}",
            subtitle or f"{spec.method.name}, KL to the whole model {self.metrics['kl']:.3g}.",
        )

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
        seed: int = 0,
        device: str = "auto",
        memory: int | None = None,
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
            seed: seed of all random draws of the evaluation.
            device, memory: as for `discover`.

        Raises:
            InvalidInput: an argument is not valid, or the metric has the same value for the whole
                and the ablated model; or the model in memory is not the one that the circuit was
                found in.
            ExecutionFailed: a search did not finish.

        Warns if the evaluation cannot be stored.
        """
        plan = evaluation_plan(
            scope, null=null, draws=draws, restarts=restarts, resamples=resamples, seed=seed
        )
        spec = self.run.spec
        given = self.given if model is None else (model, tokenizer)
        held = None if given is None else held_model_of(spec, *given)
        make_worker = worker_factory(device, memory, model=held, own_metric=self.own_metric)
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
