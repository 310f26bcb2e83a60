"""`flo kv list` and `mget` of many keys and long values, page by page."""

import asyncio

import pytest

from flo.cli import listing
from flo.cli.listing import Progress, Wanted
from flo.client import FloClient
from flo.wire import messages as wire
from flo.wire.connection import Request
from flo.wire.status import Ran, Reason, Refusal
from tests.unit.cli.conftest import Run
from tests.unit.client.fake_node import FakeCluster, Hold


def _fill(cluster: FakeCluster, count: int) -> None:
    for n in range(count):
        cluster.store.values[b"key:%04d" % n] = (1, b"v")


async def test_pages_come_before_the_last_one_is_read() -> None:
    async with FakeCluster() as cluster, FloClient(cluster.endpoints) as client:
        _fill(cluster, 1500)
        scans = 0

        def hold_second_scan(request: Request) -> Hold | None:
            nonlocal scans
            scans += isinstance(request.body, wire.KvScan)
            return Hold() if scans == 2 else None

        cluster.nodes[0].script = hold_second_scan
        pages = listing.pages(client, Wanted("", 2000, keys_only=False))
        first = await anext(pages)
        assert (len(first.names), len(first.entries), first.more) == (1000, 1000, True)
        second = asyncio.ensure_future(anext(pages))
        await cluster.nodes[0].until(lambda _: scans == 2)
        assert not second.done()
        cluster.nodes[0].release()
        assert len((await second).names) == 500


def test_lines_of_many_pages(run: Run, cluster: FakeCluster) -> None:
    _fill(cluster, 2100)
    listed = run("kv", "list", "key:", "--limit", "99999999999999999999")
    assert listed.stdout.splitlines() == [f"key:{n:04}\tv" for n in range(2100)]
    assert listed.stderr == ""


def test_values_too_long_for_one_answer_are_asked_for_in_parts(
    run: Run, cluster: FakeCluster
) -> None:
    _fill(cluster, 300)
    asked: list[int] = []

    def refuse_many(request: Request) -> Refusal | None:
        if not isinstance(request.body, wire.KvMget):
            return None
        asked.append(len(request.body.keys))
        if len(request.body.keys) <= 100:
            return None
        return Refusal(Reason.FIELD_TOO_LONG, Ran.NO, "the values are too long")

    cluster.nodes[0].script = refuse_many
    listed = run("kv", "list", "--limit", "300")
    assert listed.stdout.splitlines() == [f"key:{n:04}\tv" for n in range(300)]
    assert asked == [256, 128, 64, 64, 128, 64, 64, 44]


def test_one_value_that_is_refused_is_an_error(run: Run, cluster: FakeCluster) -> None:
    cluster.nodes[0].script = lambda request: (
        Refusal(Reason.FIELD_TOO_LONG, Ran.NO, "the value is too long")
        if isinstance(request.body, wire.KvMget)
        else None
    )
    refused = run("kv", "mget", "key")
    assert refused.exit_code == 3
    assert "the value is too long" in refused.stderr


def test_progress_waits_a_second_and_goes_away(capsys: pytest.CaptureFixture[str]) -> None:
    now_s = 5.0
    progress = Progress(shown=True, clock=lambda: now_s)
    progress.add(1000)
    assert capsys.readouterr().err == ""
    now_s = 6.0
    progress.add(1000)
    assert capsys.readouterr().err == "\r2,000 keys ..."
    progress.clear()
    assert capsys.readouterr().err.strip() == ""


def test_progress_that_nobody_sees_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter((0.0, 100.0))
    progress = Progress(shown=False, clock=lambda: next(times))
    progress.add(1000)
    progress.clear()
    assert capsys.readouterr().err == ""
