"""Addresses of nodes as a person or a node writes them."""

from typing import NamedTuple

from flo.exceptions import InvalidEndpointError

ENDPOINTS_MAX = 64
_SCHEME = "flo://"


class Endpoint(NamedTuple):
    """A node's client address. `str()` of it is the form that is compared and shown."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_endpoint(text: str) -> Endpoint:
    """Reads `host:port`, `[ipv6]:port` or `flo://host:port`. Raises InvalidEndpointError."""
    address = _without_scheme(text.strip())
    host, separator, port = address.rpartition(":")
    if not separator or not host:
        raise InvalidEndpointError(f"endpoint {text!r} is not of the form host:port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise InvalidEndpointError(
            f"endpoint {text!r} is ambiguous: write an IPv6 host in brackets, as in [::1]:9000"
        )
    if not port.isascii() or not port.isdigit() or not 1 <= int(port[:6]) <= 65_535:
        raise InvalidEndpointError(f"endpoint {text!r} has port {port!r}: it must be 1 to 65535")
    return Endpoint(host, int(port))


def parse_endpoints(text: str) -> tuple[Endpoint, ...]:
    """Reads one or more endpoints with commas between, without repetitions.

    A scheme before the first counts for all. Raises InvalidEndpointError.
    """
    parts = _without_scheme(text.strip()).split(",")
    if len(parts) > ENDPOINTS_MAX:
        raise InvalidEndpointError(f"{len(parts)} endpoints: at most {ENDPOINTS_MAX} are taken")
    return tuple(dict.fromkeys(parse_endpoint(part) for part in parts))


def _without_scheme(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text
    if scheme.lower() == "flos":
        raise InvalidEndpointError(
            f"endpoint {text!r} asks for TLS, which is not supported: write flo://host:port, and"
            " protect the network another way"
        )
    if f"{scheme.lower()}://" != _SCHEME:
        raise InvalidEndpointError(
            f"endpoint {text!r} has scheme {scheme}://: write flo://host:port or host:port"
        )
    return rest.split("/", 1)[0] if "," not in rest else rest
