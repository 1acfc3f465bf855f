"""The command that was typed can be typed again."""

from __future__ import annotations

import shlex

import typer
from typer.main import get_command

from acdc_pipeline.cli.main import app
from acdc_pipeline.cli.options.shared import repeat_command


def again(line: str, **without: tuple[str, ...]) -> str:
    name, *words = shlex.split(line)[1:]
    group = get_command(app)
    command = group.commands[name]  # pyright: ignore[reportAttributeAccessIssue]
    parent = typer.Context(group, info_name="acdc")
    return repeat_command(command.make_context(name, words, parent=parent), **without)


def test_command_is_what_was_typed_and_no_more(monkeypatch):
    monkeypatch.setenv("ACDC_DEVICE", "cpu")
    line = "acdc run 'my sweep.yaml' --profile gpu --retry-failed --shard 1/2 --threads 1"
    assert shlex.split(again(line)) == shlex.split(line)


def test_command_repeats_an_option_that_was_given_several_times():
    line = "acdc regress --replace zoo:attn-2l=zoo:attn-4l --replace 'zoo:llama-4l=dir:my model'"
    assert shlex.split(again(line)) == shlex.split(line)


def test_command_leaves_out_what_it_is_told_to():
    line = "acdc run demo --retry-failed --json"
    assert again(line, without=("json", "retry_failed")) == "acdc run demo"
