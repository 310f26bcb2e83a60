"""Transactions, queues, streams, groups and workers, as programs for the official SDK use them.

As in `test_kv`: the scenarios are in programs/, and both packages must see the same, but for the
differences listed with their reasons.
"""

import asyncio
from functools import partial

import pytest

from bench.local_cluster import LocalCluster
from flo import FloClient, QueueConfigureOptions
from tests.compat.kit import (
    PACKAGES,
    BySeen,
    Package,
    Runs,
    run_driver,
    run_with_faults,
    start_driver,
)

MALFORMED = ["BadRequestError", "MALFORMED", "NO"]
NOT_FOUND = ["NotFoundError", "NOT_FOUND", "NO"]
RESERVED = ["UnauthorizedError", "RESERVED_KEY", "NO"]
BOUNDS = ["BadRequestError", "CONFLICTING_FIELDS", "NO"]
RANGE = ["BadRequestError", "OUT_OF_RANGE", "NO"]
UNKNOWN = ["NO_SUCH_TRANSACTION", "NO", True]
FINISHED = ["TxnFinishedError"] * 2

TRANSACTIONS: dict[str, object] = {
    "a_commit_applies_everything_at_once": {
        "version before": [0, 0],
        "own": "Ada",
        "before": [None, "v"],
        "inside": [False, None],
        "ops": 6,
        # Another time to live is no other version.
        "versions": [True, True, False],
        "values": ["Ada", 6],
        "deleted": None,
        "ids": True,
    },
    "a_rollback_leaves_nothing": [None, FINISHED],
    "an_empty_transaction_commits": [0, FINISHED],
    "a_block_that_commits": "Ada",
    "a_block_that_fails_rolls_back": [True, None, FINISHED],
    "a_block_that_says_nothing_rolls_back": [None, FINISHED],
    "conditions_are_tested_when_sent": {
        "wrong": [
            ["ConflictError", "CONDITION_FAILED", "NO"],
            ["ConflictError", "CAS_MISMATCH", "NO"],
            ["BadRequestError", "WRONG_TYPE", "NO"],
            NOT_FOUND,
            RESERVED,
        ],
        "ops": 0,
    },
    "conditions_are_tested_again_at_the_commit": {
        "commit": ["ConflictError", "CAS_MISMATCH", "NO"],
        "values": ["Grace", None],
        "then": FINISHED,
    },
    "an_ended_transaction_is_unknown": [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, None],
    "a_commit_said_twice_is_done_once": [True, 2],
    "operations_that_no_transaction_has": [["TxnUnsupportedOpError"] * 6, 0],
    "keys_of_another_place": [["WRONG_ROUTING_KEY", "NO", False], True, "v"],
    "a_transaction_that_is_too_large": [["TXN_TOO_LARGE", "NO", False], 256, 257],
    "a_transaction_needs_a_routing_key": "ValidationError",
}

QUEUES: dict[str, object] = {
    "low_numbers_of_priority_come_first": {
        "grow": True,
        "order": ["1", "3", "", "0", "2"],
        "priorities": [0, 0, 0, 5, 255],
        "deliveries": [1, 1, 1, 1, 1],
        "sequences": True,
        "times": True,
    },
    "a_message_is_leased_until_it_is_acknowledged": [["0", "1"], ["2"], True],
    "a_message_that_is_given_back_comes_again": [["old"], True, 2],
    "peek_takes_nothing": {
        "seen": [["0", "1"], ["0", "1"]],
        "deliveries": [0, 1],
        "after": ["1", "2"],
    },
    "a_dequeue_waits_for_a_message": [["woken"], ["at once"], ["woken"], []],
    "dead_letters_are_listed_and_put_back": {
        "deliveries": [1, 2, 3, 4, 5],
        "left": [],
        "letters": [["v"], True],
        "after": [],
        "again": [True, "v", 1],
    },
    "a_queue_that_nobody_made_is_empty": [[[], [], []], ["no error"] * 3],
    "queues_and_namespaces_are_apart": [["there"], ["here"], ["other"]],
    "large_messages": [True, True, True],
    "what_no_queue_takes": {
        "name": MALFORMED,
        "reserved": RESERVED,
        "block_ms": "BlockTooLongError",
        "nothing to ack": "no error",
    },
    "each_message_goes_to_one_consumer": [True, True],
}

