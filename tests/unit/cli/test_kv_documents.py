"""`flo kv history`, `jget`, `jset` and `jdel`."""

import json
import re
from pathlib import Path
from typing import cast

import pytest

from tests.unit.cli.conftest import Document, Live


def version(ran: str) -> int:
    """Of a write; where it begins depends on what else the partition has."""
    return int(ran.removeprefix("version "))


def test_history(live: Live) -> None:
    first, second, third = (
        version(live.text("kv", "set", "price", value, stdin=b"\xff"))
        for value in ("10", "12", "-")
    )
    lines = live("kv", "history", "price", "--limit", "2").stdout_bytes.splitlines()
    assert [line.split(b"\t")[0::2] for line in lines] == [
        [b"%d" % third, b"\xff"],
        [b"%d" % second, b"12"],
    ]
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", lines[0].split(b"\t")[1].decode()
    )
    document = live.json("kv", "history", "price")
    entries = cast(list[Document], document["entries"])
    assert all(cast(int, entry.pop("at_ms")) > 1_700_000_000_000 for entry in entries)
    assert document == {
        "key": "price",
        "entries": [
            {"version": third, "value_base64": "/w=="},
            {"version": second, "value": "12"},
            {"version": first, "value": "10"},
        ],
    }


def test_history_of_a_deleted_key_and_of_none(live: Live) -> None:
    live.text("kv", "set", "price", "10")
    live.text("kv", "delete", "price")
    assert live.text("kv", "history", "price").endswith("\t10\n")
    assert live.error("kv", "history", "nothing")["message"] == "no such key: nothing"


def test_parts_of_a_document(live: Live) -> None:
    made = live.json("kv", "jset", "user", "$", '{"name": "Zoë", "tags": ["new"]}')
    assert made == {"key": "user", "path": "$", "version": made["version"]}
    second = version(live.text("kv", "jset", "user", "$.age", "36"))
    assert second > cast(int, made["version"])
    assert live.text("kv", "jget", "user", "$.tags[0]") == '"new"\n'
    assert live.text("kv", "jget", "user") == '{"name": "Zoë", "tags": ["new"],"age":36}\n'
    assert live.json("kv", "jget", "user", "$.age") == {
        "key": "user",
        "path": "$.age",
        "value": 36,
        "version": second,
    }
    assert version(live.text("kv", "jdel", "user", "$.age")) > second
    nothing = live.error("kv", "jget", "user", "$.age")
    assert (nothing["code"], nothing["message"]) == ("NOT_FOUND", "nothing at $.age of user")
    gone = live.json("kv", "jdel", "user")
    assert gone == {"key": "user", "path": "$", "version": None}
    assert live.error("kv", "jdel", "user")["code"] == "NOT_FOUND"
    assert live.error("kv", "jset", "user", "$.age", "1")["code"] == "NOT_FOUND"


def test_what_is_stored_is_printed(live: Live) -> None:
    """Parsing it would round numbers, and take one of two fields with the same name away."""
    stored = '{"x":1e999, "y" :0.10,\n"z":1,"z":2,"ä":12345678901234567890.0}'
    live.text("kv", "jset", "odd", "$", stored)
    assert live.text("kv", "jget", "odd") == stored + "\n"
    assert live.text("kv", "jget", "odd", "$.y") == "0.10\n"
    line = live("--format", "json", "kv", "jget", "odd").stdout
    assert line.endswith(f', "value": {stored.replace(chr(10), " ")}}}\n')
    numbers = json.loads(line, parse_float=str)["value"]
    assert (numbers["x"], numbers["y"]) == ("1e999", "0.10")
    live.text("kv", "jset", "odd", "$", "[1]\n")
    assert live.text("kv", "jget", "odd") == "[1]\n"


def test_json_from_stdin_and_from_a_file(live: Live, tmp_path: Path) -> None:
    live.text("kv", "jset", "one", "$", "-", stdin=b"[1, 2]")
    file = tmp_path / "document"
    file.write_text("[3]")
    live.text("kv", "jset", "two", "$", "--file", str(file))
    assert live.text("kv", "jget", "one") + live.text("kv", "jget", "two") == "[1, 2]\n[3]\n"


@pytest.mark.parametrize("part", ["{", "nonsense"])
def test_what_is_no_json_is_refused(live: Live, part: str) -> None:
    live.error("kv", "jset", "user", "$", part, exit_code=3)
    live.text("kv", "set", "plain", "text")
    live.error("kv", "jget", "plain", exit_code=3)
