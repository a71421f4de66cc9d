"""Medians of the box about each pixel, equal to scipy's, in a tenth of the time.

scipy sorts every box. Here a network of minima and maxima of whole tiles finds the medians. It
sorts the columns of a box once for all boxes that contain them, then the columns common to two
boxes side by side.
"""

from __future__ import annotations

from functools import cache

import numpy as np

# Pixels of a strip of the image: a few arrays of this size fit in the processor's cache.
_TILE_PIXELS = 1 << 15

MOST_BOX_PIXELS = 225
"""Pixels of the largest box that has a network."""


def pad_image(image, size):
    """Return an image with the mirrored margins that boxes need, as by scipy's `reflect`.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), any type
    size : (int, int)
        Rows and columns of a box.

    Returns
    -------
    numpy.ndarray of shape (ny + rows - 1, nx + columns - 1), any type
    """
    return np.pad(image, [(n // 2, n - 1 - n // 2) for n in size], mode="symmetric")


def box_median(image, size):
    """Return the median of the box about each pixel, as `scipy.ndimage.median_filter` does.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float32 or float64
        Without NaN.
    size : (int, int)
        Rows and columns of the box, which has at most `MOST_BOX_PIXELS` pixels.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), the type of the image
        Medians; for an even number of values the upper of the middle two.
    """
    rank = size[0] * size[1] // 2
    padded, medians = pad_image(image, size), np.empty_like(image)
    step = max(1, _TILE_PIXELS // padded.shape[1])
    for first in range(0, len(image), step):
        rows = medians[first : first + step]
        _rank_of_boxes(padded[first : first + len(rows) + size[0] - 1], size, rank, rows)
    return medians


def _rank_of_boxes(strip, size, rank, out):
    """Write the value of a rank in the box about each pixel of a strip into `out`.

    Two boxes side by side have all but two columns in common, which are sorted once for both.

    Parameters
    ----------
    strip : numpy.ndarray of shape (ny + rows - 1, nx + columns - 1), float32 or float64
        The strip with its margins.
    size : (int, int)
        Rows and columns of the box.
    rank : int
        Index among the sorted values of a box.
    out : numpy.ndarray of shape (ny, nx), float32 or float64
        Filled in place.
    """
    ny, nx = out.shape
    column_program, common_program, box_program = _median_programs(*size, rank)
    if nx % 2:
        strip = np.concatenate([strip, strip[:, -1:]], axis=1)
    columns = column_program.run([strip[k : k + ny] for k in range(size[0])])
    # The even and the odd columns of the strip.
    halves = [[np.ascontiguousarray(values[:, n::2]) for values in columns] for n in (0, 1)]
    pairs = (nx + 1) // 2

    def column(index):
        """Return the sorted values of a column of all pairs of boxes."""
        first = index // 2
        return [values[:, first : first + pairs] for values in halves[index % 2]]

    common_rows = common_program.run([v for index in range(1, size[1]) for v in column(index)])
    for n in (0, 1):
        (ranks,) = box_program.run([*common_rows, *column(n * size[1])])
        out[:, n::2] = ranks[:, : (nx + 1 - n) // 2]


class _Program:
    """A list of minima and maxima of arrays: the part of a sorting network that results need.

    Parameters
    ----------
    n_inputs : int
        Number of arrays that the program takes; they have the numbers from 0 on.

    Attributes
    ----------
    steps : list of (function, int, int)
        The function of each step and the numbers of its two arrays; after `finish`, the number of
        the step's result comes first.
    results : list of int
        The numbers of the arrays that the program returns.
    """

    def __init__(self, n_inputs):
        self.steps, self.n_inputs, self.results = [], n_inputs, []

    def _add(self, function, first, second):
        """Add a step; return the number of its result."""
        self.steps.append((function, first, second))
        return self.n_inputs + len(self.steps) - 1

    def pair(self, first, second):
        """Add the steps for the minimum and maximum of two arrays; return both numbers."""
        return self._add(np.minimum, first, second), self._add(np.maximum, first, second)

    def merge(self, first, second):
        """Add the steps that merge two sorted lists of numbers; return the merged list.

        Batcher's odd-even merge (Knuth vol. 3, 5.3.4).
        """
        if not first or not second:
            return first or second
        if len(first) == len(second) == 1:
            return list(self.pair(first[0], second[0]))
        even_values = self.merge(first[::2], second[::2])
        odd_values = self.merge(first[1::2], second[1::2])
        merged = [even_values[0]]
        for low, high in zip(odd_values, even_values[1:], strict=False):
            merged += self.pair(low, high)
        count = min(len(odd_values), len(even_values) - 1)
        return merged + odd_values[count:] + even_values[count + 1 :]

    def sort(self, numbers):
        """Add the steps that sort arrays; return the numbers of the sorted arrays."""
        if len(numbers) < 2:
            return numbers
        half = len(numbers) // 2
        return self.merge(self.sort(numbers[:half]), self.sort(numbers[half:]))

    def select(self, first, second, rank):
        """Add the steps that select a rank from two sorted lists; return the result's number."""
        smallest = None
        for from_first in range(max(0, rank + 1 - len(second)), min(len(first), rank + 1) + 1):
            from_second = rank + 1 - from_first
            if from_first and from_second:
                larger = self._add(np.maximum, first[from_first - 1], second[from_second - 1])
            else:
                larger = first[from_first - 1] if from_first else second[from_second - 1]
            smallest = larger if smallest is None else self._add(np.minimum, smallest, larger)
        return smallest

    def finish(self, results):
        """Drop the steps that no result needs, and note the last use of each array; return self."""
        self.results, numbers_needed = results, set(results)
        for number in range(len(self.steps) - 1, -1, -1):
            if self.n_inputs + number in numbers_needed:
                numbers_needed.update(self.steps[number][1:])
        self.steps = [
            (self.n_inputs + number, *step)
            for number, step in enumerate(self.steps)
            if self.n_inputs + number in numbers_needed
        ]
        last_step_by_number = {
            number: step for step, (_, _, *inputs) in enumerate(self.steps) for number in inputs
        }
        for number in results:
            last_step_by_number.pop(number, None)
        self.last_uses = [[] for _ in self.steps]
        for number, step in last_step_by_number.items():
            if number >= self.n_inputs:
                self.last_uses[step].append(number)
        return self

    def run(self, arrays):
        """Return the results of the program for arrays of one shape."""
        wires, spare = dict(enumerate(arrays)), []
        for (number, function, first, second), wires_done in zip(
            self.steps, self.last_uses, strict=True
        ):
            buffer = spare.pop() if spare else np.empty(arrays[0].shape, arrays[0].dtype)
            wires[number] = function(wires[first], wires[second], out=buffer)
            spare += [wires.pop(wire) for wire in wires_done]
        return [wires[number] for number in self.results]


@cache
def _median_programs(height, width, rank):
    """Return the programs that sort a column, merge all columns but one, and select a rank.

    When columns and then rows of a box are sorted, no value is below those to its upper left. The
    rank of most values is therefore known to be too low or too high, and they are dropped.
    """
    column_program = _Program(height)
    column_program.finish(column_program.sort(list(range(height))))
    common_program = _Program(height * (width - 1))
    lowest, highest, below = max(rank - height, 0), min(rank, height * (width - 1) - 1), 0
    rows = []
    for k in range(height):
        row = common_program.sort([j * height + k for j in range(width - 1)])
        flags_of_low = [
            height * (width - 1) - (height - k) * (width - 1 - j) < lowest for j in range(width - 1)
        ]
        flags_of_high = [(k + 1) * (j + 1) - 1 > highest for j in range(width - 1)]
        below += sum(flags_of_low)
        rows.append(
            [
                number
                for number, is_below, is_above in zip(row, flags_of_low, flags_of_high, strict=True)
                if not (is_below or is_above)
            ]
        )
    while len(rows) > 1:
        rows.sort(key=len)
        rows = [common_program.merge(rows[0], rows[1]), *rows[2:]]
    common_rows = rows[0][lowest - below : highest - below + 1]
    common_program.finish(common_rows)
    box_program = _Program(len(common_rows) + height)
    numbers = list(range(box_program.n_inputs))
    result = box_program.select(
        numbers[: len(common_rows)], numbers[len(common_rows) :], rank - lowest
    )
    return column_program, common_program, box_program.finish([result])
