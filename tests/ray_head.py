"""A Ray head node of its own on this machine, as `ray start --head` makes it."""

from __future__ import annotations

import contextlib
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


@contextlib.contextmanager
def ray_head(token: str | None = None) -> Iterator[str]:
    """The address of the dashboard of a head node with two CPUs, ended with all it started.

    Jobs run this checkout with this Python. Nothing of Ray outside is read or touched.

    Args:
        token: what the cluster asks for; None starts one that answers everybody.
    """
    # Not below pytest's own folder: the paths of Ray's sockets may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="acdc-ray-"))
    ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
    url = f"http://127.0.0.1:{ports['--dashboard-port']}"
    words = ["start", "--head", "--block", "--num-cpus", "2", "--disable-usage-stats"]
    words += ["--temp-dir", str(folder / "r"), "--node-ip-address", "127.0.0.1"]
    words += ["--dashboard-host", "127.0.0.1"]
    words += [f"{name}={port}" for name, port in ports.items()]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", *words],
            env=_environment(folder, token),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_for(url, process, folder / "log")
        yield url
    finally:
        _end(process)
        shutil.rmtree(folder, ignore_errors=True)


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
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(0.25)
            raise AssertionError(f"ray start ended with {code}:\n{log.read_text()}")
    raise AssertionError(f"no head node within {SECONDS_TO_START} seconds:\n{log.read_text()}")


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
