"""Pages of a scan over several partitions, against a sorted list of all keys."""

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.config import Limits
from flo.wire.limits import V1_CURSOR_BYTES_MAX, V2_CURSOR_BYTES_MAX
from flo.wire.messages import KvMget, KvPut, KvScan, Page, PageEntry, Values
from tests.unit.node.small_cluster import SmallCluster

NS = b"default"
SHORT = st.text("ab:{}", min_size=1, max_size=4).map(str.encode)
LONG = st.integers(0, 9).map(lambda number: b"a" * 100 + b"%d" % number)
KEYS = st.one_of(SHORT, LONG)
VALUES = st.integers(0, 200).map(bytes)
PREFIXES = st.sampled_from([b"", b"a", b"ab", b"a:", b"b", b"{", b"z", b"a" * 100])


@settings(max_examples=60)
@given(
    stored=st.dictionaries(KEYS, VALUES, max_size=40),
    prefix=PREFIXES,
    limits=st.lists(st.one_of(st.integers(1, 5), st.integers(1, 50)), min_size=1, max_size=4),
    max_bytes=st.sampled_from([1, 50, 300, 100_000]),
    revision_and_keys_only=st.sampled_from([(1, False), (1, True), (2, True)]),
    node=st.sampled_from([1, 2]),
)
def test_pages_are_the_sorted_keys(
    *,
    stored: dict[bytes, bytes],
    prefix: bytes,
    limits: list[int],
    max_bytes: int,
    revision_and_keys_only: tuple[int, bool],
    node: int,
) -> None:
    revision, keys_only = revision_and_keys_only
    cluster = SmallCluster(limits=Limits(scan_page_bytes_max=max_bytes))
    for key, value in stored.items():
        cluster.start(KvPut(NS, key, value))
    cluster.settle()
    wanted = [
        PageEntry(key, b"" if keys_only else stored[key])
        for key in sorted(stored)
        if key.startswith(prefix)
    ]

    found: list[PageEntry] = []
    cursor = b""
    for turn in range(len(wanted) + 1):
        limit = limits[turn % len(limits)]
        scan = KvScan(NS, prefix, limit, cursor, keys_only)
        page = cluster.run(scan, node=node, revision=revision)
        assert isinstance(page, Page)
        assert len(page.entries) <= limit
        # The last entry may be past the bound, or a large one would never be answered.
        sizes = [len(entry.key) + len(entry.value) for entry in page.entries]
        assert sum(sizes[:-1]) <= max_bytes
        found += page.entries
        if page.cursor is None:
            break
        assert page.entries, "a page may only be empty when it is the last"
        assert len(page.cursor) <= (V1_CURSOR_BYTES_MAX if revision == 1 else V2_CURSOR_BYTES_MAX)
        assert len(found) < len(wanted), "there is a cursor, but nothing follows"
        cursor = page.cursor
    assert found == wanted


@settings(max_examples=60)
@given(
    stored=st.dictionaries(SHORT, VALUES, max_size=20),
    wanted=st.lists(SHORT, min_size=1, max_size=20),
    max_bytes=st.sampled_from([1, 50, 300, 100_000]),
)
def test_an_mget_in_portions_answers_each_key(
    stored: dict[bytes, bytes], wanted: list[bytes], max_bytes: int
) -> None:
    cluster = SmallCluster(limits=Limits(scan_page_bytes_max=max_bytes))
    for key, value in stored.items():
        cluster.start(KvPut(NS, key, value))
    cluster.settle()
    answered: list[tuple[bytes, bytes | None]] = []
    while len(answered) < len(wanted):
        rest = tuple(wanted[len(answered) :])
        answer = cluster.run(KvMget(NS, rest), revision=2)
        assert isinstance(answer, Values)
        assert answer.entries
        assert answer.next_index in (None, len(answer.entries))
        assert (answer.next_index is None) == (len(answer.entries) == len(rest))
        sizes = [len(entry.value) for entry in answer.entries]
        assert sum(sizes) <= max_bytes or sum(sizes) == max(sizes)
        answered += [(entry.key, entry.value if entry.found else None) for entry in answer.entries]
    assert answered == [(key, stored.get(key)) for key in wanted]
