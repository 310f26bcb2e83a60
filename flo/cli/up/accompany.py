"""A local cluster from its start to its end: what happens is said, and shown as it changes."""

import asyncio
import time
from collections.abc import Sequence

from flo.cli import overview
from flo.cli.overview import Views, listed
from flo.cli.up.children import Child
from flo.cli.up.errors import UpError
from flo.cli.up.picture import NOTHING_SEEN, Look, draw, moves
from flo.cli.up.screens import Screen
from flo.client import FloClient
from flo.exceptions import FloError

READY_TIMEOUT_S = 600.0
LEADERS_TIMEOUT_S = 60.0
LOOK_INTERVAL_S = 0.5
LOOK_TIMEOUT_MS = 1000
# Looking costs a node about 5 us per partition: with many of them it is done less often.
_PARTITIONS_PER_INTERVAL = 128


class Company:
    """Watches the nodes of one cluster."""

    def __init__(self, children: Sequence[Child], screen: Screen) -> None:
        self._children = children
        self._screen = screen
        self._news: asyncio.Queue[Child] = asyncio.Queue()
        self._now = NOTHING_SEEN
        self._before = NOTHING_SEEN

    @property
    def news(self) -> asyncio.Queue[Child]:
        """Where nodes that got ready or ended are put."""
        return self._news

    async def run(self) -> None:
        """Returns never. Raises UpError when the cluster does not work or no node is left."""
        await self._until_ready()
        async with FloClient(",".join(child.address for child in self._children)) as client:
            await self._until_led(client)
            self._welcome()
            while True:
                self._draw()
                for child in await self._next_news():
                    self._bury(child)
                await self._look(client)
                for line in moves(self._before, self._now):
                    self._screen.say(line)

    async def _until_ready(self) -> None:
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while waited := [child for child in self._children if not child.ready]:
            self._check_all_live()
            if time.monotonic() > deadline_s:
                logs = ", ".join(str(child.log) for child in waited)
                raise UpError(f"not all nodes were ready in {READY_TIMEOUT_S:g} s: see {logs}")
            late = listed("node", [child.node_id for child in waited])
            self._draw(f"starting: waiting for {late}")
            await self._next_news()

    async def _until_led(self, client: FloClient) -> None:
        deadline_s = time.monotonic() + LEADERS_TIMEOUT_S
        while True:
            self._check_all_live()
            await self._look(client)
            missing = [each.number for each in self._now.partitions if not each.has_leader]
            if self._now.partitions and not missing:
                return
            if time.monotonic() > deadline_s:
                raise UpError(
                    f"not every partition had a leader in {LEADERS_TIMEOUT_S:g} s: see"
                    f" {self._children[0].log} and the others"
                )
            what = listed("partition", missing) if missing else "the partitions"
            self._draw(f"starting: waiting for the leaders of {what}")
            await self._next_news(LOOK_INTERVAL_S / 5)

    def _check_all_live(self) -> None:
        for child in self._children:
            if child.ended:
                raise UpError(child.obituary())

    async def _next_news(self, interval_s: float | None = None) -> list[Child]:
        """Who got ready or ended, at once; nobody, when nothing happens until the next look."""
        if interval_s is None:
            count = len(self._now.partitions)
            interval_s = LOOK_INTERVAL_S * (1 + count / _PARTITIONS_PER_INTERVAL)
        try:
            async with asyncio.timeout(interval_s):
                return [await self._news.get()]
        except TimeoutError:
            return []

    def _bury(self, child: Child) -> None:
        if not child.ended:
            return
        self._screen.say(child.obituary())
        if all(each.ended for each in self._children):
            raise UpError("all nodes have ended")
        self._screen.say("  The others go on. To start it again, in another terminal:")
        self._screen.say(f"  {child.command}")

    async def _look(self, client: FloClient) -> None:
        addresses = {child.node_id: child.address for child in self._children}
        documents, _ = await overview.ask(client, addresses, timeout_ms=LOOK_TIMEOUT_MS)
        if not documents:
            self._now = self._now._replace(answered=frozenset())
            return
        views = Views(next(iter(documents.values())), documents, {})
        try:
            found = overview.partitions(views)
        except FloError as error:
            raise UpError(str(error)) from error
        self._before = self._now
        self._now = Look(time.monotonic(), found, frozenset(documents))

    def _draw(self, progress: str = "") -> None:
        self._screen.show(draw(self._children, self._now, self._before, progress))

    def _welcome(self) -> None:
        say = self._screen.say
        for child in self._children:
            led = sum(each.leader == child.node_id for each in self._now.partitions)
            say(f"node {child.node_id}  {child.address}  leads {led} partitions  {child.log}")
        say(
            f"ready: {len(self._children)} nodes, {len(self._now.partitions)} partitions. Try, in"
            " another terminal:"
        )
        say(f"  flo --host {self._children[0].address} kv set greeting hello")
        say(f"  flo --host {self._children[-1].address} kv get greeting")
        say("Ctrl-C stops all nodes and keeps the data.")
