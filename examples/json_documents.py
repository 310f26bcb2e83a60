"""JSON: parts of a document are read and changed by several programs, which lose nothing.

Prints:

    tags: ['new']
    after both changes: {'name': 'Ada', 'tags': ['new', 'paid'], 'address': {'city': 'London'}}
    there is no phone: True
    without its tags: {'name': 'Ada', 'address': {'city': 'London'}}
"""

import asyncio
import json
import sys

from flo import FloClient

USER = "user:7"


async def main(endpoints: str = "localhost:9000,localhost:9001,localhost:9002") -> None:
    async with FloClient(endpoints, namespace="example-json") as client:
        kv = client.kv
        # The path $ is the whole document, which need not be there yet.
        await kv.json_set(USER, "$", json.dumps({"name": "Ada", "tags": ["new"], "address": {}}))
        tags = await kv.json_get(USER, "$.tags")
        print("tags:", tags.value if tags else None)

        # Each is one step at the leader: no reading, no compare and set, nothing lost.
        await asyncio.gather(
            kv.json_set(USER, "$.address.city", json.dumps("London")),
            kv.json_set(USER, "$.tags[1]", json.dumps("paid")),
        )
        whole = await kv.json_get(USER)
        print("after both changes:", whole.value if whole else None)

        print("there is no phone:", await kv.json_get(USER, "$.phone") is None)
        await kv.json_del(USER, "$.tags")
        whole = await kv.json_get(USER)
        print("without its tags:", whole.value if whole else None)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
