"""The tables of all models: their rows, and how much of them a query over http fetches."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from acdc_pipeline.store import Store
from acdc_pipeline.wiki import dumps
from acdc_pipeline.wiki.dumps import DUMPS, score_dump
from acdc_pipeline.wiki.runs import read_store
from acdc_pipeline.wiki.serve import site_server
from acdc_pipeline.wiki.site import Site, make_site


@pytest.fixture(scope="module")
def site(small_store: Store) -> Site:
    return make_site(read_store(small_store))


def test_all_scores_and_edges_are_those_of_the_models(small_site: Path, site: Site):
    whole = pq.read_table(small_site / "data" / DUMPS[0])
    edges = pq.read_table(small_site / "data" / DUMPS[2])
    for model in site.models:
        of_model = whole.filter(pc.field("slug") == model.slug)
        alone = pq.read_table(small_site / "data" / f"{model.slug}.scores.parquet")
        for name in ("model", "layer", "head", "metric", "n"):
            assert of_model[name].to_pylist() == alone[name].to_pylist()
        single = alone["value"].to_numpy().astype(np.float32)
        np.testing.assert_array_equal(of_model["value"].to_numpy(), single)
        own = edges.filter(pc.field("slug") == model.slug)
        alone = pq.read_table(small_site / "data" / f"{model.slug}.edges.parquet")
        for name in alone.schema.names:
            assert own[name].to_pylist() == alone[name].to_pylist()
    nulls = whole.filter(pc.field("metric") == "induction@1")["null"].to_pylist()
    expected = {m.slug: np.float32(m.nulls["induction@1"]) for m in site.models}
    assert set(nulls) == {float(value) for value in expected.values()}


def test_all_roles_are_those_of_the_models(small_site: Path, site: Site):
    rows = pq.read_table(small_site / "data" / DUMPS[1]).to_pylist()
    found = {(r["slug"], r["layer"], r["head"], r["role"], r["task"], r["value"]) for r in rows}
    wanted = {
        (model.slug, *place, role.role, role.on, role.value)
        for model in site.models
        for place, held in model.roles.items()
        for role in held
    }
    assert found == wanted
    assert len(rows) == len(wanted)


def test_every_model_is_one_row_group_that_statistics_find(small_site: Path, site: Site):
    about = pq.ParquetFile(small_site / "data" / DUMPS[0]).metadata
    column = about.schema.names.index("slug")
    ranges = [about.row_group(i).column(column).statistics for i in range(about.num_row_groups)]
    assert [(r.min, r.max) for r in ranges] == [(m.slug, m.slug) for m in site.models]


def test_tables_go_on_in_another_file_below_the_limit_of_hosts(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(dumps, "LARGEST", 1000)
    files = dict(score_dump(site.models))
    names = [name for name in files if ".scores." in name]
    assert names == [
        "data/all.scores.parquet",
        "data/all.scores.1.parquet",
        "data/all.scores.2.parquet",
    ]
    parts = [pq.read_table(io.BytesIO(files[name])) for name in names]
    monkeypatch.undo()
    whole = pq.read_table(io.BytesIO(dict(score_dump(site.models))["data/all.scores.parquet"]))
    assert pa.concat_tables(parts).equals(whole)


def test_a_query_over_http_fetches_only_its_model(small_site: Path, site: Site):
    """The columns of one row group: what statistics leave of a query for one model."""
    size = (small_site / "data" / DUMPS[0]).stat().st_size
    with site_server(small_site, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/data/{DUMPS[0]}"
        fetched: list[int] = []

        class Counted(io.RawIOBase):
            """A remote file that counts the bytes that were read."""

            def __init__(self, file: Any) -> None:
                self.file = file

            def seek(self, *where: int) -> int:
                return int(self.file.seek(*where))

            def tell(self) -> int:
                return int(self.file.tell())

            def seekable(self) -> bool:
                return True

            def readable(self) -> bool:
                return True

            def read(self, amount: int = -1) -> bytes:
                data = bytes(self.file.read(amount))
                fetched.append(len(data))
                return data

        http = fsspec.filesystem("http")
        about = pq.read_metadata(small_site / "data" / DUMPS[0])
        slugs = [m.slug for m in site.models]
        with http.open(url, mode="rb", cache_type="none") as file:
            remote = pq.ParquetFile(pa.PythonFile(Counted(file), mode="r"), metadata=about)
            group = slugs.index("zoo-attn-2l")
            rows = remote.read_row_group(group, columns=["metric", "value"])
        server.shutdown()
        thread.join()
    model = next(m for m in site.models if m.slug == "zoo-attn-2l")
    assert rows.num_rows == sum(np.isfinite(s.values).sum() for s in model.scores.values())
    assert 0 < sum(fetched) < size / 4
