"""Frames reduced while they are inflated: the bytes of the other way, and what may go wrong."""

import errno
import gzip
import json

import numpy as np
import pytest
from astropy.io import fits
from small_frames import begin, bias_cards, biases, run_jobs, write_raw

from ccdflow import kinds
from ccdflow.files import atomic_write, raw_files
from ccdflow.frame import streaming
from ccdflow.kinds.reducing import reduce_job
from ccdflow.run import job_records

PROFILE = "recognise: {INSTRUME: TESTCAM}\n"
ONE_AMPLIFIER = (
    "amplifiers: [{name: A, data: {python: '[:, 0:64]'}, overscan: {python: '[:, 66:]'}}]\n"
)
PRESCAN = "amplifiers: [{name: A, data: {python: '[:, 7:]'}, overscan: {python: '[:, 1:5]'}}]\n"
ROWS = (
    "amplifiers: [{name: A, data: {python: '[3:-6, 0:64]'}, overscan: {python: '[3:-6, 66:]'}}]\n"
)
TWO_AMPLIFIERS = """\
amplifiers:
  - {name: left, data: {python: '[:, 0:32]'}, overscan: {python: '[:, 64:68]'}, gain: 1.2}
  - {name: right, data: {python: '[:, 32:64]'}, overscan: {python: '[:, 68:]'}}
"""
AMPLIFIERS_APART = """\
amplifiers:
  - {name: a, data: {python: '[:, 0:20]'}, overscan: {python: '[:, 20:24]'}, place: {fits: '[21:40,1:40]'}}
  - {name: b, data: {python: '[:, 30:50]'}, overscan: {python: '[:, 50:56]'}, place: {fits: '[1:20,1:40]'}}
"""  # noqa: E501
NO_OVERSCAN = "overscan: none\n"
KINDS = {
    "strip on the right": (ONE_AMPLIFIER, "uint16", {}, {}),
    "strip on the left": (PRESCAN, "uint16", {}, {}),
    "some rows only": (ROWS, "uint16", {}, {}),
    "two amplifiers": (TWO_AMPLIFIERS, "uint16", {}, {}),
    "one byte": (TWO_AMPLIFIERS, "uint8", {}, {}),
    "exchanged places": (AMPLIFIERS_APART, "int16", {}, {}),
    "no overscan": (NO_OVERSCAN, "uint16", {}, {}),
    "mean": (TWO_AMPLIFIERS, "uint16", {"statistic": "mean"}, {}),
    "float64": (ONE_AMPLIFIER, "uint16", {"dtype": "float64"}, {}),
    "not subtracted": (ONE_AMPLIFIER, "uint16", {"subtract": False}, {}),
    "int32": (ONE_AMPLIFIER, "int32", {}, {}),
    "float pixels": (ONE_AMPLIFIER, "float32", {}, {}),
    "extension": (
        ONE_AMPLIFIER.replace("name: A", "name: A, hdu: 1"),
        "uint16",
        {},
        {"has_extension": True},
    ),
    "not compressed": (ONE_AMPLIFIER, "uint16", {}, {"ending": ".fits"}),
}


def fill(raw, n=3, dtype="uint16", *, has_extension=False, ending=".fits.gz", rows=40):
    """Write `n` biases of one kind, whose headers have one size."""
    for number, frame in enumerate(biases(n, (rows, 72))):
        cards = bias_cards(number)
        hdus = [(frame.astype(dtype), cards)]
        if has_extension:
            hdus = [(None, cards), (frame.astype(dtype), {"EXTNAME": "CHIP"})]
        write_raw(raw / f"b{number}{ending}", *hdus)


@pytest.fixture
def streamed_frames(monkeypatch):
    """Names of the frames that were reduced while they were inflated."""
    done = []
    original = streaming.stream_frame

    def spy(rows, *arguments, **options):
        result = original(rows, *arguments, **options)
        done.append(rows)
        return result

    monkeypatch.setattr(streaming, "stream_frame", spy)
    monkeypatch.setattr(reduce_job, "_header_sizes", {})
    return done


def products(run):
    """Return the bytes of the reduced frames of a run, by name."""
    return {path.name: path.read_bytes() for path in sorted(run.results.glob("reduced/*"))}


def figures(run):
    """Return the figures of the reduced frames of a run, by product, as JSON."""
    return {
        name: json.dumps(record.data)
        for name, record in run.records.items()
        if record.kind == "frame"
    }


# Blocks of some rows of each kind, and of any size of one; the others are in the long form.
PIXELS = (72 * 7, streaming.BLOCK_PIXELS, 1)
SOON_CASES = [(kind, PIXELS[0]) for kind in KINDS] + [
    ("two amplifiers", size) for size in PIXELS[1:]
]
LATER_CASES = [(kind, size) for kind in KINDS for size in PIXELS if (kind, size) not in SOON_CASES]


