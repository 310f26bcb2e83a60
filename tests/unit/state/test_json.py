"""JSON documents in keys: paths, what is found and changed at them, and what is refused."""

from __future__ import annotations

import gc
import json
from typing import TYPE_CHECKING

import pytest

from cluster.state import json_path, json_walk
from cluster.state.json_path import JsonError, parse_path
from cluster.state.json_walk import DEPTH_MAX, LARGE
from cluster.state.keyspace import Record
from cluster.state.kv_json import json_get
from flo.wire.status import Reason
from tests.unit.state.helpers import START_MS, Bench, delete, expire, json_delete, json_set, put

DOCUMENT = b' {"name" : "Ada","tags":[ "a", {"b":[1,2.50,-0]} ] , "n":null,"" :1} '

if TYPE_CHECKING:
    from cluster.state.commands import Result
    from cluster.state.json_walk import Steps


@pytest.fixture
def bench() -> Bench:
    """With a document in "a"."""
    bench = Bench()
    bench.run(put(b"a", DOCUMENT))
    return bench


def get(bench: Bench, path: bytes, key: bytes = b"a") -> Result:
    return json_get(bench.stored(key), path)


def reason(result: Result) -> Reason:
    assert isinstance(result[0], int)
    return Reason(result[0])


class TestPaths:
    @pytest.mark.parametrize(
        ("path", "steps"),
        [
            (b"", ()),
            (b"$", ()),
            (b".a", ("a",)),
            (b"$.a.b", ("a", "b")),
            (b"$[0]", (0,)),
            (b"[12][0].x", (12, 0, "x")),
            (b"$.a b.-1.$", ("a b", "-1", "$")),
            ("$.größe".encode(), ("größe",)),
            (b"$.a\\n", ("a\\n",)),
        ],
    )
    def test_are_taken_apart(self, path: bytes, steps: Steps) -> None:
        assert parse_path(path) == steps

    @pytest.mark.parametrize(
        "path",
        [
            b"a",
            b"$a",
            b"$$",
            b"$.",
            b"$..a",
            b"$.a.",
            b"$[]",
            b"$[-1]",
            b"$[01]",
            b"$[1:2]",
            b"$[*]",
            b"$.*",
            b"$['a']",
            b'$."a"',
            b"$.a[0",
            b"$.a]",
            "$[٣]".encode(),
            b"$.\xff",
        ],
    )
    def test_others_are_refused(self, bench: Bench, path: bytes) -> None:
        with pytest.raises(JsonError, match="path"):
            parse_path(path)
        for result in (
            get(bench, path),
            bench.one(json_set(b"a", path, b"1")),
            bench.one(json_delete(b"a", path)),
            get(bench, path, b"missing"),
        ):
            assert reason(result) is Reason.MALFORMED
        assert bench.get(b"a") == Record(1, 0, DOCUMENT)


