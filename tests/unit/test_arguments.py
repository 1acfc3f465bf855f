"""Wrong arguments of the public functions, as a user meets them: without checks of types."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from acdc_pipeline.arguments import as_task
from acdc_pipeline.specs import TaskSpec
from tests import circuit_files
from tests.circuit_files import Shape

SHAPE = Shape(layers=1, heads=2, width=4)

CALLS = {
    "discover('zoo:attn-2l', 'induction', threshold=1.0)": ("is a model", "as the model"),
    "discover('pairs.csv', 'zoo:attn-2l')": ("'pairs.csv'", ".jsonl", "Task.from_pairs(table"),
    "discover(5, 'zoo:attn-2l')": ("a int does not hold prompt pairs", "Task.from_pairs"),
    "discover([('a', 'b')], 'zoo:attn-2l')": ("pair 1", "correct"),
    "discover('induction', 'zoo:attn-2l')": ("threshold: is missing", "0.01", "faithful=0.9"),
    "discover('induction', 'zoo:attn-2l', faithful='0.9')": ("faithful", "a str"),
    "discover('induction', 'zoo:attn-2l', 'eap', top_n=5)": ("it is called edges", "prompts"),
    "discover('induction', 'zoo:attn-2l', 'eap', ig_steps=5)": ("it is called steps",),
    "discover('induction', 'zoo:attn-2l', 'eap', n_prompts=5)": ("it is called prompts",),
    "evaluate('c.json', 'induction', 'zoo:attn-2l')": ("'c.json'", "load_circuit(path, model)"),
    "evaluate(['m0->logits'], 'induction', 'zoo:attn-2l')": ("Circuit.of(",),
    "evaluate(z, 'induction', 'zoo:attn-2l', scope='all')": ("unknown scope", "basic, full"),
    "Circuit.of('zoo:attn-2l', [])": ("is not the graph", "load_model("),
    "z.compare('x')": ("'x' is not a circuit", "`.circuit` of what load_circuit"),
    "z.strongest('3')": ("count: '3' is not a whole number",),
    "Metric('mine', lambda logprobs: logprobs)": ("function(outputs, answers)", "two parameters"),
    "load_circuit('none.json', graph)": ("none.json", "cannot be read"),
    "load_circuit('none.json', graph, level='head')": ("level", "neuron"),
    "load_circuit('none.json', graph, rank='signed')": ("rank", "top=N or share=X"),
    "load_circuit('none.json', graph, top=1, share=0.1)": ("share", "give one of both"),
    "load_circuit('none.json', graph, share=2)": ("2 is not a share", "0 to 1"),
}

PROGRAM = """
import json, sys
from acdc_pipeline import Circuit, Metric, discover, evaluate, load_circuit
from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.graph import Topology
graph = Topology(2, 2, has_mlp=True)
z = Circuit.full(graph)
said = {}
for call in json.loads(sys.argv[1]):
    try:
        said[call] = f"no error: {eval(call)!r}"
    except InvalidInput as error:
        said[call] = str(error)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def messages() -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(list(CALLS))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("call", CALLS)
def test_wrong_argument_is_one_clear_error(messages: dict[str, str], call: str):
    for part in CALLS[call]:
        assert part in messages[call]
    assert "--" not in messages[call]


def test_prompt_pairs_and_tables_are_tasks():
    import pandas

    row = {"clean": [5, 6, 5], "corrupted": [8, 6, 5], "correct": 6, "incorrect": [7]}
    expected = TaskSpec.from_pairs([row])
    assert as_task([tuple(row.values())], "discover") == expected
    assert as_task(pandas.DataFrame([row]), "discover") == expected


