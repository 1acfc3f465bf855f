"""A cluster that answers: found with small requests before anything is sent or loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests
from urllib3.exceptions import NameResolutionError, ProtocolError

from acdc_pipeline.errors import AcdcError, ExecutionFailed, InvalidInput
from acdc_pipeline.execution.submission.address import PORT, ClusterAddress
from acdc_pipeline.execution.submission.token import PLACES, Token

PATIENCE = (10.0, 30.0)
"""Seconds that a connection, and then an answer, may take before a server counts as gone."""

# Asking for a job that does not exist shows whether anyone may ask, and moves few bytes.
_ANY_JOB = "/api/jobs/acdc-none"
_VERSION = "/api/version"


@dataclass(frozen=True)
class Cluster:
    """A cluster whose job API has answered.

    Args:
        address: where.
        ray_version: of its head node.
        token: what it asked for and accepted; None where anyone may run jobs.
    """

    address: ClusterAddress
    ray_version: str
    token: Token | None

    @property
    def headers(self) -> Mapping[str, str]:
        """What each request carries."""
        return {} if self.token is None else self.token.headers


def reach(address: ClusterAddress, find_token: Callable[[], Token | None]) -> Cluster:
    """The cluster at `address`.

    It is asked without a token first: a token goes to servers that ask for one, and a cluster
    that answers for its jobs without one is known to be open to everybody.

    Args:
        find_token: called only if the cluster asks for one.

    Raises:
        InvalidInput: nothing answers, what answers is not Ray, or the token is wrong or missing.
        ExecutionFailed: it is there, and not ready.
    """
    answer = _ask(address, _VERSION, {})
    if not _refused(answer):
        version = _ray_version(address, answer)
        if not _refused(_ask(address, _ANY_JOB, {})):
            return Cluster(address, version, None)
    token = find_token()
    if token is None:
        raise InvalidInput(
            "asks for a token, and there is none",
            where=address.url,
            allowed=PLACES,
            fix="export RAY_AUTH_TOKEN=… (on the head node, 'ray get-auth-token' prints it)",
        )
    if _refused(_ask(address, _ANY_JOB, token.headers)):
        raise wrong_token(address, token)
    return Cluster(address, _ray_version(address, _ask(address, _VERSION, token.headers)), token)


def check_protected(cluster: Cluster) -> None:
    """Raises InvalidInput for a cluster on which whoever reaches it may run commands.

    Ray's job API runs shell commands for anyone who can connect unless it asks for a token
    (CVE-2023-48022).
    """
    if cluster.token is None:
        raise InvalidInput(
            "runs the jobs of anyone who can reach it, without a token (CVE-2023-48022)",
            where=cluster.address.url,
            fix="start it with RAY_AUTH_MODE=token, or add --insecure if nobody else can reach it",
        )


def wrong_token(address: ClusterAddress, token: Token | None) -> InvalidInput:
    """The error for a cluster that does not accept what it was sent."""
    problem = "asks for a token" if token is None else f"refuses the token of {token.source}"
    return InvalidInput(
        problem,
        where=address.url,
        allowed=PLACES,
        fix="use the token that this cluster was started with",
    )


def unreachable(address: ClusterAddress, error: Exception) -> AcdcError:
    """The error in our form for a request that got no answer."""
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
            f"does not answer within {PATIENCE[0]:g} to {PATIENCE[1]:g} seconds",
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
            fix="start the cluster ('ray start --head'), or lead a tunnel to its dashboard",
        )
    return InvalidInput(f"cannot be asked: {error}", where=where)


def _ask(address: ClusterAddress, path: str, headers: Mapping[str, str]) -> requests.Response:
    try:
        return requests.get(
            address.url + path, headers=dict(headers), timeout=PATIENCE, allow_redirects=False
        )
    except requests.exceptions.RequestException as error:
        raise unreachable(address, error) from error


def _refused(answer: requests.Response) -> bool:
    return answer.status_code in (401, 403)


def _ray_version(address: ClusterAddress, answer: requests.Response) -> str:
    where = address.url
    if answer.is_redirect:
        leads = answer.headers["location"].removesuffix(_VERSION)
        raise InvalidInput(f"leads on to {leads}", where=where, fix=f"--address {leads}")
    if answer.status_code >= 500:
        raise ExecutionFailed(
            f"is not ready: HTTP {answer.status_code} {answer.reason}", where=where
        )
    try:
        return str(answer.json()["ray_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            "is no Ray cluster: something else answers there",
            where=where,
            fix=f"name the address of Ray's dashboard, port {PORT} unless changed",
        ) from error
