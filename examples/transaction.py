"""A transaction: money moves between two accounts, by many at once, or it does not move at all.

Prints:

    Ada has 100, Bob has 100
    Ada has 50, Bob has 150
    refused: 50 is less than 80
    Ada has 50, Bob has 150
"""

import asyncio
import random
import sys

from flo import ConflictError, FloClient, PutOptions

# Keys with the same tag in braces live together, so that one transaction can change them.
ADA, BOB = "{bank}ada", "{bank}bob"


class InsufficientFundsError(Exception):
    """There is less in the account than was to be moved."""


async def move(client: FloClient, source: str, target: str, amount: int) -> None:
    """Moves an amount, whatever others do at the same time."""
    while True:
        try:
            # Commits at the end of the block; an exception that leaves it changes nothing.
            async with client.kv.transaction(source) as txn:
                for key, change in ((source, -amount), (target, amount)):
                    found = await txn.get(key)
                    balance = int(found.value) if found else 0
                    if balance + change < 0:
                        raise InsufficientFundsError(f"{balance} is less than {amount}")
                    # The commit is refused if the balance is another one by then.
                    only_if = PutOptions(cas_version=found.version if found else 0)
                    await txn.put(key, b"%d" % (balance + change), only_if)
            return
        except ConflictError:
            # Somebody was quicker. Those who met should not meet again.
            await asyncio.sleep(random.uniform(0, 0.02))


async def show(client: FloClient) -> None:
    ada, bob = await client.kv.mget([ADA, BOB])
    print(f"Ada has {ada.value.decode()}, Bob has {bob.value.decode()}")


async def main(endpoints: str = "localhost:9000,localhost:9001,localhost:9002") -> None:
    async with FloClient(endpoints, namespace="example-bank") as client:
        async with client.kv.transaction(ADA) as txn:
            await txn.put(ADA, b"100")
            await txn.put(BOB, b"100")
        await show(client)

        await asyncio.gather(*(move(client, ADA, BOB, 10) for _ in range(5)))
        await show(client)

        try:
            await move(client, ADA, BOB, 80)
        except InsufficientFundsError as error:
            print("refused:", error)
        await show(client)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
