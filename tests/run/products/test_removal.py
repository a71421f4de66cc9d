"""Files that leave the products are moved, never deleted, unless a page alone shows them."""

import errno
from pathlib import Path

import pytest
from raw_endings import ENDINGS

from ccdflow import paths
from ccdflow.run.products import removal


def put(results, product, content=b"pixels"):
    path = results / product
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def contents_below(results):
    return sorted(path.read_bytes() for path in results.rglob("*") if path.is_file())


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_ending_is_deleted(ending, tmp_path):
    product = paths.reduced_frame(f"n/a{ending}")
    for content in (b"first", b"second", b"third"):
        put(tmp_path, product, content)
        target = removal.remove_product(tmp_path, product)
        assert target.read_bytes() == content
        assert not (tmp_path / product).exists()
    assert contents_below(tmp_path / "set_aside/reduced/n") == [b"first", b"second", b"third"]
    assert not list(tmp_path.glob("reduced/*"))


def test_a_page_is_deleted_and_its_empty_folder(tmp_path):
    put(tmp_path, "nights/x/report.html")
    assert removal.remove_product(tmp_path, "nights/x/report.html") is None
    assert not (tmp_path / "nights/x").exists()
    assert removal.remove_product(tmp_path, "nights/x/report.html") is None


def test_a_folder_and_a_file_of_one_name_are_both_kept(tmp_path):
    for product in (
        "reduced/c.fits",
        "reduced/c.fits/a.fits",
        "reduced/c.fits",
        "reduced/c.fits/b",
    ):
        if (tmp_path / "reduced/c.fits").is_dir():
            (tmp_path / "reduced/c.fits").rmdir()
        put(tmp_path, product, product.encode())
        removal.remove_product(tmp_path, product)
    assert contents_below(tmp_path / "set_aside") == [
        b"reduced/c.fits", b"reduced/c.fits", b"reduced/c.fits/a.fits", b"reduced/c.fits/b"
    ]  # fmt: skip


def test_the_longest_name_is_kept_twice(tmp_path):
    product = "reduced/" + "x" * 250 + ".fits"
    for content in (b"1", b"2"):
        put(tmp_path, product, content)
        removal.remove_product(tmp_path, product)
    assert contents_below(tmp_path) == [b"1", b"2"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_link_to_another_disk_loses_no_product(fails, tmp_path, monkeypatch):
    """A product stays in its place if the disk to which the link leads is full."""
    product = "reduced/a.fits"
    path, replace = put(tmp_path, product), Path.replace

    def replace_across_disks(this, target):
        if this == path:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        if fails:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(this, target)

    monkeypatch.setattr(Path, "replace", replace_across_disks)
    if fails:
        with pytest.raises(OSError, match="No space"):
            removal.remove_product(tmp_path, product)
    else:
        assert removal.remove_product(tmp_path, product) == tmp_path / "set_aside" / product
    assert contents_below(tmp_path) == [b"pixels"]
