"""Versions: each made once, and rising in real time."""

from collections.abc import Iterable
from itertools import pairwise

from tests.histories.explain import Violation, table
from tests.histories.operations import Kind, Operation


def version_made(operation: Operation) -> int:
    """By a write that was told its version; 0 for every other call."""
    answer = operation.answer
    return 0 if answer is None or operation.kind is Kind.GET else answer.version


def check_versions(operations: Iterable[Operation], what: str) -> list[Operation]:
    """The writes with a version in the order of their versions, of one key or one partition.

    Raises Violation when a version was made twice, or is lower than that of a write which had
    ended before; its message begins with `what`.
    """
    writes = sorted((each for each in operations if version_made(each)), key=version_made)
    for one, other in pairwise(writes):
        if version_made(one) == version_made(other):
            raise Violation(f"{what}: two writes made one version\n{table([one, other])}")
    earliest: Operation | None = None
    for write in reversed(writes):
        if earliest is not None and earliest.end < write.start:
            raise Violation(f"{what}: versions went back\n{table([earliest, write])}")
        if earliest is None or write.end < earliest.end:
            earliest = write
    return writes
