from __future__ import annotations

import pytest

from acdc_pipeline.wiki import text


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
    assert text.token(given) == shown


def test_plain_keeps_one_line_and_the_joiners_of_scripts():
    assert text.plain("a\nb\tc") == "a b c"
    assert text.plain("\u202b\x07") == "⟨U+202B⟩␇"
    assert text.plain("👩\u200d🔬") == "👩\u200d🔬"


def test_name_of_ten_kilobytes_is_cut_in_the_middle():
    shown = text.name("begin" + "x" * 10_000 + "end")
    assert len(shown) == text.LONGEST_NAME
    assert shown.startswith("begin")
    assert shown.endswith("end")
    assert "…" in shown


def test_words_keep_their_spaces_and_show_the_rest():
    assert text.words(" the\u202e") == " the⟨U+202E⟩"
