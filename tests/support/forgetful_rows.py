"""Rows of raw frames, each read without any memory of other frames."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

from ccdflow.camera import facts
from ccdflow.files import cards, raw_headers, remembered_results
from ccdflow.run import session
from ccdflow.run.raw_frames import inventory, row_reader
from ccdflow.run.raw_frames.header_store import HeaderStore


def read_rows(values, *, now=0.0):
    """Return {file: row as a dict} of the raw frames of some settings, and their shared values."""
    store = HeaderStore()
    inventory.update(store, replace(session.reading_settings(values), settle=0.0), now=now)
    return {file: row.as_dict() for file, row in store.rows.items()}, store.shared


def rows_read_without_memory(values):
    """Return the result of `read_rows` where each frame is read with empty caches.

    The time of each frame is found card by card.
    """
    read_by_reader = row_reader.RawRowReader.read_rows

    def read_alone(*arguments):
        """Read rows after all caches are emptied."""
        for known in (
            raw_headers._recent_cards,
            raw_headers._older_cards,
            raw_headers._usual_heads,
        ):
            known.clear()
        raw_headers._keyword_orders.clear()
        raw_headers._last_headers.clear()
        cards._content_of_text.cache_clear()
        return read_by_reader(*arguments)

    with (
        mock.patch.object(remembered_results.Remembered, "__call__", _asked_each_time),
        mock.patch.object(row_reader.RawRowReader, "read_rows", read_alone),
        mock.patch.object(facts, "usual_moment", return_value=None),
    ):
        return read_rows(values)


def _asked_each_time(self, name, function, headers):
    """Return the value of a function in place of `Remembered.__call__`, which remembers it."""
    return function(headers)
