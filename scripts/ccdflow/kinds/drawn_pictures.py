"""The pictures that a process has drawn and keeps, and the modules that draw them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from importlib import import_module

# One thread loads modules of drawing at a time, see `drawing_module`. The lock is taken again by a
# thread that has it.
_IMPORT_LOCK = threading.RLock()
# A process keeps at most this many pictures, the last ones that it drew or showed: a page that is
# written again shows most of its pictures unchanged. With more, they take memory; with fewer,
# pictures that have not changed are drawn again. Chosen, not measured.
_MOST_KEPT_PICTURES = 32
_kept_pictures = OrderedDict()
# Threads that write pages share these pictures.
_PICTURES_LOCK = threading.Lock()


def draw_once(key, draw):
    """Return a picture: the one that this process has kept, or else a new one, which it keeps.

    Parameters
    ----------
    key : hashable
        The values on which the picture depends.
    draw : callable
        Returns the bytes of a PNG.

    Returns
    -------
    bytes
    """
    picture = _kept_pictures.get(key)
    if picture is None:
        picture = draw()
    with _PICTURES_LOCK:
        _kept_pictures[key] = picture
        _kept_pictures.move_to_end(key)
        while len(_kept_pictures) > _MOST_KEPT_PICTURES:
            _kept_pictures.popitem(last=False)
    return picture


def draw_ahead(key, draw):
    """Draw and keep a picture for a later call of `draw_once`, unless enough are kept.

    Parameters
    ----------
    key, draw
        As of `draw_once`.
    """
    if len(_kept_pictures) < _MOST_KEPT_PICTURES:
        draw_once(key, draw)


def drawing_module(name):
    """Return a module of `ccdflow.pages.pictures`, loaded on the first call: that takes 0.4 s.

    One thread loads at a time. Where threads import modules that import each other, as those of
    matplotlib do, Python may give one of them a half-loaded module.
    """
    with _IMPORT_LOCK:
        return import_module(f"ccdflow.pages.pictures.{name}")
