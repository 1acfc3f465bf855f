"""Exit codes and messages of the command line as a whole."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from typer.main import get_command

from acdc_pipeline import __version__
from acdc_pipeline.cli.main import app
from acdc_pipeline.cli.terminal.errors import error_text
from acdc_pipeline.errors import BaselineError, ExecutionFailed, SpecError
from acdc_pipeline.specs import METHODS, ScoredMethod, SearchMethod
from tests.command_line import acdc, run_acdc, start_acdc


def every_command() -> list[list[str]]:
    found: list[list[str]] = []
    for name, command in get_command(app).commands.items():  # pyright: ignore[reportAttributeAccessIssue]
        below = getattr(command, "commands", None)
        found += [[name, other] for other in below] if below else [[name]]
    return found


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_help_of_every_command_carries_an_example(capsys, words: list[str]):
    shown = acdc(capsys, *words, "--help")
    assert shown.code == 0
    assert "Example" in shown.out
    assert f"acdc {' '.join(words)}" in shown.out.split("Example")[1]


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_help_calls_every_argument_by_a_name_in_capitals(capsys, words: list[str]):
    usage, *lines = acdc(capsys, *words, "--help").out.splitlines()
    rest = usage.removeprefix(f"Usage: acdc {' '.join(words)} [OPTIONS]")
    assert all(word.isupper() for word in rest.split())
    assert "{" not in rest
    assert [line for line in lines if "<" in line] == []


@pytest.mark.parametrize("words", [[], ["runs"], ["tasks"], ["models"]])
def test_help_of_a_group_says_whole_sentences(capsys, words: list[str]):
    assert "..." not in acdc(capsys, *words, "--help").out.split("Commands:")[1]


def test_message_wraps_at_words_below_its_indentation_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    lines = acdc(capsys, "discover", "ioi", "zoo:x", "--treshold", "1").err.splitlines()
    assert max(map(len, lines)) <= 40
    assert all(line.startswith("      ") for line in lines[1:])


def test_directory_that_was_deleted_under_the_command_is_one_message_and_exit_2(
    capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    shown = acdc(capsys, "tasks", "list")
    assert shown.code == 2
    assert "the current directory does not exist any more" in shown.err
    assert "Traceback" not in shown.err


def test_version_is_printed(capsys):
    assert acdc(capsys, "--version").out == f"acdc {__version__}\n"


@pytest.mark.parametrize("words", [[], ["runs"], ["tasks"], ["models"]])
def test_command_without_its_rest_shows_what_there_is(capsys, words: list[str]):
    shown = acdc(capsys, *words)
    assert (shown.code, shown.out) == (2, "")
    assert "Commands:" in shown.err


def test_unknown_command_suggests_the_nearest(capsys):
    acdc(capsys, "dicover").refuses("unknown command 'dicover'", "did you mean 'discover'?")
    acdc(capsys, "runs", "lst").refuses("unknown command 'lst'", "did you mean 'list'?")


@pytest.mark.parametrize(
    ("command", "option", "meant"),
    [
        ("discover", "--top-n", "--edges"),
        ("evaluate", "--top-n", "--top"),
        ("discover", "--ig-steps", "--steps"),
        ("discover", "--n-prompts", "--prompts"),
        ("discover", "--eap-ig", None),
        ("discover", "--no-progress", None),
    ],
)
def test_unknown_option_of_another_program_suggests_the_same_one_or_none(
    capsys, command: str, option: str, meant: str | None
):
    shown = acdc(capsys, command, "ioi", "zoo:x", option, "1")
    shown.refuses(f"unknown option '{option}'" + (f"; did you mean '{meant}'?" if meant else "\n"))


def test_compare_of_two_runs_names_the_command_for_it(capsys):
    acdc(capsys, "compare", "3f2a", "90cc").refuses(
        "unexpected extra argument", "acdc runs compare"
    )


def test_unknown_option_suggests_the_nearest(capsys):
    acdc(capsys, "discover", "ioi", "zoo:x", "--treshold", "1").refuses(
        "discover: unknown option '--treshold'", "did you mean '--threshold'?"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["discover", "ioi"], "missing argument 'MODEL'"),
        (["discover", "ioi", "zoo:x", "--seed"], "'--seed' requires an argument"),
        (["discover", "ioi", "zoo:x", "more"], "unexpected extra argument"),
        (["discover", "ioi", "zoo:x", "--prompts", "many"], "--prompts: 'many' is not a whole"),
        (["discover", "ioi", "zoo:x", "--prompts", "0"], "--prompts: 0 is too small"),
        (["discover", "ioi", "zoo:x", "--prompts", "99999999999"], "at most 1000000"),
        (["tasks", "show", "ioi", "--prompts", "1000001"], "--prompts: 1000001 is too large"),
        (["discover", "ioi", "zoo:x", "--prompts", "1_0"], "--prompts: '1_0' is not a whole"),
        (["discover", "ioi", "zoo:x", "--threshold", "1_0"], "--threshold: '1_0' is not a number"),
        (["discover", "ioi", "zoo:x", "--seed", "-1"], "--seed: -1 is too small"),
        (["discover", "ioi", "zoo:x", "--rounds", "1001"], "--rounds: 1001 is too large"),
        (["evaluate", "abc", "--null", "100001"], "--null: 100001 is too large"),
        (["discover", "ioi", "zoo:x", "--threshold", "low"], "--threshold: 'low' is not a number"),
        (["discover", "ioi", "zoo:x", "--memory", "much"], "--memory: 'much' is not an amount"),
        (["discover", "ioi", "zoo:x", "--threads", "all"], "--threads: 'all' is not a whole"),
        (["run", "demo", "--threads", "0"], "--threads: 0 is too small"),
        (["run", "demo", "--threads", "5000000000"], "--threads: 5000000000 is too large"),
        (["run", "demo", "--shard", "3"], "--shard: '3' is not a shard"),
        (["plan", "demo", "--shard", "9/8"], "--shard: there is no shard 9/8"),
        (["run", "demo", "--executor", "rya"], "--executor: unknown executor 'rya'"),
        (["plan", "demo", "--executor", "rya"], "--executor: unknown executor 'rya'"),
        (["run", "demo", "--profile", "gpus"], "did you mean 'gpu'?"),
        (["run", "dmo"], "unknown sweep 'dmo'"),
    ],
)
def test_command_line_that_cannot_be_read_is_refused(capsys, words: list[str], message: str):
    acdc(capsys, *words).refuses(message)


@pytest.mark.parametrize(
    "words",
    [
        ["compare", "--mib"],
        ["demo", "--out"],
        ["models", "convert", "none.pt"],
        ["regress", "demo", "--update-baseline", "--reason", "why", "--baselines"],
        ["wiki", "headvis", "zoo:none", "--out"],
    ],
    ids=lambda words: words[0],
)
def test_folder_that_cannot_be_written_is_refused_before_anything_else(
    capsys, store_url: str, tmp_path: Path, words: list[str]
):
    (tmp_path / "file").touch()
    acdc(capsys, *words, tmp_path / "file" / "below").refuses("file is not a folder")
    acdc(capsys, *words, "/proc/none").refuses("/proc/none", "cannot be written")
    assert not Path(store_url).exists()


def test_memory_for_no_prompt_is_refused_with_what_one_needs(capsys, store_url: str):
    outcome = acdc(capsys, "discover", "compiled_or", "zoo:compiled-or", "--memory", "1KiB")
    assert outcome.code == 3
    assert re.search(r"one prompt of \d+ tokens needs \d+ bytes, the budget is 1024", outcome.err)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ACDC_MEMORY", "much", "ACDC_MEMORY: 'much' is not an amount"),
        ("ACDC_THREADS", "1.5", "ACDC_THREADS: '1.5' is not a whole number"),
        ("ACDC_THREADS", "0", "ACDC_THREADS: 0 is too small"),
        ("ACDC_EXECUTOR", "slurm", "ACDC_EXECUTOR: unknown executor 'slurm'"),
    ],
)
def test_value_from_the_environment_is_named_so(
    capsys, monkeypatch, name: str, value: str, message: str
):
    monkeypatch.setenv(name, value)
    acdc(capsys, "run", "demo").refuses(f"acdc: {message}")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("threads: 0", "acdc.yaml: threads: 0 is not at least 1"),
        ("threads: many", "acdc.yaml: threads: 'many' is not a whole number"),
        ("memory: much", "acdc.yaml: memory: 'much' is not an amount"),
        ("profile: gpus", "unknown worker profile 'gpus'"),
    ],
)
def test_value_from_the_settings_is_named_so(
    capsys, monkeypatch, tmp_path, line: str, message: str
):
    (tmp_path / "acdc.yaml").write_text(line)
    monkeypatch.chdir(tmp_path)
    acdc(capsys, "run", "demo").refuses(message)


def test_error_is_told_with_indented_lines_below():
    error = SpecError(
        "unknown rule 'xyz'",
        where="tasks/ioi/task.yaml",
        field="corrupted.A",
        allowed="fresh, keep, swap",
    )
    assert error_text(error) == (
        "acdc: tasks/ioi/task.yaml: corrupted.A: unknown rule 'xyz'\n"
        "      allowed: fresh, keep, swap"
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [(SpecError("x"), 2), (ExecutionFailed("x"), 3), (BaselineError("x"), 4)],
)
def test_every_kind_of_error_has_its_exit_code(capsys, monkeypatch, error: Exception, code: int):
    def fail() -> None:
        raise error

    monkeypatch.setattr("acdc_pipeline.specs.list_tasks", fail)
    shown = acdc(capsys, "tasks", "list")
    assert (shown.code, shown.out, shown.err) == (code, "", "acdc: x\n")


def test_bug_is_reported_with_its_traceback_and_never_as_drift(capsys, monkeypatch):
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("acdc_pipeline.specs.list_tasks", fail)
    shown = acdc(capsys, "tasks", "list")
    assert (shown.code, shown.out) == (3, "")
    assert "ZeroDivisionError" in shown.err
    assert "acdc: this is a bug in acdc" in shown.err


def test_interrupt_ends_with_130_and_one_line(capsys, monkeypatch):
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("acdc_pipeline.specs.list_tasks", interrupt)
    shown = acdc(capsys, "tasks", "list")
    assert (shown.code, shown.out) == (130, "")
    assert shown.err.strip().startswith("acdc: interrupted")


def test_reader_that_has_seen_enough_ends_the_command_quietly(tmp_path):
    with start_acdc("tasks", "list", "--json", cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 128 + signal.SIGPIPE


def test_command_in_a_process_of_its_own_behaves_the_same(tmp_path):
    shown = run_acdc("dicover", cwd=tmp_path)
    shown.refuses("unknown command 'dicover'")


@pytest.mark.parametrize(
    "words",
    [
        ["discover", "NAME", "zoo:attn-2l"],
        ["discover", "induction", "NAME"],
        ["models", "show", "dir:NAME"],
        ["tasks", "new", "NAME"],
        ["compare", "--store", "NAME"],
        ["wiki", "build", "--out", "NAME", "--store", "none"],
    ],
    ids=" ".join,
)
def test_name_that_no_file_can_have_is_one_message_and_exit_2(
    capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
):
    monkeypatch.chdir(tmp_path)
    outcome = acdc(capsys, *(word.replace("NAME", "x" * 300) for word in words))
    outcome.refuses("")
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("seed", ["9007199254740992", "99999999999999999999", "１"])
def test_seed_that_torch_cannot_take_is_refused(capsys, seed: str):
    acdc(capsys, "heads", "zoo:attn-2l", "--seed", seed).refuses("--seed")


def test_help_of_discover_has_what_all_methods_share_first_and_the_rest_by_kind_of_method(capsys):
    common, searches, scored = re.split(
        r"^Options of .*:$", acdc(capsys, "discover", "--help").out, flags=re.MULTILINE
    )
    for kind, part in ((SearchMethod, searches), (ScoredMethod, scored)):
        found = _options(part)
        assert found
        for option in found:
            name = option[2:].replace("-", "_")
            owners = [method for method in METHODS.values() if name in method.parameters()]
            assert 2 * sum(issubclass(method, kind) for method in owners) > len(owners)
    shared = {"--method", "--metric", "--prompts", "--store", "--json", "--help"}
    assert shared <= _options(common)


def _options(text: str) -> set[str]:
    return set(re.findall(r"^  (--[a-z-]+)", text, re.MULTILINE))
