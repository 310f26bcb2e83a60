"""`flo stream`."""

import json
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from tests.unit.cli.conftest import Document, Live


def records(document: Document) -> list[Document]:
    return cast(list[Document], document["records"])


def ids(live: Live, *arguments: str) -> list[str]:
    """The ids that an append gave."""
    return cast(list[str], live.json("stream", "append", *arguments)["ids"])


def test_append_and_read(live: Live) -> None:
    first, second = live.text("stream", "append", "events", "created", "paid").splitlines()
    assert live.text("stream", "read", "events") == f"{first}\tcreated\n{second}\tpaid\n"


def test_json(live: Live, tmp_path: Path) -> None:
    file = tmp_path / "payload"
    file.write_bytes(b"\xff")
    (first,) = ids(live, "events", "created", "-H", "source=shop", "--header", "a=b=c")
    (second,) = ids(live, "events", "--file", str(file))
    document = live.json("stream", "read", "events")
    assert document == {
        "stream": "events",
        "records": [
            {
                "id": first,
                "payload": "created",
                "headers": {"source": "shop", "a": "b=c"},
                "partition": 0,
            },
            {"id": second, "payload_base64": "/w==", "headers": {}, "partition": 0},
        ],
        "next": document["next"],
    }
    following = str(document["next"])
    assert live.json("stream", "read", "events", "--start", following, exit_code=1) == {
        "stream": "events",
        "records": [],
        "next": None,
    }
    (third,) = ids(live, "events", "shipped")
    (record,) = records(live.json("stream", "read", "events", "--start", following))
    assert record["id"] == third


def test_nothing_there_is_a_no(live: Live) -> None:
    nothing = live("stream", "read", "events")
    assert (nothing.exit_code, nothing.stdout) == (1, "")
    assert nothing.stderr == "flo: no records in events\n"
    late = live("stream", "read", "events", "--start", "$", "--block", "1")
    assert (late.exit_code, late.stdout) == (1, "")


def test_a_part_of_a_stream(live: Live) -> None:
    place = ids(live, "events", *"abcdef")
    both = live.text("stream", "read", "events", "--start", place[1], "--end", place[2])
    assert both == f"{place[1]}\tb\n{place[2]}\tc\n"
    assert len(records(live.json("stream", "read", "events", "--limit", "4"))) == 4
    time = place[0].partition("-")[0]
    whole = live.json("stream", "read", "events", "--start", time, "--end", time)
    assert [record["id"] for record in records(whole)] == place


def test_a_long_stream_is_read_page_by_page(live: Live) -> None:
    payloads = [str(n) for n in range(1100)]
    for some in (payloads[:600], payloads[600:]):
        live.text("stream", "append", "events", *some)
    read = live.text("stream", "read", "events", "--limit", "1050").splitlines()
    assert [line.partition("\t")[2] for line in read] == payloads[:1050]
    assert len(live.text("stream", "read", "events").splitlines()) == 100


def test_partitions(live: Live) -> None:
    assert live.json("stream", "create", "clicks", "--partitions", "4") == {
        "stream": "clicks",
        "partitions": 4,
    }
    (third,) = ids(live, "clicks", "one", "--partition", "3")
    ids(live, "clicks", "two", "--partition-key", "Ada")
    (record,) = records(live.json("stream", "read", "clicks", "--partition", "3", "--limit", "1"))
    assert (record["id"], record["partition"]) == (third, 3)
    assert len(records(live.json("stream", "read", "clicks"))) == 2
    other = live.error("stream", "create", "clicks", "--partitions", "2")
    assert "another number of partitions" in str(other["message"])


def test_info_and_ls(live: Live) -> None:
    first, *_, last = ids(live, "events", "a", "bc", "d")
    ids(live, "evil", "a")
    events: Document = {
        "stream": "events",
        "count": 3,
        "bytes": 4,
        "partitions": 1,
        "last_id": last,
    }
    assert live.json("stream", "info", "events") == {**events, "first_id": first}
    assert live.json("stream", "ls", "even") == {"streams": [events], "more": False}
    assert live.text("stream", "ls", "none").split()[0] == "STREAM"
    assert live.json("stream", "ls", "--limit", "1") == {"streams": [events], "more": True}
    listed = live("stream", "ls", "--limit", "1")
    assert listed.stderr == "flo: there are more than 1 streams: raise --limit\n"
    header, row = listed.stdout.splitlines()
    assert header.split() == ["STREAM", "COUNT", "BYTES", "PARTITIONS", "LAST"]
    assert row.split() == ["events", "3", "4", "1", last]
    shown = live.text("stream", "info", "events").splitlines()
    assert shown[1].split() == ["events", "3", "4", "1", first, last]


def test_info_of_a_stream_that_is_not_there(live: Live) -> None:
    live.text("stream", "create", "events2")
    error = live.error("stream", "info", "events")
    assert (error["code"], error["message"]) == ("NOT_FOUND", "no such stream: events")
    assert live.json("stream", "info", "events2")["count"] == 0