class TestGet:
    @pytest.mark.parametrize(
        ("path", "part"),
        [
            (b"$", DOCUMENT),
            (b"$.name", b'"Ada"'),
            (b".tags", b'[ "a", {"b":[1,2.50,-0]} ]'),
            (b"$.tags[0]", b'"a"'),
            (b"$.tags[1].b[1]", b"2.50"),
            (b"$.tags[1].b[2]", b"-0"),
            (b"$.n", b"null"),
        ],
    )
    def test_gives_the_text_with_the_version_of_the_whole(
        self, bench: Bench, path: bytes, part: bytes
    ) -> None:
        assert get(bench, path) == (0, 1, part)

    @pytest.mark.parametrize(
        "path", [b".x", b".tags[2]", b".name.x", b".name[0]", b"[0]", b".tags.a", b".n.x", b".n[0]"]
    )
    def test_nothing_there_is_not_found(self, bench: Bench, path: bytes) -> None:
        result = get(bench, path)
        assert reason(result) is Reason.NOT_FOUND
        assert result[1] == b"the document has nothing at this path"

    def test_a_missing_key_is_not_found(self, bench: Bench) -> None:
        assert get(bench, b"$", b"b") == (Reason.NOT_FOUND,)

    def test_of_the_same_name_the_last_counts(self, bench: Bench) -> None:
        bench.run(put(b"a", b'{"x":{"y":1},"x":{"z":2},"\\u0078":{"z":3}}'))
        assert get(bench, b".x") == (0, 2, b'{"z":3}')
        assert get(bench, b".x.z") == (0, 2, b"3")
        assert reason(get(bench, b".x.y")) is Reason.NOT_FOUND
        bench.run(put(b"a", b'{"x":{"y":1},"x":2}'))
        assert reason(get(bench, b".x.y")) is Reason.NOT_FOUND

    @pytest.mark.parametrize(
        "value",
        [
            b"",
            b" ",
            b"{",
            b"[1,]",
            b"[1 2]",
            b'{"a":1,}',
            b'{"a" 1}',
            b"{a:1}",
            b"{1:1}",
            b"[1}",
            b'{"a":1]',
            b"1 2",
            b"01",
            b"+1",
            b"1.",
            b"'a'",
            b'"a',
            b'"\n"',
            b'"\\x"',
            b"nul",
            b"NaN",
            b"[Infinity]",
            b"-Infinity",
            b'"\xff"',
            b'"\xed\xa0\x80"',
            b"\xef\xbb\xbf1",
            b"\x00",
            bytes(8),
            b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1),
            b"[" * 100_000,
        ],
    )
    @pytest.mark.parametrize("path", [b"$", b".a", b"[0]"])
    def test_a_value_that_is_no_document_is_refused(
        self, bench: Bench, value: bytes, path: bytes
    ) -> None:
        bench.run(put(b"a", value))
        results = [get(bench, path)]
        if path != b"$":
            results += [bench.one(json_set(b"a", path, b"1")), bench.one(json_delete(b"a", path))]
        for result in results:
            assert reason(result) is Reason.WRONG_TYPE
            assert b"no JSON document" in result[1]  # type: ignore[operator]
        assert bench.value(b"a") == value
        assert reason(bench.one(json_set(b"a", b"$", value))) is Reason.MALFORMED

    @pytest.mark.parametrize(
        "value",
        [b"1e400", b"9" * 5000, b'"\\ud800"', b'"\\u0000"', b"[" * DEPTH_MAX + b"]" * DEPTH_MAX],
    )
    def test_odd_documents_come_back_as_they_are(self, bench: Bench, value: bytes) -> None:
        bench.run(json_set(b"a", b"$", value))
        assert get(bench, b"$") == (0, 2, value)

    def test_brackets_in_strings_are_not_depth(self, bench: Bench) -> None:
        value = b'{"x":"' + b'[\\"{' * 500 + b'"}'
        assert bench.run(put(b"a", value), json_set(b"a", b".y", b"1"))[1] == (0, 3)


