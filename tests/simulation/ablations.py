"""Each protection of the Raft layer, switched off: the simulation must notice, or a directed test.

`DESIGN.md` records after how many seeds the simulation notices each.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeAlias, cast

import pytest

from cluster import data
from cluster.calls import Call
from cluster.compaction import Compaction
from cluster.dispatch import Dispatcher
from cluster.forwarding import FORWARD_REPLY, Forwarding
from cluster.partition import Partition
from cluster.raft import messages
from cluster.raft.core import Core
from cluster.raft.group import RaftGroup
from cluster.raft.inbound import Inbound
from cluster.raft.journal import CoreJournal
from cluster.raft.learning import Learner, Learning
from cluster.raft.messages import AppendReply
from cluster.raft.outbox import Outbox
from cluster.raft.reads import ReadIndex
from cluster.raft.replication import Replication
from cluster.raft.types import NodeId, Outgoing
from cluster.state.commands import Result
from cluster.state.sessions import Sessions
from cluster.storage.group_log import GroupLog
from cluster.storage.memory_files import Crash
from cluster.storage.memory_snapshots import MemoryIncoming, MemorySnapshots
from cluster.storage.records import HardState
from cluster.storage.snapshots import SnapshotInfo
from cluster.storage.wal import Wal
from flo.wire.status import Ran, Refusal
from tests.simulation import node
from tests.simulation.plane_ablations import (
    calls_of_transactions_are_never_in_progress,
    leases_end_by_the_local_clock,
    outcomes_of_transactions_are_forgotten,
    repeated_dequeues_run_again,
)
from tests.unit.node import test_compaction as compaction
from tests.unit.node import test_snapshot_crashes as crashes
from tests.unit.raft import test_learning as learning
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


def learner_counts_at_once(patch: pytest.MonkeyPatch) -> None:
    """Row 36."""

    def is_done(self: Learner, verified: tuple[int, int], durable_index: int) -> bool:
        return True

    patch.setattr(Learner, "is_done", is_done)


def target_is_not_awaited(patch: pytest.MonkeyPatch) -> None:
    """Row 36: the right leader is enough, whatever it has sent so far."""

    def is_done(self: Learner, verified: tuple[int, int], durable_index: int) -> bool:
        return self.target is not None

    patch.setattr(Learner, "is_done", is_done)


def any_leader_teaches(patch: pytest.MonkeyPatch) -> None:
    """Row 36: also one that led before the arrival, perhaps by the vote that was lost."""
    take = Learning.on_learn

    def on_learn(self: Learning, sender: NodeId, fields: list[object]) -> None:
        arrivals = cast(dict[NodeId, tuple[int, int]], inner(self, "_arrivals"))
        arrivals[sender] = (messages.decode_learn(fields), -1)
        take(self, sender, fields)

    patch.setattr(Learning, "on_learn", on_learn)


def not_everybody_answers_the_teacher(patch: pytest.MonkeyPatch) -> None:
    """Row 36: somebody may still collect votes that were given before the loss."""
    patch.setattr(Replication, "all_have_answered", property(lambda self: True))


def log_forgets_what_no_snapshot_holds(patch: pytest.MonkeyPatch) -> None:
    """What is applied is taken for safe."""

    def take(self: Compaction, number: int, partition: Partition) -> None:
        cast(Wal, inner(self, "_wal")).group(number).compact(partition.group.applied_index)

    patch.setattr(Compaction, "_take", take)


def start_leaves_the_log_behind_its_snapshot(patch: pytest.MonkeyPatch) -> None:
    """A received snapshot has its name, and the log was not set to it when the crash came."""

    def restore(wal: Wal, number: int, latest: SnapshotInfo | None, applied_index: int) -> bool:
        base_index = wal.group(number).base_index
        return latest is not None and applied_index < max(base_index, 1)

    patch.setattr(node, "restore_point", restore)
    patch.setattr(data, "restore_point", restore)


def install_with_power_cuts() -> None:
    """The directed test, which wants a folder."""
    with TemporaryDirectory() as folder:
        disk = crashes.Disk(Path(folder) / "data")
        try:
            crashes.test_crash_at_every_point_of_an_install_leaves_the_old_state_or_the_new(
                disk, Path(folder), "machine"
            )
        finally:
            disk.close()


def state_replaced_before_the_log_is_durable(patch: pytest.MonkeyPatch) -> None:
    """A power cut then finds the old log, which the state has left behind."""

    def installable(self: Compaction) -> int | None:
        return next(iter(cast(dict[int, int], inner(self, "_installing"))), None)

    patch.setattr(Compaction, "_installable", installable)


def snapshots_are_installed_below_the_commit_index(patch: pytest.MonkeyPatch) -> None:
    """The log went on while the last pieces came, or while the snapshot got its name."""
    partitions: list[Partition] = []

    def commit_index(self: RaftGroup) -> int:
        return 0 if self is partitions[-1].group else real.__get__(self)

    def unchecked(method: Callable[[Compaction, int, object], None]) -> object:
        def run(self: Compaction, number: int, argument: object) -> None:
            partitions.append(cast(dict[int, Partition], inner(self, "_partitions"))[number])
            with pytest.MonkeyPatch.context() as now:
                now.setattr(RaftGroup, "commit_index", property(commit_index))
                method(self, number, argument)

        return run

    real = cast(property, RaftGroup.commit_index)
    for name in ("_publish_received", "_begin_install"):
        patch.setattr(Compaction, name, unchecked(getattr(Compaction, name)))


def snapshots_are_believed(patch: pytest.MonkeyPatch) -> None:
    """No digest: what was damaged on the way is installed."""

    def publish(self: MemoryIncoming) -> None:
        snapshots = cast(MemorySnapshots, inner(self, "_snapshots"))
        snapshots.adopt(self.info, self.content)

    patch.setattr(MemoryIncoming, "publish", publish)


def repeated_commands_run_again(patch: pytest.MonkeyPatch) -> None:
    """A session forgets what it has answered."""

    def keep(self: Sessions, session_id: int, sequence: int, result: Result) -> None:
        pass

    patch.setattr(Sessions, "keep", keep)


def new_tries_take_new_sequences(patch: pytest.MonkeyPatch) -> None:
    """Of a client that brings no session: the node's own then protects nothing."""
    again = Dispatcher.try_again

    def try_again(self: Dispatcher, call: Call, leader: NodeId) -> None:
        if call.node_session is not None:
            call.node_session.assign(call)
        again(self, call, leader)

    patch.setattr(Dispatcher, "try_again", try_again)


