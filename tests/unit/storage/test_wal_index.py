"""The sparse index by itself; that entries are found through it is tested with the log."""

from __future__ import annotations

from cluster.storage.wal_index import Location, SparseIndex, TermRuns


def test_a_point_leads_to_the_batch_at_or_before_an_entry() -> None:
    points = SparseIndex()
    assert points.find(1) is None
    assert points.last_index == 0
    for index, location in ((1, Location(1, 30)), (70, Location(1, 900)), (140, Location(7, 5))):
        points.add(index, location)
    assert points.last_index == 140
    found = [points.find(index) for index in (1, 69, 70, 139, 140, 9999)]
    assert found == [
        Location(1, 30),
        Location(1, 30),
        Location(1, 900),
        Location(1, 900),
        Location(7, 5),
        Location(7, 5),
    ]


def test_a_truncation_takes_exactly_the_points_of_its_entries() -> None:
    points = SparseIndex()
    for index in (1, 70, 140):
        points.add(index, Location(index, 0))
    points.truncate_from(141)
    assert len(points) == 3
    points.truncate_from(140)
    assert (len(points), points.last_index) == (2, 70)
    points.truncate_from(1)
    assert (len(points), points.last_index) == (0, 0)


def test_what_is_before_an_entry_is_forgotten_but_the_point_that_leads_to_it() -> None:
    points = SparseIndex()
    for index, sequence in ((1, 1), (70, 1), (140, 2), (200, 4)):
        points.add(index, Location(sequence, index))
    for index, left in ((1, 4), (69, 4), (70, 3), (71, 3), (150, 2), (9999, 1)):
        points.forget_before(index)
        assert len(points) == left
    assert (points.last_index, points.first_sequence, points.find(199)) == (200, 4, None)
    points.clear()
    assert (len(points), points.last_index, points.last_sequence) == (0, 0, 0)
    assert points.first_sequence == 0
    points.add(3, Location(5, 0))
    assert points.find(4) == Location(5, 0)


def test_the_first_point_after_a_segment() -> None:
    points = SparseIndex()
    for index, location in ((1, (1, 30)), (70, (1, 900)), (140, (2, 0)), (200, (4, 26))):
        points.add(index, Location(*location))
    assert (points.first_sequence, points.last_sequence) == (1, 4)
    assert [points.first_after(sequence) for sequence in range(6)] == [1, 140, 200, 200, None, None]
    points.truncate_from(200)
    assert (points.last_index, points.last_sequence) == (140, 2)


def test_the_first_run_of_terms_begins_with_the_base() -> None:
    runs = TermRuns()
    for index, term in ((1, 1), (2, 1), (3, 4), (4, 4), (5, 6)):
        runs.append(index, term)
    runs.forget_until(2, 1)
    assert [runs.term_at(index) for index in (2, 3, 4, 5)] == [1, 4, 4, 6]
    runs.forget_until(4, 4)
    assert (runs.term_at(4), runs.start_of(5), runs.last_term) == (4, 5, 6)
    runs.truncate_from(5)
    assert runs.last_term == 4
    runs.start_over(90, 7)
    assert (runs.term_at(90), runs.last_term) == (7, 7)


def test_places_far_into_a_large_log_fit() -> None:
    points = SparseIndex()
    far = Location((1 << 32) - 1, (1 << 30) - 1)
    points.add(1 << 60, far)
    assert points.find(1 << 60) == far
