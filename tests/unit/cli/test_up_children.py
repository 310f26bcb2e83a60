"""How `flo up` watches the processes of its nodes."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from tests.unit.cli.up_kit import started

if TYPE_CHECKING:
    from flo.cli.up.children import Child


async def test_it_notices_ready_nodes_and_dead_ones(tmp_path: Path) -> None:
    script = "import sys; print('flo node ready: id 1', flush=True); sys.stdin.read(); sys.exit(5)"
    child = await started(1, tmp_path, script)
    news: asyncio.Queue[Child] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        group.create_task(child.watch(news))
        assert await news.get() is child
        assert child.ready
        assert not child.ended
        assert child.process is not None
        assert child.process.stdin is not None
        child.process.stdin.close()
        assert await news.get() is child
    assert child.ended
    assert "exit code 5: flo node ready: id 1" in child.obituary()
    await child.stop()


async def test_it_stops_its_nodes(tmp_path: Path) -> None:
    wait = "import signal; print('flo node ready', flush=True); signal.pause()"
    child = await started(2, tmp_path, wait)
    news: asyncio.Queue[Child] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        group.create_task(child.watch(news))
        await news.get()
        await child.stop()
    assert child.process is not None
    assert child.process.returncode == -15


async def test_the_last_words_of_a_node_are_its_cause_of_death(tmp_path: Path) -> None:
    script = "import sys; sys.stderr.write('x' * 9999 + '\\nflo node: no space\\n'); sys.exit(3)"
    child = await started(1, tmp_path, script)
    await child.watch(asyncio.Queue())
    assert child.obituary() == f"node 1 ended with exit code 3: no space (see {child.log})"


async def test_a_killed_node_is_not_said_to_have_failed(tmp_path: Path) -> None:
    child = await started(3, tmp_path)
    child.kill()
    await child.watch(asyncio.Queue())
    assert child.obituary() == f"node 3 was killed by SIGKILL (see {child.log})"
    child.kill()


async def test_the_command_that_starts_it_again(tmp_path: Path) -> None:
    directory = tmp_path / "with space"
    directory.mkdir()
    child = await started(2, directory)
    await child.stop()
    assert child.command.startswith(f"flo node --id 2 --data-dir '{directory}/node-2'")
    assert "--listen 127.0.0.1:9001 --peer-listen 127.0.0.1:9501" in child.command
