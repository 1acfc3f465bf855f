"""Every method by name, how one is chosen, and its label in a few words.

A new method is one class in this folder, which names the function that computes it, and its line
in `CircuitMethod`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, get_args

from acdc_pipeline.errors import LISTS, InvalidInput, SpecError, UnknownName, unknown
from acdc_pipeline.specs.base import tag_of
from acdc_pipeline.specs.methods import (
    eap_exact,
    ensembles,
    estimates,
    node_pruning,
    scored,
    search,
)
from acdc_pipeline.specs.methods.profile import ProfileMethod
from acdc_pipeline.specs.methods.text import TextMethod
from acdc_pipeline.specs.task import TaskSpec
from acdc_pipeline.text import pluralize

CircuitMethod: TypeAlias = (
    search.AcdcMethod
    | search.EapIgAcdcMethod
    | scored.EapMethod
    | scored.RelpMethod
    | estimates.AtpStarMethod
    | scored.EapIgInputsMethod
    | scored.EapIgActivationsMethod
    | scored.CleanCorruptedMethod
    | estimates.ConductanceMethod
    | eap_exact.EapExactMethod
    | scored.ExactMethod
    | scored.NodeAttributionMethod
    | scored.NodeExactMethod
    | scored.HispMethod
    | scored.EdgePruningMethod
    | ensembles.EapIgEdgePruningMethod
    | scored.SubnetworkProbingMethod
    | ensembles.EnsembleMethod
    | ensembles.HybridEnsembleMethod
    | node_pruning.NodePruningMethod
    | scored.RandomMethod
)
"""Any method that finds a circuit; `name` is the discriminator."""

Method: TypeAlias = CircuitMethod | ProfileMethod | TextMethod
"""Anything that a run may do; `name` is the discriminator."""

METHODS: Mapping[str, type[CircuitMethod]] = {
    tag_of(method): method for method in get_args(CircuitMethod)
}
"""Every method that finds a circuit, by name."""

_BY_ALIAS = {alias: name for name, method in METHODS.items() for alias in method.ALIASES}

SCORED_METHODS: Mapping[str, type[scored.ScoredMethod]] = {
    name: method for name, method in METHODS.items() if issubclass(method, scored.ScoredMethod)
}
"""Those of them that score every edge."""


def method_name(name: str) -> str:
    """The name of the method that `name` is an alias of; any other `name` unchanged."""
    return _BY_ALIAS.get(name, name)


def circuit_method(method: Method) -> CircuitMethod:
    """`method`, narrowed to the methods that find a circuit."""
    assert not isinstance(method, ProfileMethod | TextMethod), "a profile finds no circuit"
    return method


def method_for(
    name: str,
    values: Mapping[str, Any],
    task: TaskSpec,
    *,
    where: str,
    written: Callable[[str], str] = str,
) -> CircuitMethod:
    """The method called `name` with `values`, and with the defaults for `task` otherwise.

    Args:
        name: of the method, or an alias of it.
        values: its parameters, by name.
        task: supplies the metric where none is given.
        where: the origin of the values, for errors.
        written: from the name of a parameter to how it is written there, for errors.

    Raises:
        UnknownName: no such method.
        InvalidInput: a value is not valid.
        SpecError: likewise, or it belongs to other methods only.
    """
    name = method_name(name)
    if name not in METHODS:
        raise UnknownName(
            unknown("method", name, [*METHODS, *_BY_ALIAS]),
            where=where,
            field=written("method"),
            allowed=", ".join(sorted(METHODS)),
            fix=LISTS["method"],
        )
    method = METHODS[name]
    for field in values:
        if field not in method.parameters():
            raise _foreign_parameter(name, field, where, written)
    try:
        method.check_arguments(values, where)
        return method.resolve(values, task, where)
    except InvalidInput as error:
        error.field = None if error.field is None else written(error.field)
        if error.fix is not None:  # a fix has names of parameters in backticks
            error.fix = re.sub("(?<=`)[a-z_]+(?=`)", lambda name: written(name[0]), error.fix)
        raise


def _foreign_parameter(
    name: str, field: str, where: str, written: Callable[[str], str]
) -> SpecError:
    owners = [other for other, method in METHODS.items() if field in method.parameters()]
    advice = f"leave it out, or choose a method that has it: {', '.join(owners)}"
    return SpecError(
        f"method '{name}' has no such parameter",
        where=where,
        field=written(field),
        allowed=", ".join(map(written, METHODS[name].parameters())),
        fix=advice if owners else None,
    )


def method_label(method: Method) -> str:
    """Return the name of a method with the size of its circuits.

    `acdc 0.01` for a threshold, `eap 5%` for a share of the edges, `eap 60 edges`, `profile`;
    `acdc 0.01 x 20` for a consensus of 20 searches.
    """
    searches = getattr(method, "consensus", 0)
    return f"{method.name} {size_label(method)}".rstrip() + (f" x {searches}" if searches else "")


def size_label(method: Method) -> str:
    """Return the parameter that decides the size of the circuits of a method.

    `0.01` for a threshold, `5%` for a share of the edges, `60 edges`; empty for a method that finds
    no circuit.
    """
    values = method.plain()
    if (threshold := values.get("threshold")) is not None:
        return f"{threshold:g}"
    if (edges := values.get("edges")) is not None:
        return pluralize(edges, "edge")
    share = values.get("share")
    return "" if share is None else f"{100 * share:.3g}%"
