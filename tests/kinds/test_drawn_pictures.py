"""The pictures that a process keeps, drawn by several threads."""

import sys
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

from ccdflow.kinds import drawn_pictures


def test_threads_that_share_the_kept_pictures_each_get_their_own(monkeypatch):
    monkeypatch.setattr(drawn_pictures, "_kept_pictures", OrderedDict())
    monkeypatch.setattr(drawn_pictures, "_MOST_KEPT_PICTURES", 2)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def show_pictures(first_key):
        """Return the pictures of keys, asked for while other threads ask for others."""
        keys = [(first_key + step) % 4 for step in range(15000)]
        return keys, [drawn_pictures.draw_once(key, lambda key=key: b"%d" % key) for key in keys]

    try:
        with ThreadPoolExecutor(8) as pool:
            keys_and_pictures = list(pool.map(show_pictures, range(8)))
    finally:
        sys.setswitchinterval(interval)
    assert len(keys_and_pictures) == 8
    for keys, pictures in keys_and_pictures:
        assert pictures == [b"%d" % key for key in keys]
    assert len(drawn_pictures._kept_pictures) == 2