class TestSet:
    @pytest.mark.parametrize(
        ("before", "path", "document", "after"),
        [
            (b'{"a":1, "b" : 2}', b".a", b"[3]", b'{"a":[3], "b" : 2}'),
            (b'{"a":1, "b" : 2 }', b".b", b" 3 ", b'{"a":1, "b" : 3 }'),
            (b"{}", b".a", b"1", b'{"a":1}'),
            (b"{ }", b".a", b"1", b'{"a":1 }'),
            (b'{"b":2 }', b".a", b'"x"', b'{"b":2,"a":"x" }'),
            (b"{}", ".größe".encode(), b"1", '{"größe":1}'.encode()),
            (b"[1, 2 ]", b"[0]", b"{}", b"[{}, 2 ]"),
            (b"[1, 2 ]", b"[2]", b"3", b"[1, 2,3 ]"),
            (b"[ ]", b"[0]", b"3", b"[3 ]"),
            (b'{"a":[{"b":1.0}]}', b".a[0].b", b"2", b'{"a":[{"b":2}]}'),
            (b'{"a":[{}]}', b".a[0].b", b"2", b'{"a":[{"b":2}]}'),
            (b'{"a":1,"a":2}', b".a", b"3", b'{"a":1,"a":3}'),
            (b'{"a":{"x":1},"a":{}}', b".a.x", b"3", b'{"a":{"x":1},"a":{"x":3}}'),
        ],
    )
    def test_changes_that_and_nothing_else(
        self, bench: Bench, before: bytes, path: bytes, document: bytes, after: bytes
    ) -> None:
        assert bench.run(put(b"a", before), json_set(b"a", path, document))[1] == (0, 3)
        assert bench.get(b"a") == Record(3, 0, after)

    def test_a_name_is_written_as_json(self, bench: Bench) -> None:
        bench.run(json_set(b"a", b"$", b"{}"), json_set(b"a", b".b\\c\n", b"1"))
        assert bench.value(b"a") == b'{"b\\\\c\\n":1}'
        assert get(bench, b".b\\c\n") == (0, 3, b"1")

    def test_the_whole_replaces_and_creates(self, bench: Bench) -> None:
        assert bench.one(json_set(b"new", b"", b" [1] ")) == (0, 2)
        assert bench.get(b"new") == Record(2, 0, b" [1] ")
        bench.run(put(b"a", b"no document"))
        assert bench.one(json_set(b"a", b"$", b"1")) == (0, 4)
        assert bench.value(b"a") == b"1"

    @pytest.mark.parametrize(
        "path", [b".x.y", b".tags[3]", b".tags[5]", b".name.x", b".name[0]", b".tags.x", b"[0]"]
    )
    def test_what_leads_there_must_be_there(self, bench: Bench, path: bytes) -> None:
        assert reason(bench.one(json_set(b"a", path, b"1"))) is Reason.NOT_FOUND
        assert bench.get(b"a") == Record(1, 0, DOCUMENT)

    def test_a_part_needs_the_key(self, bench: Bench) -> None:
        assert bench.one(json_set(b"b", b".x", b"1")) == (Reason.NOT_FOUND,)
        assert bench.get(b"b") is None

    def test_no_document_is_refused(self, bench: Bench) -> None:
        for path in (b"$", b".x"):
            result = bench.one(json_set(b"a", path, b"{x}"))
            assert result == (
                Reason.MALFORMED,
                b"the document is no JSON: there is a mistake at or after character 1",
            )
        assert bench.get(b"a") == Record(1, 0, DOCUMENT)

    def test_the_time_to_live_stays(self, bench: Bench) -> None:
        bench.run(expire(b"a", 100))
        bench.run(json_set(b"a", b".n", b"1"), at_ms=10)
        bench.run(json_set(b"a", b"$", b"{}"), at_ms=20)
        assert bench.get(b"a") == Record(3, START_MS + 100, b"{}")

    def test_an_expired_document_is_absent(self, bench: Bench) -> None:
        bench.run(expire(b"a", 100))
        assert (
            bench.run(
                json_set(b"a", b".n", b"1"), json_delete(b"a", b".n"), json_delete(b"a"), at_ms=100
            )
            == [(Reason.NOT_FOUND,)] * 3
        )
        bench.run(json_set(b"a", b"$", b"1"), at_ms=100)
        assert bench.get(b"a") == Record(2, 0, b"1")

    def test_two_of_different_fields_lose_nothing(self, bench: Bench) -> None:
        bench.run(json_set(b"a", b"$", b"{}"))
        bench.run(json_set(b"a", b".x", b"1"), json_set(b"a", b".y", b"2"))
        assert bench.value(b"a") == b'{"x":1,"y":2}'

    def test_depth_is_bounded(self, bench: Bench) -> None:
        bench.run(put(b"a", b"[" * (DEPTH_MAX - 1) + b"]" * (DEPTH_MAX - 1)))
        innermost = b"[0]" * (DEPTH_MAX - 1)
        assert bench.one(json_set(b"a", innermost, b"[]")) == (0, 3)
        result = bench.one(json_set(b"a", innermost, b"[[]]"))
        assert reason(result) is Reason.MALFORMED
        assert get(bench, innermost) == (0, 3, b"[]")

    def test_size_is_bounded_unless_it_shrinks(self, bench: Bench) -> None:
        bench.run(put(b"a", b'{"x":"12345678"}'))
        assert bench.one(json_set(b"a", b".y", b"1", bytes_max=21)) == (
            Reason.FIELD_TOO_LONG,
            b"the document would have 22 bytes: at most 21",
        )
        assert bench.one(json_set(b"a", b".y", b"1", bytes_max=22)) == (0, 3)
        assert bench.one(json_set(b"a", b".x", b'""', bytes_max=5)) == (0, 4)
        assert reason(bench.one(json_set(b"b", b"$", b"123456", bytes_max=5))) == (
            Reason.FIELD_TOO_LONG
        )


