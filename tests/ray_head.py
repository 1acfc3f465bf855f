"""A Ray cluster of its own on this machine, as `ray start` makes it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.support import REPOSITORY

SECONDS_TO_START = 120
PORTS = (
    "--port",
    "--dashboard-port",
    "--ray-client-server-port",
    "--dashboard-agent-listen-port",
    "--dashboard-agent-grpc-port",
    "--runtime-env-agent-port",
    "--metrics-export-port",
    "--node-manager-port",
    "--object-manager-port",
)
OF_EVERY_NODE = PORTS[3:]


@contextlib.contextmanager
def ray_head(token: str | None = None, nodes: int = 1) -> Iterator[str]:
    """The address of the dashboard of a cluster with two CPUs, ended with all it started.

    Jobs run this checkout with this Python. Nothing of Ray outside is read or touched.

    Args:
        token: what the cluster asks for; None starts one that answers everybody.
        nodes: 1, or 2 with a CPU each.
    """
    # Not below pytest's own folder: the paths of Ray's sockets may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="acdc-ray-"))
    ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
    url = f"http://127.0.0.1:{ports['--dashboard-port']}"
    common = ["--block", "--num-cpus", str(2 // nodes), "--node-ip-address", "127.0.0.1"]
    head = ["--head", *common, "--disable-usage-stats", "--temp-dir", str(folder / "r")]
    head += ["--dashboard-host", "127.0.0.1", *(f"{name}={port}" for name, port in ports.items())]
    # Ports are those of one machine: no worker may take one that the other node gives its own.
    more = [f"--address=127.0.0.1:{ports['--port']}", *common]
    more += ["--min-worker-port", "0", "--max-worker-port", "0"]
    started: list[subprocess.Popen[bytes]] = []
    try:
        started.append(_start(head, folder, token))
        _wait_for(url, started[0], folder / "log")
        for number in range(1, nodes):
            own = dict(zip(OF_EVERY_NODE, _free_ports(len(OF_EVERY_NODE)), strict=True))
            words = [*more, *(f"{name}={port}" for name, port in own.items())]
            # In a folder of its own: a node deletes the files of jobs that it does not need itself.
            words += ["--temp-dir", str(folder / f"r{number}")]
            started.append(_start(words, folder, token))
        _wait_for_nodes(url, nodes, started[-1], folder / "log", token)
        yield url
    finally:
        for process in reversed(started):
            _end(process)
        shutil.rmtree(folder, ignore_errors=True)


def _start(words: list[str], folder: Path, token: str | None) -> subprocess.Popen[bytes]:
    """A node, started by `ray start` with these words."""
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", *words],
            env=_environment(folder, token),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _environment(folder: Path, token: str | None) -> dict[str, str]:
    """That of the head node, and of the jobs it starts."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    mode = {"RAY_AUTH_MODE": "disabled"}
    if token is not None:
        mode = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    return {
        **ours,
        **mode,
        "HOME": str(folder),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{ours.get('PATH', '')}",
        "PYTHONPATH": str(REPOSITORY),
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has. They stay open until all are known, so that no two are equal."""
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [server.getsockname()[1] for server in servers]


def _wait_for_nodes(
    url: str, nodes: int, process: subprocess.Popen[bytes], log: Path, token: str | None
) -> None:
    """Returns once the dashboard lists so many nodes with their CPUs; `process` is the last."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{url}/api/v0/nodes", headers=headers)
    for _ in range(4 * SECONDS_TO_START):
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=10) as answer:
            listed = json.load(answer)["data"]["result"]["result"]
            if sum("CPU" in node["resources_total"] for node in listed) == nodes:
                return
        _check_alive(process, log)
    raise AssertionError(f"not {nodes} nodes within {SECONDS_TO_START} seconds:\n{log.read_text()}")


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Returns once the dashboard answers, even if only that it wants a token."""
    for _ in range(4 * SECONDS_TO_START):
        try:
            urllib.request.urlopen(f"{url}/api/version", timeout=10).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            pass
        _check_alive(process, log)
    raise AssertionError(f"no head node within {SECONDS_TO_START} seconds:\n{log.read_text()}")


def _check_alive(process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits a quarter of a second, in which the process should not end."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        code = process.wait(0.25)
        raise AssertionError(f"ray start ended with {code}:\n{log.read_text()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kills the head node's processes and what they have started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        top = psutil.Process(process.pid)
        started = [top, *top.children(recursive=True)]
        for each in started:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(started, timeout=30)
    process.wait()
