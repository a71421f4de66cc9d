"""The notes of the overview on a closed night, which archives keep from run to run."""

import json

from ccdflow.kinds.reporting.overview import line_of_note, note_of_line
from ccdflow.pages.page import NightLine

LINE = NightLine(
    night="2024-03-10", page="nights/2024-03-10/report.html", cameras=("cam",),
    types=(("bias", 6), ("science", 3)), n_reduced=7, n_set_aside=1, n_other=1,
    combined=(("bias", 1, 2),), grades=(("A", 2),), n_uncalibrated=1,
)  # fmt: skip


def test_the_note_of_a_night_has_the_names_that_archives_have():
    """Another name would make the next run plan all nights, or end it."""
    assert set(note_of_line(LINE)) == {
        "night", "page", "cameras", "types", "reduced", "set_aside", "other", "combined",
        "grades", "uncalibrated",
    }  # fmt: skip
    assert (note_of_line(LINE)["reduced"], note_of_line(LINE)["uncalibrated"]) == (7, 1)


def test_a_line_that_is_read_from_its_note_is_the_line():
    line = line_of_note(json.loads(json.dumps(note_of_line(LINE))))
    assert line == LINE
    assert (line.n_frames, line.n_groups, line.n_masters, line.n_calibrated) == (9, 2, 1, 2)
