from __future__ import annotations

import hashlib
import json
import math
import pickle
from dataclasses import replace
from io import BytesIO
from typing import Any

import networkx as nx
import pyarrow.parquet as pq
import pytest
from hypothesis import given

import acdc_pipeline
from acdc_pipeline.errors import DamagedRun, StoreError
from acdc_pipeline.graph import Circuit, Edge, Topology
from acdc_pipeline.graph.consensus import Consensus, OrGroup, Role
from acdc_pipeline.specs import SCHEMA_VERSION, RunSpec
from acdc_pipeline.store import RunRecord
from acdc_pipeline.store.codec import decode, decode_summary, encode
from tests import records
from tests.strategies import run_records
from tests.support import print_elsewhere

RECORD = records.record()
RUN_ID = RECORD.spec.run_id()


@given(run_records())
def test_record_reads_back_exactly_equal(record: RunRecord):
    assert decode(record.spec.run_id(), encode(record)) == record


@given(run_records())
def test_record_read_back_encodes_to_the_same_bytes(record: RunRecord):
    files = encode(record)
    assert encode(decode(record.spec.run_id(), files)) == files


def test_consensus_is_a_file_of_its_own_and_reads_back_equal():
    kept = Edge.parse("input->a0.h1<q>")
    group = OrGroup(((kept,), (Edge.parse("input->a0.h1<v>"),)), (0.1 + 0.2, 0.0), 1.5)
    roles: dict[Edge, Role] = dict.fromkeys(group.edges, "alternative")
    agreed = Consensus(3, 0.5, dict.fromkeys(roles, 2), roles, (group,))
    files = encode(replace(RECORD, consensus=agreed))
    assert decode(RUN_ID, files).consensus == agreed
    assert {name: files[name] for name in encode(RECORD)} == encode(RECORD)
    elsewhere = files["consensus.json"].replace(b"a0.h1", b"a9.h9")
    for wrong in (b'{"searches":3}\n', elsewhere):
        files["consensus.json"] = wrong
        with pytest.raises(DamagedRun, match="files do not make a run"):
            decode(RUN_ID, files)


def test_record_encodes_to_the_same_bytes_in_another_process():
    code = (
        "import hashlib, json; from tests import records;"
        "from acdc_pipeline.store.codec import encode;"
        "files = encode(records.record());"
        "print(json.dumps({n: hashlib.sha256(d).hexdigest() for n, d in files.items()}))"
    )
    there = print_elsewhere(code)
    here = {name: hashlib.sha256(data).hexdigest() for name, data in encode(RECORD).items()}
    assert json.loads(there) == here


def test_record_survives_pickling():
    assert pickle.loads(pickle.dumps(RECORD)) == RECORD


def test_edges_table_is_what_the_product_page_says():
    table = pq.read_table(BytesIO(encode(RECORD)["edges.parquet"]))
    # q, k, v of two heads see the input; the logits see input and heads.
    assert table.num_rows == 6 + 3
    assert table.slice(1, 1).to_pylist() == [
        {
            "run_id": RUN_ID,
            "src": "input",
            "dst": "a0.h1",
            "src_kind": "input",
            "src_layer": None,
            "src_head": None,
            "dst_kind": "head",
            "dst_layer": 0,
            "dst_head": 1,
            "dst_slot": "q",
            "score": 0.10000000149011612,
            "present": True,
        }
    ]
    last = table.slice(8, 1).to_pylist()[0]
    assert (last["src"], last["dst"], last["dst_slot"], last["score"], last["present"]) == (
        "a0.h1",
        "logits",
        None,
        None,
        True,
    )


def test_nodes_table_counts_kept_edges():
    table = pq.read_table(BytesIO(encode(RECORD)["nodes.parquet"])).to_pydict()
    assert table["node"] == ["input", "a0.h0", "a0.h1", "logits"]
    assert table["in_circuit"] == [True, False, True, True]
    assert table["in_degree"] == [0, 0, 2, 1]
    assert table["out_degree"] == [2, 0, 1, 0]


def test_steps_table_keeps_64_bits():
    table = pq.read_table(BytesIO(encode(RECORD)["steps.parquet"])).to_pydict()
    assert table["metric_after"] == [0.1 + 0.2, 1.5]
    assert table["dst_slot"] == [None, "q"]


@pytest.mark.parametrize("name", ["edges", "nodes", "steps", "heads"])
def test_parquet_file_says_which_run_spec_and_version_it_is(name: str):
    metadata = pq.read_schema(BytesIO(encode(RECORD)[f"{name}.parquet"])).metadata
    assert metadata[b"acdc.schema_version"] == str(SCHEMA_VERSION).encode()
    assert metadata[b"acdc.run_id"] == RUN_ID.encode()
    assert metadata[b"acdc.code_version"] == acdc_pipeline.__version__.encode()
    assert RunSpec.from_plain(json.loads(metadata[b"acdc.spec"])) == RECORD.spec


