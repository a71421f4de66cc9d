"""Numbers that verification repeats on purpose, under the names of their originals, are equal."""

from importlib import import_module

import numpy as np
import pytest

from ccdflow.calibrate import signal
from ccdflow.verify.detector import photon_light

# Module of verification, module of the library, and the names that both have.
REPEATED_NUMBERS = (
    ("calibrated.cosmic_rays", "detector.cosmic_rays.star_guard",
     "_SKY_BOX _USUAL_WIDTH _STAR_SIGMA _STAR_EXCESS_SIGMA _SHARPEST_STAR _SKY_DISTANCE"
     " _SHARP_SHARE _PEAK_SIGMA _FLANK_SIGMA _FEWEST_STARS _LEAST_WIDTH"),
    ("calibrated.cosmic_rays", "detector.cosmic_rays.cosmics",
     "_PROFILE_SIZE _UNDERSAMPLED_FWHM _EDGE_LINES _EDGE_SHARE _EDGE_FACTOR"),
    ("calibrated.cosmic_rays", "detector.cosmic_rays.cosmic_rounds", "_ITERATIONS _MARGIN_PIXELS"),
    ("calibrated.cosmic_rays", "robust", "_FWHM_OVER_SIGMA"),
    ("comparing.noted_settings", "detector.cosmic_rays.cosmics",
     "_CONTRAST_FACTORS _UNDERSAMPLED_FWHM _PROFILE_CONTRAST"),
    ("comparing.noted_settings", "detector.pixels.response", "_LOW_SIGMA"),
    ("detector.flat_pixels", "detector.pixels.response", "_LOW_SIGMA _WEAK_SIGMA"),
    ("detector.flat_pixels", "detector.pixels.columns", "_PART_ROWS"),
    ("detector.flat_pixels", "detector.pixels.deep_faults",
     "_DEEP_PART _STRUCTURE_SIGMA _COLUMNS_AROUND _COLUMNS_BETWEEN _MOST_DEEP"),
    ("detector.flat_pixels", "detector.pixels.two_levels",
     "_LEAST_RATIO _LEAST_GAP _FEWEST_OF_A_LEVEL _LEAST_DIFFERENCE _OUTLIER_SIGMA _LEVEL_SIGMA"),
    ("detector.dark_pixels", "detector.pixels.bad_pixels",
     "_SAMPLE_ROWS _FALSE_ALARMS _BAD_SIGMA _HIT_SIGMA _OWN_LIGHT_SIGMA _SAME_NOISE"),
    ("detector.pixel_bits", "detector.pixels.columns",
     "_PART_ROWS _LENGTHS_IN_PARTS _BAD_SIGMA _MOST_SIGMA_OF_A_PIXEL _COLUMNS_AROUND"),
    ("detector.pixel_bits", "detector.pixels.surroundings",
     "_BLOCK_SIDE _BLOCKS_A_SIDE _DEGREE _MANY_PIXELS"),
    ("detector.photon_light", "calibrate.signal",
     "_TILE_SIDE _ROWS_OF_A_TILE _COLUMN_STEP _WIDE_TILE _SIGNIFICANT_SIGMA _SHARP_SIGMA"
     " _OWN_ELECTRONS _SAMPLED_ROWS"),
    ("calibrated.master_planes", "calibrate.master_noise", "_TILE_SIDE"),
    ("detector.shutter_maps", "detector.photons.night_transfer",
     "_SAME_EXPOSURE _MOST_LAMP_SCATTER"),
)  # fmt: skip


@pytest.mark.parametrize(("copy", "original", "names"), REPEATED_NUMBERS)
def test_a_repeated_number_is_that_of_the_library(copy, original, names):
    own, library = (import_module(f"ccdflow.{each}") for each in (f"verify.{copy}", original))
    for name in names.split():
        public = name.removeprefix("_")
        number = getattr(library, name if hasattr(library, name) else public)
        assert getattr(own, name) == number, name


@pytest.mark.parametrize(("gain", "response"), [(1.0, 1.0), (4.0, 1.0), (0.5, 0.8)])
def test_the_light_of_steep_stars_is_that_of_the_library(gain, response):
    """Peaks up to 500,000 electrons, 0.85 pixels wide: surfaces miss their wings by far."""
    random, side = np.random.default_rng(5), 128
    rows, columns = np.indices((side, side))
    y, x = rows % 16 - 8.3, columns % 16 - 8.3
    # Each star has two thirds of the light of the one before, in eight columns of stars.
    peaks = 500_000 * (2 / 3) ** (columns // 16 * 2 + rows // 16 % 2)
    scene = 100 + peaks * np.exp(-(y**2 + x**2) / (2 * 0.85**2))
    # In adu over the flat, of which one has so many electrons.
    electrons = gain * response
    image = random.poisson(np.pad(scene, ((1, 1), (0, 0)), mode="edge")) / electrons
    image = image.astype(np.float32)
    smooth = np.full(scene.shape, 100 / electrons, np.float32)
    flat = np.full(scene.shape, response, np.float32)
    variance = np.full(scene.shape, 125 / electrons**2, np.float32)
    scratch = np.empty((2, image.size), np.float32)
    places, light = signal.pixels_of_structure(image, smooth, variance, flat, 1 / gain, scratch)
    own = photon_light.light_of_block(
        image.astype(float), smooth, variance * flat**2, flat, 1 / gain
    )
    _, first, second = np.intersect1d(places, own.places, return_indices=True)
    # 1 % about a limit either decision is right; the library's sums are of float32.
    decided = own.closeness[second] > 0.01
    assert np.count_nonzero(decided) > 300
    assert light[first][decided] == pytest.approx(
        own.light[second][decided], rel=1e-4, abs=0.5 / electrons
    )
