"""No sentence on the page of a head is contradicted by the scores and weights in the store."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@pytest.fixture
def changed(profiled: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Copies of store and site, which a test may change."""
    for folder in profiled:
        copytree(folder, tmp_path / folder.name)
    return tmp_path / "store", tmp_path / "site"


@contextmanager
def edit(store: Path, name: str) -> Iterator[Any]:
    """The one document of a name in a store, written again with what is changed in it."""
    (path,) = (store / "runs").glob(f"*/{name}")
    document = json.loads(path.read_text())
    yield document
    path.write_text(json.dumps(document))


def contradicted(store: Path, site: Path, about: str = "") -> set[str]:
    """Heads with a contradiction in which the words occur."""
    _, found = find_contradictions(store, site)
    return {one.split()[1][:-1] for one in found if about in one}


def test_reasons_beside_other_sources_are_contradicted(changed: tuple[Path, Path]):
    """Of every head one number of its pairs is changed after the pages were made."""
    with edit(changed[0], "profile.json") as document:
        heads = document["attribution"]["heads"]
        for found in heads.values():
            for one in found:
                one["pairs"]["values"][0][0] += 0.1
    assert len(heads) == 8
    assert contradicted(*changed) == set(heads)


def test_reason_that_has_no_column_in_the_table_of_pairs_is_compared_with_its_sum(
    changed: tuple[Path, Path],
):
    store, site = changed
    named = re.compile(r"(?:because|in spite) of (?:what )?(m\d+|its token|its position) \(")
    said = {page.stem: named.search(page.read_text()) for page in site.glob("m/*/a*.html")}
    head, reason = next((name, found[1]) for name, found in sorted(said.items()) if found)
    source = {"its token": "token", "its position": "position"}.get(reason, reason)
    with edit(store, "profile.json") as document:
        for one in document["attribution"]["heads"][head]:
            keys = one["pairs"]["key"]
            keys[keys.index(source)] = "others"
    assert contradicted(store, site) == set()
    with edit(store, "profile.json") as document:
        for one in document["attribution"]["heads"][head]:
            one["by_key"] = [[name, 1 + value] for name, value in one["by_key"]]
    assert contradicted(store, site, f"of {source} is not") == {head}


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one["by_token"][0].__setitem__(2, 0.9),
        lambda one: one["by_token"][0].__setitem__(0, 3),
        lambda one: one["raises"][0].__setitem__(0, "no"),
        lambda one: one["raises"][1].__setitem__(1, 200.0),
        lambda one: one["lowers"][0].__setitem__(0, "no"),
        lambda one: one["lowers"][0].__setitem__(1, -95.0),
        lambda one: one["answer"].__setitem__(0, "no"),
        lambda one: one["answer"].__setitem__(1, -128.0),
        lambda one: one.pop("answer"),
        lambda one: one["raises"].clear(),
        lambda one: one["query"].__setitem__(1, "no"),
    ],
)
def test_what_a_head_writes_beside_other_effects_is_contradicted(
    changed: tuple[Path, Path], change: Callable[[Any], object]
):
    with edit(changed[0], "profile.json") as document:
        (one,) = (a for a in document["attribution"]["heads"]["a0.h3"] if "answer" in a)
        change(one)
    assert contradicted(*changed) == {"a0.h3"}


def test_certainty_and_removal_beside_other_numbers_are_contradicted(changed: tuple[Path, Path]):
    with edit(changed[0], "profile.json") as document:
        whole = document["answer_logit"]["task"]
        document["answer_logit"]["task"] += 1
        for null in (null for nulls in document["nulls"].values() for null in nulls):
            null["high"] += 1
    pages = {page.stem: page.read_text() for page in changed[1].glob("m/*/a*.html")}
    unsure = {name for name, page in pages.items() if "chance up to" in page}
    removed = {name for name, page in pages.items() if f" of {whole:.1f}" in page}
    # with a role on the task, and without
    assert {"a0.h0", "a0.h3"} <= removed
    assert unsure
    assert contradicted(*changed, "how sure") == unsure
    assert contradicted(*changed, "is not the answer logit") == removed


