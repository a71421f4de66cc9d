"""Changes of products for tests: their checksums are right again afterwards."""

from astropy.io import fits


def rewrite(path, change, *, hdu=0):
    """Change a product and give it right checksums again, as somebody who means harm would."""
    with fits.open(path, memmap=False) as hdus:
        change(hdus[hdu])
        hdus.writeto(path, overwrite=True, checksum=True)


def card(keyword, value):
    def change(hdu):
        hdu.header[keyword] = value

    return change
