"""Every operation that runs in the partition of one name.

The tables put together here are the only place in the node that knows an operation; gateway,
router and forwarding have no cases of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.group_operations import GROUP_OPERATIONS
from cluster.kv_operations import KV_OPERATIONS
from cluster.queue_operations import QUEUE_OPERATIONS
from cluster.stream_operations import STREAM_OPERATIONS

if TYPE_CHECKING:
    from cluster.operation import Operation

OPERATIONS: dict[int, Operation] = {
    **KV_OPERATIONS,
    **QUEUE_OPERATIONS,
    **STREAM_OPERATIONS,
    **GROUP_OPERATIONS,
}
"""By the wire's operation code."""
