"""`acdc evaluate` of circuit files: neuron masks, cuts from scores, what was exported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from acdc_pipeline.models.bridge import load_bridge
from tests import checkpoints, circuit_files
from tests.circuit_files import Shape, save
from tests.command_line import acdc
from tests.oracles.masked_patching import MaskedPatching
from tests.prompt_sets import random_prompts

SHAPE = Shape(layers=2, heads=2, width=16)


@pytest.fixture
def asked(tmp_path: Path) -> tuple[str, ...]:
    """`evaluate TASK MODEL` of a tiny GPT-2 on pairs of token ids."""
    directory = checkpoints.gpt2(tmp_path / "model")
    pairs = random_prompts(3, 6, checkpoints.VOCAB, seed=5)
    rows = zip(pairs.clean.tolist(), pairs.corrupted.tolist(), strict=True)
    lines = [{"clean": a, "corrupted": b, "correct": [1], "incorrect": [2]} for a, b in rows]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return ("evaluate", str(tmp_path / "pairs.jsonl"), f"dir:{directory}", "--dtype", "float64")


def test_evaluate_masks_of_neurons_gives_the_kl_of_hooks_and_says_what_is_not_measured(
    capsys, tmp_path: Path, asked: tuple[str, ...]
):
    pairs = random_prompts(3, 6, checkpoints.VOCAB, seed=5)
    bridge = load_bridge(tmp_path / "model", dtype=torch.float64)
    hooks = MaskedPatching(bridge, pairs.clean, pairs.corrupted, "corrupted")
    edges = set(SHAPE.edges)
    masks = {name: [True] * 16 for name in SHAPE.sources} | {"m0": [True] * 8 + [False] * 8}
    path = save(tmp_path / "c.json", circuit_files.eap_ig_json(SHAPE, edges, None, masks))
    outcome = acdc(capsys, *asked, "--edges", path, "--json")
    assert outcome.code == 0, outcome.err
    half = {"m0": torch.tensor([1.0] * 8 + [0.0] * 8)}
    found = outcome.document
    assert found["kl"] == pytest.approx(hooks.masked_kl(edges, half), rel=1e-9)
    assert found["kl"] > 0.01
    weighted = len(edges) - 0.5 * sum(edge.startswith("m0->") for edge in edges)
    assert found["neurons"] == {"d_model": 16, "kept": {"m0": 8}, "weighted_edges": weighted}
    assert (found["curve"], found["null"]) == (None, None)
    assert "--neuron-basis centred" in outcome.err
    shown = acdc(capsys, *asked, "--edges", path, "--neuron-basis", "centred")
    assert shown.err.count("warning") == 0
    assert "m0 8" in shown.out
    assert "curve, null and all else" in shown.out
    acdc(capsys, *asked, "--edges", path, "--full").refuses("--full: cannot be measured")
    acdc(capsys, *asked, "--edges", path, "--top", "3").refuses("m0", "masks")


def test_evaluate_scores_alone_asks_for_a_size_and_cuts_to_it(
    capsys, tmp_path: Path, asked: tuple[str, ...]
):
    scores = {edge: float(index) for index, edge in enumerate(SHAPE.edges)}
    path = save(tmp_path / "c.pt", circuit_files.eap_ig_pt(SHAPE, set(), scores))
    given = (*asked, "--edges", path, "--null", "0", "--json")
    acdc(capsys, *given).refuses(str(path), "no edge in the circuit", "--top N or --share X")
    # the best are the seven edges into the logits and the six into m1: the input alone has a way in
    assert (SHAPE.edges[-7], SHAPE.edges[-13]) == ("input->logits", "input->m1")
    shown = acdc(capsys, *given, "--top", "13")
    assert shown.document["edges_kept"] == 3
    assert "10 of the 13 edges selected are on no path" in shown.err
    assert "3 remain" in shown.err
    assert acdc(capsys, *given, "--share", "1").document["kl"] == pytest.approx(0, abs=1e-9)
    for more, parts in {
        ("--top", "3", "--share", "0.5"): ("--share: cannot go with --top",),
        ("--rank", "signed"): ("--rank: is for a circuit that is cut", "--top N"),
        ("--top", "3", "--level", "head"): ("--level: unknown level 'head'", "neuron"),
        ("--share", "2"): ("--share: 2 is not a share",),
        ("--top", "1000"): ("1000 edges are not there",),
        ("--share", "1", "--neuron-basis", "stored"): ("--neuron-basis: is for a file with",),
    }.items():
        acdc(capsys, *given, *more).refuses(*parts)
    acdc(capsys, "evaluate", "abc", "--top", "3").refuses("--top: a stored run has its own")


@pytest.mark.parametrize("name", ["c.pt", "c.json", "scores.pt"])
def test_evaluate_of_an_export_is_that_of_the_run(
    capsys, store_url: str, tmp_path: Path, name: str
):
    case = ("compiled_successor", "zoo:compiled-successor")
    few = ("--prompts", "8", "--json")
    method = ("--method", "eap", "--edges", "9", "--rank", "signed")
    found = acdc(capsys, "discover", *case, *method, *few).document
    form = {"c.pt": "eap-ig-pt", "c.json": "mib-json", "scores.pt": "auto-circuit"}[name]
    path = tmp_path / name
    outcome = acdc(capsys, "runs", "export", found["run_id"], "--format", form, "--out", path)
    assert outcome.code == 0, outcome.err
    cut = ()
    if form == "auto-circuit":
        cut = ("--top", "9", "--select", "connected", "--rank", "signed")
    again = acdc(capsys, "evaluate", *case, "--edges", path, *cut, "--null", "0", *few).document
    assert again["edges_kept"] == found["edges_kept"]
    assert again["kl"] == found["metrics"]["kl"]