STREAMS: dict[str, object] = {
    "records_are_read_as_they_were_appended": {
        "ids": True,
        "time": True,
        "payloads": ["31", "000102", ""],
        "headers": True,
        "stream": True,
        "tier": ["HOT"],
    },
    "reads_have_a_start_an_end_and_a_count": {
        "from": ["3", "4", "5"],
        "to": ["0", "1"],
        "between": ["1", "2", "3"],
        "after": ["5"],
        "count": ["1", "2"],
        "from zero": ["0"],
        "turned round": [],
        "partition": ["0"],
        "no such partition": [],
        "no such stream": [],
    },
    "a_long_stream_is_read_in_pages": [[100, 100, 50, 0], True],
    "a_read_waits_for_records": [["1"], ["2"], ["3"], [], [], "BlockTooLongError"],
    "info_tells_the_size": {
        "missing": [0, 0, [0, 0], [0, 0], 1],
        "sizes": [12, 14, 1],
        "ids": True,
    },
    "trim_removes_the_oldest": {
        "dry run": [3, True, 10],
        "before": [3, True, 7],
        "length": [3, True, 4],
        "length again": [0, True, 4],
        "age": [0, True, 4],
        "texts": ["6", "7", "8", "9"],
        "counted": 4,
    },
    "trim_needs_one_bound": [[BOUNDS, RANGE, RANGE, BOUNDS], 3],
    "trimming_what_is_not_there": [0, 0],
    "what_no_stream_takes": [MALFORMED, RESERVED, MALFORMED],
    "many_writers_make_one_order": [True, True, True],
}

GROUPS: dict[str, object] = {
    "a_group_shares_the_records": {
        "read": [["0", "1"], ["2", "3", "4"], [], ["0", "1", "2", "3", "4"]],
        "headers": {"type": "created"},
        "pending": [],
    },
    "pending_says_who_has_what": {
        "all": [["a", 1], ["a", 1], ["b", 1]],
        "one": [["b", 1]],
        "nobody": [],
        "ids": True,
    },
    "a_record_that_is_given_back_comes_again": [["0", "1"], [["b", 2], ["b", 1]]],
    "a_group_read_waits": [["0"], ["0"], []],
    "claim_takes_over_in_pages": {
        "own": [["0", "1"], ["2"]],
        "others'": [[]],
        "not long enough": [[]],
        "idle": [["0", "1"], ["2", "3"], ["4"]],
        "pending": [["c", 3], ["c", 3], ["c", 3], ["c", 2], ["c", 2]],
    },
    "entries_of_trimmed_records_are_gone": [[["a", 1]], [["2"]], ["2"]],
    "what_a_member_leaves_stays_pending": [["1"], [["a", 1], ["b", 1]]],
    "a_group_that_nobody_made": {
        "no stream": [NOT_FOUND, NOT_FOUND],
        "no group": [NOT_FOUND, NOT_FOUND],
        "unknown id": "no error",
        "leave": "no error",
        "no name": MALFORMED,
    },
    "a_group_is_there_before_its_stream": [[], ["0"]],
    "each_record_goes_to_one_consumer": [True, []],
}

WORKERS: dict[str, object] = {
    "a_worker_handles_each_record_once": {
        "numbers": True,
        "context": [True, "s", "g"],
        "consumer": "w",
        "headers": {"type": "order"},
        "json": {"number": 0},
        "payload": True,
        "id": True,
        "left to read": 0,
    },
    "a_handler_that_fails_gets_its_record_again": [0, 1, 1, 1, 2],
    "a_handler_that_takes_too_long_gets_its_record_again": [0, 0],
    "a_worker_that_stops_finishes_what_it_handles": [1, 1, ["x"]],
    "workers_share_the_records": True,
    # Only when it connects again does it ask for what it had.
    "a_worker_that_begins_again_under_its_name": [1],
}

