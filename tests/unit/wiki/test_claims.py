"""No sentence on the page of a head is contradicted by the scores and weights in the store."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest

from acdc_pipeline.heads.model_profile import Amounts, profile_model
from acdc_pipeline.heads.natural.contexts import draw_contexts
from acdc_pipeline.heads.natural.profile import profile_text
from acdc_pipeline.heads.profile import assemble_profile
from acdc_pipeline.heads.task_profile import profile_task
from acdc_pipeline.models import load_model
from acdc_pipeline.models.zoo import compiled
from acdc_pipeline.prompts import make_prompts
from acdc_pipeline.prompts.tokenization import bos_id
from acdc_pipeline.specs import RunSpec, TextMethod, find_task
from acdc_pipeline.specs.text_files import NamedText, hash_texts
from acdc_pipeline.store import RunRecord, open_store
from acdc_pipeline.wiki.build import build
from benchmarks.wiki_claims import find_contradictions
from tests.wiki_store import PROFILE

MEMORY = 1 << 28


MODEL = "compiled-gallery"


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store with the profile of a small model, and its site."""
    folder = tmp_path_factory.mktemp("claims")
    store = open_store(folder / "store", mode="write")
    store.commit(profile_record(MODEL))
    store.commit(text_record(MODEL))
    build(store, folder / "site", jobs=1)
    return folder / "store", folder / "site"


def profile_record(name: str) -> RunRecord:
    model, task = load_model(f"zoo:{name}", device="cpu"), find_task(compiled.task_of(name))
    assert model.tokenizer is not None
    prompts = make_prompts(task, model.tokenizer, n=12, seed=0)
    own = profile_task(model.weights, task, prompts, None, seed=0, memory=MEMORY)
    whole = profile_model(
        model.weights,
        model.tokenizer,
        bos=bos_id(model.tokenizer),
        amounts=Amounts(period=20, sequences=9, tokens=64),
        seed=0,
        memory=MEMORY,
    )
    found = assemble_profile(
        f"zoo:{name}",
        model.weights,
        model.tokenizer,
        prompts,
        whole,
        own,
        None,
        seed=0,
        memory=MEMORY,
    )
    run = record(name, model.weights.d_model, task.name, task.definition_hash(), PROFILE, 12)
    return replace(run, heads=found.scores, profile=dict(found.document))


def record(
    model: str, d_model: int, task: str, task_hash: str, method: Any, prompts: int
) -> RunRecord:
    """A run without results."""
    return RunRecord(
        spec=RunSpec(
            task=task,
            task_hash=task_hash,
            model=f"zoo:{model}",
            model_revision="0" * 40,
            method=method,
            prompts=prompts,
            seed=0,
            dtype="float32",
        ),
        circuit=None,
        decisions=(),
        metrics={},
        details={"d_model": d_model},
        wall_seconds=1.0,
        environment={"device": "cpu"},
    )


def text_record(name: str) -> RunRecord:
    """What the heads do on letters, many of them again and again."""
    model = load_model(f"zoo:{name}", device="cpu")
    tokenizer = model.tokenizer
    assert tokenizer is not None
    words = [w for w in sorted(tokenizer.get_vocab()) if not w.startswith("<")]
    drawn = np.random.default_rng(0).choice(words, 400)
    texts = (NamedText("words.txt", (" ".join(drawn),)),)
    contexts = draw_contexts(
        model.weights, tokenizer, texts, bos=bos_id(tokenizer), tokens=200, context=128, seed=0
    )
    found = profile_text(model.weights, tokenizer, texts, contexts, seed=0, memory=MEMORY)
    method = TextMethod(name="text", tokens=200, context=128)
    run = record(name, model.weights.d_model, "words.txt", hash_texts(texts), method, 1)
    return replace(run, text=found)


def test_no_sentence_of_a_profiled_model_is_contradicted_by_its_data(profiled: tuple[Path, Path]):
    heads, found = find_contradictions(*profiled)
    assert heads == 8
    assert found == []
    pages = [path.read_text() for path in profiled[1].glob("m/*/a*.html")]
    assert all('id="shown"' in page and "direct_effect" not in page for page in pages)


def test_reasons_beside_other_sources_are_contradicted(profiled: tuple[Path, Path]):
    """Of every head one number of its pairs is changed after the pages were made."""
    store, site = profiled
    (path,) = (store / "runs").glob("*/profile.json")
    content = path.read_text()
    document = json.loads(content)
    changed = document["attribution"]["heads"]
    assert len(changed) == 8
    for found in changed.values():
        for one in found:
            one["pairs"]["values"][0][0] += 0.1
    try:
        path.write_text(json.dumps(document))
        _, contradictions = find_contradictions(store, site)
    finally:
        path.write_text(content)
    assert {one.split()[1] for one in contradictions} == {f"{name}:" for name in changed}


def test_certainty_and_removal_beside_other_numbers_are_contradicted(
    profiled: tuple[Path, Path], tmp_path: Path
):
    store, site = tmp_path / "store", profiled[1]
    copytree(profiled[0], store)
    (path,) = (store / "runs").glob("*/profile.json")
    document = json.loads(path.read_text())
    document["answer_logit"]["task"] += 1
    for null in (null for nulls in document["nulls"].values() for null in nulls):
        null["high"] += 1
    path.write_text(json.dumps(document))
    _, found = find_contradictions(store, site)
    pages = {page.stem: page.read_text() for page in site.glob("m/*/a*.html")}
    unsure = {name for name, page in pages.items() if "chance up to" in page}
    on_task = {role["head"] for role in document["roles"] if role["on"]}
    removed = {name for name in on_task if " its output" in pages[name]}
    assert unsure
    assert {one.split()[1][:-1] for one in found if "how sure" in one} == unsure
    assert {one.split()[1][:-1] for one in found if "answer logit" in one} <= removed


def test_pages_beside_other_data_are_contradicted(profiled: tuple[Path, Path]):
    """What the check compares with is changed after the pages were made."""
    store, site = profiled
    (path,) = (store / "runs").glob("*/profile.json")
    document = json.loads(path.read_text())
    looking = {role["head"] for role in document["roles"] if role["metric"] == "duplicate_token@1"}
    assert looking
    for name in looking:
        for one in document["typical"]["heads"][name]:
            size = len(base64.b64decode(one["pattern"]))
            one["pattern"] = base64.b64encode(bytes(size)).decode()
    without = next(role["head"] for role in document["roles"] if role["head"] not in looking)
    document["roles"] = [role for role in document["roles"] if role["head"] != without]
    path.write_text(json.dumps(document))
    _, found = find_contradictions(store, site)
    assert {one.split()[1] for one in found} == {f"{name}:" for name in (*looking, without)}


def test_sentence_on_text_beside_other_shares_is_contradicted(profiled: tuple[Path, Path]):
    store, site = profiled
    (path,) = (store / "runs").glob("*/text.json")
    document = json.loads(path.read_text())
    kinds = dict(zip(document["kinds"], document["heads"]["a0.h3"]["attention"], strict=True))
    document["heads"]["a0.h3"]["attention"] = [
        0.5 if kind == "first" else share for kind, share in kinds.items()
    ]
    path.write_text(json.dumps(document))
    _, found = find_contradictions(store, site)
    assert any("a0.h3" in one and "on the first token is 0.5" in one for one in found)
