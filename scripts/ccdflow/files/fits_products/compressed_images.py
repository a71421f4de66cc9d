"""Products of tile-compressed images (FITS standard 4.0, section 10), packed as they are written.

astropy reads these products by `CompImageHDU`, and ccdflow writes them without astropy. Its gzip
stores the time of day, so that no two files are the same, and takes five times as long as ISA-L;
and astropy parses every card.
"""

from __future__ import annotations

import re
from pathlib import Path
from zlib import crc32

import numpy as np
from isal import igzip

from ccdflow.files import atomic_write, checksum, fits_structure, raw_headers
from ccdflow.files.fits_products import quantising
from ccdflow.files.fits_products.hdus import hdu_header
from ccdflow.files.fits_products.multi_image_products import PlanesWriter, swap_bytes
from ccdflow.files.header_text import CardList

LOSSLESS_FORM, QUANTISED_FORM = "lossless", "quantised"
"""The two ways to compress products, as the configuration names them."""

# A tile has at most this many pixels, or one row. Chosen: enough to compress well, few enough for a
# reader of a part.
_MOST_TILE_PIXELS = 1 << 18

TILE_VERSION = 2
"""Raise it when images are cut into other tiles: compressed products are then made again."""

# The level of gzip. As measured, it is the fastest of the four levels of ISA-L, and packs pixels as
# well as the levels 2 and 3.
_GZIP_LEVEL = 1
# The largest offset of 32 bits: packed tiles of more bytes have offsets of 64 bits.
_LARGEST_SHORT_OFFSET = (1 << 31) - 1
# ZDITHER0 is a number from 1 to this one (FITS standard 4.0, section 10.2).
_N_SEEDS = 10000
# Matches the keyword of a card that describes an array, such as NAXIS1.
_STRUCTURE_CARD = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|CHECKSUM|DATASUM"
)
# Cards that funpack restores after all others.
_CHECKSUM_CARDS = ("CHECKSUM", "DATASUM")
# Matches the keyword of a card of the table that holds an image's tiles: TFORM1, ZNAXIS2.
_TABLE_CARD = re.compile(
    r"TFIELDS|THEAP|T(TYPE|FORM|UNIT|NULL|SCAL|ZERO|DISP|DIM)\d+"
    r"|Z(IMAGE|CMPTYPE|BITPIX|NAXIS\d*|TILE\d+|NAME\d+|VAL\d+|QUANTIZ|DITHER0|BLANK|MASKCMP|SCALE|ZERO"
    r"|SIMPLE|TENSION|EXTEND|BLOCKED|PCOUNT|GCOUNT|HECKSUM|DATASUM)"
)


