"""What a program sees while nodes fail."""

import asyncio

from flo import FloError, RetryPolicy, StreamContext, is_connection_error

from .common import PATIENCE_S, Cluster, Seen, eventually, failure, text_of


async def a_node_is_killed_and_comes_back(cluster: Cluster) -> Seen:
    async with cluster.client() as client:
        await client.kv.put("k", b"before")
        await cluster.please("kill node 1")
        try:
            await asyncio.wait_for(client.kv.get("k"), PATIENCE_S)
            while_down = "no error"
        except FloError as error:
            known = is_connection_error(error)
            while_down = "a connection error" if known else type(error).__name__
        await cluster.please("start node 1")
        await client.reconnect(timeout=PATIENCE_S)
        return [while_down, client.is_connected, await text_of(client, "k")]


async def a_node_hangs(cluster: Cluster) -> Seen:
    # So many that some are in the partitions which the node leads.
    keys = [f"k-{number}" for number in range(100)]
    await cluster.please("wait for leader on node 1")
    async with cluster.client() as patient:
        for key in keys:
            await patient.kv.put(key, b"v")
    async with cluster.client(timeout_ms=500) as client:
        await cluster.please("pause node 1")
        seen = await asyncio.gather(*(failure(client.kv.get(key)) for key in keys))
        connected = client.is_connected
        await cluster.please("resume node 1")
        await client.reconnect(timeout=PATIENCE_S)

        async def answers() -> bool:
            try:
                return [await text_of(client, key) for key in keys] == ["v"] * len(keys)
            except FloError as error:
                if is_connection_error(error):
                    await client.reconnect(timeout=PATIENCE_S)
                return False

        await eventually(answers)
        return ["RequestTimeoutError" in seen, "connected" if connected else "dropped"]


async def the_other_nodes_go_on_when_one_is_killed(cluster: Cluster) -> Seen:
    """Writes through a node that lives, to partitions that the killed one led."""
    await cluster.please("wait for leader on node 1")
    async with cluster.client(1) as client:
        for number in range(20):
            await client.kv.put(f"k-{number}", b"1")
        await cluster.please("kill node 1")
        for number in range(20):
            await client.kv.put(f"k-{number}", b"2")
        values = [await text_of(client, f"k-{number}") for number in range(20)]
        return sorted(value or "" for value in set(values))


async def without_a_majority_calls_are_refused_and_retried(cluster: Cluster) -> Seen:
    """Refused with default time-outs, so before the client would hang up."""
    once = RetryPolicy(max_attempts=1)
    async with (
        cluster.client(2, retry=once, timeout_ms=5_000) as impatient,
        cluster.client(2) as patient,
    ):
        await impatient.kv.put("k", b"1")
        await cluster.please("kill node 1")
        await cluster.please("kill node 2")
        # Begun before the other is refused: without another try it would be refused too.
        read = asyncio.create_task(text_of(patient, "k"))
        refused = await failure(impatient.kv.get("k"))
        while refused in ("UnexpectedEofError", "RequestTimeoutError"):
            # It had not noticed yet that its connection to a killed node was gone, or the refusal,
            # which comes just before the client would give up, was late.
            refused = await failure(impatient.kv.get("k"))
        await cluster.please("start node 1")
        found = await read
        await patient.kv.put("k", b"2")
        return [refused, found, await text_of(patient, "k")]


async def a_worker_goes_on_when_its_node_comes_back(cluster: Cluster) -> Seen:
    """Records come at least once, so what counts is which."""
    await cluster.please("wait for leader on node 1")
    async with cluster.client() as client, cluster.client(1) as other:
        handled: set[bytes] = set()

        async def handle(ctx: StreamContext) -> None:
            handled.add(ctx.payload)

        async def append_until(end: int) -> None:
            for number in range(end - 5, end):
                await other.stream.append("s", b"%d" % number)

        async def all_are_done() -> bool:
            try:
                return not await other.stream.group_pending("s", "g")
            except FloError:
                return False

        async def ten_are_handled() -> bool:
            return len(handled) >= 10

        worker = client.new_stream_worker(stream="s", group="g", handler=handle, block_ms=1_000)
        working = asyncio.create_task(worker.start())
        await append_until(5)
        await cluster.please("kill node 1")
        await append_until(10)
        await cluster.please("start node 1")
        await eventually(ten_are_handled)
        await eventually(all_are_done)
        worker.stop()
        await asyncio.wait_for(working, PATIENCE_S)
        return sorted(int(payload) for payload in handled)


async def refusals(cluster: Cluster) -> Seen:
    """The node follows a script: see the test."""
    async with cluster.client() as client:
        return await failure(client.kv.put("k", b"v"))
