"""Addresses as people write them."""

import pytest

from flo._endpoints import ENDPOINTS_MAX, Endpoint, parse_endpoint, parse_endpoints
from flo.exceptions import InvalidEndpointError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost:9000", [Endpoint("localhost", 9000)]),
        ("flo://localhost:9000", [Endpoint("localhost", 9000)]),
        ("FLO://localhost:9000/ignored", [Endpoint("localhost", 9000)]),
        ("[::1]:9000", [Endpoint("::1", 9000)]),
        ("a:1, b:2,a:1", [Endpoint("a", 1), Endpoint("b", 2)]),
        ("flo://a:1,b:2", [Endpoint("a", 1), Endpoint("b", 2)]),
    ],
)
def test_reads(text: str, expected: list[Endpoint]) -> None:
    assert list(parse_endpoints(text)) == expected


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "host:port"),
        ("localhost", "host:port"),
        (":9000", "host:port"),
        ("a:1,,b:2", "host:port"),
        ("localhost:http", "http"),
        ("localhost:0", "1 to 65535"),
        ("localhost:65536", "1 to 65535"),
        ("localhost:123456789", "1 to 65535"),
        ("localhost:+1", "1 to 65535"),
        ("::1:9000", "brackets"),
        ("flos://localhost:9000", "flos://"),
        ("http://localhost:9000", "http://"),
    ],
)
def test_refuses_and_says_what_is_wrong(text: str, names: str) -> None:
    with pytest.raises(InvalidEndpointError, match=names.replace("[", r"\[")):
        parse_endpoints(text)


def test_number_of_endpoints_is_bounded() -> None:
    text = ",".join(f"host{n}:9000" for n in range(ENDPOINTS_MAX + 1))
    with pytest.raises(InvalidEndpointError, match="at most"):
        parse_endpoints(text)


@pytest.mark.parametrize("text", ["localhost:9000", "[::1]:9000"])
def test_prints_as_it_is_written(text: str) -> None:
    assert str(parse_endpoint(text)) == text
