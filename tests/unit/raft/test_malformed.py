"""Whatever a peer sends, `step` raises MalformedMessageError or handles it, and nothing else."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.raft import messages
from cluster.raft.messages import Append, MalformedMessageError, decode_append, encode_append
from cluster.raft.types import InvariantBrokenError
from tests.unit.raft.kit import Cluster, Member, Message

ATOMS = st.one_of(
    st.integers(min_value=-2, max_value=12),
    st.integers(min_value=-(1 << 63), max_value=(1 << 64) - 1),
    st.booleans(),
    st.none(),
    st.binary(max_size=3),
    st.floats(allow_nan=True),
    st.text(max_size=3),
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)
NUMBERS = st.integers(min_value=0, max_value=9)
ENTRIES = st.lists(
    st.tuples(NUMBERS, st.sampled_from([b"\x00a", b"\x01"])).map(list), max_size=3
).map(lambda pairs: [field for pair in pairs for field in pair])


def plausible(kind: int) -> st.SearchStrategy[Message]:
    """Messages of the right shape with small numbers, which reach the deepest."""
    flags = st.booleans()
    shapes: dict[int, Sequence[st.SearchStrategy[object]]] = {
        messages.APPEND: [NUMBERS] * 5 + [ENTRIES],
        messages.APPEND_REPLY: [NUMBERS] * 3 + [flags] * 2 + [NUMBERS],
        messages.VOTE: [NUMBERS] * 4,
        messages.VOTE_REPLY: [NUMBERS],
        messages.PREVOTE: [NUMBERS] * 4,
        messages.PREVOTE_REPLY: [NUMBERS] * 2 + [flags],
        messages.TIMEOUT_NOW: [NUMBERS],
        messages.PROBE: [NUMBERS] * 2,
        messages.PROBE_REPLY: [NUMBERS] * 2,
        messages.TERM: [NUMBERS],
        messages.APPEND_PROGRESS: [NUMBERS] * 3 + [flags] * 2 + [NUMBERS],
        messages.LEARN: [NUMBERS],
        messages.LEARN_TARGET: [NUMBERS] * 3,
    }
    return st.tuples(*shapes[kind]).map(lambda fields: [kind, 0, *fields])


PLAUSIBLE = st.sampled_from(
    [kind for kind in messages.KINDS if kind not in messages.SNAPSHOT_KINDS]
).flatmap(plausible)
DAMAGED = st.tuples(PLAUSIBLE, st.integers(0, 8), VALUES).map(
    lambda parts: [parts[2] if i == parts[1] else field for i, field in enumerate(parts[0])]
)
CUT = st.tuples(PLAUSIBLE, st.integers(0, 8)).map(lambda parts: parts[0][: parts[1]])


def seen_from_outside(member: Member) -> object:
    group = member.group
    return (
        group.term,
        group.role,
        group.leader,
        group.commit_index,
        member.log.hard_state,
        member.terms,
        [member.acknowledged_by(peer) for peer in group.config.peers],
        member.wal.lsn,
    )


def leader() -> Member:
    cluster = Cluster()
    member = cluster.elect(1)
    member.propose(b"one", b"two")
    cluster.run(rounds=4)
    return member


def follower() -> Member:
    return leader().cluster[2]


@pytest.mark.parametrize("make", [leader, follower])
@settings(max_examples=120, derandomize=True)
@given(
    sent=st.lists(st.one_of(st.lists(VALUES, max_size=9), PLAUSIBLE, DAMAGED, CUT), max_size=8),
    sender=st.sampled_from([2, 3, 3, 3, 0, 9]),
)
def test_no_message_raises_anything_else(
    make: Callable[[], Member], sent: list[Message], sender: int
) -> None:
    member = make()
    for message in sent:
        before = seen_from_outside(member)
        try:
            member.group.step(sender, message)
        except MalformedMessageError:
            assert seen_from_outside(member) == before
        except InvariantBrokenError:
            return  # The replica stops: a peer contradicts what is certain.
        member.turn()
        assert member.log.durable_index >= member.group.commit_index


@pytest.mark.parametrize("kind", list(messages.KINDS))
def test_message_without_fields_is_malformed(kind: int) -> None:
    member = follower()
    for message in ([kind], [kind, 0], [kind, 0, True], [kind, 0, -1]):
        with pytest.raises(MalformedMessageError):
            member.group.step(1, list[object](message))


@pytest.mark.parametrize("kind", [0, 11, None, "append_entries", 1.0, True, [], {}, b"\x01"])
def test_unknown_kind_is_malformed(kind: object) -> None:
    with pytest.raises(MalformedMessageError, match="unknown message kind"):
        follower().group.step(1, [kind, 0, 1, 1, 0, 1, 0, []])
    with pytest.raises(MalformedMessageError):
        follower().group.step(1, [])


def test_sender_that_is_no_replica_is_refused() -> None:
    with pytest.raises(MalformedMessageError, match="node 9 is no replica"):
        follower().group.step(9, [messages.TERM, 0, 99])


@pytest.mark.parametrize(
    ("terms", "why"),
    [([9], "above the message's"), ([1], "below the previous entry's"), ([3, 2], "going back")],
)
def test_entry_with_an_impossible_term_is_malformed(terms: list[int], why: str) -> None:
    flat: list[object] = []
    for term in terms:
        flat += [term, b"\x00"]
    with pytest.raises(MalformedMessageError, match="has term"):
        decode_append([5, 1, 0, 7, 2, flat])
    assert why


def test_append_survives_its_encoding() -> None:
    append = Append(5, 77, 3, 7, 2, [(b"\x00one", 8, 3), (b"\x01", 9, 5)])
    kind, group, *fields = encode_append(4, append)
    assert (kind, group) == (messages.APPEND, 4)
    assert decode_append(fields) == append


def test_acknowledgement_of_entries_that_do_not_exist_is_malformed() -> None:
    member = leader()
    end, term = member.log.last_index, member.group.term
    before = seen_from_outside(member)
    with pytest.raises(MalformedMessageError, match="acknowledges entry"):
        member.group.step(2, [messages.APPEND_REPLY, 0, term, 1, end + 2, False, True, 0])
    assert seen_from_outside(member) == before


def test_follower_that_lost_its_disk_is_counted_no_more() -> None:
    member = leader()
    cluster = member.cluster
    acknowledged = member.acknowledged_by(2)
    lost: Message = [messages.APPEND_REPLY, 0, member.group.term, 1 << 40, 2, True, False, 0]
    with pytest.raises(MalformedMessageError, match="its disk lost acknowledged entries"):
        member.group.step(2, lost)
    assert member.acknowledged_by(2) == acknowledged
    member.propose(b"three")
    cluster.run((1, 3))
    assert member.applied[-1] == b"three", "its leader goes on with the others"
