"""Recording, reading back, and what must add up over a whole history."""

from pathlib import Path

import pytest

from tests.histories.explain import Violation
from tests.histories.judge import judge
from tests.histories.operations import (
    Answer,
    Kind,
    Operation,
    Outcome,
    Recorder,
    counter_bytes,
    load,
)

OK, UNKNOWN, FAILED = Outcome.OK, Outcome.UNKNOWN, Outcome.FAILED


def one_partition(key: str) -> int:
    return 0


def incremented(total: int, version: int) -> Answer:
    return Answer(version=version, value=counter_bytes(total))


class Script:
    """Calls that follow each other, on one clock."""

    def __init__(self) -> None:
        self.history: list[Operation] = []
        self._clock = 0

    def call(
        self, kind: Kind, key: str, answer: Answer | None, outcome: Outcome = OK, number: int = 0
    ) -> None:
        self._clock += 2
        end = self._clock if outcome is not UNKNOWN else 1 << 62
        self.history.append(
            Operation(1, kind, key, self._clock - 1, end, outcome, b"v", number, answer)
        )

    def increment(self, answer: Answer | None, outcome: Outcome = OK) -> None:
        self.call(Kind.INCR, "counter", answer, outcome, number=1)

    def count(self, total: int, version: int) -> None:
        self.call(Kind.GET, "counter", incremented(total, version))


def test_each_increment_once() -> None:
    script = Script()
    script.increment(incremented(1, 1))
    script.increment(None, UNKNOWN)
    script.increment(None, FAILED)
    script.increment(incremented(3, 3))
    script.count(3, 3)
    verdict = judge(script.history, one_partition, ended=True)
    assert verdict.count(Kind.INCR, OK) == 2
    assert verdict.count(Kind.INCR, UNKNOWN) == 1
    assert verdict.keys == 1


@pytest.mark.parametrize(
    ("totals", "final"), [((1, 2), 1), ((1, 2), 4), ((1, 1), 2), ((2, 3), 3), ((2, 1), 2)]
)
def test_increments_that_do_not_add_up(totals: tuple[int, int], final: int) -> None:
    script = Script()
    if totals != (2, 3):
        script.increment(None, UNKNOWN)
    for version, total in enumerate(totals, start=1):
        script.increment(incremented(total, version))
    script.count(final, 9)
    with pytest.raises(Violation):
        judge(script.history, one_partition, ended=True)


def test_a_counter_that_is_not_read_at_the_end_is_no_evidence() -> None:
    script = Script()
    script.call(Kind.GET, "counter", Answer())
    script.increment(incremented(1, 1))
    with pytest.raises(AssertionError, match="after everything else"):
        judge(script.history, one_partition, ended=True)


@pytest.mark.parametrize(("first", "second"), [(5, 5), (5, 4)])
def test_versions_of_one_partition_over_its_keys(first: int, second: int) -> None:
    script = Script()
    script.call(Kind.PUT, "a", Answer(version=first))
    script.call(Kind.PUT, "b", Answer(version=second))
    judge(script.history, lambda key: ord(key), ended=True)
    with pytest.raises(Violation, match="partition 0"):
        judge(script.history, one_partition, ended=True)


def test_what_is_recorded_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "history"
    recorder = Recorder(path)
    put = recorder.begin(1, Kind.PUT, "a", value=b"\x00\xff")
    get = recorder.begin(2, Kind.GET, "a")
    cas = recorder.begin(3, Kind.CAS, "a", value=b"x", number=7)
    recorder.begin(4, Kind.DELETE, "a")
    ended = [
        recorder.end(put, OK, Answer(version=3)),
        recorder.end(cas, UNKNOWN),
        recorder.end(get, OK, Answer(version=3, value=b"\x00\xff")),
    ]
    recorder.close()
    found = list(load(path))
    assert found[:3] == ended
    assert [each.client for each in found] == [1, 3, 2, 4]
    assert found[0].start < found[2].start < found[0].end < found[2].end < found[1].end
    assert found[3].outcome is UNKNOWN
