"""Shell completion: names of tasks, models, methods, sweeps and profiles, ids of runs.

Nothing heavy is imported: the user waits for the answer.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, MutableMapping
from importlib import import_module
from inspect import isfunction
from typing import Any

import typer

_REQUEST = "_ACDC_COMPLETE"
_KIND = "_ACDC_COMPLETE_KIND"


def _one_from(module: str, names: str) -> Callable[[str], list[str]]:
    """Make the completion of a name from what `names` of `module` lists or returns."""

    def complete(incomplete: str) -> list[str]:
        known = getattr(import_module(f"acdc_pipeline.{module}"), names)
        return _with_prefix(incomplete, known() if isfunction(known) else known)

    return complete


tasks = _one_from("specs.catalogue", "list_tasks")
sweeps = _one_from("specs.catalogue", "list_sweeps")
profiles = _one_from("specs.catalogue", "list_profiles")
methods = _one_from("specs", "METHODS")
metrics = _one_from("specs.names", "METRICS")
scores = _one_from("specs.head_scores", "SCORES")


def models(incomplete: str) -> list[str]:
    """Complete a model reference: one of the zoo, or the kind of another."""
    from acdc_pipeline.models.zoo import list_zoo

    kind = os.environ.get(_KIND, "")
    known = [*(f"zoo:{name}" for name in list_zoo()), "hf:", "dir:", "gguf:"]
    return [name.removeprefix(kind) for name in _with_prefix(kind + incomplete, known)]


def choice(metavar: str) -> dict[str, Any]:
    """Return the metavar of an option, such as `kl|nll`, and its completion, for `typer.Option`."""
    return {"metavar": metavar, "autocompletion": one_of(metavar)}


METRIC: dict[str, Any] = {"metavar": "{metrics}", "autocompletion": metrics}
"""Metavar and completion of a metric; `cli.app.Command` fills in the names."""


def one_of(metavar: str) -> Callable[[str], list[str]]:
    """Make the completion of an option from its metavar, such as `kl|nll` or `cpu|cuda[:N]`."""
    values = [value.partition("[")[0] for value in metavar.split("|")]
    return lambda incomplete: _with_prefix(incomplete, values)


def runs(context: typer.Context, incomplete: str) -> list[str]:
    """Complete a run id, for a store in a folder: an object store would answer too slowly."""
    from acdc_pipeline.errors import AcdcError
    from acdc_pipeline.specs import find_settings
    from acdc_pipeline.store import open_store

    try:
        store = open_store(context.params.get("store") or find_settings().store)
        return _with_prefix(incomplete.lower(), store.run_ids() if store.folder else ())
    except AcdcError:
        # the command itself will report the error
        return []


def runs_and_tasks(context: typer.Context, incomplete: str) -> list[str]:
    """Complete a run id or the name of a task."""
    return [*runs(context, incomplete), *tasks(incomplete)]


def join_split_words(environment: MutableMapping[str, str]) -> None:
    """Rejoin the words of a Bash command line that Bash split at colons.

    Bash passes `zoo:attn` as three words, and inserts the answer behind the colon. So the word to
    complete becomes `attn`, and its kind, `zoo:`, is kept for `models`. Both go into `environment`.
    """
    if environment.get(_REQUEST) != "complete_bash":
        return
    words = environment.get("COMP_WORDS", "").split()
    at = int(environment.get("COMP_CWORD", "0"))
    before, current = words[:at], words[at] if at < len(words) else ""
    if current == ":":
        before, current = [*before, ":"], ""
    joined: list[str] = []
    for word in before:
        if joined and (word == ":" or joined[-1].endswith(":")):
            joined[-1] += word
        else:
            joined.append(word)
    kind = joined.pop() if joined and joined[-1].endswith(":") else ""
    environment[_KIND] = kind
    environment["COMP_CWORD"] = str(len(joined))
    environment["COMP_WORDS"] = shlex.join([*joined, current])


def _with_prefix(incomplete: str, known: Iterable[str]) -> list[str]:
    return [name for name in known if name.startswith(incomplete)]
