"""Which classes of the installed libraries are reproduced, refused, or unknown.

The names are read from the source of transformers and TransformerLens: importing them would take
seconds, and running them is not needed.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from acdc_pipeline.models.architectures import ALIASES, SUPPORTED
from acdc_pipeline.models.architectures.refused import REFUSED

# Distribution, the file of the package that has the tables, and their names there.
_TABLES = (
    (
        "transformers",
        "models/auto/modeling_auto.py",
        (
            "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
            "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
            "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES",
        ),
    ),
    (
        "transformer-lens",
        "factories/architecture_adapter_factory.py",
        ("SUPPORTED_ARCHITECTURES",),
    ),
)


@dataclass(frozen=True)
class Listing:
    """The classes that a library lists: models that generate text, or architectures.

    Args:
        library: name of the distribution.
        version: of what is installed; None if the library is not installed.
        classes: names, sorted; empty if `problem` is set.
        problem: why the names could not be read, or None.
    """

    library: str
    version: str | None
    classes: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True)
class Coverage:
    """What the package does with each class that an installed library lists.

    Args:
        listings: what each library lists.
        reproduced: class name and the name in common use.
        refused: class name and the reason.
        unknown: names that are neither.
    """

    listings: tuple[Listing, ...]
    reproduced: Mapping[str, str]
    refused: Mapping[str, str]
    unknown: tuple[str, ...]

    def by_reason(self) -> dict[str, tuple[str, ...]]:
        """Return the refused classes of each reason; the reason of most classes first."""
        groups: dict[str, list[str]] = {}
        for name, reason in self.refused.items():
            groups.setdefault(reason, []).append(name)
        ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
        return {reason: tuple(names) for reason, names in ordered}


def measure_coverage() -> Coverage:
    """Return what is done with every class that transformers or TransformerLens lists."""
    listings = tuple(_list_classes(*table) for table in _TABLES)
    known = {**SUPPORTED, **{alias: SUPPORTED[name] for alias, name in ALIASES.items()}}
    names = sorted({name for listing in listings for name in listing.classes})
    return Coverage(
        listings,
        {name: known[name] for name in names if name in known},
        {name: REFUSED[name] for name in names if name in REFUSED and name not in known},
        tuple(name for name in names if name not in known and name not in REFUSED),
    )


def _list_classes(library: str, file: str, tables: Sequence[str]) -> Listing:
    try:
        installed = version(library)
    except PackageNotFoundError:
        return Listing(library, None, problem="it is not installed")
    # The parent package is not imported by this, unlike by the spec of a module in it.
    spec = find_spec(library.replace("-", "_"))
    folders = list(spec.submodule_search_locations or ()) if spec else []
    try:
        source = (Path(folders[0]) / file).read_text(encoding="utf-8")
        module = ast.parse(source)
        classes = {name for table in tables for name in _read_table(module, table)}
    except (OSError, IndexError, ValueError, SyntaxError) as error:
        names = " or ".join(tables)
        return Listing(library, installed, problem=f"no table {names} in {file} ({error})")
    return Listing(library, installed, tuple(sorted(classes)))


def _read_table(module: ast.Module, name: str) -> set[str]:
    """Return the class names in a table of a module: keys of a dict, or values of pairs.

    Raises:
        ValueError: the table is missing or has another form.
    """
    for statement in module.body:
        targets = (
            statement.targets
            if isinstance(statement, ast.Assign)
            else [statement.target]
            if isinstance(statement, ast.AnnAssign)
            else []
        )
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
            if isinstance(value, ast.Dict):
                return {str(ast.literal_eval(key)) for key in value.keys if key is not None}
            if isinstance(value, ast.Call) and value.args and isinstance(value.args[0], ast.List):
                # A starred element is another table.
                pairs = [pair for pair in value.args[0].elts if isinstance(pair, ast.Tuple)]
                found = [ast.literal_eval(pair.elts[1]) for pair in pairs]
                return {
                    n for names in found for n in ([names] if isinstance(names, str) else names)
                }
    raise ValueError("it is absent")