def test_circuit_file_is_read_evaluated_and_cut_with_its_masks(tmp_path: Path):
    import torch

    from acdc_pipeline import (
        Circuit,
        compute_logits,
        evaluate,
        load_circuit,
        load_model,
        patch_model,
    )
    from acdc_pipeline.errors import GraphError, InvalidInput
    from acdc_pipeline.graph.mib import to_mib

    model = load_model("zoo:attn-2l", device="cpu", dtype="float64")
    names = [str(edge) for edge in model.topology.edges[::3]]
    path = tmp_path / "edges.txt"
    path.write_text("\n".join(names))
    given = load_circuit(path, "zoo:attn-2l")
    assert given.circuit == Circuit.of(model.topology, names)
    assert given == load_circuit(path, model)
    pairs = [([5, 6, 5], [8, 6, 5])]
    logits = compute_logits(given, iter(pairs), model, dtype=torch.float32)
    assert torch.equal(logits, compute_logits(given.circuit, pairs, model))
    ids, corrupted = (torch.tensor([side]) for side in pairs[0])
    with torch.no_grad(), patch_model(given, model.bridge, corrupted) as patched:
        assert torch.allclose(patched(ids)[:, -1].float(), logits, atol=1e-4)
    plain = evaluate(given.circuit, "induction", model, prompts=4, null=0, dtype=torch.float64)
    assert evaluate(given, "induction", model, prompts=4, null=0, dtype="float64") == plain

    # a node without neurons in the circuit carries its ablated output, as if its edges were removed
    width = model.weights.d_model
    document = to_mib(Circuit.full(model.topology), d_model=width)
    for name, node in document["nodes"].items():
        if name != "logits":
            node["neurons"] = [name != "a0.h0"] * width
    path.write_text(json.dumps(document))
    masked = load_circuit(path, model)
    assert masked.masks == load_circuit(path, model).masks
    assert masked == load_circuit(path, model) != given
    requests: list[dict[str, Any]] = [{"scope": "full"}, {"null": 2}, {"draws": 1}, {"restarts": 1}]
    for more in requests:
        with pytest.raises(InvalidInput, match=f"{next(iter(more))}: cannot be measured .* masks"):
            evaluate(masked, "induction", "hf:none/there", **more)
    with pytest.raises(GraphError, match=r"compute_logits cannot carry .* masks, and a0\.h0 has"):
        compute_logits(masked, "induction", model)
    with (
        pytest.raises(GraphError, match="patch_model cannot carry neuron masks"),
        patch_model(masked, model.bridge),
    ):
        pass
    with pytest.warns(UserWarning, match="neuron_basis='centred'"):
        found = evaluate(masked, "induction", model, prompts=4, dtype="float64")
    removed = [edge for edge in model.topology.edges if str(edge.src) == "a0.h0"]
    part = Circuit.full(model.topology).without(removed)
    expected = evaluate(part, "induction", model, prompts=4, null=0, dtype="float64")
    assert expected.metrics["kl"].circuit > 1e-4
    assert found.metrics["kl"].circuit == pytest.approx(expected.metrics["kl"].circuit, rel=1e-9)


def test_circuit_is_cut_from_scores_of_a_file(tmp_path: Path):
    from acdc_pipeline import load_circuit
    from acdc_pipeline.graph import Topology

    scores = {edge: float(index) for index, edge in enumerate(SHAPE.edges)}
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(circuit_files.eap_ig_json(SHAPE, set(), scores)))
    cut = load_circuit(path, Topology(1, 2, has_mlp=True), top=3, select="threshold")
    assert {str(edge) for edge in cut.circuit.edges} == set(SHAPE.edges[-3:])
    masks = {name: [True, False, True, False] for name in SHAPE.sources}
    path.write_text(json.dumps(circuit_files.eap_ig_json(SHAPE, {"m0->logits"}, None, masks)))
    masked = load_circuit(path, Topology(1, 2, has_mlp=True), neuron_basis="centred")
    assert masked.masks is not None
    assert masked.masks.basis == "centred"
    assert repr(masked).startswith("<EAP-IG graph: 1 of ")
    assert repr(masked).endswith("neuron masks of m0>")
