"""HDUs as bytes: pixels come in pieces and are those of the whole array."""

import numpy as np
import pytest
from astropy.io import fits

from ccdflow.files import atomic_write
from ccdflow.files.fits_products import hdus
from ccdflow.files.header_text import CardList


@pytest.mark.parametrize("dtype", ["u1", "i2", ">i2", "f4", ">f4", "f8"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (64, 33), (1, 8)])
def test_pieces_are_the_array_and_its_checksum(tmp_path, monkeypatch, dtype, shape):
    monkeypatch.setattr(hdus, "_PIECE_BYTES", 64)
    data = np.random.default_rng(2).integers(0, 250, shape).astype(dtype)
    before = data.copy()
    for array in (data, data[::-1]):
        atomic_write.write_whole(
            tmp_path / "a.fits", hdus.array_hdu(CardList(), array, is_primary=True)
        )
        with fits.open(tmp_path / "a.fits", checksum=True) as hdus_read:
            assert (hdus_read[0].data == array).all()
            assert hdus_read[0].verify_checksum() == hdus_read[0].verify_datasum() == 1
    assert (data == before).all()
