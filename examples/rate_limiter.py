"""Rate limits: so many requests in a minute, counted by all processes of a service together.

Prints:

    ada: yes yes yes no no
    ada, a minute later: yes
    bob of acme: yes yes yes no
    cy of acme: yes yes no
    5 of 5 requests of acme were counted
"""

import asyncio
import random
import sys
import time
from uuid import uuid4

from flo import ConflictError, FloClient, PutOptions

WINDOW_S = 60
# Longer than the window, so that clocks that differ a little do not matter.
KEEP_MS = 2 * WINDOW_S * 1000


async def allow(client: FloClient, user: str, limit: int, now: float) -> bool:
    """Whether the user may do one more request now. Costs one increment; a refusal counts too."""
    # The window is part of the key: an old count is never taken for a new one.
    key = f"{user}:{now // WINDOW_S:.0f}"
    count = (await client.kv.incr(key)).value
    if count == 1:
        # A program that dies before this leaves a small key behind, and no wrong count.
        await client.kv.expire(key, KEEP_MS)
    return count <= limit


async def allow_both(client: FloClient, limits: dict[str, int], now: float) -> bool:
    """Whether there is room under all of the limits; only then the request counts, for each.

    The keys need one tag in braces, for they are changed in one transaction.
    """
    keys = {f"{name}:{now // WINDOW_S:.0f}": limit for name, limit in limits.items()}
    while True:
        try:
            async with client.kv.transaction(next(iter(keys))) as txn:
                for key, limit in keys.items():
                    found = await txn.get(key)
                    count = int(found.value) if found else 0
                    if count >= limit:
                        await txn.rollback()
                        return False
                    version = found.version if found else 0
                    options = PutOptions(ttl_ms=KEEP_MS, cas_version=version)
                    await txn.put(key, b"%d" % (count + 1), options)
            return True
        except ConflictError:
            await asyncio.sleep(random.uniform(0, 0.02))  # Somebody was quicker: look again.


def words(answers: list[bool]) -> str:
    return " ".join("yes" if answer else "no" for answer in answers)


async def main(endpoints: str = "localhost:9000,localhost:9001,localhost:9002") -> None:
    async with FloClient(endpoints, namespace="example-limits") as client:
        # Other names in each run, whose counts begin at 0. `now` is the same in all requests.
        run, now = uuid4().hex, time.time()
        ada = f"ada-{run}"
        print("ada:", words([await allow(client, ada, 3, now) for _ in range(5)]))
        print("ada, a minute later:", words([await allow(client, ada, 3, now + WINDOW_S)]))

        # Three requests for each user, and five for the company.
        acme = f"{{acme-{run}}}"
        for user, tries in (("bob", 4), ("cy", 3)):
            limits = {f"{acme}{user}": 3, acme: 5}
            answers = [await allow_both(client, limits, now) for _ in range(tries)]
            print(f"{user} of acme:", words(answers))
        found = await client.kv.get(f"{acme}:{now // WINDOW_S:.0f}")
        print(f"{found.value.decode() if found else 0} of 5 requests of acme were counted")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
