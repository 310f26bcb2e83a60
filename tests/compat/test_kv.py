"""Programs written for the official SDK: with that SDK, and with our package in its place.

The scenarios are in programs/; here is what each must see. Both packages must see the same, but for
the differences listed with their reasons.
"""

import re
from pathlib import Path
from typing import cast

import pytest

from bench.apart import OFFICIAL_SDK
from bench.local_cluster import LocalCluster
from tests.compat import test_data_plane as data_plane
from tests.compat.kit import (
    PACKAGES,
    PROGRAMS,
    ROOT,
    BySeen,
    Package,
    Runs,
    finish,
    run_driver,
    start_program,
)
from tests.compat.test_faults import FAULTS, SCRIPTED

STALE = ["ConflictError", "CAS_MISMATCH", "NO"]
CONDITION = ["ConflictError", "CONDITION_FAILED", "NO"]
MALFORMED = ["BadRequestError", "MALFORMED", "NO"]
WRONG_TYPE = ["BadRequestError", "WRONG_TYPE", "NO"]
NOT_FOUND = ["NotFoundError", "NOT_FOUND", "NO"]
RESERVED = ["UnauthorizedError", "RESERVED_KEY", "NO"]

EXPECTED: dict[str, object] = {
    "a_value_is_read_as_it_was_put": {"value": "hello", "same version": True},
    "a_missing_key_is_none": None,
    "an_empty_value_is_a_value": "",
    "versions_grow_with_every_write": {"grow": True, "positive": True},
    "delete_tells_whether_the_key_existed": [True, False, None],
    "bytes_and_text_name_the_same_key": ["1", "not text"],
    "namespaces_are_apart": {
        "before": True,
        "there": "there",
        "mget": [True, True],
        "scan": ["k", "n"],
        "exists": [False, True],
        "deleted there": True,
        "still here": "here",
    },
    "a_routing_key_changes_nothing": ["v", "v"],
    "large_values": [True, [True, True, True, True]],
    "cas_lets_one_version_through": {
        "created twice": STALE,
        "stale put": STALE,
        "stale delete": STALE,
        "value": "2",
        "deleted": True,
        "delete of a missing key": STALE,
    },
    "conditions_look_at_the_key": [CONDITION, CONDITION, "2"],
    "a_lock_is_taken_renewed_and_released_by_its_owner": [CONDITION, STALE, True, "other"],
    "mget_keeps_order_and_duplicates": {
        "rows": [
            ["b", "2", True, True],
            ["missing", "", False, False],
            ["a", "1", True, True],
            ["b", "2", True, True],
        ],
        "of nothing": 0,
    },
    "mget_of_as_many_keys_as_it_takes": [True, 128],
    "scan_goes_through_all_pages_in_order": {
        "names": True,
        "sizes": [7, 7, 7, 7, 7, 7, 7, 1],
        "has_more at the end": False,
        "everything": 51,
        "nothing": 0,
        "bytes prefix": True,
    },
    "scan_of_long_names_fits_the_answers": {"names": True, "more than one page": True},
    "incr_counts": {"values": [1, 6, -4, -4, -3], "stored": "fdffffffffffffff", "after a put": 42},
    "incr_refuses_what_is_no_counter": [
        ["BadRequestError", "WRONG_TYPE", "NO"],
        ["BadRequestError", "OUT_OF_RANGE", "NO"],
        "hello",
        True,
    ],
    "a_value_with_a_ttl_expires": {
        "expire keeps the version": True,
        "there": [True, True, False],
        "as if never there": STALE,
        "new": "new",
    },
    "expire_needs_the_key_and_its_version": [["NotFoundError", "NOT_FOUND", "NO"], STALE],
    "exists_tells_without_the_value": [True, False],
    "reserved_keys_are_refused": {
        "put": RESERVED,
        "get": RESERVED,
        "mget": [False, True],
        "scan": ["k"],
    },
    "keys_that_no_server_takes": [
        MALFORMED,
        MALFORMED,
        ["BadRequestError", "FIELD_TOO_LONG", "NO"],
        "v",
    ],
    "a_cursor_that_no_scan_gave_is_refused": MALFORMED,
    "arguments_out_of_range_are_not_sent": {
        "delta": "ValidationError",
        "ttl_ms": "ValidationError",
        "put ttl_ms": "ValidationError",
        "limit": "ValidationError",
        "limit above 1024": "ValidationError",
        "wait_ms": "BlockTooLongError",
        "mget": "ValidationError",
    },
    "a_value_larger_than_a_frame": ["ValidationError", "v"],
    "history_is_newest_first": {
        "default": [str(number) for number in range(69, 59, -1)],
        "versions": True,
        "all": 65,
        "times": True,
        "of a deleted key": ["69", "68"],
        "of none": [],
        "limit 0": "ValidationError",
    },
    "json_documents_change_in_place": {
        "versions": True,
        "the version of the whole": True,
        "part": True,
        "whole": {"name": "Ada", "n": 1.5, "tags": ["a", {"b": True}]},
        "text": '{"n":1.50,"tags":["a",{"b": true}]}',
        "nothing there": [None, None],
        "deleted": [None, None],
    },
    "json_keeps_a_time_to_live_and_a_namespace": [True, None],
    "json_refuses_what_is_no_document": {
        "value": WRONG_TYPE,
        "set in it": WRONG_TYPE,
        "path": MALFORMED,
        "document": MALFORMED,
        "parent": NOT_FOUND,
        "delete": NOT_FOUND,
        "key": NOT_FOUND,
        "reserved": RESERVED,
        "replaced": True,
    },
    "changes_of_different_fields_are_all_kept": True,
    "a_get_waits_for_what_it_is_asked_to": {
        "created": "1",
        "at once": True,
        "changed": "2",
        "in vain": None,
        "in vain for a change": None,
    },
    "endpoints": ["v", *["InvalidEndpointError"] * 4],
    "a_client_says_whether_it_is_connected": [
        "NotConnectedError",
        [False, True, True, False],
        "NotConnectedError",
        True,
    ],
    "a_node_that_is_not_there": "ConnectionFailedError",
    "every_node_answers_for_all_partitions": 0,
    "tasks_share_one_client": True,
    "clients_share_one_counter": True,
    "one_of_many_wins_each_version": {"each win counted once": True, "won": True},
}

