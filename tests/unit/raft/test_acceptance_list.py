"""Every hole of the library that `cluster/raft/DESIGN.md` lists has a test named after its row, and
what the acceptance list in `DESIGN.md` beside this file names is there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
LIST = Path(__file__).with_name("DESIGN.md")
ROWS = range(1, 37)
ELSEWHERE = {9: "no member joins or leaves: the founding configuration is fixed, see rows 7 and 8"}
"""Rows without a directed test, and why."""
NOT_SHOWN_ON_THE_LIBRARY = {
    8: "its membership changes are not used; row 7 shows why",
    9: "as above",
    13: "found by reading: needs a reconnect inside its sending loop",
    16: "it is right there",
    31: "a latency, which no test measures",
    34: "a cost",
    36: "rows 15 and 22 show what it makes of lost and damaged files",
}


def names_of_tests(root: Path) -> set[str]:
    """The test functions in all files below a folder."""
    names: set[str] = set()
    for path in root.rglob("test_*.py"):
        names |= set(re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE))
    return names


def rows_of(pattern: str) -> dict[str, set[int]]:
    """The rows that the names of tests tell."""
    found: dict[str, set[int]] = {}
    for name in names_of_tests(TESTS):
        match = re.match(pattern, name)
        if match:
            found[name] = {int(row) for row in match.group(1).split("_") if row}
    return found


def all_rows(found: dict[str, set[int]]) -> set[int]:
    return {row for rows in found.values() for row in rows}


def listed() -> Iterator[tuple[int, str, str]]:
    """Row, tests and protection of each line of the first table."""
    for line in LIST.read_text().splitlines():
        match = re.match(r"\| (\d+) \| (.*) \| ?(.*) \|$", line)
        if match:
            yield int(match[1]), match[2], match[3]


def test_no_row_is_missing() -> None:
    assert all_rows(rows_of(r"test_row_((?:\d\d_)+)")) == set(ROWS) - set(ELSEWHERE)


def test_every_hole_that_can_be_shown_is_shown_on_the_bare_library() -> None:
    shown = all_rows(rows_of(r"test_bare_library_row_((?:\d\d_)+)"))
    assert shown == set(ROWS) - set(NOT_SHOWN_ON_THE_LIBRARY)


def test_acceptance_list_has_every_row_and_every_test_that_is_named_after_one() -> None:
    tests = {row: set(re.findall(r"`(test_\w+)`", text)) for row, text, _ in listed()}
    assert list(tests) == list(ROWS)
    assert {row for row, names in tests.items() if not names} == set(ELSEWHERE)
    for name, rows in rows_of(r"test_row_((?:\d\d_)+)").items():
        for row in rows:
            assert name in tests[row], f"row {row}"


def test_what_the_acceptance_list_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", LIST.read_text()))
    assert named <= names_of_tests(TESTS)
    assert len(named) > 100


@pytest.mark.parametrize(("row", "protection"), [(row, text) for row, _, text in listed()])
def test_protection_is_where_the_list_says(row: int, protection: str) -> None:
    places: list[tuple[str, str]] = re.findall(r"`([\w/]+\.py):(\w+)`", protection)
    assert places or row in (9, 16)
    for path, name in places:
        code = (TESTS.parent / "cluster" / path).read_text()
        assert re.search(rf"\b{name}\b", code), f"{path}: {name}"
