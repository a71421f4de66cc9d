"""Folders of products that cannot be looked into: the problem, and the remedy that fits it."""

from types import SimpleNamespace

import pytest

from ccdflow.run.products import product_stamps
from ccdflow.run.raw_frames import raw_folders

CHAIN = [SimpleNamespace(path_prefix="reduced/")]


@pytest.mark.parametrize(
    ("target", "text", "remedy"),
    [
        ("/proc/self", "leads into /proc", "remove the link"),
        ("raw", "leads into the raw folder, in which nothing is written", "remove the link"),
        ("raw/n1", "leads into the raw folder, in which nothing is written", "remove the link"),
        (".", "leads into the raw folder, in which nothing is written", "remove the link"),
    ],
)
def test_a_link_out_of_the_products_is_a_problem(tmp_path, target, text, remedy):
    (tmp_path / "raw/n1").mkdir(parents=True)
    (tmp_path / "results/reduced").mkdir(parents=True)
    (tmp_path / "results/reduced/n1").symlink_to(tmp_path / target)
    stamps, problems = product_stamps.product_stamps(tmp_path / "results", CHAIN, tmp_path / "raw")
    assert problems == {"reduced/n1/": raw_folders.FolderProblem(text, remedy)}
    assert stamps.stamp_of("reduced/n1/a.fits") == ()


def test_a_tree_of_the_kernel_that_is_mounted_is_unmounted(tmp_path, monkeypatch):
    """There is no link to be removed."""
    place = tmp_path / "results/reduced/n1"
    place.mkdir(parents=True)
    monkeypatch.setattr(
        raw_folders, "kernel_trees", lambda: {place.stat().st_dev: "/results/reduced"}
    )
    _, problems = product_stamps.product_stamps(tmp_path / "results", CHAIN, tmp_path / "raw")
    expected = raw_folders.FolderProblem("is a part of /results/reduced", "unmount it")
    assert problems == {"reduced/": expected}
