"""A cluster that answers, found with small requests before anything is sent, and its token."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from urllib3.exceptions import NameResolutionError, ProtocolError

from acdc_pipeline.errors import AcdcError, ExecutionFailed, InvalidInput
from acdc_pipeline.execution.submission.address import PORT, ClusterAddress

TIMEOUTS = (10.0, 30.0)
"""Seconds to wait for a connection, and then for an answer."""

# A small request that is refused without a token: for a job that does not exist.
_ANY_JOB = "/api/jobs/acdc-none"
_VERSION = "/api/version"

TOKEN_SOURCES = "RAY_AUTH_TOKEN, else the file RAY_AUTH_TOKEN_PATH, else ~/.ray/auth_token"

_SENDABLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True)
class Token:
    """The token of a protected cluster. Messages never contain its value."""

    value: str = field(repr=False)
    source: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.value}"}


@dataclass(frozen=True)
class Cluster:
    """A cluster whose job API has answered.

    Args:
        token: the token that it required and accepted; None where anyone may run jobs.
    """

    address: ClusterAddress
    ray_version: str
    token: Token | None

    @property
    def headers(self) -> Mapping[str, str]:
        return {} if self.token is None else self.token.headers


def reach(address: ClusterAddress, find_token: Callable[[], Token | None]) -> Cluster:
    """Return the cluster at `address` after checking that it answers.

    The first request has no token: a token is sent only to servers that require one, and a cluster
    that lists its jobs without a token is known to be open to everybody.

    Raises:
        InvalidInput: nothing answers, the server is not Ray, or the token is wrong or missing.
        ExecutionFailed: the cluster is not ready.
    """
    response = _get(address, _VERSION, {})
    if not _is_refused(response):
        version = _ray_version(address, response)
        if not _is_refused(_get(address, _ANY_JOB, {})):
            return Cluster(address, version, None)
    token = find_token()
    if token is None:
        raise InvalidInput(
            "asks for a token, and there is none",
            where=address.url,
            allowed=TOKEN_SOURCES,
            fix="export RAY_AUTH_TOKEN=… (on the head node, 'ray get-auth-token' prints it)",
        )
    if _is_refused(_get(address, _ANY_JOB, token.headers)):
        raise wrong_token(address, token)
    return Cluster(address, _ray_version(address, _get(address, _VERSION, token.headers)), token)


def check_protected(cluster: Cluster) -> None:
    """Raise InvalidInput for a cluster that runs the commands of anyone who can reach it.

    Ray's job API runs shell commands for anyone who can connect, unless it requires a token
    (CVE-2023-48022).
    """
    if cluster.token is None:
        raise InvalidInput(
            "runs the jobs of anyone who can reach it, without a token (CVE-2023-48022)",
            where=cluster.address.url,
            fix="start it with RAY_AUTH_MODE=token, or add --insecure if nobody else can reach it",
        )


def wrong_token(address: ClusterAddress, token: Token | None) -> InvalidInput:
    """Return the error for a cluster that refuses the token."""
    problem = "asks for a token" if token is None else f"refuses the token of {token.source}"
    return InvalidInput(
        problem,
        where=address.url,
        allowed=TOKEN_SOURCES,
        fix="use the token that this cluster was started with",
    )


def unreachable(address: ClusterAddress, error: Exception) -> AcdcError:
    """Return the error for a request that got no answer."""
    where = address.url
    if isinstance(error, requests.exceptions.SSLError):
        return InvalidInput(
            "no secure connection can be made",
            where=where,
            fix="http:// if the dashboard has no certificate; REQUESTS_CA_BUNDLE names the file "
            "of an authority of your own",
        )
    if isinstance(error, requests.exceptions.Timeout | TimeoutError):
        return InvalidInput(
            f"does not answer within {TIMEOUTS[0]:g} to {TIMEOUTS[1]:g} seconds",
            where=where,
            fix="look at the cluster, and at firewalls on the way",
        )
    if isinstance(error, requests.exceptions.HTTPError):
        return ExecutionFailed(f"fails: {error}", where=where)
    inner: Any = error.args[0] if error.args else None
    if isinstance(inner, ProtocolError):
        return InvalidInput(
            "what listens there does not speak HTTP",
            where=where,
            fix=f"name the port of Ray's dashboard, {PORT} unless changed",
        )
    if isinstance(getattr(inner, "reason", None), NameResolutionError):
        return InvalidInput(f"no machine is called '{address.host}'", where=where)
    if isinstance(error, ConnectionError | requests.exceptions.ConnectionError):
        return InvalidInput(
            "nothing answers there",
            where=where,
            fix="start the cluster ('ray start --head'), or open a tunnel to its dashboard",
        )
    return InvalidInput(f"the request failed: {error}", where=where)


def find_token(environment: Mapping[str, str], home: Path) -> Token | None:
    """Return the token of the user, None if there is none. Sources are in the order of Ray.

    Raises:
        InvalidInput: a source is given and holds no usable token.
    """
    if value := environment.get("RAY_AUTH_TOKEN", "").strip():
        return _check_token(value, "RAY_AUTH_TOKEN")
    if named := environment.get("RAY_AUTH_TOKEN_PATH", ""):
        return _read_token(Path(named), "RAY_AUTH_TOKEN_PATH")
    default = home / ".ray" / "auth_token"
    return _read_token(default, None) if default.exists() else None


def _read_token(path: Path, variable: str | None) -> Token:
    try:
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "is not text"
        raise InvalidInput(
            f"the token cannot be read: {reason}", where=str(path), field=variable
        ) from error
    if not value:
        raise InvalidInput("holds no token", where=str(path), field=variable, allowed=TOKEN_SOURCES)
    return _check_token(value, str(path))


def _check_token(value: str, source: str) -> Token:
    if not _SENDABLE.fullmatch(value):
        raise InvalidInput(
            "the token contains blanks or characters that cannot be sent in a request",
            where=source,
            fix="copy it again, in one line",
        )
    return Token(value, source)


def _get(address: ClusterAddress, path: str, headers: Mapping[str, str]) -> requests.Response:
    try:
        return requests.get(
            address.url + path, headers=dict(headers), timeout=TIMEOUTS, allow_redirects=False
        )
    except requests.exceptions.RequestException as error:
        raise unreachable(address, error) from error


def _is_refused(response: requests.Response) -> bool:
    return response.status_code in (401, 403)


def _ray_version(address: ClusterAddress, response: requests.Response) -> str:
    where = address.url
    if response.is_redirect:
        target = response.headers["location"].removesuffix(_VERSION)
        raise InvalidInput(f"redirects to {target}", where=where, fix=f"--address {target}")
    if response.status_code >= 500:
        raise ExecutionFailed(
            f"is not ready: HTTP {response.status_code} {response.reason}", where=where
        )
    try:
        return str(response.json()["ray_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            "is not a Ray cluster: another server answers there",
            where=where,
            fix=f"name the address of Ray's dashboard, port {PORT} unless changed",
        ) from error
