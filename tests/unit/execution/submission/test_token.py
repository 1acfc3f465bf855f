from __future__ import annotations

from pathlib import Path

import pytest

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.execution.submission import Token, find_token


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with a token in Ray's usual place."""
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("of-home\n")
    return tmp_path


def test_token_of_the_environment_wins_over_files(home: Path, tmp_path: Path):
    (tmp_path / "named").write_text("of-file")
    environment = {"RAY_AUTH_TOKEN": " of-environment ", "RAY_AUTH_TOKEN_PATH": f"{home}/named"}
    found = find_token(environment, home)
    assert found == Token("of-environment", "RAY_AUTH_TOKEN")


def test_token_file_that_is_named_wins_over_the_usual_one(home: Path, tmp_path: Path):
    (tmp_path / "named").write_text("of-file\n")
    found = find_token({"RAY_AUTH_TOKEN": "", "RAY_AUTH_TOKEN_PATH": f"{home}/named"}, home)
    assert found == Token("of-file", f"{home}/named")


def test_token_of_the_usual_place_is_the_last_resort(home: Path):
    assert find_token({}, home) == Token("of-home", f"{home}/.ray/auth_token")


def test_no_token_anywhere_is_none(tmp_path: Path):
    assert find_token({}, tmp_path) is None


def test_token_shows_up_in_no_message():
    assert "hunter2" not in repr(Token("hunter2", "RAY_AUTH_TOKEN"))


def test_named_token_file_that_is_missing_is_refused_with_its_variable(tmp_path: Path):
    with pytest.raises(InvalidInput, match="No such file") as caught:
        find_token({"RAY_AUTH_TOKEN_PATH": f"{tmp_path}/none"}, tmp_path)
    assert caught.value.field == "RAY_AUTH_TOKEN_PATH"


@pytest.mark.parametrize(
    "content", [b"", b" \n", b"two words", b"two\nlines", b"\xff\xfe", b"\xc3\xa9"]
)
def test_token_file_without_a_token_is_refused_by_name(home: Path, content: bytes):
    (home / ".ray" / "auth_token").write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        find_token({}, home)
    assert caught.value.where == f"{home}/.ray/auth_token"
