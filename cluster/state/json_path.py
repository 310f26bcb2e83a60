"""Parts of JSON documents, found and replaced in the text itself.

A document is never written anew: what is not replaced stays as it was, byte for byte, and numbers
are never converted. A path is `$`, then `.field` and `[index]` in any number; `$` may be left out.
Of fields with the same name the last counts.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from cluster.state.json_walk import DEPTH_MAX, LAST, SPACES, NoJsonError, Walk, decode, is_deeper
from flo.wire.status import Reason

if TYPE_CHECKING:
    from cluster.state.commands import Result
    from cluster.state.json_walk import Members, Steps

_STEP = re.compile(r"\.([^.\[\]\"']+)|\[(0|[1-9][0-9]{0,9})\]")


class JsonError(ValueError):
    """What is wrong with a path or a document, and the result that says so.

    The text is ours alone: it is kept in the state, and that of the library changes.
    """

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.result: Result = (int(reason), text.encode())


NOWHERE: Result = (int(Reason.NOT_FOUND), b"the document has nothing at this path")


def parse_path(path: bytes) -> Steps:
    """A path taken apart; `()` is the whole document. Raises `JsonError`."""
    try:
        text = path.decode()
    except UnicodeDecodeError as error:
        raise JsonError(Reason.MALFORMED, "the path is not UTF-8") from error
    at = 1 if text.startswith("$") else 0
    steps: list[str | int] = []
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None or match[1] == "*":
            raise JsonError(
                Reason.MALFORMED,
                f"the path is not understood from character {at + 1} on:"
                " it is $, then .field and [index] in any number, as in $.items[0].name",
            )
        steps.append(int(match[2]) if match[1] is None else match[1])
        at = match.end()
    return tuple(steps)


def read_document(data: bytes) -> str:
    """The text of a document. Raises `JsonError` (MALFORMED) when it is none."""
    try:
        text = decode(data)
        Walk(text, ()).run()
    except NoJsonError as error:
        raise JsonError(Reason.MALFORMED, f"the document is no JSON: {error}") from error
    return text


def get(data: bytes, steps: Steps) -> bytes | None:
    """The text at a path, None when nothing is there. Raises `JsonError` (WRONG_TYPE)."""
    text, members = _look(data, steps)
    if not steps:
        return data
    if members is None or not members.chosen:
        return None
    last = members.chosen[-1]
    return text[last.value : last.end].encode()


def put(data: bytes, steps: Steps, document: str) -> bytes | None:
    """The document with another one at a path that is not `()`.

    The last step may name a field that is not there yet, or the index after the last; None when
    what leads there is missing. Raises `JsonError`.
    """
    text, members = _look(data, steps)
    if members is None:
        return None
    document = document.strip(SPACES)
    if is_deeper(document, DEPTH_MAX - len(steps)):
        raise JsonError(Reason.MALFORMED, f"the document would be more than {DEPTH_MAX} deep")
    if members.chosen:
        last = members.chosen[-1]
        begin, end = last.value, last.end
    else:
        if not members.is_object and steps[-1] != members.count:
            return None
        begin = end = _end_before(text, members.close)
        if members.is_object:
            document = f"{json.dumps(steps[-1], ensure_ascii=False)}:{document}"
        if end > members.begin:
            document = "," + document
    return (text[:begin] + document + text[end:]).encode()


def delete(data: bytes, steps: Steps) -> bytes | None:
    """The document without what is at a path that is not `()`; None when nothing is there.

    Raises `JsonError` (WRONG_TYPE).
    """
    text, members = _look(data, steps)
    if members is None or not members.chosen:
        return None
    kept_from = 0
    parts: list[str] = []
    for begin, end in _cuts(text, members):
        parts.append(text[kept_from:begin])
        kept_from = end
    return "".join([*parts, text[kept_from:]]).encode()


def _cuts(text: str, members: Members) -> list[tuple[int, int]]:
    """What goes with the chosen members, so that a comma stays between each two of the others."""
    chosen = members.chosen
    # Those after which no other one comes go with what is before them: there is no comma behind.
    inner, begin = len(chosen), LAST
    while inner and chosen[inner - 1].next == begin:
        inner -= 1
        begin = chosen[inner].start
    cuts = [(each.start, each.next) for each in chosen[:inner]]
    if begin != LAST:
        comma = _end_before(text, begin) - 1
        if comma >= members.begin:
            begin = _end_before(text, comma)
        cuts.append((begin, _end_before(text, members.close)))
    return cuts


def _end_before(text: str, at: int) -> int:
    """Where what stands before `at` ends, spaces left out."""
    return len(text[:at].rstrip(SPACES))


def _look(data: bytes, steps: Steps) -> tuple[str, Members | None]:
    """The text of a stored value, and what the last step looks into."""
    try:
        text = decode(data)
        walk = Walk(text, steps)
        walk.run()
    except NoJsonError as error:
        text = f"the value of the key is no JSON document: {error}"
        raise JsonError(Reason.WRONG_TYPE, text) from error
    return text, walk.members