class TestDelete:
    @pytest.mark.parametrize(
        ("before", "path", "after"),
        [
            (b'{"a":1}', b".a", b"{}"),
            (b'{ "a":1 }', b".a", b"{  }"),
            (b'{"a":1, "b":2, "c" : 3 }', b".a", b'{"b":2, "c" : 3 }'),
            (b'{"a":1, "b":2, "c" : 3 }', b".b", b'{"a":1, "c" : 3 }'),
            (b'{"a":1, "b":2, "c" : 3 }', b".c", b'{"a":1, "b":2 }'),
            (b"[1]", b"[0]", b"[]"),
            (b"[1 , 2,3]", b"[0]", b"[2,3]"),
            (b"[1 , 2,3]", b"[1]", b"[1 , 3]"),
            (b"[1 , 2 ,3]", b"[2]", b"[1 , 2]"),
            (b'{"a":[{"b":1,"c":2}]}', b".a[0].b", b'{"a":[{"c":2}]}'),
            (b'{"a":1,"b":2,"a":3}', b".a", b'{"b":2}'),
            (b'{"b":2,"a":1,"a":3}', b".a", b'{"b":2}'),
            (b'{"a":1,"a":3,"b":2}', b".a", b'{"b":2}'),
            (b'{"a":1,"a":3}', b".a", b"{}"),
            (b'{"a":1,"c":0,"a":3,"b":2,"a":4}', b".a", b'{"c":0,"b":2}'),
        ],
    )
    def test_takes_out_that_and_one_comma(
        self, bench: Bench, before: bytes, path: bytes, after: bytes
    ) -> None:
        assert bench.run(put(b"a", before), json_delete(b"a", path))[1] == (0, 3)
        assert bench.get(b"a") == Record(3, 0, after)

    def test_the_whole_is_the_key(self, bench: Bench) -> None:
        assert bench.one(json_delete(b"a")) == (0, None)
        assert bench.get(b"a") is None
        assert bench.run(json_delete(b"a"), delete(b"a"), put(b"a", b"1")) == [
            (Reason.NOT_FOUND,),
            (0, False),
            (0, 3),
        ]

    @pytest.mark.parametrize("path", [b".x", b".x.y", b".tags[2]", b".name.x", b"[0]", b".tags.x"])
    def test_nothing_there_is_not_found(self, bench: Bench, path: bytes) -> None:
        assert reason(bench.one(json_delete(b"a", path))) is Reason.NOT_FOUND
        assert bench.get(b"a") == Record(1, 0, DOCUMENT)

    def test_the_time_to_live_stays(self, bench: Bench) -> None:
        bench.run(expire(b"a", 100), json_delete(b"a", b".n"))
        record = bench.get(b"a")
        assert record is not None
        assert record.expires_at_ms == START_MS + 100


