"""The unit that CPU seconds of a bench are compared with."""

from bench import calibration
from bench.calibration import calibrate, unit_s
from bench.rows import line, row, title
from bench.window import Sample


def test_the_unit_is_some_processor_time() -> None:
    assert calibrate(repetitions=1) > 0


def test_the_work_has_not_changed() -> None:
    """If this fails, rows from before cannot be compared any more: do not change the loop."""
    assert calibration.work() == 429448628319904


def test_a_row_tells_what_it_cost_in_units() -> None:
    sample = Sample(1.0, 3 * unit_s(), [0.001] * 1_000)
    made = row("flo", "put", "leaders", 64, [sample])
    assert made["server_units_per_kop"] == 3.0
    assert " 3.00 " in line(made)
    assert f"units of {unit_s():.3f} s" in title()
