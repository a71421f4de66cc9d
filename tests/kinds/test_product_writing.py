"""Texts of products, and the pictures that a process keeps."""

import itertools
import sys
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from ccdflow.kinds import product_writing
from ccdflow.kinds.product_writing import csv_text

VALUES = (3, -0.1, 1e-7, 2.0, float("nan"), None, "", 'a "b", c', "night\n2", True, np.float64(2.5))


def test_a_table_has_the_text_that_pandas_gives_it():
    for first, second in itertools.product(VALUES, VALUES):
        rows = [{"a": first, "b": 1}, {"a": second, "b": 2, "other": 5}]
        table = pd.DataFrame(rows, columns=["a", "b", "none"])
        expected = table.to_csv(index=False, lineterminator="\n")
        assert csv_text(rows, ["a", "b", "none"]) == expected, (first, second)
    assert csv_text([], ["a", "b"]) == "a,b\n"


def test_threads_that_share_the_kept_pictures_each_get_their_own(monkeypatch):
    monkeypatch.setattr(product_writing, "_kept_pictures", OrderedDict())
    monkeypatch.setattr(product_writing, "_MOST_KEPT_PICTURES", 2)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def show_pictures(first_key):
        """Return the pictures of keys, asked for while other threads ask for others."""
        keys = [(first_key + step) % 4 for step in range(15000)]
        return keys, [product_writing.draw_once(key, lambda key=key: b"%d" % key) for key in keys]

    try:
        with ThreadPoolExecutor(8) as pool:
            keys_and_pictures = list(pool.map(show_pictures, range(8)))
    finally:
        sys.setswitchinterval(interval)
    assert len(keys_and_pictures) == 8
    for keys, pictures in keys_and_pictures:
        assert pictures == [b"%d" % key for key in keys]
    assert len(product_writing._kept_pictures) == 2