LONG: list[object] = [1, -2.5e3, "", "a,b]", None, True, [], {}] * 50
LONG[70] = [[1], {"x": 1}]
LONG[140] = '\\ "'
NAMES = [f"k{n}" for n in range(len(LONG))]
NAMES[64] = "\n"


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\n", "\t: ")])
class TestLong:
    """Members that are passed over many at a time."""

    def test_each_item_is_found_changed_and_cut(self, separators: tuple[str, str]) -> None:
        data = json.dumps(LONG, separators=separators).encode()
        for index, item in enumerate(LONG):
            found = json_path.get(data, (index,))
            assert found is not None
            assert json.loads(found) == item
            changed = json_path.put(data, (index,), '"x"')
            assert changed is not None
            assert json.loads(changed) == [*LONG[:index], "x", *LONG[index + 1 :]]
            cut = json_path.delete(data, (index,))
            assert cut is not None
            assert json.loads(cut) == LONG[:index] + LONG[index + 1 :]
        appended = json_path.put(data, (len(LONG),), "7")
        assert appended is not None
        assert json.loads(appended) == [*LONG, 7]
        assert json_path.put(data, (len(LONG) + 1,), "7") is None

    def test_each_field_is_found_changed_and_cut(self, separators: tuple[str, str]) -> None:
        model = dict(zip(NAMES, LONG, strict=True))
        data = json.dumps(model, separators=separators).encode()
        for name in (*NAMES, "new"):
            found = json_path.get(data, (name,))
            assert (None if found is None else json.loads(found)) == model.get(name)
            changed = json_path.put(data, (name,), '"x"')
            assert changed is not None
            assert json.loads(changed) == {**model, name: "x"}
            cut = json_path.delete(data, (name,))
            without = {each: item for each, item in model.items() if each != name}
            assert without == (model if cut is None else json.loads(cut))

    @pytest.mark.parametrize("mistake", ["01", "1,", "nul", '"\t"', "[1}", "1 1", "{]"])
    def test_mistakes_are_seen_wherever_they_are(
        self, separators: tuple[str, str], mistake: str
    ) -> None:
        items = [json.dumps(item) for item in LONG]
        for place in (0, 1, 63, 64, 65, 200, len(LONG) - 1):
            wrong = [*items[:place], mistake, *items[place + 1 :]]
            array = f"[{separators[0].join(wrong)}]".encode()
            fields = [f'"{n}"{separators[1]}{item}' for n, item in enumerate(wrong)]
            for index in (0, 64, 300, 399, 1000):
                with pytest.raises(JsonError):
                    json_path.get(array, (index,))
                with pytest.raises(JsonError):
                    json_path.get(f"{{{separators[0].join(fields)}}}".encode(), (str(index),))


class TestCost:
    @pytest.mark.parametrize(
        ("data", "path", "most"),
        [
            (b"[" + b",".join([b"1"] * 10_000) + b"]", b"[5]", 10),
            (b"[" + b", ".join([b"1"] * 10_000) + b"]", b"[9999]", 100),
            (b"[" + b",".join([b'"abc"'] * 10_000) + b"]", b"[10000]", 100),
            (b"[" + b", ".join([b'{"a": [1]}'] * 10_000) + b"]", b"[5].a", 10),
            (b"{" + b",".join([b'"a":1'] * 10_000) + b"}", b".new", 10),
            (b'{"x":{' + b",".join([b'"a": 1'] * 10_000) + b'},"y":1}', b".y", 10),
            (b"{" + b",".join([b'"a": 1'] * 10_000) + b',"y":1}', b".y", 200),
        ],
    )
    def test_members_are_not_stepped_through_one_by_one(
        self, monkeypatch: pytest.MonkeyPatch, data: bytes, path: bytes, most: int
    ) -> None:
        decoder = json.JSONDecoder()
        scanned: list[int] = []

        def counted(text: str, at: int) -> tuple[object, int]:
            scanned.append(at)
            return decoder.raw_decode(text, at)

        monkeypatch.setattr(json_walk, "_scan", counted)
        assert json_path.put(data, parse_path(path), "2") is not None
        assert 0 < len(scanned) <= most

    @pytest.mark.parametrize("end", [b"]", b"}"])
    def test_the_collector_waits_meanwhile(self, end: bytes) -> None:
        data = b"[" + b",".join([b"[[]]"] * LARGE) + end
        runs: list[str] = []

        def note(phase: str, _info: dict[str, int]) -> None:
            runs.append(phase)

        gc.collect()
        gc.callbacks.append(note)
        try:
            if end == b"]":
                json_path.get(data, ())
            else:
                with pytest.raises(JsonError):
                    json_path.get(data, ())
            during = len(runs)
        finally:
            gc.callbacks.remove(note)
        assert during <= 2
        assert gc.isenabled()
