"""A function of several values, computed in threads: numpy lets other threads run meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor


def threaded_map(function, values, threads):
    """Return the results of a function for each of some values, in their order.

    Parameters
    ----------
    function : callable
        Its result for one value does not depend on the others.
    values : sequence of object
        Arguments of the function, one for each call.
    threads : int
        Number of threads; the results do not depend on it.

    Returns
    -------
    list of object
    """
    if threads < 2 or len(values) < 2:
        return list(map(function, values))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, values))
