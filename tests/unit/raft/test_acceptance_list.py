"""Every hole of the library that `cluster/raft/DESIGN.md` lists has a test named after its row."""

import importlib
import pkgutil
import re

import tests.unit.raft

ROWS = range(1, 37)
ELSEWHERE = {
    9: "no member joins or leaves: the founding configuration is fixed, see rows 7 and 8",
    34: "a cost, measured by the benches",
}
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


def rows_of(pattern: str) -> set[int]:
    """The rows named by the test functions of this folder."""
    rows: set[int] = set()
    for module in pkgutil.iter_modules(tests.unit.raft.__path__):
        names = vars(importlib.import_module(f"tests.unit.raft.{module.name}"))
        for name in names:
            match = re.match(pattern, name)
            if match:
                rows |= {int(row) for row in match.group(1).split("_") if row.isdigit()}
    return rows


def test_no_row_is_missing() -> None:
    assert rows_of(r"test_row_((?:\d\d_)+)") == set(ROWS) - set(ELSEWHERE)


def test_every_hole_that_can_be_shown_is_shown_on_the_bare_library() -> None:
    shown = rows_of(r"test_bare_library_row_((?:\d\d_)+)")
    assert shown == set(ROWS) - set(NOT_SHOWN_ON_THE_LIBRARY)