def tile_rows(ny, nx):
    """Return the number of rows of a tile. All tiles have as many: ds9 8.4 opens no others.

    Parameters
    ----------
    ny, nx : int
        Rows and columns of the image.

    Returns
    -------
    int
        A divisor of ``ny``; 1 where it has no other that is small enough.
    """
    largest = max(1, min(ny, _MOST_TILE_PIXELS // nx))
    return next(rows for rows in range(largest, 0, -1) if ny % rows == 0)


def product_writer(path, planes, *, compress=""):
    """Return the writer of a product's planes: uncompressed, or as compressed tiles.

    Parameters
    ----------
    path : path-like
        Path of the product.
    planes : list of ccdflow.files.fits_products.multi_image_products.Plane
        Images of the product.
    compress : {'', 'lossless', 'quantised'}, optional
        Form of compression; '' for an uncompressed product.

    Returns
    -------
    PackedWriter or ccdflow.files.fits_products.multi_image_products.PlanesWriter
    """
    if not compress:
        return PlanesWriter(path, planes)
    return PackedWriter(path, planes, is_quantised=compress == QUANTISED_FORM)


def hdus_in_plain_order(hdus):
    """Return the HDUs of a product in the order that it would have uncompressed.

    An HDU with tiles is a table, and the first HDU cannot be one: its image is packed into the
    second.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList

    Returns
    -------
    list of object
    """
    is_packed = hdus[0].header.get("NAXIS") == 0 and len(hdus) > 1 and "SIMPLE" in hdus[1].header
    return list(hdus[1:]) if is_packed else list(hdus)


class PackedWriter:
    """Writes planes as tables of compressed tiles, with the interface of `PlanesWriter`.

    Parameters
    ----------
    path : path-like
    planes : list of ccdflow.files.fits_products.multi_image_products.Plane
        In the order of the uncompressed file.
    is_quantised : bool, optional
        Whether floats are stored as whole numbers, see `ccdflow.files.fits_products.quantising`.
    """

    def __init__(self, path, planes, *, is_quantised=False):
        self._path = Path(path)
        self._planes = planes
        seed = 1 + crc32(self._path.name.encode("utf-8", "surrogateescape")) % _N_SEEDS
        self._packers = {
            id(plane): _Packer(plane, seed if is_quantised and plane.dtype.kind == "f" else None)
            for plane in planes
            if plane.shape is not None
        }

    def __enter__(self):
        return self

    def __exit__(self, *error):
        # No byte is on the disk before `finish`.
        self._packers.clear()

    def write(self, plane, block):
        """Write the next rows of a plane, see `PlanesWriter.write`.

        Parameters
        ----------
        plane : ccdflow.files.fits_products.multi_image_products.Plane
        block : numpy.ndarray of shape (k, nx), of the image's type
            The next rows; their bytes are big-endian.
        """
        plane.word_sum = checksum.fits_sum_of(plane.word_sum, swap_bytes(block))
        plane.bytes_written += block.nbytes
        self._packers[id(plane)].add(block)

    def read(self, plane, first, stop):
        """Return rows of a plane that is written whole, (k, nx), native, as readers will get them.

        Parameters
        ----------
        plane : ccdflow.files.fits_products.multi_image_products.Plane
        first, stop : int
            The range of rows.

        Returns
        -------
        numpy.ndarray of shape (k, nx), of the image's type, native
        """
        return self._packers[id(plane)].rows(first, stop)

    def finish(self):
        """Write the file and return its headers; `word_sum` of a plane is now that of its table."""
        parts = []
        for number, plane in enumerate(self._planes):
            header = plane.make_header(plane.word_sum)
            plane.check_written(f"{self._path}, HDU {number}", header)
            if plane.shape is None:
                parts.append(header)
                continue
            cards = CardList.parse(raw_headers.readable_cards(header))
            if not parts:
                image_cards = cards.copy_without(
                    lambda keyword: bool(_STRUCTURE_CARD.fullmatch(keyword))
                )
                parts.append(hdu_header(image_cards, None, 0, is_primary=True))
            parts += self._packers[id(plane)].table(cards)
        atomic_write.write_whole(self._path, parts)
        return checksum.headers_among(parts)


class _Packer:
    """One plane that is packed a tile at a time.

    Parameters
    ----------
    plane : ccdflow.files.fits_products.multi_image_products.Plane
    seed : int or None
        ZDITHER0 of a plane that is quantised, None for one that is not.
    """

    def __init__(self, plane, seed):
        self._plane = plane
        self._seed = seed
        ny, nx = plane.shape
        self._rows_per_tile = tile_rows(ny, nx)
        self._gathered_rows = np.empty((self._rows_per_tile, nx), plane.dtype)
        self._n_gathered = 0
        self._tiles = []

    def add(self, block):
        """Add the next rows, big-endian bytes in an array of native type."""
        rows = block.view(self._plane.dtype)
        while len(rows):
            part = rows[: self._rows_per_tile - self._n_gathered]
            self._gathered_rows[self._n_gathered : self._n_gathered + len(part)] = part
            self._n_gathered += len(part)
            rows = rows[len(part) :]
            if self._n_gathered == self._rows_per_tile:
                self._flush()
        if self._n_gathered and self._plane.bytes_written == self._plane.size:
            self._flush()

    def _flush(self):
        """Pack the rows that are gathered as a tile."""
        self._pack(self._gathered_rows[: self._n_gathered])
        self._n_gathered = 0

    def _pack(self, tile):
        """Append a tile as (packed bytes, b"" or packed floats if it stays floats, step, zero)."""
        if self._seed is None:
            self._tiles.append((_gzip_bytes(_shuffle_bytes(tile)), b"", 0.0, 0.0))
            return
        quantised = quantising.quantise(
            tile.astype(np.float32), self._dither_start(len(self._tiles))
        )
        if quantised is None:
            # In FITS, tiles that stay floats are packed by GZIP_1, not shuffled.
            self._tiles.append((b"", _gzip_bytes(tile.tobytes()), 0.0, 0.0))
            return
        numbers = _gzip_bytes(_shuffle_bytes(quantised.numbers.astype(">i4")))
        self._tiles.append((numbers, b"", quantised.step, quantised.zero))

    def _dither_start(self, number):
        """Return where the random numbers of a tile begin, see `quantising.dither`."""
        return (number + self._seed - 1) % _N_SEEDS

    def rows(self, first, stop):
        """Return rows as they will be read, (k, nx), native."""
        low, high = first // self._rows_per_tile, -(-stop // self._rows_per_tile)
        nx = self._plane.shape[1]
        tiles = [self._tile(number).reshape(-1, nx) for number in range(low, high)]
        values = np.concatenate(tiles)[
            first - low * self._rows_per_tile : stop - low * self._rows_per_tile
        ]
        return values.astype(self._plane.dtype.newbyteorder("="))

    def _tile(self, number):
        """Return the pixels of a tile in their order, (n,), as readers will get them."""
        packed, floats, step, zero = self._tiles[number]
        if floats:
            return np.frombuffer(igzip.decompress(floats), self._plane.dtype)
        if self._seed is None:
            return _unshuffle_bytes(packed, self._plane.dtype)
        numbers = _unshuffle_bytes(packed, np.dtype(">i4")).astype(np.int32)
        return quantising.restored_pixels(
            quantising.Quantised(numbers, step, zero), self._dither_start(number)
        )

    def table(self, cards):
        """Return the table of the tiles as an HDU, and set the `word_sum` of the plane.

        Parameters
        ----------
        cards : ccdflow.files.header_text.CardList
            Cards of the image, with those that describe the array.

        Returns
        -------
        list of bytes
            The header; rows, tiles and padding.
        """
        is_large = sum(len(a) + len(b) for a, b, *_ in self._tiles) > _LARGEST_SHORT_OFFSET
        rows, heap = self._rows_and_heap(">i8" if is_large else ">i4")
        padding = bytes(-(len(rows) + len(heap)) % fits_structure.FITS_BLOCK_BYTES)
        data = b"".join([rows, heap, padding])
        self._plane.word_sum = checksum.sum_words(data)
        header = CardList()
        _describe_table(header, len(rows) // len(self._tiles), len(self._tiles), len(heap))
        self._describe_columns(header, "Q" if is_large else "P")
        self._describe_image(header, cards)
        return [header.to_bytes(self._plane.word_sum), data]

    def _rows_and_heap(self, dtype):
        """Return the rows of the table, and the bytes of all tiles one after the other."""
        is_quantised = self._seed is not None
        descriptor = [("size", dtype), ("at", dtype)]
        columns = [("packed", descriptor)]
        if is_quantised:
            columns += [("floats", descriptor), ("step", ">f8"), ("zero", ">f8")]
        rows, heap, offset = np.zeros(len(self._tiles), columns), [], 0
        for number, (packed, floats, step, zero) in enumerate(self._tiles):
            rows["packed"][number] = len(packed), offset
            if is_quantised:
                rows["floats"][number] = len(floats), offset
                rows["step"][number], rows["zero"][number] = step, zero
            heap.append(packed or floats)
            offset += len(heap[-1])
        return rows.tobytes(), b"".join(heap)

    def _describe_columns(self, header, letter):
        """Write the cards on the columns of the table of tiles."""
        largest = [max(len(tile[part]) for tile in self._tiles) for part in (0, 1)]
        columns = [("COMPRESSED_DATA", f"1{letter}B({largest[0]})")]
        if self._seed is not None:
            columns += [
                ("GZIP_COMPRESSED_DATA", f"1{letter}B({largest[1]})"),
                ("ZSCALE", "1D"),
                ("ZZERO", "1D"),
            ]
        header.set("TFIELDS", len(columns), "columns of the table")
        for number, (name, form) in enumerate(columns, start=1):
            header.set(f"TTYPE{number}", name)
            header.set(f"TFORM{number}", form)

    def _describe_image(self, header, cards):
        """Write the cards of compression, and the image's own after them."""
        header.set("ZIMAGE", value=True, comment="the table is an image of compressed tiles")
        header.set("ZCMPTYPE", "GZIP_2", "bytes shuffled, then gzip")
        for number, length in ((1, self._plane.shape[1]), (2, self._rows_per_tile)):
            header.set(f"ZTILE{number}", length)
        if self._seed is not None:
            header.set("ZQUANTIZ", quantising.METHOD, "floats are stored as whole numbers")
            header.set("ZDITHER0", self._seed, "seed of the dither")
            header.set("ZBLANK", quantising.EMPTY_PIXEL, "the number of a pixel without a value")
        elif self._plane.dtype.kind == "f":
            # CFITSIO writes this card as well; without it ds9 reads the bits of floats as integers.
            header.set("ZQUANTIZ", "NONE", "floats are stored as they are")
        structure = [card for card in cards if _STRUCTURE_CARD.fullmatch(card[0])]
        sums = [card for card in structure if card[0] in _CHECKSUM_CARDS]
        header.extend(_card_of_tiles(*card) for card in structure if card[0] not in _CHECKSUM_CARDS)
        header.extend(cards.copy_without(_is_structural))
        if self._seed is None:
            # CHECKSUM and DATASUM come last, unchanged: CFITSIO's funpack restores the HDU byte by
            # byte.
            header.extend(_card_of_tiles(*card) for card in sums)
        else:
            step = max(step for _, _, step, _ in self._tiles)
            header.set("QUANSTEP", float(f"{step:.6g}"), "largest step of the stored numbers")


def _card_of_tiles(keyword, text):
    """Return a card on the image's structure under the keyword that it has in a table of tiles."""
    tile_keyword = {"XTENSION": "ZTENSION", "CHECKSUM": "ZHECKSUM"}.get(keyword, f"Z{keyword}")
    return tile_keyword, f"{tile_keyword:<8}{text[8:]}"


def _is_structural(keyword):
    """Return whether a card describes an array or a table of tiles, and not the image."""
    return bool(_STRUCTURE_CARD.fullmatch(keyword) or _TABLE_CARD.fullmatch(keyword))


def _describe_table(header, row_bytes, n_tiles, heap_bytes):
    """Write the cards of a table of tiles, with its sizes in bytes.

    Parameters
    ----------
    header : ccdflow.files.header_text.CardList
        Changed in place.
    row_bytes, n_tiles, heap_bytes : int
        Bytes of a row, number of tiles, bytes of all tiles.
    """
    header.set("XTENSION", "BINTABLE", "binary table of compressed tiles")
    header.set("BITPIX", 8)
    header.set("NAXIS", 2)
    header.set("NAXIS1", row_bytes, "bytes of a row")
    header.set("NAXIS2", n_tiles, "tiles")
    header.set("PCOUNT", heap_bytes, "bytes of the tiles")
    header.set("GCOUNT", 1)


def _gzip_bytes(content):
    """Return bytes packed by gzip, without the time of day."""
    return igzip.compress(content, _GZIP_LEVEL, mtime=0)


def _shuffle_bytes(tile):
    """Return the first bytes of all numbers of a tile, then the second ones, and so on."""
    return np.ascontiguousarray(tile).view(np.uint8).reshape(-1, tile.itemsize).T.tobytes()


def _unshuffle_bytes(packed, dtype):
    """Return the numbers of a tile that was shuffled and packed, (n,)."""
    octets = np.frombuffer(igzip.decompress(packed), np.uint8).reshape(dtype.itemsize, -1)
    return np.ascontiguousarray(octets.T).reshape(-1).view(dtype)
