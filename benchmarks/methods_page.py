"""The page of `benchmarks.methods_table`: all methods, side by side."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from acdc_pipeline.specs import METHODS
from benchmarks.method_cells import Distance, is_first_or_tied

if TYPE_CHECKING:
    from benchmarks.methods_table import Cell, Figures

_DASH = "–"

_HEADINGS = {
    "auroc": ("AUROC", "{:.3f}"),
    "cmd": ("CMD", "{:.4f}"),
    "cpr": ("CPR", "{:.3f}"),
    "cmd_kl": ("CMD, KL", "{:.4f}"),
    "cpr_kl": ("CPR, KL", "{:.3f}"),
    "stability": ("stability", "{:.2f}"),
    "forwards": ("forwards", "{:,.0f}"),
    "seconds": ("seconds", "{:.2f}"),
}

_TITLES = {
    "compiled": "Compiled models",
    "zoo": "Trained models of the zoo",
    "real": "A real model",
}

_ABOUT = """\
# All methods side by side

Written by `python -m benchmarks.methods_table` ({arguments}) on {machine}.

In each cell, a task and a model that claims it, a method searches by the logit difference, and by
KL where it can, on {prompts} prompts, with corrupted ablation;
its circuits at MIB's ten fractions of the edges are measured on as many held-out prompts.

- **AUROC**: how well scores, or circuits at several thresholds, tell the true edges of compiled
  models from the others; equal scores count half, chance is 0.5 (higher is better).
- **CMD**, **CPR**: area between the faithfulness curve and 1 (lower is better), and under it
  (higher is better, but a circuit above the model raises it too), in the logit difference and in
  KL, each of the circuits that were searched by it; where a method cannot use KL, of those by the
  logit difference.
- **stability**: mean pairwise Jaccard similarity of the circuits on {resamples} bootstrap resamples
  of the prompts, at 5 % of the edges or the lowest threshold (higher is better).
- **first**: in how many cells and metrics a method is first or tied: its CMD is not above that
  of any other by more than the paired 95 % bootstrap interval over the held-out prompts.
- **forwards**: matrix operations of one such search (by KL where the method can) in units of one
  forward on its prompts; **seconds** of CPU of one by the logit difference on {threads} thread.

