"""Each peer, where it is installed; and what is said where it is not."""

import os
import sys
from pathlib import Path

import pytest

from bench.dialogues import RanDryError
from bench.peers import PEERS, Load
from bench.peers.peer import Stock
from bench.window import Sample, Window

KEYS = 300


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_that_is_missing_says_what_to_install(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert "is not installed (" in str(PEERS[name].missing())


@pytest.mark.parametrize(("version", "fits"), [("v2.9.10", False), ("v2.15.1", True)])
def test_an_old_nats_cannot_sync_each_write(
    version: str, fits: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "nats-server"
    program.write_text(f"#!/bin/sh\necho nats-server: {version}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    reason = PEERS["nats"].missing()
    assert reason is None if fits else "cannot sync" in str(reason)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", PEERS)
async def test_each_operation_of_a_peer_is_measured(name: str, tmp_path: Path) -> None:
    peer = PEERS[name]
    if reason := peer.missing():
        pytest.skip(reason)
    with peer.start(tmp_path) as cluster:
        for operation in peer.operations:
            for value_bytes in (100, 70_000):
                load = Load(5, Window(count=200, warmup_s=0.0), value_bytes, KEYS)
                seen = await cluster.sample(operation, load)
                assert seen.errors == 0, operation
                assert len(seen.latencies) >= 200
        assert cluster.version.count(".") >= 1
        assert cluster.cpu_seconds() > 0
    assert not os.listdir(tmp_path)


async def test_a_stock_that_runs_dry_is_made_larger() -> None:
    stocks: list[int] = []

    async def once(stock: int) -> Sample:
        stocks.append(stock)
        if stock < 100_000:
            raise RanDryError
        return Sample(seconds=1.0, latencies=[0.1] * 30_000)

    stock = Stock(20_000)
    load = Load(8, Window(seconds=2.0, warmup_s=0.0), 100)
    await stock.take("dequeue", load, once)
    assert stocks == [40_016, 120_048]
    await stock.take("dequeue", load, once)
    assert stocks[2:] == [90_016, 270_048], "what was used the last time, and half as much again"


async def test_a_stock_that_never_suffices_is_an_error() -> None:
    async def once(stock: int) -> Sample:
        raise RanDryError

    with pytest.raises(RanDryError):
        await Stock(100).take("dequeue", Load(1, Window(seconds=1.0), 1), once)
