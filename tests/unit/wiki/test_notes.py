from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.wiki.notes import read_notes, to_html
from tests.wiki_pages import Page

HEADS = {"zoo-attn-2l": {f"a{layer}.h{head}" for layer in range(2) for head in range(8)}}


def test_note_is_markdown_below_the_headings_of_the_page():
    assert to_html("# Seen\n\n**often**") == "<h3>Seen</h3>\n<p><strong>often</strong></p>\n"
    assert "<table>" in to_html("| a | b |\n|---|---|\n| 1 | 2 |")


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "a <img src=x onerror=alert(1)> b",
        "<iframe src='https://example.org'></iframe>",
        "![picture](https://example.org/x.png)",
        "[click](javascript:alert(1))",
        "[click](JaVaScRiPt:alert(1))",
        "[click](data:text/html,<script>alert(1)</script>)",
        "[click](vbscript:x)",
        "[click](file:///etc/passwd)",
        "<javascript:alert(1)>",
    ],
)
def test_note_with_markup_or_foreign_addresses_shows_them_as_text(hostile: str, tmp_path: Path):
    path = tmp_path / "note.html"
    path.write_text(to_html(hostile))
    assert {element.tag for element in Page(path).elements} <= {"p", "a"}
    assert [address for _, _, address in Page(path).addresses if "example.org" not in address] == []


def test_note_may_link_to_the_web_and_inside_the_site():
    assert '<a href="https://arxiv.org/abs/2211.00593">' in to_html(
        "[paper](https://arxiv.org/abs/2211.00593)"
    )
    assert '<a href="a1.h3.html">' in to_html("[next](a1.h3.html)")


def test_notes_are_found_by_model_and_head_and_others_are_named(tmp_path: Path):
    for name in ("zoo-attn-2l/a1.h3", "zoo-attn-2l/index", "zoo-attn-2l/a1.h8", "other/a0.h0"):
        path = tmp_path / f"{name}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text("text")
    (tmp_path / "zoo-attn-2l" / "a01.h3.md").write_text("text")
    found = read_notes(tmp_path, HEADS)
    assert set(found.html) == {("zoo-attn-2l", "a1.h3"), ("zoo-attn-2l", "index")}
    assert found.strays == ("other/a0.h0.md", "zoo-attn-2l/a01.h3.md", "zoo-attn-2l/a1.h8.md")
    assert found.html["zoo-attn-2l", "a1.h3"] == "<p>text</p>\n"


def test_note_that_is_no_text_is_refused_by_name(tmp_path: Path):
    path = tmp_path / "zoo-attn-2l" / "a0.h0.md"
    path.parent.mkdir()
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match=r"UTF-8") as caught:
        read_notes(tmp_path, HEADS)
    assert caught.value.where == str(path)


def test_notes_without_a_folder_are_none():
    assert read_notes(None, HEADS).html == {}