def test_pages_beside_other_data_are_contradicted(changed: tuple[Path, Path]):
    """What the check compares with is changed after the pages were made."""
    with edit(changed[0], "profile.json") as document:
        roles = document["roles"]
        looking = {role["head"] for role in roles if role["metric"] == "duplicate_token@1"}
        for name in looking:
            for one in document["typical"]["heads"][name]:
                size = len(base64.b64decode(one["pattern"]))
                one["pattern"] = base64.b64encode(bytes(size)).decode()
        without = next(role["head"] for role in roles if role["head"] not in looking)
        document["roles"] = [role for role in roles if role["head"] != without]
    assert looking
    assert contradicted(*changed) == {*looking, without}
    assert contradicted(*changed, "the pattern has 0.000, its caption") == looking


def test_pattern_of_another_text_is_contradicted(changed: tuple[Path, Path]):
    """Two keys of the query of the text are exchanged; what is outlined keeps its mean."""
    with edit(changed[0], "profile.json") as document:
        heads = set()
        for name, examples in document["typical"]["heads"].items():
            for one in examples:
                place = one["texts"][0]
                text = document["typical"]["texts"][place["text"]]
                size, query = len(text["tokens"]), place["query"]
                about = {k for q, k in text["cells"].get(one["metric"], ()) if q == query}
                pattern = bytearray(base64.b64decode(one["pattern"]))
                row = slice(query * size, (query + 1) * size)
                free = [at for at in range(row.start, row.stop) if at - row.start not in about]
                low, high = min(free, key=pattern.__getitem__), max(free, key=pattern.__getitem__)
                if pattern[low] < pattern[high]:
                    pattern[low], pattern[high] = pattern[high], pattern[low]
                    heads.add(name)
                one["pattern"] = base64.b64encode(pattern).decode()
    assert heads
    assert contradicted(*changed) == contradicted(*changed, "other weights than its text") == heads


def test_reasons_that_are_not_stored_are_contradicted(changed: tuple[Path, Path]):
    with edit(changed[0], "profile.json") as document:
        document["attribution"]["heads"].pop("a0.h3")
    assert contradicted(*changed, "no attribution of ") == {"a0.h3"}


def test_sentence_on_text_beside_other_shares_is_contradicted(changed: tuple[Path, Path]):
    with edit(changed[0], "text.json") as document:
        shares = document["heads"]["a0.h3"]["attention"]
        shares[document["kinds"].index("first")] = 0.5
    assert contradicted(*changed, "on the first token is 0.5") == {"a0.h3"}


def test_share_of_the_output_beside_other_shares_is_contradicted(changed: tuple[Path, Path]):
    with edit(changed[0], "text.json") as document:
        looking = {n for n, one in document["heads"].items() if one["output"] is not None}
        for name in looking:
            document["heads"][name]["output"] = [5.0 for _ in document["kinds"]]
    pages = {page.stem: page.read_text() for page in changed[1].glob("m/*/a*.html")}
    said = {name for name, page in pages.items() if "of what it writes" in page}
    assert said
    assert contradicted(*changed) == said & looking


def test_text_for_and_against_a_role_are_told_apart(changed: tuple[Path, Path]):
    """`a0.h2` rests on the first token, which is its only role."""
    store, site = changed
    (page,) = site.glob("m/*/a0.h2.html")
    right = page.read_text()
    rests = re.compile(r"rests on [^,]*, which is its role")
    page.write_text(right.replace(", which is its role", ", against its role"))
    assert contradicted(*changed, "against its role") == {"a0.h2"}
    with edit(store, "text.json") as document:
        document["heads"]["a0.h2"]["attention"] = document["uniform"]
    for said, wrong in (("which is", {"a0.h2"}), ("against", set())):
        page.write_text(rests.sub(f"rests nowhere in particular, {said} its role", right))
        assert contradicted(*changed) == wrong
