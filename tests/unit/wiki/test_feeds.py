"""What pages say of what feeds a head, beside the stored circuits and attributions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from acdc_pipeline.store import Store, open_store
from acdc_pipeline.wiki.build import build
from acdc_pipeline.wiki.models import group_models, head_name
from acdc_pipeline.wiki.pages.statement import make_statement
from acdc_pipeline.wiki.runs import read_store
from benchmarks.feeds_claims import Part, StoredCircuit, check_feeds, parts_of, read_circuits
from tests import wiki_store
from tests.unit.wiki.conftest import SHAPES, TASKS
from tests.wiki_pages import LARGEST_HEAD_PAGE


@pytest.fixture(scope="module")
def runs(small_store: Store) -> dict[str, list[Path]]:
    """The folders of the runs of each model, by the folder of its pages."""
    found: dict[str, list[Path]] = {shape.ref.replace(":", "-"): [] for shape in SHAPES}
    for run in sorted((Path(small_store.url) / "runs").iterdir()):
        if (run / "run.json").exists():
            spec = json.loads((run / "run.json").read_text())["spec"]
            found[spec["model"].replace(":", "-")].append(run)
    return found


def pages(site: Path, slug: str) -> Iterator[tuple[str, list[Part]]]:
    for page in sorted((site / "m" / slug).glob("a*.html")):
        text = page.read_text()
        assert len(text.encode()) <= LARGEST_HEAD_PAGE
        yield page.stem, parts_of(text)


def contradicted(
    site: Path,
    runs: dict[str, list[Path]],
    *,
    score: float = 0.0,
    share: float = 0.0,
    of: str = "by_value",
    lost: int = 0,
) -> tuple[int, int]:
    """The number of sentences on circuits, and of pages with a contradiction.

    Args:
        score: added to the scores of edges.
        share: added to the first source `of` a slot in every attribution.
        lost: edges left out of every circuit.
    """
    said = wrong = 0
    for slug, folders in runs.items():
        profiles = [
            json.loads((run / "profile.json").read_text())
            for run in folders
            if (run / "profile.json").exists()
        ]
        for one in profiles:
            for found in one["attribution"]["heads"].values():
                found[0][of][0][1] += share
        circuits = [
            StoredCircuit(task, size, {e: (s or 0.0) + score for e, s in [*edges.items()][lost:]})
            for task, size, edges in read_circuits(folders)
        ]
        for name, parts in pages(site, slug):
            said += sum("In the circuit" in part.text("fed") for part in parts)
            wrong += bool(list(check_feeds(parts, name, profiles, circuits)))
    return said, wrong


def test_what_feeds_a_head_is_what_circuits_and_attributions_hold(
    small_site: Path, runs: dict[str, list[Path]]
):
    said, wrong = contradicted(small_site, runs)
    assert said > 20
    assert wrong == 0
    # the same sentences beside other scores of edges, other shares, and smaller circuits
    assert contradicted(small_site, runs, score=0.5)[1] > 10
    for slot in ("by_query", "by_key", "by_value"):
        assert contradicted(small_site, runs, share=0.2, of=slot)[1] > 10
    assert contradicted(small_site, runs, lost=5)[1] > 10


def test_part_of_the_sentence_comes_first_without_stored_texts_too(tmp_path: Path):
    store = open_store(tmp_path / "store", mode="write")
    for record in wiki_store.records(SHAPES[:1], TASKS, (0.1,)):
        profile = record.profile and {
            key: value
            for key, value in record.profile.items()
            if key not in ("typical", "attribution")
        }
        store.commit(replace(record, profile=profile))
    build(store, tmp_path / "site", jobs=1)
    (model,) = group_models(read_store(store))
    found = []
    for place in model.places:
        role = make_statement(model, place).role
        if role is not None and role.on is not None:
            page = (tmp_path / f"site/m/{model.slug}/{head_name(*place)}.html").read_text()
            shown = re.search(r"<section class=part id=on-(\S+?)>", page)
            found.append((role.on, shown and shown[1]))
    assert found
    assert all(task == first for task, first in found)
