"""Network addresses and the founding member list as a person types them."""

from typing import NamedTuple

NODE_ID_MAX = 65_535
_HOST_LENGTH_MAX = 253
_LABEL_LENGTH_MAX = 63
_ZONE_LENGTH_MAX = 64


class AddressError(ValueError):
    """An address or a member list that cannot be understood; the message says what is wrong."""


class Address(NamedTuple):
    """Where a node listens. IPv6 hosts are stored without brackets and printed with them."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Member(NamedTuple):
    """A founding node: its id, its peer address, and the zone it stands in ("" when unnamed)."""

    node_id: int
    address: Address
    zone: str


def parse_address(text: str) -> Address:
    """Read `host:port` or `[ipv6]:port`. Port 0 means "any free port" and suits listening only.

    Raises AddressError.
    """
    host, separator, port_text = text.rpartition(":")
    if not separator:
        raise AddressError(f"address {text!r} has no port: write host:port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise AddressError(
            f"address {text!r} is ambiguous: write an IPv6 host in brackets, as in [::1]:9500"
        )
    _check_host(host, text)
    return Address(host, _parse_port(port_text, text))


def parse_members(text: str) -> tuple[Member, ...]:
    """Read `1=host:port@zone,2=host:port,...`, in order of node id.

    Raises AddressError on a duplicate id or address, an id outside 1..65535, or a missing port.
    """
    members: dict[int, Member] = {}
    holders: dict[Address, int] = {}
    for part in text.split(","):
        member = _parse_member(part.strip())
        if member.node_id in members:
            raise AddressError(f"node id {member.node_id} appears twice in {text!r}")
        holder = holders.setdefault(member.address, member.node_id)
        if holder != member.node_id:
            raise AddressError(
                f"nodes {holder} and {member.node_id} have the same address {member.address}"
            )
        members[member.node_id] = member
    return tuple(members[node_id] for node_id in sorted(members))


def _parse_member(part: str) -> Member:
    id_text, separator, rest = part.partition("=")
    if not separator:
        raise AddressError(
            f"member {part!r} has no node id: write ID=HOST:PORT or ID=HOST:PORT@ZONE"
        )
    address_text, at_sign, zone = rest.partition("@")
    if at_sign:
        _check_zone(zone, part)
    address = parse_address(address_text)
    if address.port == 0:
        raise AddressError(f"member {part!r} has port 0: other nodes need the real port")
    return Member(_parse_node_id(id_text, part), address, zone)


def _parse_node_id(text: str, part: str) -> int:
    if not _is_decimal(text):
        raise AddressError(f"member {part!r} has node id {text!r}: it must be a whole number")
    node_id = int(text)
    if not 1 <= node_id <= NODE_ID_MAX:
        raise AddressError(f"member {part!r} has node id {node_id}: it must be 1..{NODE_ID_MAX}")
    return node_id


def _parse_port(text: str, whole: str) -> int:
    if not _is_decimal(text):
        raise AddressError(f"address {whole!r} has port {text!r}: it must be a number 0..65535")
    port = int(text)
    if port > 65_535:
        raise AddressError(f"address {whole!r} has port {port}: it must be 0..65535")
    return port


def _is_decimal(text: str) -> bool:
    # int() alone would also take "+1", " 1", "1_0" and digits of other scripts. Six digits are
    # more than any number here needs, and keep the error message short.
    return text.isascii() and text.isdigit() and len(text) <= 6


def _check_host(host: str, whole: str) -> None:
    if not host:
        raise AddressError(f"address {whole!r} has no host: write host:port")
    if not host.isascii() or not host.isprintable() or any(c in " ,=@[]/" for c in host):
        raise AddressError(f"address {whole!r} has a host with characters that no host name has")
    labels = host.rstrip(".").split(".")
    too_long = len(host) > _HOST_LENGTH_MAX or any(len(x) > _LABEL_LENGTH_MAX for x in labels)
    if too_long or (not all(labels) and ":" not in host):
        raise AddressError(f"address {whole!r} has a host that is no valid host name")


def _check_zone(zone: str, part: str) -> None:
    if not zone:
        raise AddressError(f"member {part!r} has an empty zone: name it or leave out the @")
    if len(zone) > _ZONE_LENGTH_MAX or not zone.isprintable() or any(c in " =@" for c in zone):
        raise AddressError(
            f"member {part!r} has zone {zone!r}: a zone is one word of at most "
            f"{_ZONE_LENGTH_MAX} characters, without = and @"
        )
