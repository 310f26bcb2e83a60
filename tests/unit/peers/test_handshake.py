"""The handshake, without a socket: who gets in, who does not, and what cannot be faked."""

from hashlib import sha256

import pytest

from cluster.peers.handshake import Handshake, HandshakeError, Role
from cluster.peers.identity import (
    IDENTITY_BYTES,
    PROTOCOL_VERSION,
    VERDICT_BYTES,
    Identity,
    IdentityError,
    RefusalCode,
    Refused,
    decode_identity,
    decode_verdict,
    encode_identity,
    encode_verdict,
)
from tests.unit.peers.kit import (
    SECRET,
    accept_all,
    acceptor,
    converse,
    dialer,
    fails,
    identity,
)

HELLO_BYTES = 48
PROOF_BYTES = IDENTITY_BYTES + 32
REFUSAL = Refused(RefusalCode.UNKNOWN_NODE, "never heard of it")


def refuse(_: Identity) -> Refused:
    return REFUSAL


def check_established(one: Handshake, other: Handshake) -> None:
    assert one.done
    assert other.done
    assert (one.refused_by_us, one.refused_by_peer) == (None, None)
    assert (other.refused_by_us, other.refused_by_peer) == (None, None)


def test_both_learn_who_the_other_is() -> None:
    one, other = dialer(), acceptor()
    converse(one, other)
    check_established(one, other)
    assert one.peer == identity(1)
    assert other.peer == identity(2)


def test_golden_transcript() -> None:
    sent_by_dialer, sent_by_acceptor = converse(dialer(), acceptor())
    assert len(sent_by_dialer) == HELLO_BYTES + PROOF_BYTES + VERDICT_BYTES
    assert len(sent_by_acceptor) == HELLO_BYTES + PROOF_BYTES + VERDICT_BYTES
    assert sent_by_dialer[:11] == b"FLO PEER\x01\x00\x01"
    assert sent_by_acceptor[:11] == b"FLO PEER\x01\x00\x02"
    assert sha256(sent_by_dialer).hexdigest()[:16] == "86518d42d32c7706"
    assert sha256(sent_by_acceptor).hexdigest()[:16] == "27b73cc541594f7d"


@pytest.mark.parametrize("chunk_bytes", [1, 2, 7, 47, 48, 49, 351, 352, 353, 511, 512])
def test_any_split_of_the_bytes_will_do(chunk_bytes: int) -> None:
    one, other = dialer(), acceptor()
    converse(one, other, chunk_bytes=chunk_bytes)
    check_established(one, other)


def test_what_follows_the_handshake_is_left_over() -> None:
    for cut in range(8):
        one, other = dialer(), acceptor()
        proof = one.receive(other.receive(one.start()))
        verdict = one.receive(other.receive(proof))
        assert other.leftover == b""
        other.receive(verdict + b"a frame"[:cut])
        assert other.leftover == b"a frame"[:cut]


def test_the_acceptor_is_silent_until_spoken_to() -> None:
    assert acceptor().start() == b""


def test_a_dialer_with_another_secret_learns_nothing() -> None:
    one, other = dialer(secret=b"x" * 32), acceptor()
    proof = one.receive(other.receive(one.start()))
    assert one.awaits_trust
    with pytest.raises(HandshakeError, match="does not know the cluster secret"):
        other.receive(proof)
    assert other.peer is None


def test_an_acceptor_with_another_secret_is_not_believed() -> None:
    # Its own check is skipped, as an impostor would: it answers a dialer it cannot judge.
    one, other = dialer(), acceptor()
    impostor = acceptor(secret=b"x" * 32)
    peer_of_impostor = dialer(secret=b"x" * 32)
    one.receive(other.receive(one.start()))
    proof = peer_of_impostor.receive(impostor.receive(peer_of_impostor.start()))
    with pytest.raises(HandshakeError, match="does not know the cluster secret"):
        one.receive(impostor.receive(proof))


def test_an_empty_secret_does_not_match_a_set_one() -> None:
    one, other = dialer(secret=b""), acceptor()
    assert "cluster secret" in fails(other, one.receive(other.receive(one.start())))


def test_without_a_secret_the_handshake_still_runs() -> None:
    one, other = dialer(secret=b""), acceptor(secret=b"")
    converse(one, other)
    check_established(one, other)


def test_a_replayed_dialer_is_not_believed() -> None:
    recorded, _ = converse(dialer(), acceptor())
    fresh = acceptor(seed=1)
    fresh.receive(recorded[:HELLO_BYTES])
    assert "cluster secret" in fails(fresh, recorded[HELLO_BYTES:])


def test_a_replayed_acceptor_is_not_believed() -> None:
    _, recorded = converse(dialer(), acceptor())
    fresh = dialer(seed=1)
    fresh.start()
    fresh.receive(recorded[:HELLO_BYTES])
    assert "cluster secret" in fails(fresh, recorded[HELLO_BYTES:])


def test_a_reflected_hello_is_refused() -> None:
    one = dialer()
    assert "our own kind of greeting" in fails(one, one.start())


def test_a_reflected_proof_is_not_believed() -> None:
    # The attacker knows no secret: it answers a dialer with the dialer's own nonce and proof,
    # only the role in the greeting set right.
    one = dialer()
    hello = bytearray(one.start())
    hello[10] = Role.ACCEPTOR
    proof = one.receive(bytes(hello))
    assert "cluster secret" in fails(one, proof)


