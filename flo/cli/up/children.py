"""The nodes of a local cluster as processes."""

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cluster.config import PEER_PORT_DISTANCE
from flo.cli.node import STOP_TIMEOUT_S

HOST = "127.0.0.1"
NODE_PROGRAM = (sys.executable, "-m", "flo.cli", "node", "--exit-with-parent")
_READY_LINE = b"flo node ready"
_SPEAKER = "flo node: "
_LOG_END_BYTES = 4096


class Child:
    """One node: its process, and the task that reads what it prints."""

    def __init__(self, node_id: int, base_port: int, data_dir: Path) -> None:
        self.node_id = node_id
        self.port = base_port + node_id - 1
        self.peer_port = self.port + PEER_PORT_DISTANCE
        self.data_dir = data_dir / f"node-{node_id}"
        self.log = data_dir / f"node-{node_id}.log"
        self.ready = False
        self.process: asyncio.subprocess.Process | None = None
        self._arguments: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """Where clients connect."""
        return f"{HOST}:{self.port}"

    @property
    def peer_address(self) -> str:
        """Where the other nodes connect."""
        return f"{HOST}:{self.peer_port}"

    async def start(
        self, arguments: Sequence[str], *, program: tuple[str, ...] = NODE_PROGRAM
    ) -> None:
        """Starts the process. A node ends by itself when this process does."""
        self._arguments = (
            *("--id", str(self.node_id), "--data-dir", str(self.data_dir.absolute())),
            *("--listen", self.address, "--peer-listen", self.peer_address),
            *arguments,
        )
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *program,
                *self._arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                # Ctrl-C on the terminal is for this process, which stops the nodes in its turn.
                start_new_session=True,
            )

    @property
    def command(self) -> str:
        """What starts this node again, in another terminal."""
        return shlex.join(("flo", "node", *self._arguments))

    @property
    def pid(self) -> int:
        """Of the process, also when it has ended."""
        return self._started().pid

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self.process is not None and self.process.returncode is not None

    async def watch(self, news: "asyncio.Queue[Child]") -> None:
        """Copies what the node prints to its log, and tells when it is ready and when it ends."""
        process = self._started()
        assert process.stdout is not None, "stdout is a pipe"
        with self.log.open("ab") as log:
            while line := await process.stdout.readline():
                log.write(line)
                log.flush()
                if line.startswith(_READY_LINE):
                    self.ready = True
                    news.put_nowait(self)
        await process.wait()
        news.put_nowait(self)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL when that does not help in time."""
        process = self._started()
        with suppress(ProcessLookupError):
            process.terminate()
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
        await process.wait()

    def kill(self) -> None:
        """SIGKILL, for who does not want to wait."""
        with suppress(ProcessLookupError):
            self._started().kill()

    def obituary(self) -> str:
        """That it ended, and the last thing it said."""
        code = self._started().returncode
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            return f"node {self.node_id} was killed by {name} (see {self.log})"
        last = self._last_words()
        return f"node {self.node_id} ended with exit code {code}: {last} (see {self.log})"

    def _last_words(self) -> str:
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_END_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        return lines[-1].removeprefix(_SPEAKER) if lines else "it said nothing"

    def _started(self) -> asyncio.subprocess.Process:
        assert self.process is not None, "start comes first"
        return self.process
