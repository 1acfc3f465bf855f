"""Sweeps as jobs of a real Ray cluster of two nodes that asks for a token."""

from __future__ import annotations

import re
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acdc_pipeline.execution.submission import (
    Cluster,
    Job,
    Submission,
    bundle_of,
    find_token,
    parse_address,
    reach,
)
from acdc_pipeline.store import open_store
from tests import checkpoints
from tests.command_line import Outcome, acdc, start_acdc
from tests.ray_head import ray_head
from tests.support import REPOSITORY
from tests.sweeps import write_pairs, write_sweep
from tests.tcp_tunnel import tunnel

pytestmark = pytest.mark.ray

TOKEN = "a-token-of-this-test"
SWEEP = """
name: small
tasks: [compiled_or]
models: ["zoo:compiled-or"]
methods: [{name: acdc, thresholds: [0.1]}]
prompts: 8
seeds: [0]
"""
PROFILE = """
executor: ray
actors: 1
cpus: 1
gpus: 0
dtype: float32
attempts: 1
checkpoint: 60s
"""
COUNT_TO = "i=0; while [ $i -lt {} ]; do i=$((i+1)); echo line $i; sleep 0.2; done"


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    with ray_head(TOKEN, nodes=2) as url:
        yield url


@pytest.fixture(autouse=True)
def _in_a_project(head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SWEEP)
    Path("one.yaml").write_text(PROFILE)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ACDC_ADDRESS", head)
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)


def cluster(url: str) -> Cluster:
    return reach(
        parse_address(url, "--address"), lambda: find_token({"RAY_AUTH_TOKEN": TOKEN}, Path())
    )


def started(url: str, name: str, command: str) -> Job:
    """A job that executes `command` in place of a sweep; `name` makes it one of its own."""
    from acdc_pipeline.execution.submission.jobs import Jobs, submit

    bundle = bundle_of("small.yaml", "one.yaml")
    return submit(Jobs(cluster(url)), Submission(bundle, f"s3://{name}", command)).job


def job_on(url: str, job_id: str) -> Job | None:
    from acdc_pipeline.execution.submission.jobs import Jobs

    return Jobs(cluster(url)).find(job_id)


def commands_of(heading: str) -> list[str]:
    """The commands that deploy/README.md gives below a heading, with what a reader fills in."""
    text = (REPOSITORY / "deploy" / "README.md").read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


def test_commands_of_the_readme_of_deploy_do_what_they_say(head, capsys, store_url):
    lines = commands_of("Submitting, watching, collecting")
    filled = {"SWEEP": "small.yaml", "http://127.0.0.1:8265": head, "s3://BUCKET/runs": store_url}
    seen: dict[str, Outcome] = {}
    for line in lines:
        words = [filled.get(word, word) for word in shlex.split(line)]
        assert words[0] == "acdc"
        shown = acdc(capsys, *words[1:])
        assert shown.code == 0, f"{line}\n{shown.out}{shown.err}"
        seen[" ".join(words[1:3])] = shown
        if words[1] == "submit":
            [filled["JOB"]] = set(re.findall(r"acdc-[0-9a-f]{20}", shown.out))
            [filled["RUN"]] = open_store(store_url).run_ids()
    submitted = seen["submit small.yaml"]
    # said before the job is sent, and in its log; each of the two nodes has one CPU
    chosen = "2 workers with 1 CPU each: what the cluster has room for"
    assert f"note: {chosen}\n" in submitted.err
    assert chosen in submitted.out
    assert "compiled_or in zoo:compiled-or at 0.1: 4 edges" in submitted.out
    assert "succeeded after" in submitted.err
    log = seen[f"logs {filled['JOB']}"].out
    assert log
    assert log in submitted.out
    assert seen[f"cancel {filled['JOB']}"].out == f"{filled['JOB']}: succeeded, as it was before\n"
    assert filled["RUN"][:8] in seen["runs list"].out
    assert Path("circuit.graphml").is_file()
    # the same submission is the same job
    again = acdc(capsys, "submit", "small.yaml", "--json").document
    assert (again["job"], again["present"], again["exit_code"]) == (filled["JOB"], True, 0)
    assert job_on(again["address"], f"{again['job']}-2") is None


def test_sweep_whose_driver_was_killed_goes_on_when_it_is_submitted_again(
    head, capsys, tmp_path: Path, store_url: str
):
    """A run that was finished stays, and the one under way goes on from its checkpoint."""
    models = [checkpoints.gpt2(tmp_path / f"m{seed}", seed, layers=6) for seed in range(2)]
    write_sweep(
        Path("two.yaml"),
        tasks=[str(write_pairs(tmp_path / "ids.jsonl"))],
        models=[f"dir:{model}" for model in models],
        methods=[{"name": "acdc", "thresholds": [1e-9]}],
    )
    Path("often.yaml").write_text(PROFILE.replace("60s", "0.01s") + "memory: 1GiB\n")
    submit = ("submit", "two.yaml", "--profile", "often.yaml", "--shared-disk")
    job = acdc(capsys, *submit, "--json").document["job"]
    store = open_store(store_url)
    kept = Path(store_url) / "checkpoints"
    stored: list[str] = []
    # The checkpoint of the first run is removed only after the run is stored.
    while not stored or {path.stem for path in kept.glob("*.parquet")} <= set(stored):
        found = job_on(head, job)
        assert found is not None
        assert not found.is_over, acdc(capsys, "logs", job).out
        time.sleep(0.05)  # the cores are for the job
        stored = store.run_ids()
    driver_of(store_url).kill()
    [first] = store.run_ids()
    before = sorted((Path(store_url) / "runs" / first).rglob("*"))
    times = [path.stat().st_mtime_ns for path in before]
    shown = acdc(capsys, "logs", job, "--follow")
    assert shown.code == 3
    assert "the driver was killed by signal 9" in shown.err
    # No search measures this value: it is in the result only if the run was resumed.
    [left] = kept.glob("*.parquet")
    table = pq.read_table(left)
    column = table.schema.get_field_index("metric_after")
    values = [12345.0, *table["metric_after"].to_pylist()[1:]]
    changed = pa.array(values, table["metric_after"].type)
    pq.write_table(table.set_column(column, table.schema.field(column), changed), left)
    again = acdc(capsys, *submit, "--follow")
    assert again.code == 0, again.out + again.err
    assert f"{job}-2" in again.out
    assert "1 of 2 runs are in the store already" in again.out
    second = next(run_id for run_id in store.run_ids() if run_id != first)
    assert [path.stat().st_mtime_ns for path in before] == times
    steps = pq.read_table(pa.BufferReader(store.read_file(second, "steps.parquet")))
    assert steps["metric_after"][0].as_py() == 12345.0
    assert (store.damaged(), store.failures(), list(kept.iterdir())) == ([], [], [])
    assert not list((Path(store_url) / "claims").glob("*.json"))


