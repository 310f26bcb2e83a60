"""Programs as users of the Flo SDK write them. They run unchanged with the official package and
with ours: nothing but the path they are started with says which `flo` it is.

    python -m programs.driver ENDPOINTS SCENARIO [SCENARIO ...]

prints one line of JSON for each scenario: its name, and what it saw. A scenario that needs a fault
asks for it with `{"please": ...}`, and goes on when a line comes back.
"""

import asyncio
import json
import sys
from typing import TYPE_CHECKING, cast

import flo

from . import (
    both,
    clients,
    faults,
    groups,
    kv_documents,
    kv_more,
    kv_values,
    queues,
    stream_workers,
    streams,
    transactions,
)
from .common import Cluster, Seen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_KV = (kv_values, kv_more, kv_documents, transactions)
_PROGRAMS = (*_KV, queues, streams, groups, stream_workers, both, clients, faults)
_ALL = {name: value for program in _PROGRAMS for name, value in vars(program).items()}


async def _run(name: str, endpoints: list[str]) -> Seen:
    """What the scenario saw; an unexpected error is told as text."""
    scenario = cast("Callable[[Cluster], Awaitable[Seen]]", _ALL[name])
    namespace = f"{name.replace('_', '-')[:40]}-{flo.__version__}"
    try:
        return await scenario(Cluster(endpoints, namespace))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


async def _main(endpoints: list[str], names: list[str]) -> None:
    print(json.dumps({"package": [flo.__version__, flo.__file__]}), flush=True)
    for name in names:
        print(json.dumps({name: await _run(name, endpoints)}), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1].split(","), sys.argv[2:]))
