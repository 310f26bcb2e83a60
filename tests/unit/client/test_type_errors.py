"""Types: misuse that a checker must find, use that it must let pass, and nothing left unknown."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

# Each line that must not type-check ends with the code of mypy's complaint. All others must.
SNIPPET = """
from flo import (
    CallFinished, ClientEvent, ClientHealth, ConnectFailed, FloClient, FloError, GetOptions,
    GetResult, PutOptions, RetryPolicy, ServerError,
)


def observe(event: ClientEvent) -> None:
    if isinstance(event, CallFinished):
        print(event.operation.upper(), event.duration_ms + 1, event.error)
        event.attempts = 2  # E: misc
    elif isinstance(event, ConnectFailed):
        print(event.cause.upper())
        print(event.attempts)  # E: attr-defined


def observe_text(event: str) -> None: ...


async def use(client: FloClient) -> None:
    found: GetResult | None = await client.kv.get("key", GetOptions(wait_ms=5), timeout_ms=0.5)
    print(found.value)  # E: union-attr
    if found is not None:
        print(found.value.decode(), found.version + 1)
    await client.kv.put("key", bytearray(b"value"), PutOptions(ttl_ms=1))
    await client.kv.put("key", "value")  # E: arg-type
    await client.kv.put(5, b"value")  # E: arg-type
    await client.kv.put("key", b"value", GetOptions())  # E: arg-type
    await client.kv.put("key", b"value", ttl_ms=5)  # E: call-arg
    await client.kv.put("key")  # E: call-arg
    await client.kv.get("key", None, 5)  # E: call-arg
    await client.kv.mget([b"a", "b"])
    await client.kv.mget([1])  # E: list-item
    await client.kv.incr("key", 5)  # E: arg-type
    await client.kv.expire("key")  # E: call-arg
    deleted: str = await client.kv.delete("key")  # E: assignment
    PutOptions(condition="if_absent")  # E: arg-type
    FloClient()  # E: call-arg
    FloClient("h:1", "shop")  # E: call-arg
    FloClient("h:1", observer=observe, tracing=True, retry=RetryPolicy(max_attempts=2))
    FloClient("h:1", observer=observe_text)  # E: arg-type
    FloClient("h:1", tracing="yes")  # E: arg-type
    health: ClientHealth = client.health()
    health.calls_in_flight = 0  # E: misc
    rtt: str = await client.ping()  # E: assignment
    await client.ping(node=9000)  # E: arg-type
    print(deleted, rtt)


def facts(error: FloError, refused: ServerError) -> str:
    if error.outcome == "maybe":  # E: comparison-overlap
        return ""
    error.outcome = "applied"  # E: assignment
    print(refused.reason.name, refused.ran.name, refused.status_code.message())
    return error.code
"""


def test_misuse_does_not_type_check(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(SNIPPET)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir"]
    ran = subprocess.run(
        [*mypy, str(tmp_path), str(program)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    complaint = re.compile(r"program\.py:(\d+): error: .*\[([\w-]+)\]$", re.MULTILINE)
    found = {(int(number), code) for number, code in complaint.findall(ran.stdout)}
    expected = {
        (number, line.rpartition("# E: ")[2])
        for number, line in enumerate(SNIPPET.splitlines(), start=1)
        if "# E: " in line
    }
    assert found == expected, ran.stdout + ran.stderr


def test_every_public_name_has_a_complete_type(tmp_path: Path) -> None:
    pyright = [sys.executable, "-m", "pyright"]
    ran = subprocess.run(
        [*pyright, "--verifytypes", "flo", "--ignoreexternal", "--outputjson"],
        # From outside, as a program that has the package installed sees it.
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    symbols = json.loads(ran.stdout)["typeCompleteness"]["symbols"]
    public = [each for each in symbols if each["isExported"] and "flo.cli" not in each["name"]]
    assert len(public) > 500
    assert [each["name"] for each in public if not each["isTypeKnown"]] == []
