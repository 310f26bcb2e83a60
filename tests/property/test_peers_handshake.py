"""Whatever bytes arrive, the handshake answers with HandshakeError or waits, and lets nobody in."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.peers.handshake import Handshake, HandshakeError
from cluster.peers.identity import IDENTITY_BYTES, Identity, decode_identity, encode_identity
from tests.unit.peers.kit import acceptor, converse, dialer

HELLO_BYTES = 48
PROOF_BYTES = IDENTITY_BYTES + 32
HEX_16 = st.binary(min_size=16, max_size=16).map(bytes.hex)
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=282)


def survives(side: Handshake, chunks: list[bytes]) -> None:
    side.start()
    for chunk in chunks:
        try:
            side.receive(chunk)
        except HandshakeError:
            break
    assert side.peer is None
    assert not side.done


@given(chunks=st.lists(st.binary(max_size=600), max_size=8))
def test_random_bytes(chunks: list[bytes]) -> None:
    survives(acceptor(), chunks)
    survives(dialer(), chunks)


@given(chunks=st.lists(st.binary(max_size=600), max_size=8))
def test_random_bytes_after_a_good_greeting(chunks: list[bytes]) -> None:
    survives(acceptor(), [dialer().start(), *chunks])
    survives(dialer(), [acceptor().receive(dialer().start()), *chunks])


@given(
    position=st.integers(0, HELLO_BYTES + PROOF_BYTES - 1),
    flip=st.integers(1, 255),
    chunk_bytes=st.integers(1, 500),
    from_dialer=st.booleans(),
)
def test_mutated_transcripts_let_nobody_in(
    position: int, flip: int, chunk_bytes: int, from_dialer: bool
) -> None:
    sent_by_dialer, sent_by_acceptor = converse(dialer(), acceptor())
    data = bytearray(sent_by_dialer if from_dialer else sent_by_acceptor)
    data[position] ^= flip
    chunks = [bytes(data[i : i + chunk_bytes]) for i in range(0, len(data), chunk_bytes)]
    # The five bytes of padding in a greeting are part of the transcript like all others.
    survives(acceptor() if from_dialer else dialer(), chunks)


@given(chunk_sizes=st.lists(st.integers(1, 300), min_size=1))
def test_any_chunks_of_the_true_bytes_let_both_in(chunk_sizes: list[int]) -> None:
    sent_by_dialer, _ = converse(dialer(), acceptor())
    side = acceptor()
    position = turn = 0
    while position < len(sent_by_dialer):
        size = chunk_sizes[turn % len(chunk_sizes)]
        side.receive(sent_by_dialer[position : position + size])
        position, turn = position + size, turn + 1
    assert side.done
    assert side.refused_by_us is side.refused_by_peer is None


@given(
    cluster_id=HEX_16,
    incarnation=HEX_16,
    node_id=st.integers(0, 65_535),
    version=st.integers(0, 65_535),
    address=PRINTABLE,
)
def test_identities_survive(
    cluster_id: str, incarnation: str, node_id: int, version: int, address: str
) -> None:
    identity = Identity(cluster_id, incarnation, node_id, version, address)
    assert decode_identity(encode_identity(identity)) == identity
