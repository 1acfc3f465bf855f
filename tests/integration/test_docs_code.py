"""The code that docs/ show runs: Python of the API page, the notebook, the method of one's own."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

import acdc_pipeline
from acdc_pipeline.algorithms import ScoringProblem
from acdc_pipeline.evaluation import differentiable_objective_for, objective_for
from acdc_pipeline.graph.cut import cut
from acdc_pipeline.specs.methods import scored
from acdc_pipeline.specs.methods.scored import ScoredMethod
from tests.command_line import acdc
from tests.compiled_bench import compiled_bench
from tests.support import REPOSITORY

DOCS = REPOSITORY / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


def python_in(page: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_python_of_the_api_page_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for snippet in python_in("api.md"):
        exec(snippet, names)
    assert (tmp_path / "induction.svg").exists()
    assert set(acdc_pipeline.__all__) <= set(names)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_from_top_to_bottom(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert names["worth"].faithfulness > 0.5


def test_own_model_page_goes_from_a_checkpoint_to_a_circuit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    page = (DOCS / "your-own-model.md").read_text(encoding="utf-8")
    section = page.partition("## From a checkpoint to a circuit")[2].partition("\n## ")[0]
    names: dict[str, Any] = {}
    outputs = []
    for kind, code in re.findall(r"^```(python|sh)\n(.*?)^```", section, re.DOTALL | re.MULTILINE):
        if kind == "python":
            exec(code, names)
            continue
        for line in code.splitlines():
            program, *arguments = shlex.split(line)
            done = acdc(capsys, *arguments)
            assert (program, done.code) == ("acdc", 0), done.err
            outputs.append(done.out)
    assert len(outputs) == 4
    assert "toy" in outputs[-1]


@pytest.mark.parametrize("name", ["model-in-memory", "model-in-memory-store"])
def test_notebook_of_a_model_in_memory_has_25_lines_of_code_at_most(name: str):
    notebook = json.loads((DOCS / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
    code = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert 0 < sum(bool(line.strip()) for source in code for line in source) <= 25


def test_method_of_ones_own_scores_every_edge(monkeypatch: pytest.MonkeyPatch):
    computation, parameters = python_in("writing-a-method.md")
    names: dict[str, Any] = {
        "ScoredMethod": ScoredMethod,
        "ClassVar": ClassVar,
        "Literal": Literal,
    }
    exec(parameters, names)
    kind = names["SourceChangeMethod"]
    kind.model_rebuild(_types_namespace=names)
    monkeypatch.setattr(scored, "SourceChangeMethod", kind, raising=False)
    exec(computation, names)
    bench = compiled_bench("compiled-induction")
    problem = ScoringProblem(
        bench=bench,
        objective=objective_for(bench, "kl"),
        differentiable=differentiable_objective_for(bench, "kl"),
        seed=0,
        memory=1,
        advance=lambda share: None,
    )
    method = kind(name="source-change", metric="kl", ablation="corrupted", share=0.1, edges=None)
    scores = names["source_change"](problem, method)
    assert scores.keys() == bench.weights.topology.edge_set
    assert all(score >= 0 for score in scores.values())
    into = [edge for edge in scores if str(edge.receiver) == "logits"]
    assert sum(scores[edge] for edge in into) == pytest.approx(1)
    assert cut(bench.weights.topology, scores, edges=method.size(len(scores)), rank="signed").edges
