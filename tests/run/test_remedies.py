"""Errors of the system and their remedies: one table for jobs and for the results folder."""

import errno

import pytest

from ccdflow.run import failures, lock


@pytest.mark.parametrize(
    ("number", "action"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EROFS, "mend the permissions"),
        (errno.ENOTDIR, "a file or folder is in the way: move it"),
        (errno.ESTALE, "check the disk or the network"),
    ],
)
def test_a_job_and_the_results_folder_have_one_remedy(tmp_path, number, action):
    error = OSError(number, "of the system", "in/the/way")
    assert failures.remedy_of(error) == f"{action}, and run again"
    refused = lock.error_of_writing(tmp_path, error)
    assert refused.remedy == f"{action}; no result was changed"
    assert refused.file == ("in/the/way" if number == errno.ENOTDIR else str(tmp_path))


def test_an_error_without_an_action_asks_for_permissions_and_disk(tmp_path):
    refused = lock.error_of_writing(tmp_path, OSError(errno.ELOOP, "too many links"))
    assert refused.remedy.startswith("check its permissions and its disk; ")
