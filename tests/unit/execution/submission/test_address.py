from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.execution.submission import find_address, parse_address


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("http://127.0.0.1:8265", "http://127.0.0.1:8265"),
        ("http://127.0.0.1:8265/", "http://127.0.0.1:8265"),
        ("  http://head:8265\n", "http://head:8265"),
        ("HTTPS://ray.example.org", "https://ray.example.org"),
        ("https://example.org/clusters/a/", "https://example.org/clusters/a"),
        ("http://127.0.0.1:8265/#/overview", "http://127.0.0.1:8265"),
        ("head:8266", "http://head:8266"),
        ("head", "http://head:8265"),
        ("[::1]:8265", "http://[::1]:8265"),
        ("http://[fe80::1]", "http://[fe80::1]"),
    ],
)
def test_address_in_any_usual_form_is_the_url_of_the_job_api(written: str, url: str):
    assert parse_address(written, "--address").url == url


@pytest.mark.parametrize(
    ("written", "problem", "fix"),
    [
        ("ray://head:10001", "is for Ray Client", "http://head:8265"),
        ("ray://[::1]:10001", "is for Ray Client", "http://[::1]:8265"),
        ("auto", "programs on the cluster only", "http://127.0.0.1:8265"),
        ("10.0.0.7:6379", "where nodes of the cluster meet", "http://10.0.0.7:8265"),
        ("ftp://head", "begins with ftp://", None),
        ("", "is empty", None),
        ("http://", "is not an address", None),
        ("http://head:port", "is not an address", None),
        ("http://head:99999", "is not an address", None),
        ("http://he ad:8265", "is not an address", None),
        ("http://head\x00:8265", "is not an address", None),
        ("http://head:8265/?token=1", "is not an address", None),
        ("http://-head:8265", "is not an address", None),
        ("::1", "is not an address", None),
    ],
)
def test_address_of_something_else_is_refused_with_what_it_is(written, problem, fix):
    with pytest.raises(InvalidInput) as caught:
        parse_address(written, "RAY_ADDRESS")
    assert problem in caught.value.problem
    assert caught.value.field == "RAY_ADDRESS"
    assert "http://HOST:PORT" in (caught.value.allowed or "")
    assert fix is None or (caught.value.fix or "").startswith(fix)


def test_address_with_a_password_is_refused_without_repeating_it():
    with pytest.raises(InvalidInput) as caught:
        parse_address("https://me:hunter2@head:8265", "--address")
    assert "hunter2" not in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_an_address_that_reads_as_itself_or_is_refused(text: str):
    try:
        url = parse_address(text, "--address").url
    except InvalidInput:
        return
    assert parse_address(url, "--address").url == url
    assert url.startswith(("http://", "https://"))
    assert url.isprintable()
    assert " " not in url


@pytest.mark.parametrize("text", ["http://127.0.0.1:1", "localhost:1", "http://[::1]", "127.8.8.8"])
def test_loopback_is_recognised(text: str):
    assert parse_address(text, "--address").is_loopback


@pytest.mark.parametrize("text", ["http://10.0.0.1", "localhost.example.org", "http://[fe80::1]"])
def test_other_machine_is_not_loopback(text: str):
    assert not parse_address(text, "--address").is_loopback


def test_address_that_was_given_wins_over_those_of_ray():
    environment = {"RAY_API_SERVER_ADDRESS": "http://b", "RAY_ADDRESS": "http://c"}
    assert find_address("http://a", "--address", environment).url == "http://a"
    assert find_address(None, "--address", environment).url == "http://b"
    assert find_address(None, "--address", {"RAY_ADDRESS": "http://c"}).url == "http://c"


def test_no_address_anywhere_is_an_error_that_says_where_to_put_one():
    with pytest.raises(InvalidInput) as caught:
        find_address(None, "--address", {"RAY_ADDRESS": ""})
    assert "ACDC_ADDRESS" in str(caught.value)
    assert "acdc.yaml" in str(caught.value)
