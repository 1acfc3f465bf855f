"""Runs in which experts are nodes: found, stored, read, evaluated, patched into a model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from acdc_pipeline import discover, evaluate, load_circuit, patch_model
from acdc_pipeline.errors import InvalidInput, UnsupportedModel
from acdc_pipeline.graph.node_link import node_link_json
from acdc_pipeline.specs import TaskSpec
from acdc_pipeline.store import open_store
from acdc_pipeline.wiki.build import build
from tests.every_class import EVERY_CLASS
from tests.wiki_pages import broken_links, pages_of

PAIRS = TaskSpec.from_pairs(
    [([1, 2, 3, 4, 5], [1, 7, 3, 4, 9], 3, 4), ([2, 3, 4, 5, 6], [2, 8, 4, 5, 9], 5, 6)]
)


def folder_of(name: str, folder: Path) -> str:
    tiny = next(one for one in EVERY_CLASS if one.name == name)
    return f"dir:{tiny.save(folder)}"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return folder_of("GraniteMoeSharedForCausalLM", tmp_path_factory.mktemp("granite"))


def test_runs_with_experts_are_stored_apart_and_read_again(model: str, tmp_path: Path):
    store = tmp_path / "store"
    arguments = {"threshold": 0.02, "store": store, "progress": None}
    split = discover(PAIRS, model, experts="nodes", **arguments)
    whole = discover(PAIRS, model, **arguments)
    assert split.run_id != whole.run_id
    assert split.topology.experts == (4, 4)
    assert split.topology.shared == (0, 1)
    assert split.topology.n_edges > whole.topology.n_edges
    again = open_store(store).get(split.run_id)
    assert again.circuit == split.run.circuit
    assert again.spec.experts == "nodes"
    out = tmp_path / "site"
    build(open_store(store), out, jobs=1)
    assert broken_links(out, pages_of(out)) == []
    (page,) = (path for path in (out / "t").glob("*/*.html") if path.name != "index.html")
    assert "nodes of their own" in page.read_text()


def test_circuits_with_experts_are_evaluated_in_the_model_split_likewise(
    model: str, tmp_path: Path
):
    found = discover(PAIRS, model, method="eap", experts="nodes", edges=60, progress=None)
    measured = found.evaluate(null=3)
    assert measured.faithfulness == pytest.approx(found.faithfulness)
    file = tmp_path / "circuit.json"
    file.write_text(node_link_json(found))
    read = load_circuit(file, model)
    assert read.circuit.edges == found.edges
    again = evaluate(read, PAIRS, model, metric="logit_diff", null=0)
    assert again.faithfulness == pytest.approx(found.faithfulness, rel=1e-5)
    with pytest.raises(UnsupportedModel, match="no mixture of experts"):
        evaluate(read, PAIRS, folder_of("LlamaForCausalLM", tmp_path / "llama"))


def test_a_model_gives_the_logits_of_a_circuit_with_experts(model: str):
    from transformers import AutoModelForCausalLM

    found = discover(PAIRS, model, method="eap", experts="nodes", edges=60, progress=None)
    hugging_face = AutoModelForCausalLM.from_pretrained(model.removeprefix("dir:")).eval()
    clean, corrupted = torch.tensor([[1, 2, 3, 4, 5]]), torch.tensor([[1, 7, 3, 4, 9]])
    ours = found.logits([(clean[0].tolist(), corrupted[0].tolist())])
    with patch_model(found, hugging_face, corrupted), torch.no_grad():
        theirs = hugging_face(clean).logits[:, -1]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)  # float32


def test_experts_of_a_model_without_any_are_refused_before_anything_is_stored(tmp_path: Path):
    model = folder_of("LlamaForCausalLM", tmp_path / "model")
    with pytest.raises(InvalidInput) as caught:
        discover(PAIRS, model, experts="nodes", threshold=0.1, store=tmp_path / "store")
    assert "no mixture of experts" in str(caught.value)
    assert "leave out --experts nodes" in str(caught.value)
    assert not (tmp_path / "store" / "runs").exists()
