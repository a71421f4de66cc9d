"""Texts of products."""

import itertools

import numpy as np
import pandas as pd

from ccdflow.kinds.product_writing import csv_text

VALUES = (3, -0.1, 1e-7, 2.0, float("nan"), None, "", 'a "b", c', "night\n2", True, np.float64(2.5))


def test_a_table_has_the_text_that_pandas_gives_it():
    for first, second in itertools.product(VALUES, VALUES):
        rows = [{"a": first, "b": 1}, {"a": second, "b": 2, "other": 5}]
        table = pd.DataFrame(rows, columns=["a", "b", "none"])
        expected = table.to_csv(index=False, lineterminator="\n")
        assert csv_text(rows, ["a", "b", "none"]) == expected, (first, second)
    assert csv_text([], ["a", "b"]) == "a,b\n"
