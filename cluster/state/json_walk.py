"""A pass over the text of a JSON document, in which the end of a path is noted.

The scanner of the standard library passes over whole values. Only the members of what lies on the
path are stepped through here, and of those no more than must be looked at: what comes after them
is passed over at once. So the text is scanned once, whatever it holds.
"""

from __future__ import annotations

import gc
import json
import re
from array import array
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Callable

DEPTH_MAX = 128
"""Arrays and objects inside each other. Without a bound the depth of the caller's stack would
decide what is a document, and that differs from replica to replica."""

LARGE = 1 << 14
"""Characters from which on the collector waits: it would look again and again at what is thrown
away at once, and take several times as long as the scan."""

Steps: TypeAlias = "tuple[str | int, ...]"
"""A path taken apart: fields by name, items by index."""

SPACES = " \t\n\r"
LAST = -1

_SPACE = re.compile(r"[ \t\n\r]*")
_COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_AFTER_VALUE = re.compile(r"[ \t\n\r]*([,\]}])[ \t\n\r]*")
# One that is not closed goes to the end: else each quote in it would be tried as a beginning.
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
# Members that most have, which are passed over many at a time. The scanner knows the others.
_BLOCK = 64
_S = r"[ \t\n\r]*+"
_PLAIN = r'"[^"\\\x00-\x1f]*+"'
_NUMBER = r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?"
_SIMPLE = rf"(?:{_NUMBER}|{_PLAIN}|true|false|null|\[\]|\{{\}}){_S},{_S}"
_ITEMS = re.compile(rf"(?:{_SIMPLE}){{{_BLOCK}}}")
_FIELDS = re.compile(rf"(?:{_PLAIN}{_S}:{_S}{_SIMPLE}){{{_BLOCK}}}")
_LEVELS = bytes.maketrans(b"[{]}", array("b", [1, 1, -1, -1]).tobytes())
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))


class NoJsonError(ValueError):
    """A text is no document."""


class Member(NamedTuple):
    """A member that the last step of a path means."""

    start: int
    """Of a field, where its name begins."""
    value: int
    end: int
    next: int
    """Where the next member starts; `LAST` when there is none."""


class Members:
    """What stands in the array or object that the last step of a path looks into."""

    __slots__ = ("begin", "chosen", "close", "count", "is_object")

    def __init__(self, begin: int, *, is_object: bool) -> None:
        self.is_object = is_object
        self.begin = begin
        """Right after the opening bracket."""
        self.close = begin
        """Where the closing bracket is."""
        self.count = 0
        """Of an array that ends before the item that was looked for: its length."""
        self.chosen: list[Member] = []
        """Of fields with the same name there may be several."""


