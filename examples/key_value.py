"""Key-value: a profile that is written, read, changed with care, and deleted.

Prints:

    user:7 is Ada
    user:9 is missing
    changed by compare and set
    too late: CAS_MISMATCH
    the names: user:7, user:8
    Ada L., Bob
    deleted: True, again: False
"""

import asyncio
import sys

from flo import Condition, ConflictError, FloClient, PutOptions


async def main(endpoints: str = "localhost:9000,localhost:9001,localhost:9002") -> None:
    async with FloClient(endpoints, namespace="example-kv") as client:
        kv = client.kv
        await kv.put("user:7", b"Ada")
        for key in ("user:7", "user:9"):
            found = await kv.get(key)
            print(key, "is", found.value.decode() if found else "missing")

        # Only what nobody has changed since it was read is overwritten.
        seen = await kv.get("user:7")
        if seen is not None:
            await kv.put("user:7", b"Ada L.", PutOptions(cas_version=seen.version))
            print("changed by compare and set")
            try:
                await kv.put("user:7", b"Eve", PutOptions(cas_version=seen.version))
            except ConflictError as error:
                print("too late:", error.code)

        try:
            await kv.put("user:8", b"Bob", PutOptions(condition=Condition.IF_ABSENT))
        except ConflictError:
            print("user:8 was there already")

        names = (await kv.scan("user:")).names
        print("the names:", ", ".join(names))
        entries = await kv.mget(names)
        print(", ".join(entry.value.decode() for entry in entries))

        await kv.delete("user:8")
        deleted, again = await kv.delete("user:7"), await kv.delete("user:7")
        print(f"deleted: {deleted}, again: {again}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