def test_a_proof_from_one_connection_is_worth_nothing_on_another() -> None:
    # A node that dials the attacker is used to answer for the attacker elsewhere.
    victim, target = dialer(), acceptor(seed=9)
    attacker = dialer(seed=5)
    target.receive(attacker.start())
    proof = victim.receive(acceptor(seed=7).receive(victim.start()))
    assert "cluster secret" in fails(target, proof)


@pytest.mark.parametrize("position", range(HELLO_BYTES, HELLO_BYTES + PROOF_BYTES, 13))
def test_a_changed_identity_or_proof_is_noticed(position: int) -> None:
    one, other = dialer(), acceptor()
    sent = bytearray(one.start())
    sent += one.receive(other.receive(bytes(sent)))
    sent[position] ^= 1
    assert "cluster secret" in fails(other, bytes(sent[HELLO_BYTES:]))


def test_a_changed_hello_is_noticed_in_the_proof() -> None:
    for position in range(11, HELLO_BYTES):
        one, other = dialer(), acceptor()
        hello = bytearray(one.start())
        hello[position] ^= 1
        proof = one.receive(other.receive(bytes(hello)))
        assert "cluster secret" in fails(other, proof), position


def test_a_stranger_is_told_apart_from_another_version() -> None:
    assert "does not speak the peer protocol" in fails(acceptor(), b"GET / HTTP/1.1\r\n" * 3)
    hello = bytearray(dialer().start())
    hello[8] = 2
    assert "version 2 of the handshake, this node 1" in fails(acceptor(), bytes(hello))


def test_the_identity_is_judged_only_after_the_proof() -> None:
    judged: list[Identity] = []

    def verify(peer: Identity) -> None:
        judged.append(peer)

    one, other = dialer(secret=b"x" * 32), acceptor(verify=verify)
    fails(other, one.receive(other.receive(one.start())))
    assert judged == []
    converse(dialer(), acceptor(verify=verify))
    assert judged == [identity(2)]


def test_a_refusal_reaches_the_dialer() -> None:
    one, other = dialer(), acceptor(verify=refuse)
    converse(one, other)
    assert (one.done, one.refused_by_us, one.refused_by_peer) == (True, None, REFUSAL)
    assert (other.done, other.refused_by_us, other.refused_by_peer) == (True, REFUSAL, None)
    assert one.peer == identity(1)


def test_a_refusal_reaches_the_acceptor() -> None:
    one, other = dialer(verify=refuse), acceptor()
    converse(one, other)
    assert (other.done, other.refused_by_us, other.refused_by_peer) == (True, None, REFUSAL)


def test_both_may_refuse() -> None:
    one, other = dialer(verify=refuse), acceptor(verify=refuse)
    converse(one, other)
    for side in (one, other):
        assert (side.refused_by_us, side.refused_by_peer) == (REFUSAL, REFUSAL)


def test_a_proven_but_nonsensical_identity_is_refused() -> None:
    class Unprintable(Handshake):
        def __init__(self) -> None:
            super().__init__(
                Role.DIALER, identity(2), secret=SECRET, nonce=bytes(32), verify=accept_all
            )
            self._identity = self._identity.replace(b"client", b"cli\x00nt")

    one, other = Unprintable(), acceptor()
    assert "bad identity" in fails(other, one.receive(other.receive(one.start())))


def test_awaiting_trust_is_the_time_between_proof_and_answer() -> None:
    one, other = dialer(), acceptor()
    hello = one.start()
    assert not one.awaits_trust
    proof = one.receive(other.receive(hello))
    assert one.awaits_trust
    assert not other.awaits_trust
    one.receive(other.receive(proof))
    assert not one.awaits_trust


# Identity and verdict


def test_an_identity_keeps_its_size_and_the_place_of_its_version() -> None:
    """So that any two versions can tell each other that they differ."""
    encoded = encode_identity(identity(7))
    assert len(encoded) == 320
    assert int.from_bytes(encoded[32:34], "little") == 7
    assert int.from_bytes(encoded[34:36], "little") == PROTOCOL_VERSION


def test_an_identity_survives() -> None:
    longest = identity(65_535, address="h" * 274)._replace(generation=(1 << 64) - 1)
    assert decode_identity(encode_identity(longest)) == longest
    assert len(encode_identity(longest)) == IDENTITY_BYTES


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (identity(1, cluster_id="zz"), "is not hexadecimal"),
        (identity(1, cluster_id="00"), "has 1 bytes instead of 16"),
        (identity(1, address="h" * 275), "at most 274 printable ASCII"),
        (identity(1, address="h\n"), "printable ASCII"),
        (identity(1, address="hö:1"), "printable ASCII"),
    ],
)
def test_an_identity_that_does_not_fit_is_refused(bad: Identity, complaint: str) -> None:
    with pytest.raises(IdentityError, match=complaint):
        encode_identity(bad)


def test_a_verdict_survives() -> None:
    assert decode_verdict(encode_verdict(None)) is None
    assert decode_verdict(encode_verdict(REFUSAL)) == REFUSAL


def test_a_long_refusal_is_cut_and_its_text_made_fit_for_a_log() -> None:
    decoded = decode_verdict(encode_verdict(Refused(77, "ä\n" * 600)))
    assert decoded is not None
    assert decoded.code == 77
    assert decoded.message[:4] == "ä?ä?"
    assert "\n" not in decoded.message
    assert len(encode_verdict(Refused(77, "ä\n" * 600))) == VERDICT_BYTES
