"""Transactions that last over several commands: `begin`, `--txn`, `commit`, `rollback`."""

import pytest

from tests.unit.cli.conftest import Live


def test_changes_are_held_back_until_the_commit(live: Live) -> None:
    txn = live.text("kv", "begin", "{o}").strip()
    said = live.text("kv", "set", "{o}a", "1", "--nx", "--txn", txn)
    assert said == f"held until the commit of {txn}\n"
    assert live.json("kv", "incr", "{o}n", "--by", "3", "--txn", txn) == {"key": "{o}n", "txn": txn}
    live.text("kv", "touch", "{o}a", "--ttl", "60", "--txn", txn)
    live.text("kv", "persist", "{o}a", "--txn", txn)
    assert live.json("kv", "get", "{o}a", "--txn", txn) == {
        "key": "{o}a",
        "value": "1",
        "version": 0,
    }
    assert live.text("kv", "exists", "{o}n", "--txn", txn) == "true\n"
    assert live("kv", "exists", "{o}n").stdout == "false\n"

    done = live.json("kv", "commit", txn)
    assert (done["txn"], done["operations"]) == (txn, 4)
    assert live.json("kv", "get", "{o}a") == {
        "key": "{o}a",
        "value": "1",
        "version": done["version"],
    }
    assert live.text("kv", "incr", "{o}n", "--by", "0") == "3\n"


def test_a_delete_is_held_back_too(live: Live) -> None:
    live.text("kv", "set", "{o}a", "1")
    txn = str(live.json("kv", "begin", "{o}")["txn"])
    assert live.json("kv", "delete", "{o}a", "--txn", txn) == {"key": "{o}a", "txn": txn}
    missing = live.error("kv", "get", "{o}a", "--txn", txn)
    assert missing["message"] == "no such key: {o}a"
    assert live("kv", "exists", "{o}a", "--txn", txn).exit_code == 1
    assert live.text("kv", "get", "{o}a") == "1"
    assert live.text("kv", "commit", txn).startswith("committed 1 operation, version ")
    assert live("kv", "get", "{o}a").exit_code == 1


def test_a_rollback_forgets(live: Live) -> None:
    begun = live.json("kv", "begin", "{o}")
    txn = str(begun["txn"])
    assert begun == {"txn": txn, "routing_key": "{o}"}
    live.text("kv", "set", "{o}a", "1", "--txn", txn)
    assert live.text("kv", "rollback", txn) == "rolled back\n"
    assert live("kv", "get", "{o}a").exit_code == 1
    another = live.text("kv", "begin", "{o}").strip()
    assert live.json("kv", "rollback", another) == {"txn": another}


def test_what_is_committed_is_not_rolled_back(live: Live) -> None:
    txn = live.text("kv", "begin", "{o}").strip()
    live.text("kv", "set", "{o}a", "1", "--txn", txn)
    live.text("kv", "commit", txn)
    refused = live("kv", "rollback", txn)
    assert refused.exit_code == 1
    assert "not open" in refused.stderr
    assert live.text("kv", "get", "{o}a") == "1"


@pytest.mark.parametrize(
    "command",
    [
        ("set", "{o}a", "1", "--txn"),
        ("get", "{o}a", "--txn"),
        ("delete", "{o}a", "--txn"),
        ("exists", "{o}a", "--txn"),
        ("incr", "{o}a", "--txn"),
        ("touch", "{o}a", "--ttl", "5", "--txn"),
        ("persist", "{o}a", "--txn"),
        ("commit",),
        ("rollback",),
    ],
    ids=lambda command: command[0],
)
def test_a_transaction_that_is_not_open(live: Live, command: tuple[str, ...]) -> None:
    txn = live.text("kv", "begin", "{o}").strip()
    live.text("kv", "rollback", txn)
    for unknown in (txn, str((1 << 64) - 1)):
        assert live.error("kv", *command, unknown)["code"] == "NO_SUCH_TRANSACTION"


def test_a_condition_that_does_not_hold_is_a_no(live: Live) -> None:
    live.text("kv", "set", "{o}a", "1")
    txn = live.text("kv", "begin", "{o}").strip()
    refused = live.error("kv", "set", "{o}a", "2", "--nx", "--txn", txn)
    assert refused["code"] == "CONDITION_FAILED"
    assert live.error("kv", "touch", "{o}b", "--ttl", "5", "--txn", txn)["code"] == "NOT_FOUND"


@pytest.mark.parametrize("option", [("--block", "5"), ("--wait", "5"), ("--stale",)])
def test_a_read_of_a_transaction_waits_for_nothing(live: Live, option: tuple[str, ...]) -> None:
    assert live("kv", "get", "{o}a", "--txn", "5", *option).exit_code == 2
