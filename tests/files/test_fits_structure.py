"""Headers as bytes: their blocks, and files that end before them."""

import io

import pytest

from ccdflow.files.fits_structure import FITS_BLOCK_BYTES, read_header_bytes

HEADER = b"SIMPLE  =                    T".ljust(2 * FITS_BLOCK_BYTES - 80) + b"END".ljust(80)


def test_a_header_is_read_in_whole_blocks_from_its_place():
    file = io.BytesIO(b"x" * FITS_BLOCK_BYTES + HEADER + b"pixels")
    assert read_header_bytes(file, FITS_BLOCK_BYTES) == HEADER


@pytest.mark.parametrize(
    ("content", "problem"),
    [(HEADER[:-80], "the header is cut"), (b"", "the file ends before it")],
)
def test_a_file_that_ends_before_its_header_is_an_error(content, problem):
    with pytest.raises(EOFError, match=f"^{problem}$"):
        read_header_bytes(io.BytesIO(content), 0)
