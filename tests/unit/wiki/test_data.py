"""The data beside the pages: what programs and the search read."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest

from acdc_pipeline.store import Store
from acdc_pipeline.wiki.models import restore_profiles
from acdc_pipeline.wiki.runs import read_full_runs, read_store
from acdc_pipeline.wiki.site import Site, make_site


@pytest.fixture(scope="module")
def site(small_store: Store) -> Site:
    return make_site(read_store(small_store))


def test_model_documents_follow_their_schema(small_site: Path):
    schema = json.loads((small_site / "data" / "schema.json").read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    index = json.loads((small_site / "data" / "index.json").read_bytes())
    for entry in index["models"]:
        document = json.loads((small_site / "data" / entry["document"]).read_bytes())
        assert list(validator.iter_errors(document)) == []
        size = document["n_layers"] * document["n_heads"]
        assert all(len(score["values"]) == size for score in document["scores"].values())


def test_model_document_holds_the_numbers_of_the_store(small_site: Path, site: Site):
    model = site.models[0]
    document = json.loads((small_site / "data" / f"{model.slug}.json").read_bytes())
    values = np.array(document["scores"]["induction@1"]["values"]).reshape(2, 8)
    # six digits are kept
    np.testing.assert_allclose(values, model.scores["induction@1"].values, rtol=1e-5)
    assert document["runs"] == list(model.run_ids)
    series = model.circuits["ioi"][0]
    found = next(c for c in document["circuits"] if c["task"] == "ioi")
    assert [cut["edges"] for cut in found["cuts"]] == [len(cut.edges) for cut in series.cuts]
    for head in series.heads:
        smallest = series.smallest_with_head(head)
        assert smallest is not None
        assert found["heads"][head] == smallest.threshold


def test_parquet_files_hold_every_score_and_every_edge(
    small_site: Path, small_store: Store, site: Site
):
    summary = site.models[1]
    model = restore_profiles(summary, read_full_runs(small_store, summary.profile_ids))
    scores = pq.read_table(
        io.BytesIO((small_site / "data" / f"{model.slug}.scores.parquet").read_bytes())
    )
    assert scores.num_rows == sum(np.isfinite(s.values).sum() for s in model.scores.values())
    rows = scores.filter(scores["metric"].to_numpy(zero_copy_only=False) == "sink@1").to_pylist()
    for row in rows:
        assert row["value"] == model.scores["sink@1"].values[row["layer"], row["head"]]
        # ends have 16 binary digits
        assert row["ci_low"] == pytest.approx(row["value"] - 0.02, rel=2e-5)
    edges = pq.read_table(
        io.BytesIO((small_site / "data" / f"{model.slug}.edges.parquet").read_bytes())
    )
    cuts = [cut for found in model.circuits.values() for series in found for cut in series.cuts]
    assert edges.num_rows == sum(len(cut.edges) for cut in cuts)


def test_search_data_numbers_heads_over_all_models(small_site: Path, site: Site):
    document = json.loads((small_site / "data" / "search.json").read_bytes())
    score = next(s for s in document["scores"] if s["metric"] == "induction@1")
    script = (small_site / "data" / f"{score['file']}.js").read_text()
    payload = json.loads(script.removeprefix(f'wikiData("{score["file"]}",').removesuffix(");\n"))
    column = np.frombuffer(base64.b64decode(payload["float32"]), "<f4")
    expected = np.concatenate([m.scores["induction@1"].values.ravel() for m in site.models])
    np.testing.assert_array_equal(column, expected.astype("<f4"))
    triples = np.array(document["roles"]).reshape(-1, 3)
    kinds = [kind["name"] for kind in document["kinds"]]
    told = {(int(n), kinds[int(k)]) for n, k, _ in triples}
    first = 0
    wanted = set()
    for model in site.models:
        for (layer, head), held in model.roles.items():
            wanted |= {(first + layer * model.n_heads + head, role.role) for role in held}
        first += model.total_heads
    assert told == wanted
