"""Each protection of the Raft layer, switched off: the simulation must notice, or a directed test.

`DESIGN.md` records after how many seeds the simulation notices each.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple, TypeAlias, cast

import pytest

from cluster.raft import messages
from cluster.raft.core import Core
from cluster.raft.group import RaftGroup
from cluster.raft.inbound import Inbound
from cluster.raft.journal import CoreJournal
from cluster.raft.messages import AppendReply
from cluster.raft.outbox import Outbox
from cluster.raft.reads import ReadIndex
from cluster.raft.replication import Replication
from cluster.raft.types import NodeId, Outgoing
from cluster.storage.group_log import GroupLog
from cluster.storage.records import HardState

SwitchOff: TypeAlias = Callable[[pytest.MonkeyPatch], None]


class Ablation(NamedTuple):
    """`found` says where it is noticed: the simulation with 3 or 5 nodes, or a directed test."""

    name: str
    switch_off: SwitchOff
    size: int = 3
    directed_test: str = ""


def inner(owner: object, name: str) -> object:
    """A private part of one of our objects, which only an ablation may touch."""
    return getattr(owner, name)


def core_of(inbound: Inbound) -> Core:
    return cast(Core, inner(inbound, "_core"))


def truncate_unconditionally(patch: pytest.MonkeyPatch) -> None:
    """Row 2: as the library does on each message whose previous entry is not the last."""

    def delete(self: CoreJournal, entryFrom: int) -> None:
        log = cast(GroupLog, inner(self, "_log"))
        index = log.first_index + entryFrom
        if index <= log.last_index:
            log.truncate_from(index)
        self.end_message()

    patch.setattr(CoreJournal, "deleteEntriesFrom", delete)


def hide_nothing(patch: pytest.MonkeyPatch) -> None:
    """Row 2: the core takes entries for verified that the message did not mention."""

    def delete(self: CoreJournal, entryFrom: int) -> None:
        pass

    patch.setattr(CoreJournal, "deleteEntriesFrom", delete)


def replies_without_term(patch: pytest.MonkeyPatch) -> None:
    """Row 3."""

    def about_me(self: Inbound, term: int) -> bool:
        return core_of(self).is_leader

    patch.setattr(Inbound, "_is_about_my_leadership", about_me)


def resets_without_cause(patch: pytest.MonkeyPatch) -> None:
    """Row 4: a reset counts whatever it answers."""
    take = Replication.on_reply

    def on_reply(self: Replication, peer: NodeId, reply: AppendReply) -> bool:
        return take(self, peer, reply._replace(sequence=1 << 60))

    patch.setattr(Replication, "on_reply", on_reply)


def promises_leave_early(patch: pytest.MonkeyPatch) -> None:
    """Rows 5 and 35."""
    patch.setattr(Outbox, "send_synced", Outbox.send_early)


def leader_counts_what_it_has_not_synced(patch: pytest.MonkeyPatch) -> None:
    """Row 6."""

    def passes(self: Inbound, peer: NodeId) -> None:
        acked = cast(Replication, inner(self, "_replication")).acked(peer)
        reply = {
            "type": "next_node_idx",
            "next_node_idx": acked + 1,
            "reset": False,
            "success": True,
        }
        core_of(self).receive(peer, reply)
        self.acks_arrived = True

    patch.setattr(Inbound, "pass_acknowledgement", passes)
    # Without this the caller would still hear of it only after the sync.
    patch.setattr(
        RaftGroup,
        "commit_index",
        property(lambda self: cast(Core, inner(self, "_core")).commit_index),
    )


def votes_counted_by_message(patch: pytest.MonkeyPatch) -> None:
    """Row 14."""

    def on_vote_reply(self: Inbound, sender: NodeId, fields: list[object]) -> None:
        term = messages.decode_term(fields)
        core_of(self).receive(sender, {"type": "response_vote", "term": term})

    patch.setattr(Inbound, "_on_vote_reply", on_vote_reply)


def votes_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Row 15: a restart finds the term, but not whom it voted for."""

    def set_term(self: CoreJournal, term: int, votedForNodeId: int | None) -> None:
        log = cast(GroupLog, inner(self, "_log"))
        log.set_hard_state(HardState(term, 0, self.committed))

    patch.setattr(CoreJournal, "setCurrentTerm", set_term)


