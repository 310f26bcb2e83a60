"""Who a peer says it is, and why it may be refused."""

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

PROTOCOL_VERSION = 3
"""Of the messages on an established link. Raised when an older node could not follow."""

_ADDRESS_BYTES_MAX = 274
# New fields come at the end and the size stays, so that another version is told apart by name.
_IDENTITY = Struct(f"<16s16sHHH{_ADDRESS_BYTES_MAX}sQ")
IDENTITY_BYTES = _IDENTITY.size

_MESSAGE_BYTES_MAX = 508
_VERDICT = Struct(f"<HH{_MESSAGE_BYTES_MAX}s")
VERDICT_BYTES = _VERDICT.size


class IdentityError(ValueError):
    """An identity that cannot be encoded, or bytes that are none."""


class Identity(NamedTuple):
    """What a node presents, and proves to come from a holder of the cluster secret."""

    cluster_id: str
    """32 hex digits."""
    incarnation: str
    """32 hex digits."""
    node_id: int
    protocol_version: int
    client_address: str
    """`host:port` that the node advertises to clients."""
    generation: int = 0
    """Above 0 when the data directory was created to replace a lost one: the highest counts."""


class RefusalCode(IntEnum):
    """Numbers are on the wire: never reused."""

    OTHER_CLUSTER = 1
    UNKNOWN_NODE = 2
    INCARNATION = 3
    """The refused node came back with another data directory: it must not vote."""
    PROTOCOL_VERSION = 4
    WRONG_NODE = 5
    """An authentic node, but not one that this link may lead to."""
    NOT_READY = 6
    """The refusing node cannot take a peer now."""


class Refused(NamedTuple):
    """Why a peer is turned away. `code` may be one that this version does not know."""

    code: int
    message: str


def encode_identity(identity: Identity) -> bytes:
    """Fixed size. Raises IdentityError when a field does not fit."""
    cluster_id = _from_hex(identity.cluster_id)
    incarnation = _from_hex(identity.incarnation)
    text = identity.client_address
    if len(text) > _ADDRESS_BYTES_MAX or not text.isascii() or not text.isprintable():
        raise IdentityError(
            f"client address {text[:80]!r} must be at most {_ADDRESS_BYTES_MAX} printable ASCII "
            "characters"
        )
    return _IDENTITY.pack(
        cluster_id,
        incarnation,
        identity.node_id,
        identity.protocol_version,
        len(text),
        text.encode("ascii"),
        identity.generation,
    )


def decode_identity(data: bytes) -> Identity:
    """Raises IdentityError."""
    cluster_id, incarnation, node_id, version, length, address, generation = _IDENTITY.unpack(data)
    text = address[:length].decode("ascii", errors="replace")
    if length > _ADDRESS_BYTES_MAX or not text.isascii() or not text.isprintable():
        raise IdentityError("client address that is no printable text")
    return Identity(cluster_id.hex(), incarnation.hex(), node_id, version, text, generation)


def encode_verdict(refused: Refused | None) -> bytes:
    """Fixed size; a long message is cut."""
    if refused is None:
        return _VERDICT.pack(0, 0, b"")
    message = refused.message.encode()[:_MESSAGE_BYTES_MAX]
    return _VERDICT.pack(refused.code, len(message), message)


def decode_verdict(data: bytes) -> Refused | None:
    """None when the peer accepts. Any bytes of the right size mean something."""
    code, length, message = _VERDICT.unpack(data)
    if code == 0:
        return None
    text = message[:length].decode(errors="replace")
    # It goes into our log: one line of it, whatever a peer sends.
    return Refused(code, "".join(c if c.isprintable() else "?" for c in text))


def _from_hex(text: str) -> bytes:
    try:
        data = bytes.fromhex(text)
    except ValueError as error:
        raise IdentityError(f"{text!r} is not hexadecimal") from error
    if len(data) != 16:
        raise IdentityError(f"{text!r} has {len(data)} bytes instead of 16")
    return data
