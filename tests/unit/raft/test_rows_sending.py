"""Holes in what the library sends, rows 27 to 29 and 31: each first shown on the bare library, then
closed here. The numbers are those of the table in `cluster/raft/DESIGN.md`."""

from typing import cast

from cluster.peers.packing import ITEMS_MAX
from cluster.raft import messages
from cluster.raft.types import GroupConfig, NodeId
from tests.unit.raft.bare import BareNet
from tests.unit.raft.kit import Cluster, Message, numbered, small_messages

# --- rows 27 to 29: what the library sends ---


def test_bare_library_row_27_floods_a_follower_while_a_snapshot_is_written() -> None:
    net = BareNet((1, 2, 3))
    net.elect(1)
    net.isolate(2)
    for payload in numbered(20):
        net[1].put(payload)
    net.run((1, 3))
    net[1].compact()
    net.run((1, 3))
    net.connect(1, 2)
    # What its serializer answers while it still writes.
    vars(net[1].private("serializer"))["getTransmissionData"] = _nothing_yet
    net.reading_s = 1e-4
    net.tick(1, after_s=0.2)
    assert len(net.links[1, 2]) > 900, "the sending loop ends after 0.1 s, and then comes again"


def _nothing_yet(_: object) -> None:
    return None


def test_row_27_waiting_follower_gets_one_message_per_heartbeat() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    leader.propose(*numbered(20))
    leader.turn()
    cluster.links[1, 2].clear()
    for _ in range(50):
        cluster.clock.now += 0.02
        leader.tick()
        leader.turn()
        cluster.deliver(1, 3)
        cluster[3].turn()
        cluster.deliver(3, 1)
    assert len(cluster.sent(1, 2, messages.APPEND)) <= 10, "one second, a heartbeat each 0.1 s"


def test_bare_library_row_28_large_entry_raises_in_the_follower() -> None:
    net = BareNet((1, 2, 3))
    net.elect(1)
    net.run()
    raised = 0
    for length in range(65_536, 3 * 65_536, 18_002):
        net[1].put(bytes(n * 7919 % 251 for n in range(length)))
        net.tick(1)
        while net.links[1, 2]:
            try:
                net.deliver(1, 2, 1)
            except Exception:
                raised += 1
        net.deliver(2, 1)
    assert raised, "the last chunk is sent twice"


def test_row_28_large_entry_travels_alone_and_whole() -> None:
    cluster = Cluster(config=small_messages(100))
    leader = cluster.elect(1)
    cluster.run()
    leader.propose(b"small", b"L" * 9_000, b"small too")
    leader.turn()
    sizes = [len(_entries(m)) for m in cluster.sent(1, 2, messages.APPEND)]
    assert sizes == [1, 1, 1]
    cluster.run()
    assert cluster[2].payloads() == [b"small", b"L" * 9_000, b"small too"]


def _entries(message: Message) -> list[bytes]:
    return cast(list[bytes], message[7])[1::2]


def test_bare_library_row_29_sends_all_it_has_at_once() -> None:
    net = BareNet((1, 2, 3), appendEntriesBatchSizeBytes=1000)
    net.elect(1)
    net.run()
    for n in range(300):
        net[1].put(b"%0900d" % n)
    net.tick(1)
    assert len(net.links[1, 2]) > 250, "nothing limits what is on its way to one follower"


def test_row_29_window_bounds_what_is_unacknowledged() -> None:
    def make(node: NodeId, replicas: tuple[NodeId, ...]) -> GroupConfig:
        return GroupConfig(0, node, replicas, message_bytes=1_000, window_bytes=3_000)

    cluster = Cluster(config=make)
    leader = cluster.elect(1)
    cluster.run()
    leader.propose(*(b"%0900d" % n for n in range(40)))
    leader.turn()
    assert len(cluster.sent(1, 2, messages.APPEND)) == 4, "the message that fills it may exceed it"
    leader.turn()
    assert len(cluster.sent(1, 2, messages.APPEND)) == 4
    cluster.deliver(1, 2, 1)
    cluster[2].turn()
    cluster.deliver(2, 1)
    leader.turn()
    assert len(cluster.sent(1, 2, messages.APPEND)) == 4, "one acknowledged, one more sent"
    cluster.run(rounds=30)
    assert len(cluster[2].payloads()) == 40


def test_one_turn_sends_a_follower_far_behind_no_whole_window() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    entry_bytes, count = 2_000, 2_000
    leader.propose(*(bytes(entry_bytes) for _ in range(count)))
    leader.turn()
    sent = sum(len(_entries(message)) for message in cluster.sent(1, 2, messages.APPEND))
    assert 0 < sent * entry_bytes <= 1 << 20, "one message, of a window of eight"
    cluster.run(rounds=60)
    assert len(cluster[2].payloads()) == count


def test_message_of_many_tiny_entries_is_one_that_a_peer_unpacks() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    leader.propose(*[b""] * 40_000)
    leader.turn()
    lengths = [len(_entries(message)) for message in cluster.sent(1, 2, messages.APPEND)]
    assert sum(lengths) == 40_000
    assert 2 * max(lengths) <= ITEMS_MAX


# --- row 31: latency by ticking ---


def test_row_31_proposal_leaves_in_its_own_turn() -> None:
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.run()
    leader.propose(b"value")
    leader.before_sync()  # no tick, no sync
    for follower in (2, 3):
        (message,) = cluster.sent(1, follower, messages.APPEND)
        assert _entries(message) == [b"\x00value"]
