"""No files of the package import one another in a circle, however the import is written."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import networkx as nx
import pytest

from tests.support import PACKAGE

DEFERRED = (ast.FunctionDef, ast.AsyncFunctionDef)
"""Statements whose bodies do not run when a module is imported."""

FOR_TYPES = ("TYPE_CHECKING", "typing.TYPE_CHECKING")
"""Conditions whose bodies only a type checker reads."""


def test_no_files_import_one_another_in_a_circle():
    assert circles(PACKAGE) == []


@pytest.mark.parametrize(
    "imports",
    [
        "from pack.b import name",
        "from pack import b",
        "from .b import name",
        "from . import b",
        "import pack.b",
        "import math, pack.b as other",
        "from pack.lazy import name",
        "if True:\n    pass\nelse:\n    import pack.b",
        "try:\n    pass\nexcept OSError:\n    import pack.b",
        "try:\n    pass\nexcept OSError:\n    pass\nelse:\n    import pack.b",
        "try:\n    pass\nfinally:\n    import pack.b",
        "with open('x'):\n    import pack.b",
        "for _ in ():\n    pass\nelse:\n    import pack.b",
        "while True:\n    import pack.b",
        "match 1:\n    case _:\n        import pack.b",
        "class A:\n    import pack.b",
        "if not TYPE_CHECKING:\n    import pack.b",
        "if TYPE_CHECKING:\n    pass\nelse:\n    import pack.b",
    ],
)
def test_circle_is_found_however_it_is_written(tmp_path: Path, imports: str):
    assert circles(write_package(tmp_path, imports)) == [["pack.a", "pack.b"]]


@pytest.mark.parametrize(
    "imports",
    [
        "import math",
        "from pack.lazy import other",
        "def f():\n    import pack.b",
        "if TYPE_CHECKING:\n    import pack.b",
        "class A:\n    def f(self):\n        import pack.b",
    ],
)
def test_what_is_not_imported_with_a_module_is_no_circle(tmp_path: Path, imports: str):
    assert circles(write_package(tmp_path, imports)) == []


def write_package(folder: Path, imports: str) -> Path:
    """Write a package of which `pack.b` imports `pack.a`, and `pack.a` has `imports`."""
    package = folder / "pack"
    files = {
        "__init__.py": "",
        "a.py": imports,
        "b.py": "from pack.a import name",
        "lazy/__init__.py": "",
        "lazy/__init__.pyi": "from ..b import name\nfrom .c import other as other",
        "lazy/c.py": "",
    }
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    return package


def circles(package: Path) -> list[list[str]]:
    """Return the groups of modules of which each is imported, directly or not, with the others."""
    modules = {name_of(path, package): path for path in package.rglob("*.py")}
    stubs = {
        f"{name_of(path, package)}.{alias}": f"{module}.{original}"
        for path in package.rglob("*.pyi")
        for module, original, alias in names_imported(path, package)
    }
    imports = nx.DiGraph(
        (name, imported)
        for name, path in modules.items()
        for module, original, _ in names_imported(path, package)
        for imported in loaded_by(f"{module}.{original}".removesuffix("."), modules, stubs)
    )
    imports.remove_edges_from(list(nx.selfloop_edges(imports)))
    found = [sorted(group) for group in nx.strongly_connected_components(imports)]
    return sorted(group for group in found if len(group) > 1)


def name_of(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def loaded_by(
    imported: str, modules: Mapping[str, Path], stubs: Mapping[str, str]
) -> Iterator[str]:
    """Yield the modules of the package that are loaded to import `imported`.

    A name in the stub of a package is loaded from its module when it is first read.
    """
    holder = imported.rpartition(".")[0]
    if imported in modules:
        yield imported
    elif holder in modules:
        yield holder
        if imported in stubs:
            yield from loaded_by(stubs[imported], modules, stubs)


def names_imported(path: Path, package: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the module, the name in it or "", and the name here of each import in a file."""
    name = name_of(path, package)
    folder = name if path.stem == "__init__" else name.rpartition(".")[0]
    for statement in run_at_import(ast.parse(path.read_text(encoding="utf-8")).body):
        if isinstance(statement, ast.Import):
            yield from ((alias.name, "", alias.name) for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            base = folder.split(".")[: len(folder.split(".")) - statement.level + 1]
            parts = [*base, *filter(None, [statement.module])] if statement.level else []
            module = ".".join(parts) or statement.module or ""
            yield from ((module, a.name, a.asname or a.name) for a in statement.names)


def run_at_import(statements: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield every statement that may run when a module is imported, nested ones too."""
    for statement in statements:
        yield statement
        if isinstance(statement, DEFERRED):
            continue
        bodies = [getattr(statement, field, []) for field in ("body", "orelse", "finalbody")]
        if isinstance(statement, ast.If) and ast.unparse(statement.test) in FOR_TYPES:
            bodies = [statement.orelse]
        parts = [*getattr(statement, "handlers", []), *getattr(statement, "cases", [])]
        for body in (*bodies, *(part.body for part in parts)):
            yield from run_at_import(body)
