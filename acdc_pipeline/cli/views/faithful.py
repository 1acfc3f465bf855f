"""The search for a circuit that is faithful enough: its progress, its path, its JSON document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from acdc_pipeline.cli.terminal.output import print_line, print_note
from acdc_pipeline.cli.terminal.progress import SearchProgress
from acdc_pipeline.cli.terminal.tables import Column, print_table
from acdc_pipeline.cli.terminal.text import NONE, format_kept_share, pluralize
from acdc_pipeline.text import format_number

if TYPE_CHECKING:
    from acdc_pipeline.specs import CircuitMethod
    from acdc_pipeline.workflows.faithful import FaithfulRun, Trial

_MAX_ROWS = 12


class TrialLines:
    """A `TrialListener` that writes a line on stderr for every circuit tried.

    Args:
        progress: the display of each search.
    """

    def __init__(self, progress: SearchProgress) -> None:
        self._progress = progress

    def trying(self, what: str) -> None:
        """Name the search or measurement that begins in all that the display shows of it."""
        self._progress.status(what)
        self._progress.prefix = f"{what}: "

    def tried(self, trial: Trial) -> None:
        """Write what a circuit gave."""
        self._progress.finish()
        self._progress.prefix = ""
        edges = pluralize(trial.edges, "edge")
        faithfulness = f"faithfulness {_format(trial)}"
        if trial.threshold is None:
            print_note(f"{edges}: {faithfulness}")
        else:
            print_note(f"threshold {trial.threshold:g}: {edges}, {faithfulness}")


def default_size_note(method: CircuitMethod) -> str:
    """Say which size was taken because none was given, and how to choose one."""
    values = method.plain()
    name = "threshold" if "threshold" in values else "share"
    return (
        f"note: {name} {values[name]:g}: the default of {method.name}; --faithful 0.9 looks for "
        "the smallest circuit that is so faithful"
    )


def print_trials(found: FaithfulRun | None) -> None:
    """Print the circuits tried, the sparsest first, and which one was taken; nothing for None."""
    if found is None:
        return
    taken = _taken(found)
    trials = sorted(found.trials, key=lambda trial: (trial.edges, -(trial.threshold or 0)))
    at = trials.index(taken)
    first = max(0, min(at - _MAX_ROWS // 2, len(trials) - _MAX_ROWS))
    shown = trials[first : first + _MAX_ROWS]
    circuit = found.record.circuit
    total = None if circuit is None else circuit.topology.n_edges
    rows = [
        {
            **({} if trial.threshold is None else {"threshold": f"{trial.threshold:g}"}),
            "edges": str(trial.edges),
            "share": format_kept_share(trial.edges, total),
            "faithfulness": _format(trial),
            "run": NONE if trial.run_id is None else trial.run_id[:8],
            "": "taken" if trial == taken else "",
        }
        for trial in shown
    ]
    columns = [
        Column("threshold", "number"),
        Column("edges", "number"),
        Column("share", "number", rank=2),
        Column("faithfulness", "number"),
        Column("run", rank=1),
        Column(""),
    ]
    print_table(columns, rows)
    if len(shown) < len(trials):
        print_line(f"({len(shown)} of {len(trials)} circuits tried; --json has all)")
    print_line("")
    if not found.is_monotone:
        print_note(
            f"note: faithfulness does not grow with the circuit here: a larger one than that taken "
            f"is below {found.target:g}, and a smaller one that was not tried may be above"
        )


def faithful_document(found: FaithfulRun | None) -> dict[str, Any]:
    """Return the search as JSON data, in the order in which circuits were tried; {} for None."""
    if found is None:
        return {}
    return {
        "faithful": {
            "target": found.target,
            "monotone": found.is_monotone,
            "tried": [
                {
                    "threshold": trial.threshold,
                    "edges_kept": trial.edges,
                    "faithfulness": trial.faithfulness,
                    "run_id": trial.run_id,
                }
                for trial in found.trials
            ],
        }
    }


def _format(trial: Trial) -> str:
    # Three digits would round 0.8996 to a target of 0.9.
    return format_number(trial.faithfulness, 4)


def _taken(found: FaithfulRun) -> Trial:
    """Return the trial whose circuit was taken."""
    run_id, circuit = found.record.spec.run_id(), found.record.circuit
    assert circuit is not None
    return next(
        trial
        for trial in found.trials
        if trial.run_id == run_id or (trial.run_id is None and trial.edges == len(circuit))
    )
