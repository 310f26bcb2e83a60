"""The lines of the golden vector files, and how their values read in Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

from flo.wire import OPS, Op, Ran, Reason, Refusal

VECTORS = Path(__file__).parents[2] / "data" / "vectors"
TXN = 7
TXN_ROUTING_KEY = b"acct:1"

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | bool | None"
Args: TypeAlias = dict[str, Json]


class Vector(NamedTuple):
    """One line of a vector file."""

    name: str
    revision: int
    op_name: str
    code: int | None
    args: Args
    frames: tuple[bytes, ...]
    row: Args

    @property
    def frame(self) -> bytes:
        """The only frame, or the last: what comes before it opens a transaction."""
        return self.frames[-1]

    @property
    def in_txn(self) -> bool:
        return "in txn" in self.op_name

    @property
    def op(self) -> Op:
        assert self.code is not None
        return OPS[self.code]


def load(name: str, codes: dict[str, int]) -> list[Vector]:
    """`codes` by the operations' names, for rows that tell the name alone."""
    vectors: list[Vector] = []
    for line in (VECTORS / name).read_text().splitlines():
        row = cast("Args", json.loads(line))
        hexes = row["hex"]
        frames = hexes if isinstance(hexes, list) else [hexes]
        op_name = str(row["op"])
        code = row.get("code", codes.get(op_name.split(" ")[0]))
        vectors.append(
            Vector(
                f"{name}:{row['n']}:{op_name}",
                int(str(row["wire"])[1:]),
                op_name,
                code if isinstance(code, int) else None,
                cast("Args", row["args"]),
                tuple(bytes.fromhex(str(frame)) for frame in frames),
                row,
            )
        )
    return vectors


def as_bytes(value: Json) -> bytes:
    """Text, `bytes:` and hex digits, or an object with hex digits."""
    if isinstance(value, dict):
        return bytes.fromhex(str(value["hex"]))
    text = "" if value is None else str(value)
    return bytes.fromhex(text[6:]) if text.startswith("bytes:") else text.encode()


def as_integer(args: Args, *names: str) -> int | None:
    for name in names:
        value = args.get(name)
        if value is not None:
            assert isinstance(value, int)
            return value
    return None


def as_list(value: Json) -> list[Json]:
    assert isinstance(value, list)
    return value


def as_dict(value: Json) -> Args:
    assert isinstance(value, dict)
    return value


def not_found(vector: Vector) -> Refusal:
    return Refusal(Reason.NOT_FOUND, Ran.NO, "no such key" if vector.revision == 2 else "")
