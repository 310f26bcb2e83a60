"""`flo stream group`."""

import pytest

from tests.unit.cli.conftest import Live
from tests.unit.cli.test_stream import ids, records


def test_a_record_from_end_to_end(live: Live) -> None:
    first, second = ids(live, "events", "a", "b")
    group = ("events", "billing")
    read = live.text("stream", "group", "read", *group, "w", "--limit", "1")
    assert read == f"{first}\ta\n"
    longer = live.text("stream", "group", "touch", *group, first, "--extend", "60000")
    assert longer == "asked to keep 1 pending for longer\n"
    assert live.text("stream", "group", "ack", *group, first) == "asked to acknowledge 1\n"
    assert live.text("stream", "group", "read", *group, "w") == f"{second}\tb\n"
    assert live.text("stream", "group", "nack", *group, second) == "asked to give back 1\n"
    assert live.text("stream", "group", "read", *group, "v") == f"{second}\tb\n"
    nothing = live("stream", "group", "read", *group, "w")
    assert (nothing.exit_code, nothing.stdout) == (1, "")
    assert nothing.stderr == "flo: no records in billing\n"


def test_json(live: Live) -> None:
    first, second = ids(live, "events", "a", "b", "-H", "k=v")
    group = ("events", "billing")
    named = {"stream": "events", "group": "billing"}
    shown = [
        {"id": place, "payload": payload, "headers": {"k": "v"}, "partition": 0}
        for place, payload in ((first, "a"), (second, "b"))
    ]
    read = live.json("stream", "group", "read", *group, "w")
    assert read == {**named, "records": shown}
    again = live.json("stream", "group", "read", *group, "w", exit_code=1)
    assert again == {**named, "records": []}
    assert live.json("stream", "group", "pending", *group) == {
        **named,
        "pending": [
            {"id": place, "consumer": "w", "delivery_count": 1} for place in (first, second)
        ],
    }
    none = live.json("stream", "group", "pending", *group, "--consumer", "v")
    assert none == {**named, "pending": []}
    claimed = live.json("stream", "group", "claim", *group, "w", "--start", second)
    assert claimed == {**named, "records": shown[1:], "next": None}
    others = live.json("stream", "group", "claim", *group, "v", exit_code=1)
    assert others == {**named, "records": [], "next": None}
    some = live.json("stream", "group", "claim", *group, "w", "--count", "1")
    assert records(some) == shown[:1]
    for command in ("ack", "nack", "touch"):
        done = live.json("stream", "group", command, *group, first, second)
        assert done == {**named, "asked": [first, second]}


def test_pending_as_a_table(live: Live) -> None:
    (first,) = ids(live, "events", "a")
    live.text("stream", "group", "read", "events", "billing", "w")
    header, row = live.text("stream", "group", "pending", "events", "billing").splitlines()
    assert header.split() == ["ID", "CONSUMER", "DELIVERIES"]
    assert row.split() == [first, "w", "1"]


def test_a_delay_and_a_wait(live: Live) -> None:
    (first,) = ids(live, "events", "a")
    live.text("stream", "group", "read", "events", "billing", "w")
    live.text("stream", "group", "nack", "events", "billing", first, "--delay", "300")
    waited = live.text("stream", "group", "read", "events", "billing", "w", "--block", "60000")
    assert waited == f"{first}\ta\n"


def test_members(live: Live) -> None:
    ids(live, "events", "a", "b")
    options = ("--mode", "exclusive", "--ack-timeout", "5000", "--max-deliver", "3")
    made = live.json("stream", "group", "create", "events", "billing", *options)
    assert made == {"stream": "events", "group": "billing", "mode": "exclusive"}
    assert live.error("stream", "group", "create", "events", "billing")["code"]
    member = {"stream": "events", "group": "billing", "consumer": "w"}
    assert live.json("stream", "group", "join", "events", "billing", "w") == member
    live.text("stream", "group", "read", "events", "billing", "w", "--count", "1")
    info = live.json("stream", "group", "info", "events", "billing")
    cursor = info.pop("cursor")
    assert info == {
        "stream": "events",
        "group": "billing",
        "mode": "exclusive",
        "pending": 1,
        "lag": 1,
        "ack_timeout_ms": 5000,
        "max_deliver": 3,
        "consumers": [{"consumer": "w", "pending": 1, "active": True}],
    }
    assert live.text("stream", "group", "info", "events", "billing").split() == [
        *("GROUP", "MODE", "CURSOR", "PENDING", "LAG"),
        *("billing", "exclusive", cursor, "1", "1"),
        *("CONSUMER", "PENDING", "STATE"),
        *("w", "1", "active"),
    ]
    assert live.json("stream", "group", "leave", "events", "billing", "w") == member
    assert live.json("stream", "group", "info", "events", "billing")["consumers"] == []


def test_info_of_a_group_that_is_not_there(live: Live) -> None:
    ids(live, "events", "a")
    for stream in ("events", "nothing"):
        error = live.error("stream", "group", "info", stream, "billing")
        assert (error["code"], error["message"]) == ("NOT_FOUND", "no such group: billing")
    live.text("stream", "group", "create", "events", "billing")
    assert live.json("stream", "group", "info", "events", "billing")["lag"] == 1


def test_where_a_group_begins(live: Live) -> None:
    _, second = ids(live, "events", "a", "b")
    live.text("stream", "group", "create", "events", "late", "--start", "$")
    live.text("stream", "group", "create", "events", "middle", "--start", second)
    assert live("stream", "group", "read", "events", "late", "w").exit_code == 1
    assert live.text("stream", "group", "read", "events", "middle", "w") == f"{second}\tb\n"


def test_delete(live: Live) -> None:
    live.text("stream", "group", "join", "events", "billing", "w")
    assert live.text("stream", "group", "delete", "events", "billing") == "deleted\n"
    gone = live.json("stream", "group", "delete", "events", "billing", exit_code=1)
    assert gone == {"stream": "events", "group": "billing", "deleted": False}
    missing = live("stream", "group", "delete", "events", "billing")
    assert (missing.exit_code, missing.stderr) == (1, "flo: no such group: billing\n")
    assert live.error("stream", "group", "ack", "events", "billing", "1-0")["code"] == "NOT_FOUND"


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "events", "billing", "--mode", "other"),
        ("create", "events", "billing", "--max-deliver", "256"),
        ("create", "events", "billing", "--max-standbys", str(1 << 16)),
        ("create", "events", "billing", "--ack-timeout", str(1 << 32)),
        ("read", "events", "billing"),
        ("read", "events", "", "w"),
        ("read", "events", "billing", "w", "--count", "1001"),
        ("ack", "events", "billing"),
        ("ack", "events", "billing", "one"),
        ("nack", "events", "billing", "1-0", "--delay", "-1"),
        ("touch", "events", "billing", "1-0", "--extend", "0"),
        ("claim", "events", "billing", "w", "--start", "$"),
    ],
    ids=lambda arguments: " ".join(arguments)[:40],
)
def test_wrong_usage(live: Live, arguments: tuple[str, ...]) -> None:
    refused = live("stream", "group", *arguments)
    assert (refused.exit_code, refused.stdout) == (2, ""), refused.output
    assert refused.stderr
