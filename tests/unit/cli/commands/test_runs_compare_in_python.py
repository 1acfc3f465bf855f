"""`acdc runs compare` and `Circuit.compare` give the same numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acdc_pipeline.graph import Circuit
from acdc_pipeline.store import open_store
from tests import records
from tests.command_line import acdc


def test_comparison_of_runs_is_that_of_their_circuits(
    store_url: str, capsys: pytest.CaptureFixture[str]
):
    first, second = records.record(0), records.record(1)
    assert first.circuit is not None
    topology = first.circuit.topology
    other = Circuit.of(topology, ["input->a0.h1<v>", "a0.h0->logits", "input->logits"])
    second = replace(second, circuit=other)
    store = open_store(store_url, mode="write")
    for record in (first, second):
        store.commit(record)
    ids = [record.spec.run_id() for record in (first, second)]
    (pair,) = acdc(capsys, "runs", "compare", *ids, "--json").document["pairs"]
    found = first.circuit.compare(other)
    for part in ("only_a", "both", "only_b"):
        assert pair["edges"][part] == sorted(map(str, getattr(found.edges, part)))
    assert pair["edges"]["jaccard"] == found.jaccard == 1 / 5
    assert found.edges.counts == (2, 1, 2)
