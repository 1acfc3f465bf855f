"""Runs notebooks and keeps what they show: `python -m benchmarks.notebooks docs/notebooks`.

In this process and without Jupyter: printed text, and the picture of a circuit that stands last.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import json
from pathlib import Path
from typing import Any


def run_cell(source: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """The outputs of one cell, in the notebook format (version 4)."""
    tree = ast.parse(source)
    last = tree.body[-1] if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    body = ast.Module(tree.body[:-1] if last else tree.body, [])
    printed = io.StringIO()
    shown = None
    with contextlib.redirect_stdout(printed):
        exec(compile(body, "cell", "exec"), names)
        if last is not None:
            shown = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if text := printed.getvalue():
        lines = text.splitlines(keepends=True)
        outputs.append({"name": "stdout", "output_type": "stream", "text": lines})
    if shown is not None:
        outputs.append({"data": _data(shown), "metadata": {}, "output_type": "display_data"})
    return outputs


def _data(shown: Any) -> dict[str, Any]:
    data: dict[str, Any] = {"text/plain": [repr(shown)]}
    if hasattr(shown, "_repr_svg_"):
        data["image/svg+xml"] = shown._repr_svg_().splitlines(keepends=True)
    return data


def run_notebook(path: Path) -> None:
    """Runs every cell from top to bottom and writes the notebook with their outputs."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(code, 1):
        cell["outputs"] = run_cell("".join(cell["source"]), names)
        cell["execution_count"] = number
    text = json.dumps(notebook, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Runs the notebooks of the folder given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    for path in sorted(parser.parse_args().folder.glob("*.ipynb")):
        run_notebook(path)


if __name__ == "__main__":
    main()
