"""`flo queue`."""

from pathlib import Path
from typing import cast

import pytest

from tests.unit.cli.conftest import Document, Live


def messages(document: Document) -> list[Document]:
    """The messages, without the time when they came."""
    found = cast(list[Document], document["messages"])
    for each in found:
        assert cast(int, each.pop("enqueued_at_ms")) > 1_700_000_000_000
    return found


def test_a_message_from_end_to_end(live: Live) -> None:
    assert live.text("queue", "enqueue", "mail", "to Ada") == "1\n"
    assert live.text("queue", "peek", "mail") == "1\tto Ada\n"
    assert live.text("queue", "dequeue", "mail") == "1\tto Ada\n"
    assert live.text("queue", "touch", "mail", "1", "--extend", "60000") == (
        "asked to keep 1 leased for longer\n"
    )
    assert live.text("queue", "ack", "mail", "1") == "asked to acknowledge 1\n"
    nothing = live("queue", "dequeue", "mail")
    assert (nothing.exit_code, nothing.stdout) == (1, "")
    assert nothing.stderr == "flo: no messages in mail\n"


def test_json(live: Live) -> None:
    put = live.json("queue", "enqueue", "mail", "one", "two", "--priority", "3")
    assert put == {"queue": "mail", "seqs": [1, 2]}
    live.json("queue", "enqueue", "mail", "-", stdin=b"\xff\n")
    taken = live.json("queue", "dequeue", "mail", "--count", "2")
    assert taken["queue"] == "mail"
    assert messages(taken) == [
        {"seq": 3, "payload_base64": "/wo=", "priority": 0, "delivery_count": 1},
        {"seq": 1, "payload": "one", "priority": 3, "delivery_count": 1},
    ]
    assert messages(live.json("queue", "peek", "mail")) == [
        {"seq": 2, "payload": "two", "priority": 3, "delivery_count": 0}
    ]
    for command in ("ack", "nack", "touch"):
        assert live.json("queue", command, "mail", "1", "9") == {
            "queue": "mail",
            "asked": [1, 9],
        }
    for command in ("dequeue", "peek"):
        empty = live.json("queue", command, "nothing", exit_code=1)
        assert empty == {"queue": "nothing", "messages": []}


def test_payloads_are_raw_in_text(live: Live, tmp_path: Path) -> None:
    file = tmp_path / "payload"
    file.write_bytes(b"\xff\x00")
    live.text("queue", "enqueue", "mail", "--file", str(file))
    assert live("queue", "dequeue", "mail").stdout_bytes == b"1\t\xff\x00\n"


def test_dequeue_waits_for_what_is_delayed(live: Live) -> None:
    live.text("queue", "enqueue", "mail", "later", "--delay", "300")
    assert live.text("queue", "dequeue", "mail", "--block", "60000") == "1\tlater\n"


def test_a_lease_that_ends(live: Live) -> None:
    live.text("queue", "enqueue", "mail", "one")
    live.text("queue", "dequeue", "mail", "--visibility", "1")
    (again,) = messages(live.json("queue", "dequeue", "mail", "--block", "60000"))
    assert (again["seq"], again["delivery_count"]) == (1, 2)


def test_a_dedup_key(live: Live) -> None:
    for _ in range(2):
        assert live.text("queue", "enqueue", "mail", "one", "--dedup-key", "k") == "1\n"


def test_dead_letters(live: Live) -> None:
    live.text("queue", "enqueue", "mail", "one", "two")
    live.text("queue", "dequeue", "mail", "--count", "2")
    assert live.text("queue", "nack", "mail", "1") == "asked to give back 1\n"
    assert (
        live.text("queue", "nack", "mail", "2", "--dlq") == "asked to put 1 to the dead letters\n"
    )
    assert live.text("queue", "dlq", "list", "mail") == "2\ttwo\n"
    assert messages(live.json("queue", "dlq", "list", "mail", "--limit", "1")) == [
        {"seq": 2, "payload": "two", "priority": 0, "delivery_count": 1}
    ]
    assert live.json("queue", "dlq", "requeue", "mail", "2") == {"queue": "mail", "asked": [2]}
    assert live.text("queue", "dlq", "requeue", "mail", "7", "8") == "asked to put back 2\n"
    assert live.text("queue", "peek", "mail", "--count", "9") == "1\tone\n2\ttwo\n"
    empty = live.json("queue", "dlq", "list", "mail", exit_code=1)
    assert empty == {"queue": "mail", "messages": []}


