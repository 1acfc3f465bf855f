from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from acdc_pipeline.wiki.slug import assign_slugs


def test_slug_of_model_references_reads_like_them():
    found = assign_slugs(
        ["zoo:gpt2-4l-s0", "hf:EleutherAI/pythia-70m", "hf:openai-community/gpt2@main"]
    )
    assert found == {
        "zoo:gpt2-4l-s0": "zoo-gpt2-4l-s0",
        "hf:EleutherAI/pythia-70m": "hf-eleutherai-pythia-70m",
        "hf:openai-community/gpt2@main": "hf-openai-community-gpt2-main",
    }


def test_slugs_of_names_that_differ_in_capitals_only_stay_apart():
    found = assign_slugs(["hf:a/B", "hf:A/b"])
    assert len(set(found.values())) == 2
    assert all(slug.startswith("hf-a-b-") for slug in found.values())


def test_slug_is_decided_by_the_names_and_not_by_their_order():
    names = ["hf:a/B", "hf:A/b", "zoo:x"]
    assert assign_slugs(names) == assign_slugs(reversed(names))


def test_slug_avoids_what_is_reserved_and_what_is_a_device():
    found = assign_slugs(["index", "con", "nul.txt"], reserved=["index"])
    assert found["index"].startswith("index-")
    assert found["con"] not in ("con",)
    assert not found["nul.txt"].startswith("nul")


@given(st.lists(st.text(max_size=200), unique=True, max_size=8))
def test_slugs_of_any_names_are_different_safe_file_names(names: list[str]):
    found = assign_slugs(names)
    assert set(found) == set(names)
    assert len(set(found.values())) == len(names)
    for slug in found.values():
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,70}", slug)
        assert ".." not in slug
        assert not slug.endswith(".")
