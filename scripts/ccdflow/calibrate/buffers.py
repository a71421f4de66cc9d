"""A thread's memory for the calibration of an image."""

from __future__ import annotations

import numpy as np

from ccdflow.files.thread_buffers import thread_buffer


class Buffers:
    """A thread's memory for blocks of one image; the next frame reuses it.

    Parameters
    ----------
    image : ccdflow.calibrate.blocks.CalibratedImage
    rows : int
        Rows of the largest block.

    Attributes
    ----------
    image : numpy.ndarray of shape (rows + 2, nx), float32
        The pixels of a block from its second row on, with a row before and after it.
    rows_done : int
        The first row that is not calibrated yet.
    word_sum : int
        Sum of the 32 bit words of the reduced pixels so far, for their DATASUM.
    stored : numpy.ndarray of shape (rows + 1, nx), type of the reduced pixels
        Room for rows of the reduced frame.
    errors : numpy.ndarray of shape (rows, nx), float32, or None
        Standard errors of a block; None if none are made.
    mask : numpy.ndarray of shape (ny, nx), int16, or None
        The mask of the whole image; None where neither mask nor standard errors are made.
    stored_mask : numpy.ndarray of shape (rows + 1, nx), type of the frame's mask, or None
        Room for rows of the reduced frame's own mask; None if it has none.
    """

    def __init__(self, image, rows):
        ny, self._width = image.hdu.shape
        self.word_sum = self.rows_done = 0
        width = self._width
        self.stored = _buffer_of_thread("stored", (rows + 1, width), image.hdu.dtype)
        self.image = _buffer_of_thread("image", (rows + 2, width), np.float32)
        self.errors = self.mask = self.stored_mask = None
        if image.has_errors:
            self._scratch = _buffer_of_thread("scratch", (3, (rows + 2) * width), np.float32)
            self.errors = _buffer_of_thread("errors", (rows, width), np.float32)
        if image.has_mask or image.has_errors:
            # The mask is written last, because neighbours of saturated pixels depend on the whole
            # image.
            self.mask = _buffer_of_thread("mask", (ny, width), np.int16)
        if image.mask_hdu is not None:
            self.stored_mask = _buffer_of_thread(
                "stored mask", (rows + 1, width), image.mask_hdu.dtype
            )

    def scratch_of(self, count):
        """Return scratch memory for ``count`` rows, (3, count nx)."""
        return self._scratch[:, : count * self._width]

    def flags_around(self, rows):
        """Return the mask of some rows and of one row on either side, contiguous int16.

        Beyond the image, its outermost rows are repeated.
        """
        ny = len(self.mask)
        rows_around = self.mask[max(rows.start - 1, 0) : min(rows.stop + 1, ny)]
        if rows.start > 0 and rows.stop < ny:
            return rows_around
        first, last = (
            rows_around[: int(rows.start == 0)],
            rows_around[len(rows_around) - int(rows.stop == ny) :],
        )
        return np.concatenate([first, rows_around, last])

    def add_to_checksum(self, reduced):
        """Add reduced pixels, of any shape, to their checksum."""
        self.word_sum += int(reduced.reshape(-1).view(np.uint32).sum(dtype=np.uint64))


def _buffer_of_thread(content, shape, dtype):
    """Return a buffer of this thread as an array of a shape and type; its content is arbitrary."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape))
    memory = thread_buffer(("calibrated", content), count * dtype.itemsize)
    return np.frombuffer(memory, dtype=dtype, count=count).reshape(shape)
