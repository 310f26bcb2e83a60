"""What a partition calls before a node listens to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.partition import Partition
    from cluster.raft.types import NodeId
    from cluster.storage.snapshots import Incoming


def end_learning(partition: Partition) -> None:
    """Without a disk there is nothing to note."""
    partition.group.end_learning()


def ignore_snapshot(_partition: int, _incoming: Incoming) -> None:
    """Nobody is there to install it."""


def tell_nobody(_partition: int, _leader: NodeId) -> None:
    """Nobody asks who leads."""
