"""Changes of products for tests, with right checksums afterwards."""

from astropy.io import fits


def rewrite(path, change, *, hdu=0):
    """Change an HDU of a product by a function, and write right checksums."""
    with fits.open(path, memmap=False) as hdus:
        change(hdus[hdu])
        hdus.writeto(path, overwrite=True, checksum=True)


def card(keyword, value):
    """Return a function that sets a card of an HDU."""

    def change(hdu):
        """Set the card."""
        hdu.header[keyword] = value

    return change