def test_graph_file_holds_the_circuit_and_nothing_that_was_removed():
    document = json.loads(encode(RECORD)["graph.json"])
    graph = nx.node_link_graph(document, edges="edges")
    assert graph.number_of_edges() == 3
    assert "removed_scores" not in graph.graph
    assert graph.edges["input", "a0.h1", "q"]["score"] == pytest.approx(0.1)


def test_record_without_circuit_log_and_heads_is_one_file():
    bare = RunRecord(records.spec(), None, (), {}, {}, 0.0, {})
    assert list(encode(bare)) == ["run.json"]
    assert decode(RUN_ID, encode(bare)) == bare


def test_summary_of_a_run_says_what_its_list_shows():
    summary = decode_summary(RUN_ID, encode(RECORD)["run.json"])
    assert (summary.run_id, summary.spec) == (RUN_ID, RECORD.spec)
    assert (summary.edges_kept, summary.edges_total) == (3, 9)
    assert summary.metrics == RECORD.metrics
    assert summary.code_version == acdc_pipeline.__version__


def with_changes(**changes: Any) -> RunRecord:
    fields = {name: getattr(RECORD, name) for name in RECORD.__dataclass_fields__}
    return RunRecord(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"metrics": {"kl": math.nan}}, "metrics.kl"),
        ({"metrics": {"kl": math.inf}}, "metrics.kl"),
        ({"details": {"margin": math.nan}}, "details"),
        ({"details": {"margin": object()}}, "details"),
        ({"profile": {"roles": {1, 2}}}, "profile"),
        ({"wall_seconds": math.inf}, "wall_seconds"),
        ({"parity_error": math.nan}, "parity_error"),
    ],
)
def test_record_with_a_value_that_cannot_be_stored_is_refused(changes: dict[str, Any], field: str):
    with pytest.raises(StoreError) as caught:
        with_changes(**changes)
    assert field in str(caught.value)


@pytest.mark.parametrize("score", [math.nan, math.inf, 1e300])
def test_record_with_a_score_beyond_32_bits_is_refused(score: float):
    edge = Edge.parse("a0.h1->logits")
    circuit = Circuit.of(Topology(1, 2, has_mlp=False), [edge], {edge: score})
    with pytest.raises(StoreError) as caught:
        with_changes(circuit=circuit, decisions=())
    assert "a0.h1->logits" in str(caught.value)


def test_record_details_become_json_data_at_once():
    assert with_changes(details={"shape": (2, 3)}).details == {"shape": [2, 3]}


def changed_run_json(**changes: Any) -> dict[str, bytes]:
    files = encode(RECORD)
    document = json.loads(files["run.json"]) | changes
    return files | {"run.json": json.dumps(document).encode()}


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "run.json is missing"),
        ({"run.json": b"{"}, "not JSON"),
        ({"run.json": b"[]"}, "not a JSON object"),
        ({"run.json": b"[" * 100_000}, "nested too deeply"),
        (changed_run_json(run_id="f" * 20), "run.json: run_id"),
        (changed_run_json(schema_version=99), "schema_version"),
        (changed_run_json(spec={}), "files do not make a run"),
        (changed_run_json(metrics={"kl": math.nan}), "metrics.kl"),
        (
            changed_run_json(
                topology={"n_layers": 2, "n_heads": 2, "has_mlp": False, "parallel": False}
            ),
            "rows are not the edges of the graph",
        ),
        (changed_run_json(topology={"layers": 2}), "files do not make a run"),
        (encode(RECORD) | {"edges.parquet": b"PAR1"}, "edges.parquet"),
        (encode(RECORD) | {"edges.parquet": encode(RECORD)["nodes.parquet"]}, "columns are"),
        ({"run.json": encode(RECORD)["run.json"]}, "edges.parquet is missing"),
    ],
)
def test_files_that_make_no_run_are_damage_with_the_runs_name(files: dict[str, bytes], says: str):
    with pytest.raises(DamagedRun) as caught:
        decode(RUN_ID, files)
    assert says in str(caught.value)
    assert RUN_ID in str(caught.value)


@pytest.mark.parametrize("changes", [{"metrics": {"kl": "low"}}, {"wall_seconds": "long"}])
def test_summary_of_a_run_whose_numbers_are_none_is_damage(changes: dict[str, Any]):
    with pytest.raises(DamagedRun, match="files do not make a run"):
        decode_summary(RUN_ID, changed_run_json(**changes)["run.json"])


def test_damage_of_a_spec_is_one_line_that_names_the_field():
    with pytest.raises(DamagedRun) as caught:
        decode_summary(
            RUN_ID, changed_run_json(spec=RECORD.spec.plain() | {"seed": -1})["run.json"]
        )
    assert "files do not make a run: seed: " in caught.value.problem
    assert "\n" not in caught.value.problem