@pytest.mark.parametrize(
    ("kind", "pixels"),
    [*SOON_CASES, *(pytest.param(*each, marks=pytest.mark.torture) for each in LATER_CASES)],
)
def test_the_bytes_are_those_of_the_whole_frame(
    kind, pixels, tmp_path, streamed_frames, monkeypatch
):
    profile, dtype, reduction, raw = KINDS[kind]
    fill(tmp_path / "raw", dtype=dtype, **raw)
    config = {"reduction": reduction, "bias": {"enabled": False}}
    cameras = {"test": PROFILE + profile}
    monkeypatch.setattr(streaming, "BLOCK_PIXELS", pixels)
    run = run_jobs(tmp_path / "raw", tmp_path / "streamed", cameras, **config)
    assert len(streamed_frames) == 3
    monkeypatch.setattr(streaming, "can_stream", lambda *_: False)
    whole = run_jobs(tmp_path / "raw", tmp_path / "whole", cameras, **config)
    assert len(streamed_frames) == 3
    assert products(run) == products(whole)
    assert len(products(run)) == 3
    assert figures(run) == figures(whole)
    for statistics in run.records["reduced/b2.fits"].data["statistics"]:
        assert statistics["noise"] == pytest.approx(4, rel=0.1)


def test_blocks_of_an_odd_number_of_rows_sample_the_rows_of_the_whole_frame(
    tmp_path, streamed_frames, monkeypatch
):
    """Every third row from the second on is full, and the rows between are not."""
    profile = PROFILE + ONE_AMPLIFIER.replace("[:, 0:64]", "[2:, 0:200]").replace(
        "[:, 66:]", "[2:, 200:]"
    )
    for number, frame in enumerate(biases(3, (200, 206))):
        frame[2::3, :200] = 65535
        write_raw(tmp_path / f"raw/b{number}.fits", (frame.astype("uint16"), bias_cards(number)))
    monkeypatch.setattr(streaming, "BLOCK_PIXELS", 7 * 206)
    run = run_jobs(tmp_path / "raw", tmp_path / "results", {"test": profile})
    assert len(streamed_frames) == 3
    flags = [figures["flags"] for figures in map(json.loads, figures(run).values())]
    assert flags == [{"A": "saturated"}] * 3


@pytest.mark.parametrize("flip", ["x", "y", "xy"])
def test_an_amplifier_that_is_reversed_is_not_streamed(flip, tmp_path, streamed_frames):
    fill(tmp_path / "raw")
    turned = ONE_AMPLIFIER.replace("name: A", f"name: A, flip: {flip}")
    plain = run_jobs(tmp_path / "raw", tmp_path / "plain", {"test": PROFILE + ONE_AMPLIFIER})
    assert len(streamed_frames) == 3
    run = run_jobs(tmp_path / "raw", tmp_path / "results", {"test": PROFILE + turned})
    assert len(streamed_frames) == 3
    image = fits.getdata(plain.results / "reduced/b0.fits")
    step_y, step_x = -1 if "y" in flip else 1, -1 if "x" in flip else 1
    reduced = fits.getdata(run.results / "reduced/b0.fits")
    np.testing.assert_array_equal(reduced, image[::step_y, ::step_x])


def test_a_header_of_another_size_goes_the_other_way(tmp_path, streamed_frames, monkeypatch):
    fill(tmp_path / "raw")
    run = run_jobs(tmp_path / "raw", tmp_path / "results", {"test": PROFILE + ONE_AMPLIFIER})
    assert len(streamed_frames) == 3
    # The flag of a dead amplifier or a level of NaN may need one more block than was foreseen.
    sizes = dict.fromkeys(reduce_job._header_sizes, 10 * 2880)
    monkeypatch.setattr(reduce_job, "_header_sizes", sizes)
    other = run_jobs(tmp_path / "raw", tmp_path / "other", {"test": PROFILE + ONE_AMPLIFIER})
    # The first goes both ways, and then the size is known.
    assert len(streamed_frames) == 6
    assert set(sizes.values()) == {2880}
    assert products(other) == products(run)
    assert not list(other.results.rglob("*.part"))


@pytest.mark.parametrize(
    "unusual",
    [
        {"reduction": {"mask": True}},
        {"reduction": {"trim": False}},
        {"reduction": {"model": "polynomial"}},
    ],
)
def test_unusual_frames_are_not_streamed(unusual, tmp_path, streamed_frames):
    fill(tmp_path / "raw")
    run = run_jobs(
        tmp_path / "raw", tmp_path / "results", {"test": PROFILE + ONE_AMPLIFIER}, **unusual
    )
    assert streamed_frames == []
    assert len(products(run)) == 3


def spoil(path, *, at=0.5, is_cut=False):
    """Change a bit of a file's middle, or end it there."""
    data = bytearray(path.read_bytes())
    place = int(at * len(data))
    data[place] ^= 0x10
    path.write_bytes(data[:place] if is_cut else data)


