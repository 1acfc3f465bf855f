"""To a Ray cluster and back: which one, what is said meanwhile, and what is left as it was."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray
from ray._private.ray_logging import stdout_deduplicator
from ray.exceptions import RayError

from acdc_pipeline.errors import ExecutionFailed, InvalidInput

_FORMS = "host:port, auto, local"

# For a head node that is there, seconds; Ray itself would try for minutes.
_ANSWERS_WITHIN = 10.0


@contextmanager
def connected(address: str | None, say: Callable[[str], None]) -> Iterator[str]:
    """Connects this process to a cluster for as long as the context lasts; gives its address.

    A process that is connected already stays so. A cluster that is started here ends here.

    Args:
        address: `host:port`; `auto`, the cluster of this machine; `local`, a new one on this
            machine; None is that of the Ray job this process belongs to, else `local`.
        say: told what takes long.

    Raises:
        InvalidInput: it is no address of a cluster.
        ExecutionFailed: no cluster answers there, or none can be started here.
    """
    if ray.is_initialized():
        yield ray.get_runtime_context().gcs_address
        return
    wanted = address or ("auto" if os.environ.get("RAY_ADDRESS") else "local")
    if wanted not in ("auto", "local"):
        _check_answers(wanted)
    say(
        "starting Ray on this machine (about 10 seconds)"
        if wanted == "local"
        else f"connecting to the Ray cluster {os.environ.get('RAY_ADDRESS', wanted)}"
    )
    with _signals_restored(), _quiet():
        _start(wanted)
        try:
            yield ray.get_runtime_context().gcs_address
        finally:
            ray.shutdown()


def _start(wanted: str) -> None:
    # A bare init() would dial whatever cluster this machine had last, alive or not.
    dashboard = False if wanted == "local" else None
    try:
        ray.init(
            address=wanted,
            include_dashboard=dashboard,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, RuntimeError, ValueError, RayError) as error:
        told = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ExecutionFailed(
            f"no connection to the Ray cluster: {told[0] if told else type(error).__name__}",
            where=wanted,
            fix="look at it with 'ray status'; for one that asks for a token, export "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH",
        ) from error


def _check_answers(address: str) -> None:
    """Raises unless somebody listens at `host:port`."""
    if "://" in address:
        raise InvalidInput(
            f"'{address}' is not where workers are started from",
            field="--address",
            allowed=_FORMS,
            fix="send the sweep there as a job: acdc submit SWEEP --address http://HOST:8265",
        )
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65536):
        raise InvalidInput(f"'{address}' is no address", field="--address", allowed=_FORMS)
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWERS_WITHIN).close()
    except OSError as error:
        raise ExecutionFailed(
            f"nothing answers: {error.strerror or error}",
            where=address,
            fix="name the head node's address as 'ray start --head' prints it, port 6379 unless "
            "chosen",
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray prints thirty lines on stdout for every process that dies, whatever it is told.

    That a worker died is said by whoever replaces it; the rest is in the logs of the nodes.
    """
    before = stdout_deduplicator.skip_re
    stdout_deduplicator.skip_re = re.compile("")
    try:
        yield
    finally:
        stdout_deduplicator.skip_re = before


@contextmanager
def _signals_restored() -> Iterator[None]:
    """Ray puts its own handler of SIGTERM in place and leaves it there."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
