from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acdc_pipeline.text import format_percent as plain_percent
from acdc_pipeline.wiki import text
from acdc_pipeline.wiki.page import load_templates


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.93124, "0.931"),
        (-1.2, "−1.2"),
        (12300.0, "12,300"),
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (0.000012, "1.20e−5"),
        (2.5e7, "2.50e7"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_number_has_three_digits_and_a_real_minus_sign(value: float | None, shown: str):
    assert text.format_number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.5, "0.500"),
        (0.9997, "1.000"),
        (1.0, "1"),
        (-12.04, "−12.0"),
        (3.0012, "3.00"),
        (12300.4, "12,300"),
        (0.01234, "0.0123"),
        (-0.00002, "≈0"),
        (-0.0, "0"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_aligned_number_keeps_the_zeros_behind_the_point(value: float | None, shown: str):
    assert text.format_aligned(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.9, "0.90"),
        (1.0, "1"),
        (-1.24, "−1.2"),
        (1234.5, "1,234"),
        (0.0512, "0.051"),
        (-0.00123, "−0.0012"),
        (0.00001, "≈0"),
        (0.0, "0"),
        (math.nan, "–"),
    ],
)
def test_aligned_number_of_two_digits(value: float, shown: str):
    assert text.format_aligned(value, 2) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        *[(0.032, "3.2 %"), (0.5, "50 %"), (1.0, "100 %"), (None, "–")],
        *[(-0.0001, "0.0 %"), (-0.0, "0.0 %"), (-0.02, "−2.0 %"), (-0.5, "−50 %")],
    ],
)
def test_percent_has_a_digit_behind_the_point_below_ten(share: float | None, shown: str):
    assert text.format_percent(share).replace("\N{NARROW NO-BREAK SPACE}", " ") == shown


@pytest.mark.parametrize(("share", "shown"), [(-0.0001, "0.0%"), (-0.02, "-2.0%"), (0.5, "50.0%")])
def test_percent_of_the_command_line_is_never_minus_zero(share: float, shown: str):
    assert plain_percent(share) == shown


def test_percent_sign_stays_on_the_line_of_its_number_on_a_page():
    shown = load_templates().from_string("{{ 0.25|percent }}").render()
    assert shown == "25\N{NARROW NO-BREAK SPACE}%"


@pytest.mark.parametrize(
    ("place", "shown"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (11, "11th"), (112, "112th")]
)
def test_ordinal_has_the_english_ending(place: int, shown: str):
    assert load_templates().filters["ordinal"](place) == shown


def test_counts_and_lists_read_as_english():
    assert text.pluralize(1, "head") == "1 head"
    assert text.pluralize(1024, "head") == "1,024 heads"
    assert text.join_words([]) == ""
    assert text.join_words(["a"]) == "a"
    assert text.join_words(["a", "b", "c"]) == "a, b and c"
    assert text.abbreviate(85_000_000.0) == "85M"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (" the", "·the"),
        ("\n\n", "⏎⏎"),
        ("\t", "⇥"),
        ("", "∅"),
        ("a\x00b", "a␀b"),
        ("\x1b[31m", "␛[31m"),
        ("\u202egpj.exe", "⟨U+202E⟩gpj.exe"),
        ("\u200b", "⟨U+200B⟩"),
        ("\ud800", "\ufffd"),
        ("<b>&amp;", "<b>&amp;"),
        ("x" * 100, "x" * 12 + "…" + "x" * 11),
    ],
)
def test_token_shows_everything_that_cannot_be_seen(given: str, shown: str):
    assert text.show_token(given) == shown


def test_plain_keeps_one_line_and_the_joiners_of_scripts():
    assert text.show_line("a\nb\tc") == "a b c"
    assert text.show_line("\u202b\x07") == "⟨U+202B⟩␇"
    assert text.show_line("👩\u200d🔬") == "👩\u200d🔬"


def test_name_of_ten_kilobytes_is_cut_in_the_middle():
    shown = text.show_name("begin" + "x" * 10_000 + "end")
    assert len(shown) == text.MAX_NAME
    assert shown.startswith("begin")
    assert shown.endswith("end")
    assert "…" in shown


def test_words_keep_their_spaces_and_show_the_rest():
    assert text.show_words(" the\u202e") == " the⟨U+202E⟩"


def test_slug_of_model_references_reads_like_them():
    found = text.assign_slugs(
        ["zoo:gpt2-4l-s0", "hf:EleutherAI/pythia-70m", "hf:openai-community/gpt2@main"]
    )
    assert found == {
        "zoo:gpt2-4l-s0": "zoo-gpt2-4l-s0",
        "hf:EleutherAI/pythia-70m": "hf-eleutherai-pythia-70m",
        "hf:openai-community/gpt2@main": "hf-openai-community-gpt2-main",
    }


def test_slugs_of_names_that_differ_in_capitals_only_stay_apart():
    found = text.assign_slugs(["hf:a/B", "hf:A/b"])
    assert len(set(found.values())) == 2
    assert all(slug.startswith("hf-a-b-") for slug in found.values())


def test_slug_is_decided_by_the_names_and_not_by_their_order():
    names = ["hf:a/B", "hf:A/b", "zoo:x"]
    assert text.assign_slugs(names) == text.assign_slugs(reversed(names))


def test_slug_avoids_what_is_reserved_and_what_is_a_device():
    found = text.assign_slugs(["index", "con", "nul.txt"], reserved=["index"])
    assert found["index"].startswith("index-")
    assert found["con"] not in ("con",)
    assert not found["nul.txt"].startswith("nul")


@given(st.lists(st.text(max_size=200), unique=True, max_size=8))
def test_slugs_of_any_names_are_different_safe_file_names(names: list[str]):
    found = text.assign_slugs(names)
    assert set(found) == set(names)
    assert len(set(found.values())) == len(names)
    for slug in found.values():
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,70}", slug)
        assert ".." not in slug
        assert not slug.endswith(".")
