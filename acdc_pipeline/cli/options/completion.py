"""What a shell may complete: names of tasks, models, methods, sweeps and profiles, ids of runs.

Nothing heavy is imported: a shell waits for the answer.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, MutableMapping

import typer

METHODS = (
    "acdc",
    "eap-ig-acdc",
    "eap",
    "eap-ig-inputs",
    "eap-ig-activations",
    "clean-corrupted",
    "exact",
    "node-attribution",
    "node-exact",
    "hisp",
    "edge-pruning",
    "subnetwork-probing",
    "random",
)
"""Written out, since asking the specs for it would load them for every `--help`."""

_ASKED = "_ACDC_COMPLETE"
_KIND = "_ACDC_COMPLETE_KIND"


def tasks(incomplete: str) -> list[str]:
    """Names of tasks that begin so."""
    from acdc_pipeline.specs.catalogue import list_tasks

    return _beginning(incomplete, list_tasks())


def sweeps(incomplete: str) -> list[str]:
    """Names of sweeps that begin so."""
    from acdc_pipeline.specs.catalogue import list_sweeps

    return _beginning(incomplete, list_sweeps())


def profiles(incomplete: str) -> list[str]:
    """Names of worker profiles that begin so."""
    from acdc_pipeline.specs.catalogue import list_profiles

    return _beginning(incomplete, list_profiles())


def methods(incomplete: str) -> list[str]:
    """Names of methods that begin so."""
    return _beginning(incomplete, METHODS)


def models(incomplete: str) -> list[str]:
    """References of models that begin so: those of the zoo, and the other kinds."""
    from acdc_pipeline.models.zoo import list_zoo

    kind = os.environ.get(_KIND, "")
    known = [*(f"zoo:{name}" for name in list_zoo()), "hf:", "dir:", "gguf:"]
    return [name.removeprefix(kind) for name in _beginning(kind + incomplete, known)]


def scores(incomplete: str) -> list[str]:
    """Names of scores of heads that begin so."""
    from acdc_pipeline.specs.head_scores import SCORES

    return _beginning(incomplete, SCORES)


def one_of(metavar: str) -> Callable[[str], list[str]]:
    """What completes an option whose values its help names: `kl|nll`, `cpu|cuda[:N]`."""
    values = [value.partition("[")[0] for value in metavar.split("|")]

    def choices(incomplete: str) -> list[str]:
        return _beginning(incomplete, values)

    return choices


def runs(context: typer.Context, incomplete: str) -> list[str]:
    """Ids of runs that begin so, of a store in a folder; no shell waits for an object store."""
    from acdc_pipeline.errors import AcdcError
    from acdc_pipeline.specs import find_settings
    from acdc_pipeline.store import open_store

    try:
        store = open_store(context.params.get("store") or find_settings().store)
        return _beginning(incomplete.lower(), store.run_ids() if store.folder else ())
    except AcdcError:
        # a command that is typed to its end says what is wrong
        return []


def runs_and_tasks(context: typer.Context, incomplete: str) -> list[str]:
    """Ids of runs, and names of tasks, that begin so."""
    return [*runs(context, incomplete), *tasks(incomplete)]


def mend_words(environment: MutableMapping[str, str]) -> None:
    """Puts the words of a Bash command line together again where Bash cut them at colons.

    Bash hands `zoo:attn` over as three words, and puts what is answered behind the colon. So the
    word being completed becomes `attn`, and its kind, `zoo:`, is kept for `models`.
    """
    if environment.get(_ASKED) != "complete_bash":
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


def _beginning(incomplete: str, known: Iterable[str]) -> list[str]:
    return [name for name in known if name.startswith(incomplete)]