def commit_index_goes_back(patch: pytest.MonkeyPatch) -> None:
    """Row 17's neighbour: a short message lowers it."""

    def receive(self: Core, sender: NodeId, message: Mapping[str, object]) -> None:
        transport, nodes = inner(self, "_core_transport"), inner(self, "_nodes")
        hand_on = cast(Callable[[object, object], None], inner(transport, "receive"))
        hand_on(cast(Mapping[int, object], nodes)[sender], message)
        cast(CoreJournal, inner(self, "_journal")).end_message()

    patch.setattr(Core, "receive", receive)


def campaign_without_asking(patch: pytest.MonkeyPatch) -> None:
    """Row 26: no pre-vote."""

    def campaign(self: RaftGroup, now: float) -> None:
        cast(Core, inner(self, "_core")).campaign()

    patch.setattr(RaftGroup, "_campaign", campaign)


def old_leaders_are_not_told(patch: pytest.MonkeyPatch) -> None:
    """Row 32."""

    def tell(self: Inbound, peer: NodeId) -> None:
        pass

    patch.setattr(Inbound, "_tell_term", tell)


def reads_without_confirmation(patch: pytest.MonkeyPatch) -> None:
    """Row 25: whoever believes to lead answers."""

    def init(self: ReadIndex, node_id: NodeId, majority: int) -> None:
        build(self, node_id, 1)

    build = ReadIndex.__init__
    patch.setattr(ReadIndex, "__init__", init)


def read_confirmed_by_any_reply(patch: pytest.MonkeyPatch) -> None:
    """Row 25: a reply to an earlier probe confirms a later read."""
    confirm = ReadIndex.confirm

    def any_round(self: ReadIndex, peer: NodeId, number: int) -> None:
        confirm(self, peer, 1 << 60)

    patch.setattr(ReadIndex, "confirm", any_round)


def reads_before_the_first_entry_of_the_term(patch: pytest.MonkeyPatch) -> None:
    """Row 25: the commit index of a new leader may be an old one."""
    patch.setattr(Core, "noop_index", property(lambda self: 0))


def dirty_replies_to_reads(patch: pytest.MonkeyPatch) -> None:
    """Row 25: a follower confirms any leader, also one of an old term."""

    def on_probe(self: Inbound, sender: NodeId, fields: list[object]) -> None:
        probe = messages.decode_probe(fields)
        reply = (messages.PROBE_REPLY, 0, probe.term, probe.round)
        cast(Outbox, inner(self, "_outbox")).send_early(Outgoing(sender, reply))

    patch.setattr(Inbound, "_on_probe", on_probe)


ABLATIONS = [
    Ablation("unconditional truncation", truncate_unconditionally),
    Ablation("hidden entries are seen", hide_nothing),
    Ablation("replies without a term", replies_without_term),
    Ablation("resets not tied to a send", resets_without_cause),
    Ablation("promises leave before the sync", promises_leave_early),
    Ablation("the leader counts what it has not synced", leader_counts_what_it_has_not_synced),
    Ablation("votes counted by message", votes_counted_by_message, size=5),
    Ablation("votes forgotten", votes_forgotten),
    Ablation("the commit index goes back", commit_index_goes_back),
    Ablation("no pre-vote", campaign_without_asking),
    Ablation("old leaders are not told", old_leaders_are_not_told),
    Ablation("reads without confirmation", reads_without_confirmation),
    Ablation("reads confirmed by any reply", read_confirmed_by_any_reply),
    Ablation("reads before the term's first entry", reads_before_the_first_entry_of_the_term),
    Ablation("followers confirm any leader", dirty_replies_to_reads),
]


def undone() -> AbstractContextManager[pytest.MonkeyPatch]:
    """A patch that is undone at the end of the block."""
    return pytest.MonkeyPatch.context()