@pytest.mark.parametrize("at", [0.3, 0.6, 0.9])
def test_a_damaged_stream_is_set_aside_and_leaves_no_file(at, tmp_path, streamed_frames):
    # More rows than are inflated along with the header.
    fill(tmp_path / "raw", 4, rows=1200)
    spoil(tmp_path / "raw/b2.fits.gz", at=at)
    run = run_jobs(tmp_path / "raw", tmp_path / "results", {"test": PROFILE + ONE_AMPLIFIER})
    record = run.records["reduced/b2.fits"]
    assert record.status == job_records.SET_ASIDE
    assert record.reason.startswith("gzip stream is damaged (CRC check failed ")
    assert sorted(products(run)) == ["b0.fits", "b1.fits", "b3.fits"]
    assert not list(run.results.rglob("*.part"))
    assert run.records["combined/2020-02-29/bias_test_64x1200.fits"].data["members"] == [
        "b0.fits.gz", "b1.fits.gz", "b3.fits.gz"
    ]  # fmt: skip


def test_a_file_that_cannot_be_read_to_its_end_is_tried_again(
    tmp_path, monkeypatch, streamed_frames
):
    fill(tmp_path / "raw")
    running = begin(tmp_path / "raw", tmp_path / "results", {"test": PROFILE + ONE_AMPLIFIER})
    first, second, _ = running.plan.jobs_of_kind("frame")
    kinds.make(running.context, first)

    readinto, reads = raw_files.RawFile.readinto, []

    def fail_at_end(file, buffer):
        reads.append(len(buffer))
        if len(reads) > 1:
            raise OSError(errno.EIO, "Input/output error")
        return readinto(file, buffer)

    monkeypatch.setattr(raw_files.RawFile, "readinto", fail_at_end)
    record = kinds.make(running.context, second)
    running.lock.close()
    # A disk may be repaired, so the frame is not called bad; and what it fails in is no writing.
    assert record.status == job_records.GONE
    assert "cannot be read (Input/output error)" in record.reason
    assert not (tmp_path / "results/reduced/b1.fits").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize(
    ("way", "after"), [("rows", 0), ("rows", 1), ("rows", 3), ("whole", 0), ("whole", 1)]
)
def test_a_disk_that_cannot_be_written_is_not_the_frames_fault(
    number, way, after, tmp_path, monkeypatch, streamed_frames
):
    """The error goes up as it is; what stood under the product's name still stands there."""
    fill(tmp_path / "raw")
    run = run_jobs(tmp_path / "raw", tmp_path / "results", {"test": PROFILE + ONE_AMPLIFIER})
    before = products(run)
    monkeypatch.setattr(streaming, "BLOCK_PIXELS", 72 * 20)
    changed = PROFILE + ONE_AMPLIFIER.replace("0:64", "0:60")
    running = begin(tmp_path / "raw", tmp_path / "results", {"test": changed})
    first, second, _ = running.plan.jobs_of_kind("frame")
    kinds.make(running.context, first)
    if way == "whole":
        monkeypatch.setattr(streaming, "can_stream", lambda *_: False)
    write, writes = atomic_write.write_all, []

    def write_until_full(file, data):
        writes.append(len(data))
        if len(writes) > after:
            raise OSError(number, "no more")
        write(file, data)

    monkeypatch.setattr(atomic_write, "write_all", write_until_full)
    with pytest.raises(OSError, match="no more"):
        kinds.make(running.context, second)
    running.lock.close()
    assert len(writes) == after + 1
    assert (tmp_path / "results/reduced/b1.fits").read_bytes() == before["b1.fits"]
    assert not list((tmp_path / "results").rglob("*.part"))


def test_a_raw_file_that_changed_since_it_was_planned_is_left_for_the_next_run(tmp_path):
    fill(tmp_path / "raw")
    running = begin(tmp_path / "raw", tmp_path / "results", {"test": PROFILE + ONE_AMPLIFIER})
    write_raw(tmp_path / "raw/b0.fits.gz", (np.full((40, 72), 7, np.uint16), bias_cards(9)))
    record = kinds.make(running.context, running.plan.jobs_of_kind("frame")[0])
    running.lock.close()
    assert record.status == job_records.GONE
    assert not (tmp_path / "results/reduced/b0.fits").exists()


def test_scaled_pixels_are_reduced_as_ccdproc_would(tmp_path):
    """BSCALE and BZERO that are not those of unsigned integers: astropy makes floats of them."""
    stored = next(biases(1)).astype("int16")
    hdu = fits.PrimaryHDU(stored)
    for keyword, value in bias_cards(0).items():
        hdu.header[keyword] = value
    hdu.header["BSCALE"], hdu.header["BZERO"] = 0.25, 3.5
    data = hdu.header.tostring().encode() + stored.astype(">i2").tobytes()
    path = tmp_path / "raw/b.fits.gz"
    path.parent.mkdir()
    path.write_bytes(gzip.compress(data + b"\0" * (-len(data) % 2880)))
    run = run_jobs(tmp_path / "raw", tmp_path / "results", {"test": PROFILE + ONE_AMPLIFIER})
    values = stored.astype("f4") * np.float32(0.25) + np.float32(3.5)
    with run.open("reduced/b.fits") as hdus, fits.open(path) as raw:
        np.testing.assert_array_equal(raw[0].data, values)
        level = np.median(values[:, 66:], axis=1)[:, None]
        np.testing.assert_array_equal(hdus[0].data, values[:, :64] - level)
        assert not {"BSCALE", "BZERO"} & set(hdus[0].header)
