"""The words on choices are true: of plan, page, table, explain and night, on one archive each.

The files hold headers and zeros: the choice depends on nothing else, and is made while planning.
"""

from __future__ import annotations

import pytest
from test_master_choices import BEFORE, NIGHT, Archive

from ccdflow.kinds.planning import plan_words, planned


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path)


def told(archive, night, **options):
    """Return the lines of a night's plan, blanks made single."""
    blocks = planned.blocks_of(archive.plan(**options), night, foretell=True)
    return [" ".join(line.split()) for block in blocks for line in plan_words.paragraph(block)]


def line_of(lines, start):
    return next((line for line in lines if line.startswith(start)), "")


def test_a_master_that_one_frame_may_take_is_not_among_those_not_used(archive):
    """It competes for one frame, and is refused for another of the same night."""
    archive.calibrations(BEFORE, dark=60.0, frames=10)
    archive.take("dark", BEFORE, 5, exptime=300.0)
    archive.take("flat", NIGHT, 3, exptime=3.0)
    archive.take("flat", NIGHT, 3, exptime=3.0, FILTER="R")
    archive.take("science", NIGHT, exptime=300.0)
    archive.take("science", NIGHT, exptime=100.0, FILTER="B")
    assert line_of(told(archive, NIGHT), "not used: ") == (
        f"not used: flat R (3, {NIGHT}): other filter"
    )
    archive.take("science", NIGHT, exptime=500.0, FILTER="R")
    archive.take("dark", NIGHT, 5, exptime=20.0)
    assert line_of(told(archive, NIGHT), "not used: ") == (
        f"not used: dark 20 s at -20 C (5, {NIGHT}): would be scaled up 15 times or would be scaled"
        " up 5 times or would be scaled up 25 times"
    )
