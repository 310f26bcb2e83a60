"""The model of one key: a value with a version, and what each call may do to it.

Versions rise with every change, also over a deletion, by any amount: other keys of the same
partition take versions too. A write without an answer makes a version that nobody was told; then
the state has only the lowest version that is possible, until a read says which it is.
"""

from typing import NamedTuple

from tests.histories.operations import Kind, Operation, counter_bytes, counter_value, show_value


class State(NamedTuple):
    """A key between two calls."""

    value: bytes | None
    """None: it is absent."""
    version: int
    """Of a present key. Of an absent one, what the next version must be above."""
    exact: bool = True
    """False: the version is this or a higher one."""

    def __str__(self) -> str:
        if self.value is None:
            return "absent"
        more = "" if self.exact else " or higher"
        return f"{show_value(self.value)} at version {self.version}{more}"


ABSENT = State(None, 0)


def step(state: State, operation: Operation) -> State | None:
    """The state after a call that was answered; None if the answer cannot be right."""
    answer = operation.answer
    assert answer is not None
    if operation.kind is Kind.GET:
        return _read(state, answer.value, answer.version)
    if operation.kind is Kind.DELETE:
        return _deleted(state) if answer.happened == (state.value is not None) else None
    if not answer.happened:
        return None if _must_happen(state, operation) else state
    if not _may_happen(state, operation):
        return None
    floor = state.version
    if operation.kind is Kind.CAS and state.value is not None:
        floor = operation.number
    value = _written(state, operation)
    if value is None or answer.version <= floor:
        return None
    if answer.value is not None and answer.value != value:
        return None
    return State(value, answer.version)


def effect(state: State, operation: Operation) -> State:
    """The state after a call without an answer, if it took effect here; the same if it has none."""
    if operation.kind is Kind.DELETE:
        return _deleted(state)
    if not _may_happen(state, operation):
        return state
    value = _written(state, operation)
    if value is None:
        return state
    known = operation.number if operation.kind is Kind.CAS and state.value is not None else 0
    return State(value, max(state.version, known) + 1, exact=False)


def _read(state: State, value: bytes | None, version: int) -> State | None:
    if value != state.value:
        return None
    if value is None:
        return state
    if version == state.version or (not state.exact and version > state.version):
        return State(value, version)
    return None


def _deleted(state: State) -> State:
    return state if state.value is None else State(None, state.version + 1)


def _may_happen(state: State, operation: Operation) -> bool:
    """Whether the condition of a put can hold. Of an inexact version more than one thing can."""
    if operation.kind is Kind.PUT_IF_ABSENT:
        return state.value is None
    if operation.kind is not Kind.CAS:
        return True
    if state.value is None or operation.number == 0:
        return state.value is None and operation.number == 0
    return operation.number == state.version or (
        not state.exact and operation.number > state.version
    )


def _must_happen(state: State, operation: Operation) -> bool:
    exact = state.exact or state.value is None
    return exact and _may_happen(state, operation)


def _written(state: State, operation: Operation) -> bytes | None:
    """What a write leaves there; None when it cannot be done to what is there."""
    if operation.kind is not Kind.INCR:
        return operation.value
    count = counter_value(state.value)
    return None if count is None else counter_bytes(count + operation.number)
