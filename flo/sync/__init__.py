"""The blocking client, for programs and threads without an event loop.

Example:
    from flo.sync import FloClient

    with FloClient("localhost:9000") as client:
        client.kv.put("greeting", b"hello")
        print(client.kv.get("greeting").value)  # b'hello'

It has the methods, options, results and errors of `flo.FloClient`, without `await`; import those
from `flo`. Any number of threads may share one client: their calls are pipelined.
"""

from flo.sync._client import FloClient
from flo.sync._kv import KVOperations
from flo.sync._kv_txn import Transaction
from flo.sync._queue import QueueOperations
from flo.sync._streams import StreamOperations

__all__ = ["FloClient", "KVOperations", "QueueOperations", "StreamOperations", "Transaction"]
