"""Parts of JSON documents, found and replaced in the text itself.

A document is never written anew: what is not replaced stays as it was, byte for byte, and numbers
are never converted. A path is `$`, then `.field` and `[index]` in any number; `$` may be left out.
Of fields with the same name the last counts.

The standard library's scanner passes over whole values; only the members of what lies on the path
are stepped through here. So the text is scanned once, whatever it holds.
"""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from flo.wire.status import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.state.commands import Result

DEPTH_MAX = 128
"""Arrays and objects inside each other. Without a bound the depth of the caller's stack would
decide what is a document, and that differs from replica to replica."""

Steps: TypeAlias = "tuple[str | int, ...]"
"""A path taken apart: fields by name, items by index."""

_STEP = re.compile(r"\.([^.\[\]\"']+)|\[(0|[1-9][0-9]{0,9})\]")
_SPACE = re.compile(r"[ \t\n\r]*")
_COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_AFTER_VALUE = re.compile(r"[ \t\n\r]*([,\]}])[ \t\n\r]*")
# One that is not closed goes to the end: else each quote in it would be tried as a beginning.
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NO_BRACKETS = re.compile(r"[^\[\]{}]+")
_LEVELS = {"[": 1, "{": 1, "]": -1, "}": -1}


class JsonError(ValueError):
    """What is wrong with a path or a document, and the result that says so.

    The text is ours alone: it is kept in the state, and that of the library changes.
    """

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.result: Result = (int(reason), text.encode())


NOWHERE: Result = (int(Reason.NOT_FOUND), b"the document has nothing at this path")


class _Members(NamedTuple):
    """What stands in the array or object that the last step of a path looks into."""

    is_object: bool
    begin: int
    """Right after the opening bracket."""
    starts: list[int]
    """Where each member begins: of an object, its name."""
    values: list[int]
    ends: list[int]
    chosen: list[int]
    """Which of them the step means; of fields with the same name there may be several."""


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
        text = _decode(data)
        _Walk(text, ()).run()
    except _NoJsonError as error:
        raise JsonError(Reason.MALFORMED, f"the document is no JSON: {error}") from error
    return text


def get(data: bytes, steps: Steps) -> bytes | None:
    """The text at a path, None when nothing is there. Raises `JsonError` (WRONG_TYPE)."""
    text, walk = _walk_value(data, steps)
    if not steps:
        return data
    members = walk.members
    if members is None or not members.chosen:
        return None
    last = members.chosen[-1]
    return text[members.values[last] : members.ends[last]].encode()


def put(data: bytes, steps: Steps, document: str) -> bytes | None:
    """The document with another one at a path that is not `()`.

    The last step may name a field that is not there yet, or the index after the last; None when
    what leads there is missing. Raises `JsonError`.
    """
    text, walk = _walk_value(data, steps)
    members = walk.members
    if members is None:
        return None
    document = document.strip(" \t\n\r")
    if _is_deeper(document, DEPTH_MAX - len(steps)):
        raise JsonError(Reason.MALFORMED, f"the document would be more than {DEPTH_MAX} deep")
    if members.chosen:
        last = members.chosen[-1]
        begin, end = members.values[last], members.ends[last]
    else:
        if not members.is_object and steps[-1] != len(members.starts):
            return None
        begin = end = members.ends[-1] if members.ends else members.begin
        if members.is_object:
            document = f"{json.dumps(steps[-1], ensure_ascii=False)}:{document}"
        if members.ends:
            document = "," + document
    return (text[:begin] + document + text[end:]).encode()


def delete(data: bytes, steps: Steps) -> bytes | None:
    """The document without what is at a path that is not `()`; None when nothing is there.

    Raises `JsonError` (WRONG_TYPE).
    """
    text, walk = _walk_value(data, steps)
    members = walk.members
    if members is None or not members.chosen:
        return None
    kept_from = 0
    parts: list[str] = []
    for begin, end in _cuts(members):
        parts.append(text[kept_from:begin])
        kept_from = end
    return "".join([*parts, text[kept_from:]]).encode()


def _cuts(members: _Members) -> list[tuple[int, int]]:
    """What goes with the chosen members, so that a comma stays between each two of the others."""
    _, _, starts, _, ends, chosen = members
    gone = set(chosen)
    last_kept = len(starts) - 1
    while last_kept in gone:
        last_kept -= 1
    cuts = [(starts[each], starts[each + 1]) for each in chosen if each < last_kept]
    if last_kept < 0:
        cuts = [(starts[0], ends[-1])]
    elif last_kept < len(starts) - 1:
        cuts.append((ends[last_kept], ends[-1]))
    return cuts


class _NoJsonError(ValueError):
    """A text is no document."""


