"""What a shell is answered when it asks for completions."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import get_args

import pytest
import typer

from acdc_pipeline.cli.options import completion, shared
from acdc_pipeline.models.zoo import list_zoo
from acdc_pipeline.specs.names import METRICS, Ablation
from acdc_pipeline.store import open_store
from tests.records import record
from tests.support import REPOSITORY

NOT_LOADED = "import sys; assert not {'pyarrow', 'torch', 'ray', 'transformers'} & set(sys.modules)"


def asked(words: list[str], at: int, loads: str = "nothing") -> list[str]:
    """What Bash gets for a line that it cut into `words`, with the cursor in word `at`."""
    program = f"""
from acdc_pipeline.cli.main import main
try:
    main([])
finally:
    {NOT_LOADED.replace(f"'{loads}', ", "")}
"""
    told = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "_ACDC_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(words),
            "COMP_CWORD": str(at),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stderr == ""
    return told.stdout.split()


def test_shell_completes_a_model_behind_the_colon_where_bash_cuts_and_loads_nothing_heavy():
    found = asked(["acdc", "discover", "ioi", "zoo", ":", "attn"], 5)
    assert found == [name for name in list_zoo() if name.startswith("attn")]


@pytest.fixture
def stored(tmp_path) -> tuple[str, list[str]]:
    """A store, and the ids of its two runs."""
    store = open_store(tmp_path / "runs", mode="write")
    records = [record(seed) for seed in (0, 1)]
    for one in records:
        store.commit(one)
    return store.url, sorted(one.spec.run_id() for one in records)


def test_shell_completes_ids_of_the_store_that_was_named(stored: tuple[str, list[str]]):
    store, ids = stored
    words = ["acdc", "runs", "show", "--store", store]
    assert asked([*words, ids[1][:6]], 5, loads="pyarrow") == ids[1:]
    assert asked([*words, "zz"], 5, loads="pyarrow") == []


def test_ids_and_tasks_are_what_evaluate_takes(
    stored: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
):
    store, ids = stored
    context = typer.Context(typer.main.get_command(typer.Typer(callback=lambda: None)))
    context.params["store"] = store
    assert completion.runs_and_tasks(context, "") == [*ids, *completion.tasks("")]
    assert completion.runs_and_tasks(context, "io") == ["ioi"]
    context.params["store"] = "nowhere://x"
    assert completion.runs(context, "") == []


def test_values_that_help_names_are_completed_without_what_is_optional_in_them():
    assert completion.one_of(shared.DEVICES)("") == ["auto", "cpu", "cuda", "mps"]
    assert completion.metrics("prob") == ["prob_diff"]
    assert completion.scores("backup_i") == ["backup_induction"]


def test_shell_completes_a_method_behind_a_model_with_a_colon():
    words = ["acdc", "discover", "ioi", "zoo", ":", "attn-2l", "--method", "eap-ig-in"]
    assert asked(words, 7) == ["eap-ig-inputs"]


@pytest.mark.parametrize(
    ("words", "at", "becomes", "kind"),
    [
        (["acdc", "discover", "ioi", "zoo", ":"], 4, ["acdc", "discover", "ioi", ""], "zoo:"),
        (["acdc", "discover", "io"], 2, ["acdc", "discover", "io"], ""),
        (["acdc", "discover", "ioi"], 3, ["acdc", "discover", "ioi", ""], ""),
        (
            ["acdc", "heads", "zoo", ":", "attn-2l", "--st"],
            5,
            ["acdc", "heads", "zoo:attn-2l", "--st"],
            "",
        ),
    ],
)
def test_join_split_words_joins_what_bash_cut(
    words: list[str], at: int, becomes: list[str], kind: str
):
    environment = {
        "_ACDC_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(at),
    }
    completion.join_split_words(environment)
    assert environment["COMP_WORDS"].replace("''", "").split(" ") == becomes
    assert environment["COMP_CWORD"] == str(len(becomes) - 1)
    assert environment["_ACDC_COMPLETE_KIND"] == kind


def test_join_split_words_leaves_other_shells_alone():
    environment = {"_ACDC_COMPLETE": "complete_zsh", "COMP_WORDS": "a : b"}
    completion.join_split_words(environment)
    assert environment == {"_ACDC_COMPLETE": "complete_zsh", "COMP_WORDS": "a : b"}


def test_completion_is_installed_for_a_shell(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "acdc_pipeline", "--install-completion", "bash"],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "HOME": str(tmp_path),
            # the shell of whoever runs the tests is not looked for
            "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert "bash completion installed" in done.stdout
    assert "acdc" in (tmp_path / ".bashrc").read_text()


def test_names_that_are_completed_are_those_that_exist():
    assert completion.metrics("") == list(METRICS)
    assert tuple(shared.ABLATIONS.split("|")) == get_args(Ablation)
    assert "ioi" in completion.tasks("")
    assert completion.sweeps("dem") == ["demo"]
    assert completion.profiles("la") == ["laptop"]
    assert completion.models("zoo:attn-2") == ["zoo:attn-2l"]
    assert completion.models("d") == ["dir:"]
    assert completion.models("g") == ["gguf:"]