A dash: there is no such figure, or it was not measured; stability is a mean over the cells where it
was. Scores of `random` follow from the seed alone and are the same on every resample. *cells*: how
many were measured with a method; the same command measures what is missing.
"""


def page(
    table: Mapping[Cell, Mapping[str, Figures]],
    asked: argparse.Namespace,
    where: str,
    parameters: Mapping[str, str],
) -> str:
    """The page in Markdown; `parameters` says how the models of each group were searched."""
    given = {
        "--groups": asked.groups,
        "--models": asked.models,
        "--tasks": asked.tasks,
        "--methods": asked.methods,
        "--longest": [f"{asked.longest:g}"],
    }
    arguments = " ".join(f"{name} {' '.join(values)}" for name, values in given.items() if values)
    table = {cell: found for cell, found in table.items() if found}
    groups = list(dict.fromkeys(cell.group for cell in table))
    parts = [
        _ABOUT.format(
            arguments=f"`{arguments}`",
            machine=where,
            prompts=" / ".join(map(str, asked.prompts)) + " (compiled / zoo / real)",
            resamples=asked.resamples,
            threads=asked.threads,
        )
    ]
    for group in groups:
        of = {cell: found for cell, found in table.items() if cell.group == group}
        missing = _not_measured(of)
        of, rare = _part_rare(of)
        parts.append(f"## {_TITLES[group]}\n\n" + "\n".join(_means(of)) + "\n")
        parts += [explained] if (explained := _explain_means(of) + rare) else []
        parts.append(f"{parameters[group]}{missing}\n")
        parts += _against(of, "eap-exact", "eap-ig-activations")
        if group != "compiled" and len(of) > 1:
            parts.append("CMD in each cell, the lowest in bold:\n\n" + "\n".join(_each(of)) + "\n")
    return "\n".join(parts)


def _methods_of(table: Mapping[Cell, Mapping[str, Figures]]) -> list[str]:
    return [name for name in METHODS if any(name in found for found in table.values())]


def _common(table: Mapping[Cell, Mapping[str, Figures]]) -> Sequence[Mapping[str, Figures]]:
    """The figures of the cells in which every method was measured; of all if there are none."""
    n = len(_methods_of(table))
    return [found for found in table.values() if len(found) == n] or list(table.values())


def _part_rare(
    table: Mapping[Cell, Mapping[str, Figures]],
) -> tuple[Mapping[Cell, Mapping[str, Figures]], str]:
    """The figures without methods measured in fewer than half of the cells, and a line on these."""
    cells = {n: sum(n in found for found in table.values()) for n in _methods_of(table)}
    rare = {name: count for name, count in cells.items() if 2 * count < len(table)}
    kept = {c: {n: f for n, f in found.items() if n not in rare} for c, found in table.items()}
    named = ", ".join(f"`{name}` ({count})" for name, count in rare.items())
    return kept, f"Measured in too few cells for the tables: {named}.\n" if rare else ""


def _not_measured(table: Mapping[Cell, Mapping[str, Figures]]) -> str:
    """A sentence on the methods that were measured in no cell."""
    measured = _methods_of(table)
    named = ", ".join(f"`{name}`" for name in METHODS if name not in measured)
    return f" Not measured: {named}." if named else ""


def _explain_means(table: Mapping[Cell, Mapping[str, Figures]]) -> str:
    n = len(_common(table))
    return (
        f"Means are over {n} of {len(table)} cells, those in which every method was measured.\n"
        if n < len(table)
        else f"Means are over all {n} cells.\n"
        if n > 1
        else ""
    )


def _means(table: Mapping[Cell, Mapping[str, Figures]]) -> Iterator[str]:
    """A row for each method, the lowest CMD first."""
    common = _common(table)
    fields = [f for f in _HEADINGS if any(_values(common, name, f) for name in _methods_of(table))]
    yield _line(["method", "cells", "first", *(_HEADINGS[field][0] for field in fields)])
    yield "|---" * (3 + len(fields)) + "|"
    contests = [contest for found in table.values() for contest in _contests(found)]

    def order(name: str) -> float:
        return _mean(_values(common, name, "cmd")) or 0.0

    for name in sorted(_methods_of(table), key=order):
        means = [(_mean(_values(common, name, field)), _HEADINGS[field][1]) for field in fields]
        cells = str(sum(name in found for found in table.values()))
        first = _wins(contests, name)
        yield _line(
            [name, cells, first, *(_DASH if v is None else form.format(v) for v, form in means)]
        )


def _contests(found: Mapping[str, Figures]) -> Iterator[dict[str, Distance]]:
    """The CMD of every method in a cell, in each metric that tells circuits apart."""
    for value, resampled in (("cmd", "resampled"), ("cmd_kl", "resampled_kl")):
        known = {name: (getattr(f, value), getattr(f, resampled)) for name, f in found.items()}
        if known := {name: pair for name, pair in known.items() if pair[1] is not None}:
            yield known


def _wins(contests: Iterable[Mapping[str, Distance]], name: str) -> str:
    """In how many contests a method is first or tied, of those that it takes part in."""
    of = [is_first_or_tied(contest, name) for contest in contests if name in contest]
    return f"{sum(of)} of {len(of)}"


def _against(table: Mapping[Cell, Mapping[str, Figures]], ours: str, other: str) -> Iterator[str]:
    """What a method is among those that cost no more than another one."""
    cells = [found for found in table.values() if ours in found and other in found]
    if not cells:
        return
    dearer = sum(found[ours].forwards > found[other].forwards for found in cells)
    contests: list[dict[str, Distance]] = []
    for found in cells:
        most = max(found[ours].forwards, found[other].forwards)
        contests += _contests({name: f for name, f in found.items() if f.forwards <= most})
    yield (
        f"Among the methods that take no more forwards than the dearer of both, `{other}` and "
        f"`{ours}`, `{ours}` is first or tied "
        f"in {_wins(contests, ours)} cells and metrics. It takes more than `{other}` in {dearer} "
        f"of {len(cells)} cells.\n"
    )


def _each(table: Mapping[Cell, Mapping[str, Figures]]) -> Iterator[str]:
    """A row for each cell with the CMD of every method."""
    methods = _methods_of(table)
    yield _line(["task", "model", *methods])
    yield "|---" * (2 + len(methods)) + "|"
    for cell, found in table.items():
        areas = {name: found[name].cmd for name in methods if name in found}
        known = [value for value in areas.values() if value is not None]
        texts = []
        for name in methods:
            value = areas.get(name)
            text = _DASH if value is None else f"{value:.3f}"
            texts.append(f"**{text}**" if known and value == min(known) else text)
        yield _line([cell.task, cell.model, *texts])


def _values(cells: Iterable[Mapping[str, Figures]], method: str, field: str) -> Sequence[float]:
    found = (figures[method] for figures in cells if method in figures)
    return [value for one in found if (value := getattr(one, field)) is not None]


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
