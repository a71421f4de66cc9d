"""Steps that are one event, and temperatures of darks that share a name."""

import pytest

from ccdflow.kinds.measuring.trend_series import names_of_temperatures
from ccdflow.kinds.measuring.trends import rows_of_events


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        # Three days after the one before it a step is of the same event, four days after not.
        (["c1 01", "c1 04", "c1 07", "c1 11"], [["01", "04", "07"], ["11"]]),
        (["c1 01", "c2 01", "c2 02"], [["01"], ["01", "02"]]),
        ([], []),
    ],
)
def test_steps_of_a_camera_a_few_days_apart_are_one_event(steps, expected):
    rows = [{"camera": camera, "night": f"2024-03-{day}"} for camera, day in map(str.split, steps)]
    events = [[row["night"][-2:] for row in event] for event in rows_of_events(rows)]
    assert events == expected


def test_temperatures_within_the_tolerance_of_the_next_lower_one_share_a_name():
    texts = {"-100.0", "-99.6", "-99.2", "-98.6", "-10.0", ""}
    assert names_of_temperatures(texts, 0.5) == {
        "-100.0": "-100 C", "-99.6": "-100 C", "-99.2": "-100 C", "-98.6": "-99 C",
        "-10.0": "-10 C", "": "",
    }  # fmt: skip
