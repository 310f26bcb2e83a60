"""Histories made by clients of a register that is right, and small ones judged by brute force."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random

from tests.histories.operations import (
    NEVER,
    Answer,
    Kind,
    Operation,
    Outcome,
    counter_value,
)
from tests.histories.register import ABSENT, State, effect, step

REGISTER_KINDS = (Kind.GET, Kind.PUT, Kind.PUT_IF_ABSENT, Kind.CAS, Kind.DELETE)
COUNTER_KINDS = (Kind.GET, Kind.INCR)


class RightRegister:
    """One key of a cluster without faults; written apart from the model that it tests."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._revision = 0
        self.value: bytes | None = None
        self.version = 0

    def apply(self, operation: Operation) -> Answer:
        kind, version = operation.kind, self.version if self.value is not None else 0
        if kind is Kind.GET:
            return Answer(version=version, value=self.value)
        if kind is Kind.DELETE:
            if self.value is None:
                return Answer(happened=False)
            self._revision += 1
            self.value = None
            return Answer()
        if kind is Kind.PUT_IF_ABSENT and version:
            return Answer(happened=False)
        if kind is Kind.CAS and operation.number != version:
            return Answer(happened=False)
        self._revision += self._rng.randint(1, 3)
        self.version = self._revision
        if kind is not Kind.INCR:
            self.value = operation.value
            return Answer(version=self.version)
        before = 0 if self.value is None else int.from_bytes(self.value, "little")
        self.value = (before + operation.number).to_bytes(8, "little")
        return Answer(version=self.version, value=self.value)


class Clients:
    """Makes a history step by step: what is drawn next is a start, an effect, or an end."""

    def __init__(self, rng: Random, kinds: Sequence[Kind], clients: int, *, lost: float) -> None:
        """`lost`: how many of the calls get no answer."""
        self._rng = rng
        self._kinds = kinds
        self._lost = lost
        self._register = RightRegister(rng)
        self._clock = 0
        self._names = clients
        self._under_way: dict[int, tuple[Operation, Answer | None]] = {}
        self._idle = list(range(clients))
        self._orphans: list[Operation] = []
        self.history: list[Operation] = []

    def run(self, calls: int) -> list[Operation]:
        begun = 0
        while begun < calls or self._under_way:
            if self._orphans and self._rng.random() < 0.1:
                self._late_effect()
            elif self._idle and begun < calls and self._rng.random() < 0.5:
                self._begin()
                begun += 1
            elif self._under_way:
                self._go_on(self._rng.choice(list(self._under_way)))
        return self.history

    def _begin(self) -> None:
        client = self._idle.pop(self._rng.randrange(len(self._idle)))
        kind = self._rng.choice(self._kinds)
        value, number = b"", 0
        if kind in (Kind.PUT, Kind.PUT_IF_ABSENT, Kind.CAS):
            value = f"v{self._clock}".encode()
        if kind is Kind.CAS:
            number = self._rng.choice((0, self._register.version, self._register.version))
        if kind is Kind.INCR:
            number = self._rng.choice((1, 1, 1, 5))
        begun = Operation(
            client, kind, "key", self._tick(), NEVER, Outcome.UNKNOWN, value=value, number=number
        )
        self._under_way[client] = (begun, None)

    def _go_on(self, client: int) -> None:
        operation, answer = self._under_way[client]
        if self._rng.random() < self._lost:
            self._lose(client)
        elif answer is None:
            self._under_way[client] = (operation, self._register.apply(operation))
        else:
            del self._under_way[client]
            self._idle.append(client)
            ended = replace(operation, end=self._tick(), outcome=Outcome.OK, answer=answer)
            self.history.append(ended)

    def _lose(self, client: int) -> None:
        operation, answer = self._under_way.pop(client)
        if answer is None and self._rng.random() < 0.3:
            self._idle.append(client)
            failed = replace(operation, end=self._tick(), outcome=Outcome.FAILED)
            self.history.append(failed)
            return
        if answer is None:
            self._orphans.append(operation)
        self._idle.append(self._names)
        self._names += 1
        self.history.append(operation)

    def _late_effect(self) -> None:
        orphan = self._orphans.pop(self._rng.randrange(len(self._orphans)))
        if self._rng.random() < 0.5:
            self._register.apply(orphan)

    def _tick(self) -> int:
        self._clock += 1
        return self._clock


def right_history(
    rng: Random, kinds: Sequence[Kind], *, clients: int, calls: int, lost: float
) -> list[Operation]:
    """What clients of a correct cluster may record."""
    return Clients(rng, kinds, clients, lost=lost).run(calls)


def mutations(history: Sequence[Operation], rng: Random) -> Iterator[list[Operation]]:
    """Histories with one answer changed: not always wrong, but mostly."""
    answers = [each.answer for each in history if each.answer is not None]
    values = [answer.value for answer in answers]
    for index, each in enumerate(history):
        answer = each.answer
        if answer is None:
            continue
        shifted = max(1, answer.version + rng.choice((-2, -1, 1, 2)))
        changes = [
            answer._replace(happened=not answer.happened),
            Answer(happened=not answer.happened),
            answer._replace(version=shifted),
            answer._replace(value=rng.choice(values)),
            rng.choice(answers),
        ]
        fitting = [one for one in changes if one != answer and _fits(each.kind, one)]
        if fitting:
            changed = replace(each, answer=rng.choice(fitting))
            yield [*history[:index], changed, *history[index + 1 :]]


def _fits(kind: Kind, answer: Answer) -> bool:
    """Whether a call of this kind could be answered like this by anyone."""
    if kind is Kind.GET:
        return answer.happened and (answer.value is None) == (answer.version == 0)
    if kind is Kind.DELETE:
        return not answer.version and answer.value is None
    if kind is Kind.INCR:
        count = answer.value is not None and counter_value(answer.value) is not None
        return answer.happened and answer.version > 0 and count
    if kind is Kind.PUT and not answer.happened:
        return False
    return answer.happened == (answer.version > 0) and answer.value is None


def has_an_order(operations: Sequence[Operation]) -> bool:
    """The definition, tried out: every order of answered calls and every subset of open ones."""
    left = [each for each in operations if each.outcome is not Outcome.FAILED]
    left = [each for each in left if each.kind is not Kind.GET or each.answer is not None]
    return _goes_on(ABSENT, left)


def _goes_on(state: State, left: Sequence[Operation]) -> bool:
    if all(each.answer is None for each in left):
        return True
    first_end = min(each.end for each in left)
    for index, each in enumerate(left):
        if each.start > first_end:
            continue
        after = effect(state, each) if each.answer is None else step(state, each)
        if after is not None and _goes_on(after, [*left[:index], *left[index + 1 :]]):
            return True
    return False
