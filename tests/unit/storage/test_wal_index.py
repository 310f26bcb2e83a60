"""The sparse index by itself; that entries are found through it is tested with the log."""

from __future__ import annotations

from cluster.storage.wal_index import Location, SparseIndex


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


def test_places_far_into_a_large_log_fit() -> None:
    points = SparseIndex()
    far = Location((1 << 32) - 1, (1 << 30) - 1)
    points.add(1 << 60, far)
    assert points.find(1 << 60) == far
