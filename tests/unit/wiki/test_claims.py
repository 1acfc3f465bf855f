"""No sentence on the page of a head is contradicted by the scores and weights in the store."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from acdc_pipeline.api import build_wiki, profile_heads
from acdc_pipeline.store import open_store
from benchmarks.wiki_claims import find_contradictions


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store with the profiles of a small model on two tasks, and its site."""
    folder = tmp_path_factory.mktemp("claims")
    store = open_store(folder / "store", mode="write")
    profile_heads("zoo:attn-2l", ["ioi", "induction"], prompts=12, device="cpu", store=store)
    build_wiki(store, folder / "site")
    return folder / "store", folder / "site"


def test_no_sentence_of_a_profiled_model_is_contradicted_by_its_data(profiled: tuple[Path, Path]):
    heads, found = find_contradictions(*profiled)
    assert heads == 16
    assert found == []
    pages = [path.read_text() for path in profiled[1].glob("m/*/a*.html")]
    assert all('id="shown"' in page and "direct_effect" not in page for page in pages)


def test_pages_beside_other_data_are_contradicted(profiled: tuple[Path, Path]):
    """What the check compares with is changed after the pages were made."""
    store, site = profiled
    for path in (store / "runs").glob("*/profile.json"):
        document = json.loads(path.read_text())
        for one in document["typical"]["heads"]["a1.h0"]:
            size = len(base64.b64decode(one["pattern"]))
            one["pattern"] = base64.b64encode(bytes(size)).decode()
        document["roles"] = [r for r in document["roles"] if r["head"] != "a1.h1"]
        path.write_text(json.dumps(document))
    _, found = find_contradictions(store, site)
    assert {one.split()[1] for one in found} == {"a1.h0:", "a1.h1:"}
