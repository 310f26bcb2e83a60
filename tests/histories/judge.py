"""The verdict over the whole history of a run."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.histories.accounting import check_increments
from tests.histories.linearizable import check_key
from tests.histories.operations import Kind, Operation, Outcome
from tests.histories.versions import check_versions

_SUMMED = frozenset((Kind.GET, Kind.INCR))


@dataclass
class Verdict:
    """What a history held that was found to be right."""

    keys: int = 0
    operations: Counter[tuple[Kind, Outcome]] = field(default_factory=Counter[tuple[Kind, Outcome]])
    configurations: int = 0
    """How many the search for an order took."""

    def count(self, kind: Kind, outcome: Outcome) -> int:
        return self.operations[kind, outcome]


def judge(
    history: Iterable[Operation], partition_of: Callable[[str], int], *, ended: bool
) -> Verdict:
    """Checks each key, each counter, and the versions of each partition.

    With `ended` each counter that is only incremented has been read after everything else, and its
    increments are summed up. Raises Violation, Undecided.
    """
    verdict = Verdict()
    keys: defaultdict[str, list[Operation]] = defaultdict(list)
    partitions: defaultdict[int, list[Operation]] = defaultdict(list)
    for each in history:
        verdict.operations[each.kind, each.outcome] += 1
        keys[each.key].append(each)
        partitions[partition_of(each.key)].append(each)
    for number, found in sorted(partitions.items()):
        check_versions(found, f"partition {number}")
    for found in keys.values():
        verdict.keys += 1
        verdict.configurations += check_key(found)
        kinds = {each.kind for each in found}
        if ended and Kind.INCR in kinds and kinds <= _SUMMED:
            check_increments(found, _last_read(found))
    return verdict


def _last_read(operations: list[Operation]) -> bytes | None:
    reads = [each for each in operations if each.kind is Kind.GET and each.answer is not None]
    last = max(reads, key=lambda each: each.start)
    late = [each for each in operations if each.outcome is Outcome.OK and each.end > last.start]
    assert late == [last], f"{last.key} must be read after everything else"
    assert last.answer is not None
    return last.answer.value
