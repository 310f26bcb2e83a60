"""`flo kv`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from flo.cli import main
from flo.wire import messages as wire
from flo.wire.status import Ran, Reason, Refusal
from tests.unit.cli.conftest import Run
from tests.unit.client.fake_node import FakeCluster


def test_set_and_get(run: Run) -> None:
    stored = run("kv", "set", "greeting", "hello")
    assert (stored.exit_code, stored.stdout, stored.stderr) == (0, "version 1\n", "")
    found = run("kv", "get", "greeting")
    assert (found.exit_code, found.stdout) == (0, "hello")


def test_json(run: Run) -> None:
    stored = run("--format", "json", "kv", "set", "greeting", "hello")
    assert json.loads(stored.stdout) == {"key": "greeting", "version": 1}
    found = run("--format", "json", "kv", "get", "greeting")
    assert json.loads(found.stdout) == {"key": "greeting", "value": "hello", "version": 1}


def test_values_are_raw_in_text_and_base64_in_json_when_not_text(
    run: Run, cluster: FakeCluster
) -> None:
    assert run("kv", "set", "bytes", "-", stdin=b"\xff\x00\n").exit_code == 0
    assert cluster.store.values[b"bytes"][1] == b"\xff\x00\n"
    assert run("kv", "get", "bytes").stdout_bytes == b"\xff\x00\n"
    found = json.loads(run("kv", "get", "bytes", "--format", "json").stdout)
    assert found == {"key": "bytes", "value_base64": "/wAK", "version": 1}


def test_value_from_a_file(run: Run, cluster: FakeCluster, tmp_path: Path) -> None:
    file = tmp_path / "value"
    file.write_bytes(b"from a file")
    assert run("kv", "set", "key", "--file", str(file)).exit_code == 0
    assert cluster.store.values[b"key"][1] == b"from a file"


@pytest.mark.parametrize("arguments", [["key"], ["key", "value", "--file", __file__]])
def test_exactly_one_value_is_needed(run: Run, arguments: list[str]) -> None:
    refused = run("kv", "set", *arguments)
    assert refused.exit_code == 2
    assert "either VALUE or --file" in refused.stderr


def test_options_of_set(run: Run, cluster: FakeCluster) -> None:
    assert run("kv", "set", "key", "1", "--ttl", "1.5", "--nx").exit_code == 0
    assert cluster.store.executed[-1] == wire.KvPut(
        b"default", b"key", b"1", ttl_ms=1500, if_absent=True
    )
    assert run("kv", "set", "key", "2", "--xx", "--cas", "1", "-n", "default").exit_code == 0
    assert cluster.store.executed[-1] == wire.KvPut(
        b"default", b"key", b"2", if_present=True, cas=1
    )
    assert run("kv", "set", "key", "3", "--nx", "--xx").exit_code == 2


def test_a_condition_that_does_not_hold_is_a_no(run: Run) -> None:
    run("kv", "set", "key", "1")
    refused = run("--format", "json", "kv", "set", "key", "2", "--nx")
    assert refused.exit_code == 1
    assert refused.stdout == ""
    assert json.loads(refused.stderr) == {
        "error": {
            "code": "CONDITION_FAILED",
            "message": "kv.put of 'key': the condition does not hold",
            "outcome": "not_applied",
            "retryable": False,
        }
    }


def test_a_missing_key_is_a_no(run: Run) -> None:
    for command in (("get", "key"), ("delete", "key"), ("touch", "key", "--ttl", "1")):
        missing = run("kv", *command)
        assert (missing.exit_code, missing.stdout) == (1, "")
        assert "no such key" in missing.stderr
    assert json.loads(run("--format", "json", "kv", "get", "key").stderr)["error"]["code"] == (
        "NOT_FOUND"
    )


def test_delete(run: Run) -> None:
    run("kv", "set", "key", "1")
    assert run("kv", "delete", "key", "--cas", "1").stdout == "deleted\n"
    gone = run("--format", "json", "kv", "delete", "key")
    assert (gone.exit_code, json.loads(gone.stdout)) == (1, {"key": "key", "deleted": False})


def test_mget(run: Run) -> None:
    run("kv", "set", "a", "1")
    assert run("kv", "mget", "a").exit_code == 0
    found = run("kv", "mget", "a", "b")
    assert (found.exit_code, found.stdout) == (1, "a\t1\nb\n")
    entries = json.loads(run("--format", "json", "kv", "mget", "a", "b").stdout)["entries"]
    assert entries == [
        {"key": "a", "found": True, "value": "1", "version": 1},
        {"key": "b", "found": False},
    ]


def test_list_pages_up_to_its_limit(run: Run, cluster: FakeCluster) -> None:
    for n in range(2500):
        cluster.store.values[b"key:%04d" % n] = (1, b"v")
    cluster.store.values[b"other"] = (1, b"v")
    listed = run("kv", "list", "key:", "--keys-only", "--limit", "2400")
    assert listed.exit_code == 0
    assert listed.stdout.splitlines() == [f"key:{n:04}" for n in range(2400)]
    assert "raise --limit" in listed.stderr
    everything = run("--format", "json", "kv", "list", "--keys-only", "--limit", "9999")
    document = json.loads(everything.stdout)
    assert (len(document["keys"]), document["more"]) == (2501, False)


def test_list_with_values(run: Run) -> None:
    run("kv", "set", "a", "1")
    run("kv", "set", "b", "2")
    assert run("kv", "list").stdout == "a\t1\nb\t2\n"
    assert json.loads(run("--format", "json", "kv", "list", "b").stdout) == {
        "entries": [{"key": "b", "found": True, "value": "2", "version": 2}],
        "more": False,
    }


def test_a_name_that_is_no_text_is_printed_as_it_is(run: Run, cluster: FakeCluster) -> None:
    cluster.store.values[b"\xff"] = (1, b"v")
    assert run("kv", "list", "--keys-only").stdout_bytes == b"\xff\n"


def test_incr(run: Run) -> None:
    assert run("kv", "incr", "count").stdout == "1\n"
    counter = run("--format", "json", "kv", "incr", "count", "--by", "-3")
    assert json.loads(counter.stdout) == {"key": "count", "value": -2, "version": 2}


def test_exists(run: Run) -> None:
    missing = run("kv", "exists", "key")
    assert (missing.exit_code, missing.stdout) == (1, "false\n")
    run("kv", "set", "key", "1")
    assert run("kv", "exists", "key").stdout == "true\n"
    document = json.loads(run("--format", "json", "kv", "exists", "key").stdout)
    assert document == {"key": "key", "exists": True}


def test_touch_and_persist(run: Run, cluster: FakeCluster) -> None:
    run("kv", "set", "key", "1")
    assert run("kv", "touch", "key", "--ttl", "2.5").stdout == "expires in 2.5 s\n"
    assert cluster.store.ttls[b"key"] == 2500
    assert run("kv", "persist", "key").stdout == "does not expire\n"
    assert cluster.store.ttls[b"key"] == 0
    document = json.loads(run("--format", "json", "kv", "touch", "key", "--ttl", "1").stdout)
    assert document == {"key": "key", "ttl_ms": 1000}


def test_namespace(run: Run, cluster: FakeCluster) -> None:
    run("-n", "one", "kv", "incr", "key")
    run("-n", "one", "kv", "incr", "key", "-n", "two")
    assert cluster.store.executed == [wire.KvIncr(b"one", b"key"), wire.KvIncr(b"two", b"key")]


def test_environment_yields_to_options(cluster: FakeCluster) -> None:
    def invoke(arguments: list[str], host: str, namespace: str) -> int:
        environment = {"FLO_HOST": host, "FLO_NAMESPACE": namespace}
        return CliRunner().invoke(main, arguments, env=environment).exit_code

    assert invoke(["kv", "incr", "key"], cluster.endpoints, "one") == 0
    assert invoke(["-n", "two", "kv", "incr", "key"], cluster.endpoints, "one") == 0
    assert invoke(["--host", cluster.endpoints, "kv", "incr", "key"], "localhost:1", "three") == 0
    assert cluster.store.executed == [
        wire.KvIncr(namespace, b"key") for namespace in (b"one", b"two", b"three")
    ]


def test_a_server_that_refuses(run: Run, cluster: FakeCluster) -> None:
    refusal = Refusal(Reason.WRONG_TYPE, Ran.NO, "the value is no counter")
    cluster.nodes[0].script = lambda request: (
        refusal if isinstance(request.body, wire.KvIncr) else None
    )
    refused = run("kv", "incr", "key")
    assert (refused.exit_code, refused.stderr) == (
        3,
        "flo: kv.incr of 'key': the value is no counter\n",
    )


def test_an_unknown_outcome_is_said(run: Run, cluster: FakeCluster) -> None:
    refusal = Refusal(Reason.INTERNAL, Ran.UNKNOWN, "disk error")
    cluster.nodes[0].script = lambda request: (
        refusal if isinstance(request.body, wire.KvPut) else None
    )
    assert "outcome unknown" in run("kv", "set", "key", "1").stderr
    error = json.loads(run("--format", "json", "kv", "set", "key", "1").stderr)["error"]
    assert error["outcome"] == "unknown"


def test_a_value_that_begins_with_a_dash(run: Run, cluster: FakeCluster) -> None:
    assert run("kv", "set", "--ttl", "5", "--", "balance", "-5").exit_code == 0
    assert cluster.store.values[b"balance"][1] == b"-5"


def test_a_missing_key_has_no_ttl_to_change(run: Run) -> None:
    missing = run("--format", "json", "kv", "persist", "key")
    assert (missing.exit_code, missing.stdout) == (1, "")
    error = json.loads(missing.stderr)["error"]
    assert (error["code"], error["message"]) == ("NOT_FOUND", "no such key: key")