def _walk_value(data: bytes, steps: Steps) -> tuple[str, _Walk]:
    """The text of a stored value, walked through."""
    try:
        text = _decode(data)
        walk = _Walk(text, steps)
        walk.run()
    except _NoJsonError as error:
        text = f"the value of the key is no JSON document: {error}"
        raise JsonError(Reason.WRONG_TYPE, text) from error
    return text, walk


def _decode(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise _NoJsonError("it is not UTF-8") from error
    if _is_deeper(text, DEPTH_MAX):
        raise _NoJsonError(f"it is more than {DEPTH_MAX} deep")
    return text


def _is_deeper(text: str, most: int) -> bool:
    """Whether more than `most` arrays and objects of a document are inside each other."""
    if text.count("[") + text.count("{") <= most:
        return False
    shape = _NO_BRACKETS.sub("", _STRING.sub("", text))
    return max(accumulate(map(_LEVELS.__getitem__, shape)), default=0) > most


def _refuse_constant(_name: str) -> object:
    raise ValueError("no JSON")


# Numbers become the length of their text: conversion takes long for long ones, and may fail.
_DECODER = json.JSONDecoder(parse_int=len, parse_float=len, parse_constant=_refuse_constant)
_scan = cast("Callable[[str, int], tuple[object, int]]", _DECODER.raw_decode)


class _Walk:
    """One pass over a document, in which the members at the end of a path are noted."""

    __slots__ = ("_steps", "_text", "members")

    def __init__(self, text: str, steps: Steps) -> None:
        self._text = text
        self._steps = steps
        self.members: _Members | None = None

    def run(self) -> None:
        text = self._text
        end = self._value(self._space(0), 0)
        if self._space(end) != len(text):
            raise _no_json(end)

    def _value(self, at: int, depth: int) -> int:
        """Passes over the value at `at`, which the first `depth` steps have led to; its end."""
        steps = self._steps
        if depth < len(steps):
            bracket = self._text[at : at + 1]
            if bracket == "{" and isinstance(steps[depth], str):
                return self._object(at + 1, depth)
            if bracket == "[" and isinstance(steps[depth], int):
                return self._array(at + 1, depth)
        return self._skip(at)

    def _object(self, begin: int, depth: int) -> int:
        text, wanted = self._text, self._steps[depth]
        members = self._note(depth, _Members(True, begin, [], [], [], []))
        at = self._space(begin)
        if text[at : at + 1] == "}":
            return at + 1
        while True:
            if text[at : at + 1] != '"':
                raise _no_json(at)
            name, name_end = self._scan(at)
            colon = _COLON.match(text, name_end)
            if colon is None:
                raise _no_json(name_end)
            chosen = name == wanted
            if chosen and members is None:
                self.members = None  # of an earlier field with this name
            end = self._value(colon.end(), depth + 1) if chosen else self._skip(colon.end())
            if members is not None:
                _add(members, (at, colon.end(), end), chosen=chosen)
            delimiter = self._delimiter(end, "}")
            if delimiter[1] == "}":
                return delimiter.end(1)
            at = delimiter.end()

    def _array(self, begin: int, depth: int) -> int:
        text, wanted = self._text, self._steps[depth]
        members = self._note(depth, _Members(False, begin, [], [], [], []))
        at = self._space(begin)
        if text[at : at + 1] == "]":
            return at + 1
        index = 0
        while True:
            chosen = index == wanted
            end = self._value(at, depth + 1) if chosen else self._skip(at)
            if members is not None:
                _add(members, (at, at, end), chosen=chosen)
            delimiter = self._delimiter(end, "]")
            if delimiter[1] == "]":
                return delimiter.end(1)
            at = delimiter.end()
            index += 1

    def _note(self, depth: int, members: _Members) -> _Members | None:
        """The members, if it is the last step that looks into them."""
        if depth + 1 < len(self._steps):
            return None
        self.members = members
        return members

    def _delimiter(self, end: int, closing: str) -> re.Match[str]:
        match = _AFTER_VALUE.match(self._text, end)
        if match is None or match[1] not in (",", closing):
            raise _no_json(end)
        return match

    def _skip(self, at: int) -> int:
        return self._scan(at)[1]

    def _scan(self, at: int) -> tuple[object, int]:
        try:
            return _scan(self._text, at)
        except ValueError as error:
            raise _no_json(at) from error

    def _space(self, at: int) -> int:
        match = _SPACE.match(self._text, at)
        return at if match is None else match.end()


def _add(members: _Members, place: tuple[int, int, int], *, chosen: bool) -> None:
    start, value, end = place
    if chosen:
        members.chosen.append(len(members.starts))
    members.starts.append(start)
    members.values.append(value)
    members.ends.append(end)


def _no_json(at: int) -> _NoJsonError:
    return _NoJsonError(f"there is a mistake at or after character {at + 1}")
