"""The floor: the reduction of frames by bytes and arithmetic alone.

`python floor.py RAW OUT THREADS`. It inflates the bytes (ISA-L), subtracts the median of the
overscan columns of each row, trims, and writes float32. There is no Snakemake, no FITS library, no
fsync, no checksum and no check of the frame: the sizes of the LFC's frames and header are assumed.
Blocks of rows stay in the processor's cache, in buffers that are used again. Whole frames take a
third more CPU time, most of it in page faults.
"""

import queue
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from isal import isal_zlib

NY, NX = 4128, 2080
SCIENCE_COLUMNS = 2048
FIRST_OVERSCAN = 2055
BLOCK_ROWS = 128
SLICE_ROWS = 32
CARD_BYTES, UNIT_BYTES = 80, 2880
DROPPED_KEYWORDS = (
    b"BZERO   ",
    b"BSCALE  ",
    b"BIASSEC ",
    b"TRIMSEC ",
    b"BITPIX  ",
    b"NAXIS1  ",
    b"END     ",
)


class Worker:
    """A worker with its own buffers, which reduces frames of a queue until it is empty."""

    def __init__(self, frames, out):
        self.frames = frames
        self.out = out
        self.raw = memoryview(bytearray(BLOCK_ROWS * NX * 2))
        self.native = np.empty((SLICE_ROWS, SCIENCE_COLUMNS), dtype=np.float32)
        self.product = np.empty((BLOCK_ROWS, SCIENCE_COLUMNS), dtype=">f4")

    def run(self):
        """Reduce frames of the queue until it is empty."""
        while True:
            try:
                path = self.frames.get_nowait()
            except queue.Empty:
                return
            self.reduce(path, self.out / path.name.removesuffix(".gz"))

    def reduce(self, path, target):
        """Write the reduced frame of a compressed raw file."""
        with path.open("rb", buffering=0) as source, target.open("wb", buffering=0) as sink:
            stream = isal_zlib._GzipReader(source, 1 << 20)
            sink.write(reduced_header(read_header(stream)))
            for top in range(0, NY, BLOCK_ROWS):
                rows = min(BLOCK_ROWS, NY - top)
                fill(stream, self.raw[: rows * NX * 2])
                self.subtract(rows)
                sink.write(self.product[:rows])
            sink.write(bytes(-NY * SCIENCE_COLUMNS * 4 % UNIT_BYTES))

    def subtract(self, rows):
        """Write the reduced rows of the raw buffer into the product buffer.

        BZERO is not added: it would cancel between level and pixels.
        """
        raw = np.frombuffer(self.raw, dtype=">i2", count=rows * NX).reshape(rows, NX)
        strip = raw[:, FIRST_OVERSCAN:].astype(np.int16)
        middle = strip.shape[1] // 2
        strip.partition(middle, axis=1)
        level = strip[:, middle, np.newaxis].astype(np.float32)
        for top in range(0, rows, SLICE_ROWS):
            part = slice(top, min(top + SLICE_ROWS, rows))
            native = self.native[: part.stop - top]
            native[:] = raw[part, :SCIENCE_COLUMNS]
            np.subtract(native, level[part], out=native)
            self.product[part] = native


def fill(stream, view):
    """Read from a stream until a buffer is full."""
    n_read = 0
    while n_read < len(view):
        n_read_now = stream.readinto(view[n_read:])
        if n_read_now == 0:
            raise EOFError("the frame is cut short")
        n_read += n_read_now


def read_header(stream):
    """Return the bytes of a header, whole blocks of FITS."""
    header = bytearray()
    while True:
        block = bytearray(UNIT_BYTES)
        fill(stream, memoryview(block))
        header += block
        if any(block[i : i + 8] == b"END     " for i in range(0, UNIT_BYTES, CARD_BYTES)):
            return bytes(header)


def reduced_header(header):
    """Return the header of the product, with the type and width of its pixels."""
    cards = [header[i : i + CARD_BYTES] for i in range(0, len(header), CARD_BYTES)]
    product_cards = [card for card in cards if card[:8] not in DROPPED_KEYWORDS and card.strip()]
    product_cards.insert(1, b"BITPIX  =                  -32")
    place = next(i for i, card in enumerate(product_cards) if card.startswith(b"NAXIS2"))
    product_cards.insert(place, b"NAXIS1  =                 2048")
    product_cards.append(b"END")
    text = b"".join(card.ljust(CARD_BYTES) for card in product_cards)
    return text + b" " * (-len(text) % UNIT_BYTES)


def main():
    """Reduce the frames of a folder in some threads."""
    raw, out = Path(sys.argv[1]), Path(sys.argv[2])
    frames = queue.SimpleQueue()
    for path in sorted(raw.glob("*.fits.gz")):
        frames.put(path)
    n_threads = int(sys.argv[3])
    with ThreadPoolExecutor(n_threads) as pool:
        for job in [pool.submit(Worker(frames, out).run) for _ in range(n_threads)]:
            job.result()


if __name__ == "__main__":
    main()
