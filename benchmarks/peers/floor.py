"""The floor: what two threads need for the bytes and the arithmetic alone.

`python floor.py RAW OUT THREADS`. The same bytes are inflated (ISA-L), the same arithmetic is done
(median of the 25 overscan columns of each row, subtraction, trim, float32), the same bytes are
written. No Snakemake, no FITS library, no fsync, no checksum, no check of the frame: the size of
the LFC's frames and of their header is taken for granted. Rows go through in blocks that stay in
the processor's cache, in buffers that are used again; whole frames were measured to cost a third
more CPU time, most of it in page faults.
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
    """Takes frames from a queue until there are none, with buffers of its own."""

    def __init__(self, frames, out):
        self.frames = frames
        self.out = out
        self.raw = memoryview(bytearray(BLOCK_ROWS * NX * 2))
        self.native = np.empty((SLICE_ROWS, SCIENCE_COLUMNS), dtype=np.float32)
        self.product = np.empty((BLOCK_ROWS, SCIENCE_COLUMNS), dtype=">f4")

    def run(self):
        while True:
            try:
                path = self.frames.get_nowait()
            except queue.Empty:
                return
            self.reduce(path, self.out / path.name.removesuffix(".gz"))

    def reduce(self, path, target):
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
        """Reduce the rows in the raw buffer into the product buffer.

        BZERO is in the level as it is in the pixels, so it cancels and is never added.
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
    """Read until a view is full."""
    n_read = 0
    while n_read < len(view):
        count = stream.readinto(view[n_read:])
        if count == 0:
            raise EOFError("the frame is cut short")
        n_read += count


def read_header(stream):
    """Return the cards of a header, as bytes of a length that is a multiple of 2880."""
    header = bytearray()
    while True:
        block = bytearray(UNIT_BYTES)
        fill(stream, memoryview(block))
        header += block
        if any(block[i : i + 8] == b"END     " for i in range(0, UNIT_BYTES, CARD_BYTES)):
            return bytes(header)


def reduced_header(header):
    """Return the header of the product: other pixels, other width, the rest as it was."""
    cards = [header[i : i + CARD_BYTES] for i in range(0, len(header), CARD_BYTES)]
    cards_kept = [card for card in cards if card[:8] not in DROPPED_KEYWORDS and card.strip()]
    cards_kept.insert(1, b"BITPIX  =                  -32")
    place = next(i for i, card in enumerate(cards_kept) if card.startswith(b"NAXIS2"))
    cards_kept.insert(place, b"NAXIS1  =                 2048")
    cards_kept.append(b"END")
    text = b"".join(card.ljust(CARD_BYTES) for card in cards_kept)
    return text + b" " * (-len(text) % UNIT_BYTES)


def main():
    raw, out = Path(sys.argv[1]), Path(sys.argv[2])
    frames = queue.SimpleQueue()
    for path in sorted(raw.glob("*.fits.gz")):
        frames.put(path)
    count = int(sys.argv[3])
    with ThreadPoolExecutor(count) as pool:
        for job in [pool.submit(Worker(frames, out).run) for _ in range(count)]:
            job.result()


if __name__ == "__main__":
    main()