def driver_of(store_url: str) -> psutil.Process:
    """The process of `acdc run` in a job that writes this store."""
    [found] = [
        process
        for process in psutil.process_iter(["cmdline"])
        if (words := process.info["cmdline"] or [])[1:3] == ["-m", "acdc_pipeline"]
        and store_url in words
    ]
    return found


def test_profile_that_does_not_fit_is_refused_before_anything_is_sent(capsys):
    acdc(capsys, "submit", "small.yaml", "--profile", "gpu", "--store", "s3://elsewhere").refuses(
        "2 CPUs are missing; 1 GPU is missing", "or add nodes"
    )
    assert not [
        job
        for job in acdc(capsys, "status", "--json").document["jobs"]
        if job["store"] == "s3://elsewhere"
    ]


def test_job_finds_sweep_tasks_and_profile_beside_it_and_nothing_else(head, capsys):
    job = started(head, "files", "find . -type f; exit 3")
    shown = acdc(capsys, "logs", job.id, "--follow")
    files = {line[2:] for line in shown.out.splitlines() if line.startswith("./")}
    assert files == set(bundle_of("small.yaml", "one.yaml").files)
    assert shown.code == 3
    # what failed is tried once more under an id of its own, and what did not is the job
    second = started(head, "files", "true")
    assert second.id == f"{job.id}-2"
    assert acdc(capsys, "logs", second.id, "--follow").code == 0
    assert started(head, "files", "true") == job_on(head, second.id)


def test_log_comes_whole_and_once_over_connections_that_break(head, capsys):
    from acdc_pipeline.execution.submission.follow import Timeouts, follow
    from acdc_pipeline.execution.submission.jobs import Jobs

    job = started(head, "counting", COUNT_TO.format(30))
    written: list[str] = []
    cuts: list[int] = []
    with tunnel(head) as (url, line):

        def write(text: str) -> None:
            written.append(text)
            if len(cuts) < 2 and f"line {4 + 8 * len(cuts)}\n" in "".join(written):
                cuts.append(line.cut())

        ended = follow(Jobs(cluster(url)), job.id, write, print, Timeouts(pauses=(0.1,)))
    assert ended.state == "succeeded"
    assert [cut > 0 for cut in cuts] == [True, True]
    lines = [line for line in "".join(written).splitlines() if line.startswith("line ")]
    assert lines == [f"line {number}" for number in range(1, 31)]


def test_interrupt_ends_the_following_and_cancel_ends_the_job(head, capsys):
    job = started(head, "endless", COUNT_TO.format(100_000))
    with start_acdc("logs", job.id, "--follow", program="acdc_pipeline") as process:
        assert process.stdout is not None
        while "line 1\n" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert f"{job.id} continues" in err
    assert "Traceback" not in err
    assert acdc(capsys, "status", job.id, "--json").document["state"] == "running"
    shown = acdc(capsys, "cancel", job.id)
    assert (shown.code, shown.out) == (0, f"{job.id}: stopped\n")
    again = acdc(capsys, "cancel", job.id)
    assert (again.code, again.out) == (0, f"{job.id}: stopped, as it was before\n")


def test_wrong_and_missing_token_are_one_clear_error_each(capsys, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another")
    for command in (("submit", "small.yaml", "--profile", "one.yaml"), ("status",)):
        acdc(capsys, *command).refuses("refuses the token of RAY_AUTH_TOKEN")
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    acdc(capsys, "status").refuses("asks for a token, and there is none", "RAY_AUTH_TOKEN_PATH")


def test_token_is_read_where_ray_reads_it(tmp_path, monkeypatch):
    from ray import _raylet

    # compiled, and without types
    loader: Any = vars(_raylet)["AuthenticationTokenLoader"].instance()
    for place in ({"RAY_AUTH_TOKEN": " a\n"}, {"RAY_AUTH_TOKEN_PATH": "file"}, {}):
        (tmp_path / "file").write_text("b\n")
        (tmp_path / ".ray").mkdir(exist_ok=True)
        (tmp_path / ".ray" / "auth_token").write_text("c\n")
        for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            monkeypatch.delenv(name, raising=False)
        for name, value in place.items():
            monkeypatch.setenv(name, value)
        loader.reset_cache()
        ours = find_token(dict(place), tmp_path)
        assert ours is not None
        assert loader.get_raw_token(ignore_auth_mode=True) == ours.value
