"""What can stop a replica or make it wait. Refusals of a command are results, never one of
these."""

from __future__ import annotations


class CorruptState(Exception):
    """The stored state contradicts itself: a checksum or an index between tables does not hold.

    The replica stops. What to do: remove its data and let it be rebuilt from a snapshot and the
    log.
    """


class UnknownCommand(Exception):
    """A log entry that this version does not understand. The replica stops rather than diverge.

    What to do: start the node with the version that wrote the entry, or a newer one.
    """


class StoreFull(Exception):
    """No space for a commit. The transaction is gone without a trace and the store stays usable.

    What to do: make space, then apply the same entries again.
    """
