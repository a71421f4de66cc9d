"""The library's debug messages as lines of a run: why all nights are planned, why no seal holds.

`snakemake --verbose` and `watch.py --verbose` show these messages.
"""

from __future__ import annotations

import logging

# The logger above the loggers of all modules.
_LIBRARY_LOGGER = "ccdflow"


class DebugLines(logging.Handler):
    """A handler that writes each debug message of the library as a line, until `end` is called.

    Parameters
    ----------
    say : callable
        Called with each line.
    """

    def __init__(self, say):
        super().__init__(logging.DEBUG)
        self._say = say
        self._logger = logging.getLogger(_LIBRARY_LOGGER)
        self._level_before = self._logger.level
        self._logger.setLevel(logging.DEBUG)
        self._logger.addHandler(self)

    def emit(self, record):
        """Write the message of a `logging.LogRecord` as a line."""
        self._say(f"debug: {record.getMessage()}")

    def end(self):
        """Write no further messages, and restore the level of the logger."""
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level_before)
