"""Building after a model was added: pages of others change where their heads are placed anew."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acdc_pipeline.store import RunRecord, open_store
from acdc_pipeline.wiki.build import build
from acdc_pipeline.wiki.models import Model, restore_profiles
from acdc_pipeline.wiki.output import Writer
from acdc_pipeline.wiki.scores import Percentiles, compute_percentiles, definition_of
from tests import wiki_store
from tests.unit.wiki.test_build import files_of
from tests.wiki_store import Shape

FIRST = Shape("zoo:attn-2l", 2, 12, 64, has_mlp=False), Shape("zoo:gpt2-4l-s0", 2, 12, 128)
"""Together as many heads as percentiles need."""

ADDED = Shape("zoo:neox-4l", 1, 8, 128)


def added_runs() -> Iterator[RunRecord]:
    """The runs of another model, whose shares are higher than most, its other scores lower."""
    draw = np.random.default_rng(4)
    grids = {
        metric: np.clip(grid + 0.3, -1, 1) if definition_of(metric).high == 1 else 0.3 * grid
        for metric, grid in wiki_store.score_grids(ADDED, ("ioi",), draw).items()
    }
    yield wiki_store.profile_record(ADDED, "ioi", grids, draw)
    yield next(wiki_store.circuit_records(ADDED, "ioi", (0.05,), draw))


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A store of three models, its site, and its site before the third was added."""
    folder = tmp_path_factory.mktemp("grown")
    store = open_store(folder / "store", mode="write")
    for record in wiki_store.records(FIRST, ("ioi",), (0.05,)):
        store.commit(record)
    build(store, folder / "before", jobs=1)
    for record in added_runs():
        store.commit(record)
    build(store, folder / "after", jobs=1)
    return folder / "store", folder / "after", folder / "before"


@pytest.mark.parametrize("jobs", [1, 2])
def test_new_model_renders_its_own_pages_alone_and_the_site_equals_a_fresh_build(
    grown: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
):
    store, fresh, earlier = grown
    out = Path(shutil.copytree(earlier, tmp_path / "site"))
    before, after = files_of(earlier), files_of(fresh)
    read, written = [], []

    def note(model: Model, *rest: Any) -> Model:
        read.append(model.slug)
        return restore_profiles(model, *rest)

    def write(writer: Writer, name: str, content: bytes) -> None:
        count = writer.written
        plain_write(writer, name, content)
        if writer.written > count:
            written.append(name)

    plain_write = Writer.write
    monkeypatch.setattr("acdc_pipeline.wiki.model_pages.restore_profiles", note)
    monkeypatch.setattr(Writer, "write", write)
    # a second process even for a single model
    monkeypatch.setattr("acdc_pipeline.wiki.model_pages._MANY_HEADS", 1)
    build(open_store(store), out, jobs=jobs)
    assert files_of(out) == after
    if jobs == 1:
        # nothing of the others was rendered
        assert read == ["zoo-neox-4l"]
        differ = {name for name, content in after.items() if before.get(name) != content}
        assert {*written} == differ - {".acdc-wiki.json"}
    heads = [name for name in before if name.startswith("m/") and "/a" in name]
    moved = [name for name in heads if places(before[name]) != places(after[name])]
    assert moved
    assert len(moved) < len(heads)
    tables = [name for name in before if name.startswith("data/tables/")]
    assert all(before[name] == after[name] for name in tables)


def places(page: bytes) -> list[str]:
    """The last cell of each row of the table of a head's scores."""
    _, _, rest = page.decode().partition("<table class=scores>")
    rows = rest.partition("</table>")[0].split("<tr>")[2:]
    return [row.rpartition("<td>")[2].strip() for row in rows]


def test_ranks_of_labels_are_in_the_order_of_values_and_equal_where_labels_are():
    draw = np.random.default_rng(0)
    for values in (draw.normal(0, 1, 200), draw.gamma(1.0, 0.1, 200), np.zeros(200)):
        found = compute_percentiles([values.reshape(20, 10)])
        ranks = found.rank_labels(np.sort(values))
        assert (np.diff(ranks) >= 0).all()
        labels = [found.label(value) for value in np.sort(values).tolist()]
        assert len({*zip(labels, ranks.tolist(), strict=True)}) == len({*labels})
        assert len({*labels}) == len({*ranks.tolist()})
    few = Percentiles((), (), 0.0, 3, 1)
    assert not few.rank_labels(values).any()