def test_purges(live: Live) -> None:
    live.text("queue", "enqueue", "mail", "one", "two", "three")
    live.text("queue", "dequeue", "mail")
    live.text("queue", "nack", "mail", "1", "--dlq")
    assert live.text("queue", "purge", "mail") == "threw away 2 messages\n"
    assert live.json("queue", "dlq", "purge", "mail") == {"queue": "mail", "removed": 1}
    assert live.json("queue", "purge", "mail") == {"queue": "mail", "removed": 0}


def test_info_and_ls(live: Live) -> None:
    for queue in ("mail", "main", "other"):
        live.text("queue", "enqueue", queue, "one", "two")
    live.text("queue", "enqueue", "mail", "later", "--delay", "600000")
    live.text("queue", "dequeue", "mail")
    mail = {
        "queue": "mail",
        "ready": 1,
        "delayed": 1,
        "leased": 1,
        "dead": 0,
        "delivery": "lease",
    }
    assert live.json("queue", "info", "mail") == mail
    main = {**mail, "queue": "main", "ready": 2, "delayed": 0, "leased": 0}
    assert live.json("queue", "ls", "mai") == {"queues": [mail, main], "more": False}
    assert live.json("queue", "ls", "--limit", "1") == {"queues": [mail], "more": True}
    listed = live("queue", "ls", "--limit", "2")
    assert listed.stdout.splitlines() == [
        "QUEUE  READY  DELAYED  LEASED  DEAD  DELIVERY",
        "mail       1        1       1     0  lease",
        "main       2        0       0     0  lease",
    ]
    assert listed.stderr == "flo: there are more than 2 queues: raise --limit\n"
    assert live.text("queue", "info", "main").splitlines() == listed.stdout.splitlines()[::2]


def test_configure(live: Live) -> None:
    options = ("--delivery", "consume", "--visibility", "60000")
    assert live.json("queue", "configure", "mail", *options) == {
        "queue": "mail",
        "delivery": "consume",
        "visibility_ms": 60000,
        "max_attempts": None,
    }
    assert live.text("queue", "configure", "mail", "--max-attempts", "1") == "configured\n"
    assert live.json("queue", "info", "mail")["delivery"] == "consume"


@pytest.mark.parametrize(
    "arguments",
    [
        ("enqueue", "mail"),
        ("enqueue", "", "one"),
        ("enqueue", "mail", "one", "--file", __file__),
        ("enqueue", "mail", "-", "-"),
        ("enqueue", "mail", "one", "two", "--dedup-key", "k"),
        ("enqueue", "mail", "one", "--priority", "256"),
        ("enqueue", "mail", "one", "--delay", "-1"),
        ("enqueue", "mail", "one", "--delay", str(1 << 64)),
        ("enqueue", "mail", "one", "--dedup-key", "k" * 256),
        ("dequeue", "mail", "--count", "101"),
        ("dequeue", "mail", "--block", "300001"),
        ("dequeue", "mail", "--visibility", "0"),
        ("dequeue", "mail", "--visibility", str(1 << 32)),
        ("ack", "mail"),
        ("ack", "mail", "one"),
        ("ack", "mail", str(1 << 64)),
        ("configure", "mail"),
        ("configure", "mail", "--max-attempts", "65536"),
        ("dlq", "list", "mail", "--limit", "0"),
        ("dlq", "requeue", "mail"),
    ],
    ids=lambda arguments: " ".join(arguments)[:40],
)
def test_wrong_usage(live: Live, arguments: tuple[str, ...]) -> None:
    refused = live("queue", *arguments)
    assert (refused.exit_code, refused.stdout) == (2, ""), refused.output
    assert refused.stderr
