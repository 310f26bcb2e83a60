"""The end of a load on queues and streams: everything is drained, read, and judged."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from flo import FloClient
from tests.histories.deliveries import (
    CLOCKS_S,
    Evidence,
    judge_deliveries,
    judge_log,
    judge_reader,
)
from tests.histories.operations import Outcome
from tests.integration.queue_accounts import Account, Caller, Stream, clock_offset_s
from tests.integration.queue_load import Load, Reader

_SURE_MIN = 0.5


@asynccontextmanager
async def reading(client: FloClient, readers: Sequence[Reader]) -> AsyncGenerator[None]:
    """They follow while the body runs. An error in one of them is raised."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(reader.follow(client)) for reader in readers]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def judge_load(load: Load, callers: Sequence[Caller]) -> dict[str, Evidence]:
    """Lets every client add once more, drains everything with the first, and judges it.

    The load has ended, its readers go on. Raises `Violation`, and AssertionError when something
    does not come to its end.
    """
    found: dict[str, Evidence] = {}
    for account in load.accounts:
        for number, caller in enumerate(callers):
            outcome = await account.add(caller, [f"last of {number}".encode()], number)
            assert outcome is Outcome.OK, f"client {number} cannot add to {account.target.name}"
        try:
            await account.drain(callers[0])
        except AssertionError:
            # If the history is wrong too, then that tells more.
            judge_deliveries(account.history, drained=False)
            raise
    check_clock(load.accounts)
    for account in load.accounts:
        found[account.target.name] = judge_deliveries(account.history)
    for stream in load.streams:
        await _judge_stream(load, stream, callers[0].client)
    return found


async def _judge_stream(load: Load, stream: Stream, client: FloClient) -> None:
    readers = [reader for reader in load.readers if reader.stream == stream.name]
    log = await stream.read_all(client)
    for reader in readers:
        await reader.reach_end(log)
    read = [(reader, list(reader.seen)) for reader in readers]
    # What had no answer may have been appended only now: then readers have not all of it.
    log = await stream.read_all(client)
    judge_log(load.account_of(stream.name).history.added, log)
    for reader, seen in read:
        judge_reader(seen, reader.own(log)[: len(seen)])


def check_clock(accounts: Sequence[Account]) -> None:
    """Fails when this machine's clock was set meanwhile: leaders go by it, and the judge does."""
    for account in accounts:
        moved_s = abs(clock_offset_s() - account.clock_offset_s)
        assert moved_s < CLOCKS_S / 2, f"the clock of this machine was set by {moved_s:.3f} s"


def check_evidence(account: Account, evidence: Evidence, faults: int) -> None:
    """Fails unless there was enough to judge. What clients do is spread so that there is."""
    told = (account.target.name, evidence, dict(account.counts))
    assert account.least() >= faults, told
    assert evidence.again >= faults, told
    assert evidence.certain >= 5 * faults, told
    assert evidence.sure >= _SURE_MIN * (evidence.delivered + evidence.again), told
    assert account.counts["given back"], told


def check_logs(directory: Path) -> None:
    """No node ran into a mistake of its own, not even one that it survived."""
    for log in directory.glob("node-*.log"):
        assert "Traceback" not in log.read_text(), log.read_text()
