"""Pictures that are written to files."""

from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.graph import Circuit, Topology
from acdc_pipeline.plotting.svg import Drawing

DRAWING = Drawing("<svg/>\n")


def test_saved_picture_replaces_a_file_and_leaves_nothing_beside_it(tmp_path: Path):
    path = tmp_path / "found.svg"
    path.write_text("old")
    assert DRAWING.save(path) == path
    assert path.read_text() == "<svg/>\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["z.png", "z", "z.pdf"])
def test_picture_is_not_saved_under_the_name_of_another_format(tmp_path: Path, name: str):
    with pytest.raises(InvalidInput, match="the picture is an SVG") as refused:
        DRAWING.save(tmp_path / name)
    assert ".svg" in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_picture_that_cannot_be_written_leaves_nothing(tmp_path: Path):
    (tmp_path / "folder.svg").mkdir()
    for path in (tmp_path / "folder.svg", tmp_path / "none" / "z.svg"):
        with pytest.raises(InvalidInput, match="cannot be written"):
            DRAWING.save(path)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.svg"]


def test_title_that_is_the_name_of_a_file_is_refused():
    with pytest.raises(InvalidInput, match="draw takes a title") as refused:
        Circuit(Topology(1, 1, has_mlp=False), frozenset()).draw("figures/x.svg")
    assert "draw().save('figures/x.svg')" in str(refused.value)


def test_saved_picture_keeps_a_link_and_the_permissions_of_its_file(tmp_path: Path):
    target, link = tmp_path / "target.svg", tmp_path / "link.svg"
    target.write_text("before")
    target.chmod(0o640)
    link.symlink_to(target)
    DRAWING.save(link)
    assert link.is_symlink()
    assert target.read_text() == DRAWING.svg
    assert target.stat().st_mode & 0o777 == 0o640
