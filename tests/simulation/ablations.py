"""Each protection of the Raft layer, switched off: the simulation must notice, or a directed test.

`DESIGN.md` records after how many seeds the simulation notices each.
"""

from collections.abc import Callable, Mapping
from functools import partial
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
from cluster.storage.memory_files import Crash
from cluster.storage.records import HardState
from tests.unit.raft import test_read_index as reads
from tests.unit.raft import test_rows_elections as elections
from tests.unit.raft import test_rows_replication as replication

SwitchOff: TypeAlias = Callable[[pytest.MonkeyPatch], None]


class Ablation(NamedTuple):
    """What the simulation of three nodes finds has no directed test here; the rest needs one."""

    name: str
    switch_off: SwitchOff
    directed_test: Callable[[], None] | None = None


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

    def on_reply(self: Replication, peer: NodeId, reply: AppendReply) -> None:
        take(self, peer, reply._replace(sequence=1 << 60))

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
    Ablation("resets not tied to a send", resets_without_cause),
    Ablation("promises leave before the sync", promises_leave_early),
    Ablation("the leader counts what it has not synced", leader_counts_what_it_has_not_synced),
    Ablation("the commit index goes back", commit_index_goes_back),
    Ablation("reads without confirmation", reads_without_confirmation),
    Ablation("reads before the term's first entry", reads_before_the_first_entry_of_the_term),
    Ablation(
        "replies without a term",
        replies_without_term,
        replication.test_row_03_reply_of_an_old_leadership_counts_nothing,
    ),
    Ablation(
        "votes counted by message",
        votes_counted_by_message,
        elections.test_row_14_repeated_vote_counts_once,
    ),
    Ablation(
        "votes forgotten",
        votes_forgotten,
        partial(elections.test_row_15_restarted_voter_keeps_its_vote, Crash.SYNCED),
    ),
    Ablation(
        "no pre-vote",
        campaign_without_asking,
        partial(elections.test_row_26_one_way_loss_burns_no_terms, ((1, 3), (2, 3))),
    ),
    Ablation(
        "old leaders are not told",
        old_leaders_are_not_told,
        elections.test_row_32_old_leader_is_told_and_steps_down,
    ),
    Ablation(
        "reads confirmed by any reply",
        read_confirmed_by_any_reply,
        reads.test_row_25_same_term_reply_held_while_another_leader_writes_is_not_served,
    ),
    Ablation(
        "followers confirm any leader",
        dirty_replies_to_reads,
        reads.test_probe_of_an_old_leader_is_answered_with_the_term,
    ),
]
