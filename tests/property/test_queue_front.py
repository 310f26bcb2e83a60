"""What is kept of a queue is its beginning, whatever comes and goes."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.state.queue_front import LOADED, Front
from cluster.state.queue_rows import Ready

if TYPE_CHECKING:
    from collections.abc import Iterator

numbers = st.integers(0, 4 * LOADED)
steps = st.one_of(
    st.tuples(st.just("add"), st.lists(numbers, max_size=LOADED)),
    st.tuples(st.just("take the first"), st.integers(1, 2 * LOADED)),
    st.tuples(st.just("remove"), st.lists(numbers, max_size=LOADED)),
    st.tuples(st.just("clear"), st.none()),
)


def message(number: int) -> Ready:
    return Ready(b"%04d" % number, 0, number, 0, 0)


class Queue:
    """All of its messages, and the front that is told of them."""

    def __init__(self, content: set[int]) -> None:
        self.content = content
        self.front = Front()
        self.scans = 0

    def look(self, count: int) -> list[int]:
        expected = sorted(self.content)[:count]
        found = [each.sequence for each in islice(self.front.look(self._scan(), count), count)]
        assert found == expected
        return expected

    def add(self, number: int) -> None:
        if number not in self.content:
            self.content.add(number)
            ready = message(number)
            if self.front.reaches(ready.key):
                self.front.added(ready)

    def remove(self, number: int) -> None:
        if number in self.content:
            self.content.remove(number)
            self.front.removed(message(number))

    def _scan(self) -> Iterator[Ready]:
        self.scans += 1
        for number in sorted(self.content):
            yield message(number)


@settings(max_examples=300)
@given(st.sets(numbers), st.lists(st.tuples(steps, st.integers(0, 2 * LOADED)), max_size=20))
def test_it_is_the_beginning(content: set[int], what: list[tuple[tuple[str, object], int]]) -> None:
    queue = Queue(content)
    for (step, argument), looked in what:
        if step == "take the first":
            assert isinstance(argument, int)
            for number in queue.look(argument):
                queue.remove(number)
        elif step == "clear":
            queue.content.clear()
            queue.front.cleared()
        else:
            for number in cast("list[int]", argument):
                queue.add(number) if step == "add" else queue.remove(number)
        queue.look(looked)


def test_taking_one_after_the_other_scans_seldom() -> None:
    count = 4 * LOADED
    queue = Queue(set(range(count)))
    for expected in range(count):
        assert queue.look(1) == [expected]
        queue.remove(expected)
    assert queue.scans == count // LOADED
