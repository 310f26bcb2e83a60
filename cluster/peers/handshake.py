"""Mutual authentication of two nodes over a shared secret. No I/O; see DESIGN.md beside this file.

    dialer                                   acceptor
      hello_d = magic, version, role, nonce  ->
                 <-  hello_a = magic, version, role, nonce
      identity_d, HMAC("dialer", both hellos, identity_d)  ->
                 <-  identity_a, HMAC("acceptor", both hellos, both identities), verdict
      verdict  ->

All frames have a fixed size. Nothing of a peer but its hello is interpreted before its proof.
"""

import hmac
from collections.abc import Callable
from enum import IntEnum
from struct import Struct

from cluster.peers.identity import (
    IDENTITY_BYTES,
    VERDICT_BYTES,
    Identity,
    IdentityError,
    Refused,
    decode_identity,
    decode_verdict,
    encode_identity,
    encode_verdict,
)

HANDSHAKE_VERSION = 1
NONCE_BYTES = 32
_MAGIC = b"FLO PEER"
_HELLO = Struct(f"<8sHB5x{NONCE_BYTES}s")
_HELLO_BYTES = _HELLO.size
_MAC_BYTES = 32
_PROOF_BYTES = IDENTITY_BYTES + _MAC_BYTES

Verify = Callable[[Identity], Refused | None]


class HandshakeError(Exception):
    """The peer is no node of this cluster, or speaks another version; the link must be closed."""


class Role(IntEnum):
    """Part of every proof, so that no proof can be sent back to the one who made it."""

    DIALER = 1
    ACCEPTOR = 2


_LABEL = {Role.DIALER: b"flo peer dialer\x00", Role.ACCEPTOR: b"flo peer acceptor\x00"}


class Handshake:
    """One side of one handshake.

    `done` once both verdicts are known; then `peer` is authentic, the link stands when neither
    `refused_by_us` nor `refused_by_peer` is set, and `leftover` holds what came after.
    """

    def __init__(
        self, role: Role, identity: Identity, *, secret: bytes, nonce: bytes, verify: Verify
    ) -> None:
        """`nonce` must be fresh and random; `verify` judges the peer's proven identity."""
        assert len(nonce) == NONCE_BYTES, len(nonce)
        self.done = False
        self.peer: Identity | None = None
        self.refused_by_us: Refused | None = None
        self.refused_by_peer: Refused | None = None
        self._role = role
        self._secret = secret
        self._verify = verify
        self._identity = encode_identity(identity)
        self._hello = _HELLO.pack(_MAGIC, HANDSHAKE_VERSION, role, nonce)
        self._transcript = b""
        self._buffer = bytearray()
        self._wanted = _HELLO_BYTES
        self._step: Callable[[bytes], bytes] = self._receive_hello

    @property
    def awaits_trust(self) -> bool:
        """Whether our proof is out and unanswered: a peer that hangs up now distrusts it."""
        return self._role is Role.DIALER and self._wanted == _PROOF_BYTES

    @property
    def leftover(self) -> bytes:
        """What the peer sent after the handshake; empty until it is done."""
        return bytes(self._buffer) if self.done else b""

    def start(self) -> bytes:
        """What to send first: the dialer speaks, the acceptor waits."""
        return self._hello if self._role is Role.DIALER else b""

    def receive(self, data: bytes) -> bytes:
        """What to send in answer to `data`. Raises HandshakeError, after which nothing is sent."""
        self._buffer += data
        answer = b""
        while not self.done and len(self._buffer) >= self._wanted:
            frame = bytes(self._buffer[: self._wanted])
            del self._buffer[: self._wanted]
            answer += self._step(frame)
        return answer

    def _receive_hello(self, frame: bytes) -> bytes:
        magic, version, role, _ = _HELLO.unpack(frame)
        if magic != _MAGIC:
            raise HandshakeError("it does not speak the peer protocol")
        if version != HANDSHAKE_VERSION:
            raise HandshakeError(
                f"it speaks version {version} of the handshake, this node {HANDSHAKE_VERSION}"
            )
        if role == self._role:
            raise HandshakeError("it sent our own kind of greeting back")
        self._expect(_PROOF_BYTES, self._receive_proof)
        if self._role is Role.DIALER:
            self._transcript = self._hello + frame
            return self._prove()
        self._transcript = frame + self._hello
        return self._hello

    def _receive_proof(self, frame: bytes) -> bytes:
        identity, proof = frame[:IDENTITY_BYTES], frame[IDENTITY_BYTES:]
        self._transcript += identity
        peer_role = Role.ACCEPTOR if self._role is Role.DIALER else Role.DIALER
        if not hmac.compare_digest(proof, self._mac(peer_role)):
            raise HandshakeError("it does not know the cluster secret of this node")
        try:
            self.peer = decode_identity(identity)
        except IdentityError as error:
            raise HandshakeError(f"it sent a bad identity: {error}") from error
        self.refused_by_us = self._verify(self.peer)
        self._expect(VERDICT_BYTES, self._receive_verdict)
        verdict = encode_verdict(self.refused_by_us)
        return verdict if self._role is Role.DIALER else self._prove() + verdict

    def _receive_verdict(self, frame: bytes) -> bytes:
        self.refused_by_peer = decode_verdict(frame)
        self.done = True
        return b""

    def _prove(self) -> bytes:
        self._transcript += self._identity
        return self._identity + self._mac(self._role)

    def _mac(self, role: Role) -> bytes:
        return hmac.digest(self._secret, _LABEL[role] + self._transcript, "sha256")

    def _expect(self, frame_bytes: int, step: Callable[[bytes], bytes]) -> None:
        self._wanted = frame_bytes
        self._step = step
