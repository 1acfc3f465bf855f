"""The check of every annotation of a package, tensor shapes included, while tests run.

`jaxtyping.install_import_hook` checks the same, but each argument twice a call, which took a
quarter of the time of the suite.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import importlib.machinery
import inspect
import marshal
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Self, get_args, get_type_hints

from beartype import BeartypeConf, FrozenDict, beartype
from jaxtyping import AbstractArray, jaxtyped
from jaxtyping._storage import pop_shape_memo, push_shape_memo

from tests import quick_shapes
from tests.support import REPOSITORY

CACHE = REPOSITORY / ".pytest_cache" / "checked"
"""Compiled files of the package with their decorators, by all that decides them."""

_COMPILER = sys.version.encode() + Path(__file__).read_bytes()

# Functions are decorated one at a time, where beartype cannot know which class `Self` is.
_beartyped = beartype(conf=BeartypeConf(hint_overrides=FrozenDict({Self: object})))


def install(packages: Sequence[str]) -> None:
    """Decorate every function and dataclass of `packages`, imported from now on."""
    quick_shapes.install()
    sys.meta_path.insert(0, _Finder(tuple(packages)))


def checked(decorated: Any) -> Any:
    """Return a function, or a dataclass, whose annotations are checked at each call."""
    if not isinstance(decorated, type):
        return _checked_function(decorated)
    init = decorated.__dict__.get("__init__")
    if dataclasses.is_dataclass(decorated) and isinstance(init, FunctionType):
        decorated.__init__ = _checked_function(init)
    return decorated


def _checked_function(function: FunctionType) -> Callable[..., Any]:
    if inspect.isgeneratorfunction(function):
        # beartype would check the arguments at the first item: here they are at the call
        return jaxtyped(typechecker=_beartyped)(function)
    annotations = function.__annotations__
    hints = {name: _resolve(hint, function.__globals__) for name, hint in annotations.items()}
    function.__annotations__ = hints
    wrapped = _beartyped(function)
    function.__annotations__ = annotations
    if not any(map(_has_shape, hints.values())):
        return wrapped

    @functools.wraps(function)
    def in_context(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        # what `with jaxtyped("context")` does
        push_shape_memo({})
        try:
            return wrapped(*args, **kwargs)
        finally:
            pop_shape_memo()

    return in_context


def _resolve(hint: Any, names: dict[str, Any]) -> Any:
    """The type that `hint` is, or Any if it names what is not there (yet, or only for pyright)."""

    def annotated() -> None: ...

    annotated.__annotations__ = {"hint": hint}
    try:
        return get_type_hints(annotated, names, include_extras=True)["hint"]
    except Exception:  # noqa: BLE001  (whatever evaluating an annotation may raise)
        return Any


def _has_shape(hint: Any) -> bool:
    array = isinstance(hint, type) and issubclass(hint, AbstractArray)
    return array or any(map(_has_shape, get_args(hint)))


class _Transformer(ast.NodeTransformer):
    """Put the decorator next to each function, and before all others of each class."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list.append(_decorator(node))
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        if node.decorator_list:
            node.decorator_list.insert(0, _decorator(node))
        return self.generic_visit(node)


def _decorator(node: ast.AST) -> ast.expr:
    expression = ast.parse(f"__import__('sys').modules[{__name__!r}].checked", mode="eval").body
    for part in ast.walk(expression):
        ast.copy_location(part, node)
    return expression


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles with the decorators, and leaves the compiled files of Python alone.

    Code is kept in `CACHE` for other processes, which takes seconds of each.
    """

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        data = self.get_data(path)
        known = hashlib.sha256(b"\0".join((_COMPILER, path.encode(), data))).hexdigest()
        kept = CACHE / known
        with suppress(OSError, EOFError, ValueError, TypeError):
            return marshal.loads(kept.read_bytes())
        code = self.source_to_code(data, path)
        CACHE.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_suffix(f".{os.getpid()}")
        unfinished.write_bytes(marshal.dumps(code))
        unfinished.replace(kept)
        return code

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:
        tree = _Transformer().visit(ast.parse(data, path))
        return compile(tree, path, "exec", dont_inherit=True, optimize=_optimize)


class _Finder(MetaPathFinder):
    def __init__(self, packages: tuple[str, ...]) -> None:
        self.packages = packages

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not any(f"{fullname}.".startswith(f"{package}.") for package in self.packages):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec
