"""What must add up whatever the order: each increment has its effect once."""

from collections.abc import Sequence
from itertools import pairwise

from tests.histories.explain import Violation, table
from tests.histories.operations import Kind, Operation, Outcome, counter_value
from tests.histories.versions import version_made


def check_increments(operations: Sequence[Operation], final: bytes | None) -> None:
    """Every increment once, for a counter that clients only increment by positive numbers.

    `final` is what the key holds after all calls have ended. Raises Violation.
    """
    increments = [each for each in operations if each.kind is Kind.INCR]
    answered = [each for each in increments if each.outcome is Outcome.OK]
    for one, other in pairwise(sorted(answered, key=_total)):
        if _total(one) == _total(other):
            raise Violation(f"{one.key}: one answer twice\n{table([one, other])}")
        if version_made(one) >= version_made(other):
            raise Violation(
                f"{one.key}: a higher count with a lower version\n{table([one, other])}"
            )
    least = sum(each.number for each in answered)
    most = least + sum(each.number for each in increments if each.outcome is Outcome.UNKNOWN)
    count = counter_value(final)
    if count is None or not least <= count <= most:
        raise Violation(
            f"{operations[0].key}: it counts {count}, and must be from {least} (acknowledged)"
            f" to {most} (with those whose outcome is unknown)"
        )


def _total(operation: Operation) -> int:
    total = counter_value(operation.answer.value) if operation.answer is not None else None
    assert total is not None
    return total