def unknown_is_told_as_not_run(patch: pytest.MonkeyPatch) -> None:
    """Leadership was lost with the command in the log, or the connection with it on the way."""

    def on_unknown(self: Call) -> None:
        self.on_not_leader(0)

    patch.setattr(Call, "on_unknown", on_unknown)


def late_answers_are_told_as_not_run(patch: pytest.MonkeyPatch) -> None:
    """The deadline has passed while the command was at the leader."""
    refusal = Dispatcher.timeout_refusal

    def timeout_refusal(self: Dispatcher, call: Call) -> Refusal:
        return refusal(self, call)._replace(ran=Ran.NO)

    patch.setattr(Dispatcher, "timeout_refusal", timeout_refusal)


def answers_find_the_wrong_calls(patch: pytest.MonkeyPatch) -> None:
    """Calls on their way to a node outlive the connection: an answer of the next one counts."""
    receive = Forwarding.receive

    def peer_lost(self: Forwarding, node: NodeId) -> None:
        for call in cast(dict[NodeId, dict[int, Call]], inner(self, "_out")).get(node, {}).values():
            call.on_unknown()

    def received(self: Forwarding, node: NodeId, message: list[object]) -> None:
        out = cast(dict[NodeId, dict[int, Call]], inner(self, "_out")).get(node, {})
        if message[0] == FORWARD_REPLY and out:
            message = [*message[:2], min(out), *message[3:]]
        receive(self, node, message)

    patch.setattr(Forwarding, "peer_lost", peer_lost)
    patch.setattr(Forwarding, "receive", received)


ABLATIONS = [
    Ablation("leases end by the local clock", leases_end_by_the_local_clock),
    Ablation("repeated dequeues run again", repeated_dequeues_run_again),
    Ablation("outcomes of transactions are forgotten", outcomes_of_transactions_are_forgotten),
    Ablation("a late commit is told as not run", calls_of_transactions_are_never_in_progress),
    Ablation("repeated commands run again", repeated_commands_run_again),
    Ablation("new tries take new sequences", new_tries_take_new_sequences),
    Ablation("unknown is told as not run", unknown_is_told_as_not_run),
    Ablation("late answers are told as not run", late_answers_are_told_as_not_run),
    Ablation("answers find the wrong calls", answers_find_the_wrong_calls),
    Ablation("unconditional truncation", truncate_unconditionally),
    Ablation("hidden entries are seen", hide_nothing),
    Ablation("resets not tied to a send", resets_without_cause),
    Ablation("promises leave before the sync", promises_leave_early),
    Ablation("the leader counts what it has not synced", leader_counts_what_it_has_not_synced),
    Ablation("the commit index goes back", commit_index_goes_back),
    Ablation("reads without confirmation", reads_without_confirmation),
    Ablation("reads before the term's first entry", reads_before_the_first_entry_of_the_term),
    Ablation("a learner counts at once", learner_counts_at_once),
    Ablation("the log forgets what no snapshot holds", log_forgets_what_no_snapshot_holds),
    Ablation("the state before the log", state_replaced_before_the_log_is_durable),
    Ablation("snapshots are believed", snapshots_are_believed),
    Ablation(
        "snapshots are installed below the commit index",
        snapshots_are_installed_below_the_commit_index,
        lambda: compaction.test_received_snapshot_that_the_log_has_passed_is_thrown_away(
            compaction.Keeper()
        ),
    ),
    Ablation(
        "any leader teaches",
        any_leader_teaches,
        learning.test_leader_from_before_the_loss_does_not_go_on_with_the_new_replica,
    ),
    Ablation(
        "the target is not awaited",
        target_is_not_awaited,
        learning.test_done_when_verified_and_durable_up_to_the_target,
    ),
    Ablation(
        "a start leaves the log behind",
        start_leaves_the_log_behind_its_snapshot,
        install_with_power_cuts,
    ),
    Ablation(
        "not everybody answers the teacher",
        not_everybody_answers_the_teacher,
        learning.test_vote_given_before_the_loss_elects_nobody_against_what_is_acknowledged_after,
    ),
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