@pytest.mark.parametrize("option", ["--block=60000", "--follow"])
def test_a_partition_that_is_not_there(live: Live, option: str) -> None:
    live.text("stream", "create", "events", "--partitions", "3")
    read = ("stream", "read", "events", option)
    appended = live.error("stream", "append", "events", "a", "--partition", "3", exit_code=3)
    error = live.error(*read, "--partition", "3", exit_code=3)
    assert error["code"] == appended["code"] == "OUT_OF_RANGE"
    assert str(error["message"]) in str(appended["message"])
    missing = live("stream", "read", "nothing", "--partition", "3")
    assert (missing.exit_code, missing.stderr) == (1, "flo: no records in nothing\n")


def test_trim(live: Live) -> None:
    place = ids(live, "events", *"abcdef")
    counted = live.json("stream", "trim", "events", "--maxlen", "4", "--dry-run")
    assert counted == {"stream": "events", "removed": 2, "dry_run": True}
    assert live.text("stream", "trim", "events", "--maxlen", "4") == "removed 2 records\n"
    assert live.text("stream", "trim", "events", "--before", place[2]) == "removed 1 records\n"
    assert live.text("stream", "trim", "events", "--maxbytes", "1") == "removed 2 records\n"
    assert live.text("stream", "trim", "events", "--maxage", "3600") == "removed 0 records\n"
    assert live.text("stream", "read", "events") == f"{place[5]}\tf\n"


def test_bounds(live: Live) -> None:
    options = ("--retention", "24", "--maxlen", "3", "--maxbytes", "1000")
    assert live.text("stream", "create", "events", *options) == "created\n"
    assert live.json("stream", "alter", "events", "--maxlen", "0") == {
        "stream": "events",
        "retention_h": None,
        "maxlen": 0,
        "maxbytes": None,
    }
    assert live.error("stream", "alter", "nothing", "--maxlen", "1")["code"] == "NOT_FOUND"


def test_delete(live: Live) -> None:
    ids(live, "events", "a")
    refused = live.error("stream", "delete", "events")
    assert "use force" in str(refused["message"])
    assert live.text("stream", "delete", "events", "--force") == "deleted\n"
    gone = live.json("stream", "delete", "events", "--force", exit_code=1)
    assert gone == {"stream": "events", "deleted": False}
    missing = live("stream", "delete", "events")
    assert (missing.exit_code, missing.stderr) == (1, "flo: no such stream: events\n")


@pytest.mark.parametrize("output_format", ["text", "json"])
def test_follow_ends_with_its_limit(live: Live, output_format: str) -> None:
    place = ids(live, "events", "a", "b", "c")
    options = ("--format", output_format, "--follow", "--limit", "2")
    lines = live.text("stream", "read", "events", *options).splitlines()
    if output_format == "json":
        lines = [f"{record['id']}\t{record['payload']}" for record in map(json.loads, lines)]
    assert lines == [f"{place[0]}\ta", f"{place[1]}\tb"]


def test_ctrl_c_ends_follow(live: Live) -> None:
    (first,) = ids(live, "events", "a")
    with begun(live, "read", "events", "--follow") as following:
        assert following.stdout is not None
        assert following.stdout.readline().decode() == f"{first}\ta\n"
        assert interrupted(following) == (130, b"", b"")


def test_ctrl_c_ends_what_waits(live: Live) -> None:
    command = ("group", "read", "events", "billing", "w", "--block", "300000")
    with begun(live, *command) as waiting:
        while " active" not in live("stream", "group", "info", "events", "billing").stdout:
            assert waiting.poll() is None, waiting.communicate()
        assert interrupted(waiting) == (130, b"", b"")


@contextmanager
def begun(live: Live, *arguments: str) -> Generator[subprocess.Popen[bytes]]:
    """`flo stream ARGUMENTS`, which does not end by itself."""
    command = [sys.executable, "-m", "flo.cli", *live.options, "stream", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        try:
            yield running
        finally:
            running.kill()


def interrupted(running: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    """What Ctrl-C makes of it: its exit code, and what else it printed."""
    running.send_signal(signal.SIGINT)
    output, errors = running.communicate()
    return running.returncode, output, errors


@pytest.mark.parametrize(
    "arguments",
    [
        ("append", "events"),
        ("append", "events", "a", "-H", "source"),
        ("append", "events", "a", "--partition", "1024"),
        ("append", "events", "a", "--partition", "1", "--partition-key", "k"),
        ("read", "events", "--start", "$"),
        ("read", "events", "--start", "yesterday"),
        ("read", "events", "--start", "5--3"),
        ("read", "events", "--end", str(1 << 64)),
        ("read", "events", "--limit", "0"),
        ("read", "events", "--follow", "--block", "1"),
        ("create", "events", "--partitions", "0"),
        ("create", "events", "--maxlen", str(1 << 64)),
        ("create", "events", "--retention", str(1 << 60)),
        ("alter", "events"),
        ("trim", "events"),
        ("trim", "events", "--maxlen", "0"),
        ("trim", "events", "--dry-run"),
    ],
    ids=lambda arguments: " ".join(arguments)[:40],
)
def test_wrong_usage(live: Live, arguments: tuple[str, ...]) -> None:
    refused = live("stream", *arguments)
    assert (refused.exit_code, refused.stdout) == (2, ""), refused.output
    assert refused.stderr
