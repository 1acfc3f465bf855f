"""What README and docs/getting-started.md show is run here as written, or by the test named."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from acdc_pipeline.models.zoo import zoo_path
from acdc_pipeline.store import open_store
from tests.command_line import acdc
from tests.support import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
STARTED = (REPOSITORY / "docs" / "getting-started.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
SWEEPS = STARTED.partition("\n## Sweeps\n")[2].partition("\n## ")[0]

TARGET = "architecture/test_documents.py::test_make_target_in_documents_exists"
LOCK = "architecture/test_packaging.py::test_direct_dependencies_are_all_pinned"
COVERED = {
    "make demo": (
        "integration/test_demo.py::test_demo_on_a_ray_of_its_own_stores_what_it_stores_here"
    ),
    "make test": TARGET,
    "make install": TARGET,
    ". .venv/bin/activate": LOCK,
    "pip install -c constraints.txt -e .": LOCK,
    "pip install -c constraints.txt -e '.[s3]'": LOCK,
    "pip install -c constraints.txt -e '.[gguf,peft]'": LOCK,
    "acdc doctor": "unit/cli/commands/test_doctor.py::test_doctor_finds_this_installation_well",
    "acdc evaluate RUN": (
        "unit/cli/commands/test_evaluate.py::"
        "test_evaluate_run_with_scores_draws_its_curve_and_repeats_its_search"
    ),
    "acdc heads zoo:gpt2-4l-s0": (
        "unit/cli/commands/test_heads.py::test_heads_for_people_name_the_roles_and_draw_the_mosaic"
    ),
    "acdc heads zoo:attn-2l": (
        "unit/cli/commands/test_heads.py::test_heads_for_people_name_the_roles_and_draw_the_mosaic"
    ),
    "acdc regress": ("unit/cli/commands/test_regress.py::test_regress_unchanged_tree_is_ok"),
    "acdc regress --replace zoo:gpt2-4l-s0=zoo:gpt2-4l-s0-edited": (
        "unit/cli/commands/test_regress.py::test_regress_swapped_heads_are_drift_and_named"
    ),
    "acdc --install-completion": (
        "unit/cli/options/test_completion.py::test_completion_is_installed_for_a_shell"
    ),
    "acdc heads hf:ORG/NAME --tasks ioi,induction --text FILE": (
        "unit/cli/commands/test_heads.py::test_heads_text_is_measured_once_beside_the_profiles"
    ),
    "acdc wiki serve": "unit/cli/commands/test_wiki.py::test_wiki_serve_ends_with_130_on_ctrl_c",
    "acdc run zoo --executor ray": (
        "integration/test_ray_executor.py::test_execute_commits_every_run_once_and_tells_of_each"
    ),
    "sbatch --array=1-16 deploy/slurm/array.sbatch deploy/sweeps/zoo.yaml": (
        "deploy/test_slurm.py::test_array_tasks_together_do_the_whole_sweep_and_each_run_once"
    ),
    "acdc submit zoo --address http://127.0.0.1:8265 --profile gpu --store s3://BUCKET/runs": (
        "integration/test_submission.py::test_commands_of_the_readme_of_deploy_do_what_they_say"
    ),
    "acdc status": (
        "unit/cli/commands/test_jobs.py::test_status_lists_the_jobs_of_acdc_newest_first"
    ),
}
"""Lines that need minutes, a cluster or a shell of one's own; the tests that run their like."""

SMALLER = {
    "discover": ["--prompts", "8"],
}
"""What is put behind a command here, so that it takes less time."""


def typed() -> list[str]:
    """Every line that both show in a shell, without its comment, but those about sweeps."""
    text = README + STARTED.replace(SWEEPS, "")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = (line.split("  #")[0].strip() for block in blocks for line in block.splitlines())
    return [line for line in lines if line]


def test_lines_of_readme_that_are_not_run_here_are_run_by_tests_that_exist():
    assert set(COVERED) - set(typed()) == set(), "shown no longer"
    missing = []
    for line, test in COVERED.items():
        file, _, name = test.partition("::")
        if f"def {name}(" not in (REPOSITORY / "tests" / file).read_text(encoding="utf-8"):
            missing.append(line)
    assert missing == []


def test_runs_in_the_table_of_readme_have_the_ids_that_the_demo_gives_them(capsys):
    shown = re.findall(r"^([0-9a-f]{8})  (\w+) +(\S+) +acdc (\S+)", README, re.MULTILINE)
    planned = [
        (run["run_id"][:8], run["task"], run["model"], f"{run['method']['threshold']:g}")
        for run in acdc(capsys, "plan", "demo", "--json").document["runs"]
        if run["method"]["name"] == "acdc"
    ]
    assert shown == planned[: len(shown)]
    assert shown


def test_commands_of_readme_work_in_the_order_shown(
    capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    pair = re.search(r"^```json\n(.*?)^```", STARTED, re.DOTALL | re.MULTILINE)
    assert pair
    Path("capitals.jsonl").write_text(pair[1], encoding="utf-8")
    stand_ins = {
        "hf:ORG/NAME": "zoo:gpt2-4l-s0",
        "dir:path/to/checkpoint": f"dir:{zoo_path('gpt2-4l-s0')}",
    }
    ran = 0
    for line in typed():
        if line in COVERED:
            continue
        program, *words = shlex.split(line)
        assert program == "acdc", f"{line}: neither a command of ours nor covered by a test"
        words = [stand_ins.get(word, word) for word in words]
        if "RUN" in words:
            words[words.index("RUN")] = open_store().run_ids()[0]
        shown = acdc(capsys, *words, *SMALLER.get(words[0], []))
        assert shown.code == 0, f"{line}: {shown.err}"
        ran += 1
    assert ran >= 10
    assert Path("circuit.graphml").exists()


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_python_in_readme_runs_and_keeps_its_run(
    snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    exec(snippet, {})
    assert len(open_store("acdc-results").run_ids()) == 1


def test_sweep_in_readme_runs_as_shown(capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    yaml, sh = (
        re.findall(rf"^```{kind}\n(.*?)^```", SWEEPS, re.DOTALL | re.MULTILINE)[0]
        for kind in ("yaml", "sh")
    )
    Path("small.yaml").write_text(yaml)
    commands = [shlex.split(line, comments=True)[1:] for line in sh.splitlines()]
    assert [command[0] for command in commands] == ["plan", "run", "run", "runs", "run"]
    for command in commands:
        assert acdc(capsys, *command).code == 0
    assert len(open_store().run_ids()) == 4