def decode(data: bytes) -> str:
    """The text of what may be a document. Raises `NoJsonError`."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise NoJsonError("it is not UTF-8") from error
    if is_deeper(text, DEPTH_MAX):
        raise NoJsonError(f"it is more than {DEPTH_MAX} deep")
    return text


def is_deeper(text: str, most: int) -> bool:
    """Whether more than `most` arrays and objects of a document are inside each other."""
    if text.count("[") + text.count("{") <= most:
        return False
    shape = _STRING.sub("", text).encode().translate(_LEVELS, _NO_BRACKETS)
    return max(accumulate(array("b", shape)), default=0) > most


def _refuse_constant(_name: str) -> object:
    raise ValueError("no JSON")


# Numbers become the length of their text: conversion takes long for long ones, and may fail. Of
# objects only the length is kept too.
_DECODER = json.JSONDecoder(
    parse_int=len, parse_float=len, parse_constant=_refuse_constant, object_pairs_hook=len
)
_scan = cast("Callable[[str, int], tuple[object, int]]", vars(_DECODER)["scan_once"])
_MISTAKES = (ValueError, StopIteration)
"""What the scanner raises."""


class Walk:
    """One pass over a document; `members` is what the last step of the path looks into."""

    __slots__ = ("_steps", "_text", "members")

    def __init__(self, text: str, steps: Steps) -> None:
        self._text = text
        self._steps = steps
        self.members: Members | None = None

    def run(self) -> None:
        """Raises `NoJsonError` when the text is no document, whatever the path is."""
        text = self._text
        pauses = len(text) >= LARGE and gc.isenabled()
        if pauses:
            gc.disable()
        try:
            end = self._value(self._space(0), 0)
        finally:
            if pauses:
                gc.enable()
        if self._space(end) != len(text):
            raise _no_json(end)

    def _value(self, at: int, depth: int) -> int:
        """Passes over the value at `at`, which the first `depth` steps have led to; its end."""
        steps = self._steps
        if depth < len(steps):
            bracket, step = self._text[at : at + 1], steps[depth]
            if bracket == "{" and isinstance(step, str):
                return self._object(at + 1, depth, step)
            if bracket == "[" and isinstance(step, int):
                return self._array(at + 1, depth, step)
        return self._skip(at)

    def _array(self, begin: int, depth: int, wanted: int) -> int:
        members = self._note(depth, Members(begin, is_object=False))
        at = self._space(begin)
        if self._text[at : at + 1] == "]":
            members.close = at
            return at + 1
        members.count, at, close = self._pass_items(at, wanted)
        if at != LAST:
            end = self._value(at, depth + 1)
            following, close = self._after(end, "]")
            members.chosen.append(Member(at, at, end, following))
            if following != LAST:
                close = self._pass_rest(following, "[")
        members.close = close
        return close + 1

    def _pass_items(self, at: int, most: int) -> tuple[int, int, int]:
        """Passes over up to `most` items of an array, the first of which is at `at`.

        How many; where the next one is, or `LAST` and where the closing bracket is.
        """
        text = self._text
        count = close = simple_from = 0
        while count < most and at != LAST:
            if simple_from <= count <= most - _BLOCK:
                block = _ITEMS.match(text, at)
                if block is not None:
                    at = block.end()
                    count += _BLOCK
                    continue
                # Else each item could be looked at up to so many times.
                simple_from = count + _BLOCK
            try:
                end = _scan(text, at)[1]
            except _MISTAKES as error:
                raise _no_json(at) from error
            count += 1
            at = end + 1
            if text[end:at] != "," or text[at : at + 1] <= " ":
                at, close = self._after(end, "]")
        return count, at, close

    def _object(self, begin: int, depth: int, wanted: str) -> int:
        text = self._text
        members = self._note(depth, Members(begin, is_object=True))
        at = self._space(begin)
        if text[at : at + 1] == "}":
            members.close = at
            return at + 1
        # After these no name can be the one: it would be written as it is, or with escapes.
        quoted = f'"{wanted}"'
        last = max(text.rfind(quoted), text.rfind("\\"))
        one_by_one = 0
        while at <= last:
            if not one_by_one:
                block = _FIELDS.match(text, at)
                if block is not None and text.find(quoted, at, block.end()) < 0:
                    at = block.end()
                    continue
                one_by_one = _BLOCK
            one_by_one -= 1
            start = at
            name, at = self._name(at)
            if name == wanted:
                if depth + 1 < len(self._steps):
                    self.members = None  # of an earlier field with this name
                end = self._value(at, depth + 1)
                following, close = self._after(end, "}")
                members.chosen.append(Member(start, at, end, following))
            else:
                following, close = self._after(self._skip(at), "}")
            if following == LAST:
                break
            at = following
        else:
            close = self._pass_rest(at, "{")
        members.close = close
        return close + 1

    def _note(self, depth: int, members: Members) -> Members:
        if depth + 1 == len(self._steps):
            self.members = members
        return members

    def _name(self, at: int) -> tuple[object, int]:
        """The name of the field at `at`, and where its value begins."""
        text = self._text
        if text[at : at + 1] != '"':
            raise _no_json(at)
        try:
            name, end = _scan(text, at)
        except _MISTAKES as error:
            raise _no_json(at) from error
        if text[end : end + 1] == ":":
            at = end + 2 if text[end + 1 : end + 2] == " " else end + 1
            if text[at : at + 1] > " ":
                return name, at
        colon = _COLON.match(text, end)
        if colon is None:
            raise _no_json(end)
        return name, colon.end()

    def _after(self, end: int, closing: str) -> tuple[int, int]:
        """What comes after a member that ends at `end`.

        Where the next one starts and 0, or `LAST` and where the closing bracket is.
        """
        text = self._text
        # Short for what most write.
        if text[end : end + 1] == ",":
            at = end + 2 if text[end + 1 : end + 2] == " " else end + 1
            if text[at : at + 1] > " ":
                return at, 0
        match = _AFTER_VALUE.match(text, end)
        if match is None or match[1] not in (",", closing):
            raise _no_json(end)
        return (match.end(), 0) if match[1] == "," else (LAST, match.start(1))

    def _pass_rest(self, at: int, opening: str) -> int:
        """Passes over the members from the one at `at` on; where the closing bracket is.

        The scanner takes no part of an array or object: it is given one that begins here.
        """
        text = self._text
        # There is a member, because a comma was before it.
        if text[at : at + 1] not in ("]", "}"):
            try:
                return _scan(opening + text[at:], 0)[1] + at - 2
            except _MISTAKES:
                pass
        return self._find_mistake(at, opening)

    def _find_mistake(self, at: int, opening: str) -> int:
        """What `_pass_rest` does, one by one, so as to say where the mistake is."""
        close = LAST
        while at != LAST:
            value = self._name(at)[1] if opening == "{" else at
            at, close = self._after(self._skip(value), "}" if opening == "{" else "]")
        return close

    def _skip(self, at: int) -> int:
        try:
            return _scan(self._text, at)[1]
        except _MISTAKES as error:
            raise _no_json(at) from error

    def _space(self, at: int) -> int:
        match = _SPACE.match(self._text, at)
        return at if match is None else match.end()


def _no_json(at: int) -> NoJsonError:
    return NoJsonError(f"there is a mistake at or after character {at + 1}")