EXPECTED = {**TRANSACTIONS, **QUEUES, **STREAMS, **GROUPS, **WORKERS}

_OURS_REFUSES = "our client refuses such names itself, before anything is sent"
OURS_DIFFERS: dict[str, tuple[str, object]] = {
    "what_no_queue_takes": (
        _OURS_REFUSES,
        {
            "name": "ValidationError",
            "reserved": RESERVED,
            "block_ms": "BlockTooLongError",
            "nothing to ack": "no error",
        },
    ),
    "what_no_stream_takes": (_OURS_REFUSES, ["ValidationError", RESERVED, "ValidationError"]),
    "a_group_that_nobody_made": (
        _OURS_REFUSES,
        {
            "no stream": [NOT_FOUND, NOT_FOUND],
            "no group": [NOT_FOUND, NOT_FOUND],
            "unknown id": "no error",
            "leave": "no error",
            "no name": "ValidationError",
        },
    ),
    "trim_needs_one_bound": (
        "our client refuses a trim without a bound itself; of several bounds all apply",
        [["ValidationError", "ValidationError", "ValidationError", "no error"], 1],
    ),
    "a_worker_that_begins_again_under_its_name": (
        "our worker asks for what it had when it begins, too",
        [0, 1],
    ),
}

MIXED = ("fill_for_the_other_package", "take_what_the_other_package_left")

LEASE = "a_lease_that_ends_wakes_the_next"
LEASE_MS = 300


@pytest.fixture(scope="session")
def seen(runs: Runs) -> BySeen:
    return runs.of("compat-data-plane", EXPECTED)


@pytest.mark.parametrize("scenario", EXPECTED)
@pytest.mark.parametrize("package", PACKAGES)
def test_scenario(package: Package, scenario: str, seen: BySeen) -> None:
    expected = EXPECTED[scenario]
    if package == "ours" and scenario in OURS_DIFFERS:
        _, expected = OURS_DIFFERS[scenario]
    assert seen[package][scenario] == expected


@pytest.mark.parametrize("package", PACKAGES)
def test_a_lease_that_ends_wakes_the_next(
    package: Package, runs: Runs, cluster: LocalCluster
) -> None:
    driver = start_driver(package, runs.official_sdk, cluster.endpoints, LEASE)
    seen = run_with_faults(driver, partial(_shorten_leases, cluster.endpoints))
    assert seen == [True, 2, True]


def _shorten_leases(endpoints: str, wish: str) -> None:
    """What the official package has no call for."""
    namespace = wish.removeprefix("short leases in ")

    async def configure() -> None:
        async with FloClient(endpoints, namespace=namespace) as client:
            await client.queue.configure("q", QueueConfigureOptions(visibility_ms=LEASE_MS))

    asyncio.run(configure())


@pytest.mark.parametrize(("first", "second"), [PACKAGES, PACKAGES[::-1]])
def test_programs_of_both_packages_share_queues_and_streams(
    first: Package, second: Package, runs: Runs, cluster: LocalCluster
) -> None:
    fill, take = MIXED
    assert run_driver(first, runs.official_sdk, cluster.endpoints, fill)[fill] == ["0"]
    seen = run_driver(second, runs.official_sdk, cluster.endpoints, take)[take]
    assert seen == {
        "queue": [["urgent", 1], ["plain", 2]],
        "stream": [["0", {"by": "the other"}], ["1", {"by": "the other"}]],
        "group": [["1", 1], ["0", 2]],
        "both": ["Ada", 3],
    }


def test_the_differences_are_of_scenarios() -> None:
    assert set(EXPECTED) >= set(OURS_DIFFERS)
