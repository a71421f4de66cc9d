"""Lines without a level, filled while the light around them is estimated."""

import numpy as np
import pytest

from ccdflow.calibrate.filled_lines import fill_lines
from ccdflow.camera.sections import Region

NAN = np.nan
# Lines whose values are 0, 10, 20, ..., in a block that begins with row 7 of the image.
FIRST, COUNT = 7, 6
CASES = {
    "one line between two": (2, 3, [0, 10, 20, 30, 40, 50]),
    "two lines": (2, 4, [0, 10, 10, 40, 40, 50]),
    "three lines": (1, 4, [0, 0, NAN, 40, 40, 50]),
    "the first line": (0, 1, [10, 10, 20, 30, 40, 50]),
    "the last line": (5, 6, [0, 10, 20, 30, 40, 40]),
    "the first two": (0, 2, [NAN, 20, 20, 30, 40, 50]),
    "from an earlier block on": (-2, 2, [NAN, 20, 20, 30, 40, 50]),
    "into the next block": (4, 9, [0, 10, 20, 30, 30, NAN]),
    "from the end of the last block": (-2, 0, [0, 10, 20, 30, 40, 50]),
    "from the start of the next block": (6, 8, [0, 10, 20, 30, 40, 50]),
    "all lines": (0, 6, [NAN] * 6),
}


@pytest.mark.parametrize(("low", "high", "expected"), CASES.values(), ids=CASES)
def test_a_part_has_the_lines_beside_it_and_its_own_again_after(low, high, expected):
    """One column of the part, and one beside it that keeps its values."""
    image = np.repeat(10.0 * np.arange(COUNT, dtype=np.float32)[:, None], 2, axis=1)
    image[:, 1] += 1
    before = image.copy()
    part = Region(FIRST + low, FIRST + high, 0, 1)
    with fill_lines(image, FIRST, [(part, True)]):
        np.testing.assert_array_equal(image[:, 0], expected)
        np.testing.assert_array_equal(image[:, 1], before[:, 1])
    np.testing.assert_array_equal(image, before)


def test_columns_without_a_level_are_filled_from_the_columns_beside_them():
    image = np.arange(12, dtype=np.float32).reshape(3, 4)
    with fill_lines(image, 0, [(Region(0, 3, 3, 4), False), (Region(0, 2, 1, 2), False)]):
        assert image.tolist() == [[0, 1, 2, 2], [4, 5, 6, 6], [8, 9, 10, 10]]
