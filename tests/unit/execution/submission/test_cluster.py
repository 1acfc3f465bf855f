from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from acdc_pipeline.errors import AcdcError, ExecutionFailed, InvalidInput
from acdc_pipeline.execution.submission import (
    Cluster,
    Token,
    check_protected,
    parse_address,
    reach,
)
from tests.http_answers import Answer, answering, ray_with_token, ray_without_token

RIGHT = Token("right", "RAY_AUTH_TOKEN")


def reached(url: str, token: Token | None = None) -> Cluster:
    return reach(parse_address(url, "--address"), lambda: token)


def never() -> Token | None:
    raise AssertionError("nobody asked for a token")


def test_open_cluster_is_found_open_and_sent_no_token():
    with answering(ray_without_token) as url:
        found = reach(parse_address(url, "--address"), never)
    assert (found.ray_version, found.token, found.headers) == ("2.60.0", None, {})
    with pytest.raises(InvalidInput, match="CVE-2023-48022") as caught:
        check_protected(found)
    assert "--insecure" in (caught.value.fix or "")


def test_protected_cluster_takes_the_right_token():
    with answering(ray_with_token("right")) as url:
        found = reached(url, RIGHT)
    assert found.token == RIGHT
    check_protected(found)


def test_cluster_that_guards_only_its_jobs_is_protected():
    guarded = ray_with_token("right")

    def answer(path, headers):
        return (ray_without_token if path == "/api/version" else guarded)(path, headers)

    with answering(answer) as url:
        assert reached(url, RIGHT).token == RIGHT


def test_missing_token_is_refused_with_where_to_put_one():
    with answering(ray_with_token("right")) as url:
        error = refusal(url, None)
    assert "there is none" in error.problem
    assert "RAY_AUTH_TOKEN" in str(error)


def test_wrong_token_is_refused_with_where_it_came_from_and_without_its_value():
    with answering(ray_with_token("right")) as url:
        error = refusal(url, Token("hunter2", "~/.ray/auth_token"))
    assert error.problem == "refuses the token of ~/.ray/auth_token"
    assert "hunter2" not in str(error)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, "<html>It works!</html>"),
        Answer(200, "[]"),
        Answer(200, '{"version": "1"}'),
        Answer(404, "not found"),
    ],
    ids=lambda answer: answer.body[:20],
)
def test_server_that_is_not_ray_is_refused_as_such(answer: Answer):
    with answering(lambda path, headers: answer) as url:
        assert "is not a Ray cluster" in refusal(url).problem


def test_address_that_leads_on_is_refused_with_where_it_leads():
    moved = Answer(301, headers=(("Location", "https://head/ray/api/version"),))
    with answering(lambda path, headers: moved) as url:
        error = refusal(url)
    assert error.fix == "--address https://head/ray"


def test_cluster_that_is_not_ready_is_no_wrong_input():
    with answering(lambda path, headers: Answer(503)) as url, pytest.raises(ExecutionFailed):
        reached(url)


def test_port_where_nothing_listens_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    error = refusal(f"http://127.0.0.1:{port}")
    assert error.problem == "nothing answers there"
    assert error.where == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("words", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"\x00\x00\x12\x04"])
def test_port_of_something_that_speaks_no_http_is_refused_as_such(words: bytes):
    with saying(words) as port:
        assert "does not speak HTTP" in refusal(f"http://127.0.0.1:{port}").problem


def test_https_where_only_http_is_spoken_is_refused_with_the_other_scheme():
    with answering(ray_without_token) as url:
        error = refusal(url.replace("http://", "https://"))
    assert "no secure connection" in error.problem
    assert "http://" in (error.fix or "")


def test_name_of_no_machine_is_refused_as_such():
    # RFC 6761: names below .invalid never resolve
    error = refusal("http://head.invalid:8265")
    assert error.problem == "no machine is called 'head.invalid'"


def refusal(url: str, token: Token | None = None) -> AcdcError:
    with pytest.raises(InvalidInput) as caught:
        reached(url, token)
    assert (caught.value.where or "").startswith(("http://", "https://"))
    return caught.value


@contextlib.contextmanager
def saying(words: bytes) -> Iterator[int]:
    """The port of a server that says `words` to whoever connects, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(words)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()