OURS_DIFFERS: dict[str, tuple[str, object]] = {
    "keys_that_no_server_takes": (
        "our client refuses them itself, before anything is sent",
        ["ValidationError", "ValidationError", "KeyTooLargeError", "v"],
    ),
    "a_value_larger_than_a_frame": (
        "values of up to 1 MiB are stored; the SDK has a limit of its own",
        ["no error", "v"],
    ),
}

MIXED = ("write_for_the_other_package", "read_what_the_other_package_wrote")
NOT_SERVED = ["BadRequestError", "UNKNOWN_OP", "NO"]
UNSERVED = ("action.status",)


@pytest.fixture(scope="session")
def seen(runs: Runs) -> BySeen:
    return runs.of("compat-kv", EXPECTED)


@pytest.mark.parametrize("scenario", EXPECTED)
@pytest.mark.parametrize("package", PACKAGES)
def test_scenario(package: Package, scenario: str, seen: BySeen) -> None:
    expected = EXPECTED[scenario]
    if package == "ours" and scenario in OURS_DIFFERS:
        _, expected = OURS_DIFFERS[scenario]
    assert seen[package][scenario] == expected


def test_the_packages_are_what_they_are_taken_for(seen: BySeen, official_sdk: Path) -> None:
    version = OFFICIAL_SDK.partition("==")[2]
    assert seen["official"]["package"] == [version, str(official_sdk / "flo" / "__init__.py")]
    path = cast("list[str]", seen["ours"]["package"])[1]
    assert path == str(ROOT / "flo" / "__init__.py")


@pytest.mark.parametrize(("first", "second"), [PACKAGES, PACKAGES[::-1]])
def test_programs_of_both_packages_share_their_data(
    first: Package, second: Package, official_sdk: Path, cluster: LocalCluster
) -> None:
    write, read = MIXED
    assert run_driver(first, official_sdk, cluster.endpoints, write)[write] == 7
    names = ["bytes", "counter", "large", "text"]
    seen = run_driver(second, official_sdk, cluster.endpoints, read)[read]
    assert seen == ["hello", True, 250_000, names, 8]


def test_what_is_not_served_yet_is_refused_and_the_connection_goes_on(
    official_sdk: Path, cluster: LocalCluster
) -> None:
    endpoint = cluster.endpoints.split(",")[0]
    answers = finish(start_program("unserved", official_sdk, endpoint))
    assert answers == dict.fromkeys(UNSERVED, NOT_SERVED)


def test_every_scenario_runs() -> None:
    text = "".join(path.read_text() for path in PROGRAMS.glob("*.py"))
    names = re.findall(r"^async def (\w+)\((?:cluster|_): Cluster\)", text, re.MULTILINE)
    others = [*data_plane.EXPECTED, *data_plane.MIXED, data_plane.LEASE]
    assert sorted(names) == sorted([*EXPECTED, *others, *FAULTS, *MIXED, SCRIPTED])
    assert set(EXPECTED) >= set(OURS_DIFFERS)
