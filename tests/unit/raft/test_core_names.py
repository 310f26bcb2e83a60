"""The private names of the library that `cluster/raft/core.py` relies on are still there."""

import ast
import importlib.metadata
import inspect
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from pysyncobj import SyncObj, syncobj
from pysyncobj.journal import Journal
from pysyncobj.transport import Transport

from cluster.raft import core, journal

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARY = Path(inspect.getfile(syncobj))
CORE = Path(inspect.getfile(core))
PREFIX = "_SyncObj__"

OVERRIDDEN = {
    "_checkCommandsToApply",
    "_applyCommand",
    "_SyncObj__applyLogEntries",
    "_SyncObj__doApplyCommand",
    "_SyncObj__changeCluster",
    "_SyncObj__loadDumpFile",
    "_SyncObj__tryLogCompaction",
    "_SyncObj__generateRaftTimeout",
    "_SyncObj__getEntries",
    "_SyncObj__sendAppendEntries",
}


def attributes_of(path: Path) -> set[str]:
    """Every attribute and function name in a source file, mangled as Python mangles it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.FunctionDef):
            names.add(node.name)
    mangled = {PREFIX + name[2:] for name in names if name.startswith("__")}
    return names | mangled


def test_version_is_the_pinned_one() -> None:
    assert importlib.metadata.version("pysyncobj") == "0.3.17"


def test_every_private_name_we_use_exists() -> None:
    used = {name for name in attributes_of(CORE) if name.startswith(PREFIX)}
    assert len(used) > 15
    assert used <= attributes_of(LIBRARY)


@pytest.mark.parametrize("name", sorted(OVERRIDDEN))
def test_every_override_replaces_a_method_of_the_library(name: str) -> None:
    ours, theirs = getattr(core.Core, name), getattr(SyncObj, name)
    assert ours is not theirs
    ours_parameters = list(inspect.signature(ours).parameters)
    theirs_parameters = list(inspect.signature(theirs).parameters)
    assert ours_parameters == theirs_parameters


def test_there_is_no_override_beside_the_listed_ones() -> None:
    ours = {name for name, value in vars(core.Core).items() if inspect.isfunction(value)}
    assert {name for name in ours if hasattr(SyncObj, name)} - {"__init__"} == OVERRIDDEN


def test_journal_answers_everything_the_library_asks_of_one() -> None:
    asked = {n for n, value in vars(Journal).items() if inspect.isfunction(value)}
    answered = set(vars(journal.CoreJournal))
    # Compaction and clearing are the library's snapshots, which are never made.
    assert asked - answered == {"clear", "deleteEntriesTo", "onOneSecondTimer"}


def test_transport_seam_is_there() -> None:
    for name in ("_onMessageReceived", "_onNodeConnected", "_onNodeDisconnected"):
        assert callable(getattr(Transport, name))
    source = LIBRARY.read_text()
    assert "self.__raftLog = createJournal(self.__conf.journalFile)" in source
    assert "monotonicTime()" in source


def test_library_reads_the_clock_of_its_own_thread() -> None:
    """Nodes of several threads, as in a program's tests, may go by different clocks."""
    read = cast("Callable[[], float]", vars(syncobj)["monotonicTime"])
    core.use_clock(lambda: 1.0)
    with ThreadPoolExecutor(1) as other:
        other.submit(core.use_clock, lambda: 2.0).result()
        assert other.submit(read).result() == 2.0
    assert read() == 1.0
