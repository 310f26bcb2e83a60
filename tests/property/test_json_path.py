"""Parts of documents against a model: the library, which reads and writes them as a whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias, cast

from hypothesis import example, given
from hypothesis import strategies as st

from cluster.state import json_path
from cluster.state.json_path import JsonError

if TYPE_CHECKING:
    from cluster.state.json_walk import Steps

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

# Few names, so that paths meet what is there.
names = st.sampled_from(["a", "b", "c", "ä", "x y", "\u2028", "-1"])
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
texts = st.text(max_size=5) | st.sampled_from(['"', "\\", "[{", "}],", "\\u0041", "\ud800", "\x00"])
documents: st.SearchStrategy[Json] = st.recursive(
    scalars | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=15,
)
paths: st.SearchStrategy[Steps] = st.lists(names | st.integers(0, 4), min_size=1, max_size=4).map(
    tuple
)
spaces = st.sampled_from(["", " ", "\n", "\t \r\n"])
NOTHING = object()


@st.composite
def written(draw: st.DrawFn, document: Json) -> str:
    """The document as somebody may have written it: spaces anywhere, escapes or not."""

    def space() -> str:
        return draw(spaces)

    if isinstance(document, list):
        items = [f"{space()}{draw(written(item))}{space()}" for item in document]
        return f"[{','.join(items) or space()}]"
    if isinstance(document, dict):
        fields = [
            f"{space()}{draw(written(name))}{space()}:{space()}{draw(written(value))}{space()}"
            for name, value in document.items()
        ]
        return "{" + (",".join(fields) or space()) + "}"
    # What UTF-8 has no bytes for can only be written as an escape.
    odd = isinstance(document, str) and any("\ud800" <= each <= "\udfff" for each in document)
    return json.dumps(document, ensure_ascii=odd or draw(st.booleans()))


texts_of_documents = documents.flatmap(written)


def spoken(steps: Steps) -> bytes:
    return ("$" + "".join(f".{s}" if isinstance(s, str) else f"[{s}]" for s in steps)).encode()


def look_up(document: object, steps: Steps) -> object:
    for step in steps:
        if isinstance(document, dict) and isinstance(step, str):
            document = cast("dict[str, Json]", document).get(step, cast("Json", NOTHING))
        elif isinstance(document, list) and isinstance(step, int):
            items = cast("list[Json]", document)
            document = items[step] if step < len(items) else NOTHING
        else:
            return NOTHING
    return document


def replace(document: object, steps: Steps, part: Json) -> bool:
    """Whether it could be done."""
    parent, last = look_up(document, steps[:-1]), steps[-1]
    if isinstance(parent, dict) and isinstance(last, str):
        cast("dict[str, Json]", parent)[last] = part
        return True
    if isinstance(parent, list) and isinstance(last, int):
        items = cast("list[Json]", parent)
        if last <= len(items):
            items[last : last + 1] = [part]
            return True
    return False


def take_out(document: object, steps: Steps) -> bool:
    if look_up(document, steps) is NOTHING:
        return False
    parent = cast("dict[str | int, Json]", look_up(document, steps[:-1]))
    del parent[steps[-1]]
    return True


def untouched(before: bytes, after: bytes) -> tuple[bytes, bytes]:
    """What both begin with, and what both end with."""
    head = 0
    while head < min(len(before), len(after)) and before[head] == after[head]:
        head += 1
    tail = 0
    while (
        tail < min(len(before), len(after)) - head
        and before[len(before) - 1 - tail] == after[len(after) - 1 - tail]
    ):
        tail += 1
    return before[:head], before[len(before) - tail :]


@given(texts_of_documents, paths)
def test_a_path_is_what_it_says(text: str, steps: Steps) -> None:
    assert json_path.parse_path(spoken(steps)) == steps
    found = json_path.get(text.encode(), steps)
    expected = look_up(json.loads(text), steps)
    if found is None:
        assert expected is NOTHING
    else:
        assert json.loads(found) == expected
        assert found in text.encode()


@given(texts_of_documents, paths, documents.flatmap(written))
def test_setting_changes_that_and_nothing_else(text: str, steps: Steps, part: str) -> None:
    before = text.encode()
    model: object = json.loads(text)
    after = json_path.put(before, steps, part)
    if not replace(model, steps, json.loads(part)):
        assert after is None
        return
    assert after is not None
    assert json.loads(after) == model
    old = json_path.get(before, steps)
    stripped = part.strip(" \t\r\n").encode()
    assert json_path.get(after, steps) == stripped
    head, tail = untouched(before, after)
    changed = len(before) - len(head) - len(tail)
    assert changed <= len(old or b"")
    if old is None:
        assert len(after) - len(before) <= len(stripped) + len(json.dumps(steps[-1])) + 2
    else:
        assert len(after) - len(before) == len(stripped) - len(old)


@given(texts_of_documents, paths)
def test_deleting_takes_out_that_and_nothing_else(text: str, steps: Steps) -> None:
    before = text.encode()
    model: object = json.loads(text)
    after = json_path.delete(before, steps)
    if not take_out(model, steps):
        assert after is None
        return
    assert after is not None
    assert json.loads(after) == model
    head, tail = untouched(before, after)
    assert len(head) + len(tail) == len(after), "nothing is new"


@st.composite
def with_repeated_names(draw: st.DrawFn) -> str:
    fields = draw(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9)), max_size=6))
    return "{" + ",".join(f'"{name}":{{"x":{value}}}' for name, value in fields) + "}"


@given(with_repeated_names(), st.sampled_from([("a",), ("a", "x"), ("a", "y")]))
def test_of_the_same_name_the_last_counts(text: str, steps: Steps) -> None:
    model: object = json.loads(text)
    found = json_path.get(text.encode(), steps)
    expected = look_up(model, steps)
    assert found is None if expected is NOTHING else json.loads(found or b"") == expected
    after = json_path.delete(text.encode(), steps)
    if take_out(model, steps):
        assert after is not None
        assert json.loads(after) == model
    after = json_path.put(text.encode(), steps, "7")
    if replace(model, steps, 7):
        assert after is not None
        assert json.loads(after) == model


def _is_json(data: bytes) -> bool:
    def refuse(_name: str) -> object:
        raise ValueError

    try:
        json.loads(data.decode(), parse_constant=refuse)
    except ValueError:
        return False
    return True


_PIECES = ["{", "}", "[", "]", ":", ",", '"', '"a"', "\\", "1", "-", "true", "NaN", " ", "1e5", "."]


@given(
    st.lists(st.sampled_from(_PIECES), max_size=12).map(lambda each: "".join(each).encode())
    | st.binary(max_size=8),
    paths,
)
@example(b"", ("a",))
@example(b'{"a"', ("a",))
@example(b'{"a":', ("a",))
@example(b'{"a":1', ("a",))
@example(b"[1,", (0,))
@example(b'"' + b'\\"' * 50, (0,))
def test_what_is_a_document_does_not_depend_on_the_path(data: bytes, steps: Steps) -> None:
    for given_path in ((), steps):
        try:
            json_path.get(data, given_path)
        except JsonError:
            assert not _is_json(data)
        else:
            assert _is_json(data)
