"""Numbers that verification repeats on purpose are equal to their originals; all are listed."""

import ast
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from ccdflow import verify
from ccdflow.calibrate import signal
from ccdflow.verify.detector import photon_light

# Module of verification, module of the library, and the names of equal numbers in both. A different
# name in the library, or the names of single numbers there, is after "=".
REPEATED_NUMBERS = (
    ("calibrated.cosmic_rays", "detector.cosmic_rays.star_guard",
     "_SKY_BOX _USUAL_SIGMA _STAR_SIGMA _STAR_EXCESS_SIGMA _SKY_DISTANCE"
     " _SHARPEST_STAR=_LEAST_WIDTH_RATIO"
     " _SHARP_SHARE=_SHARP_FRACTION _PEAK_SIGMA _FLANK_SIGMA _FEWEST_STARS _LEAST_SIGMA"
     " _LEAST_CURVATURE"),
    ("calibrated.cosmic_rays", "detector.cosmic_rays.cosmics",
     "_PROFILE_SIZE _EDGE_LINES _EDGE_SHARE=_EDGE_HIT_FRACTION _EDGE_FACTOR _FEWEST_ON_EDGE"),
    ("calibrated.cosmic_rays", "detector.cosmic_rays.cosmic_rounds", "_ITERATIONS _MARGIN_PIXELS"),
    ("calibrated.cosmic_rays", "robust", "_FWHM_OVER_SIGMA"),
    ("comparing.noted_settings", "detector.cosmic_rays.cosmics",
     "_CONTRAST_FACTORS _PROFILE_CONTRAST"),
    ("detector.flat_pixels", "detector.pixels.response", "_WEAK_SIGMA"),
    ("detector.flat_pixels", "detector.pixels.deep_faults",
     "_DEEP_FRACTION _STRUCTURE_SIGMA _COLUMNS_OF_A_SIDE _COLUMNS_BETWEEN"
     " _MOST_DEEP_FRACTION"),
    ("detector.flat_pixels", "detector.pixels.two_levels",
     "_LEAST_RATIO _LEAST_GAP _FEWEST_OF_A_LEVEL _LEAST_DIFFERENCE _OUTLIER_SIGMA _LEVEL_SIGMA"),
    ("detector.dark_pixels", "detector.pixels.bad_pixels",
     "_SAMPLE_ROWS _STRIP_PIXELS _FALSE_ALARM_SHARE=_FALSE_ALARM_FRACTION _BAD_SIGMA _HIT_SIGMA"
     " _OWN_LIGHT_SIGMA=_OWN_CHARGE_SIGMA _SAME_NOISE=_LARGEST_CHANCE_FACTOR"
     " _USUAL_ROUNDS=_ITERATIONS"),
    ("detector.pixel_bits", "detector.pixels.columns",
     "_LENGTHS_IN_PARTS _BAD_SIGMA _MOST_SIGMA_OF_A_PIXEL _COLUMNS_AROUND _STEP_SIGMA"),
    ("detector.pixel_bits", "detector.pixels.surroundings",
     "_BLOCK_SIDE _BLOCKS_A_SIDE _DEGREE _MANY_PIXELS"),
    ("detector.photon_light", "calibrate.signal",
     "_TILE_SIDE _SAMPLED_ROWS_OF_A_TILE _COLUMN_STEP _WIDE_TILE_COLUMNS _SIGNIFICANT_SIGMA"
     " _SHARP_SIGMA"
     " _OWN_ELECTRONS _ROW_STEP"),
    ("calibrated.master_planes", "calibrate.master_noise", "_DARK_TILE_SIDE"),
    ("detector.shutter_maps", "detector.photons.night_transfer",
     "_SAME_EXPOSURE _MOST_LAMP_SCATTER"),
    ("detector.shutter_maps", "detector.dead_time",
     "_LEAST_LAMP_SCATTER _MANY_FREEDOMS=_MANY_DEGREES_OF_FREEDOM"),
    ("detector.detector_products", "detector.pixels.history", "_NIGHTS_BY_ROUNDING"),
    ("detector.night_tables", "kinds.measuring.nights.night_flats",
     "_MOST_LOW_FRACTION"),
    ("calibrated.master_planes", "calibrate.master_noise", "_OWN_SIGNAL_SIGMA"),
    ("calibrated.remade_calibration", "calibrate.arithmetic", "_SATURATION_MARGIN"),
    ("calibrated.remade_calibration", "calibrate.image_figures", "_TOP_FRACTION"),
    ("calibrated.remade_calibration", "calibrate.sky_level",
     "_COLUMN_LAG _SKY_CLIP=_STAR_SIGMA _CLIPPING_ITERATIONS"
     " _CLIPPED_VARIANCE"),
    ("calibrated.masking", "calibrate.arithmetic", "_HOT_RATE"),
    ("calibrated.masking", "frame.saturation",
     "_FEWEST_SATURATED _EXCESS_SIGMA _LEAST_SCATTER _COLUMNS_APART"),
    ("calibrated.masking", "detector.pixels.history", "_LEAST_SHARE"),
    ("combined.combined_figures", "detector.dark_figures", "_HOT_SIGMA"),
    ("combined.combined_figures", "combine.subtracted_masters", "_MOST_ERROR_RATIO=_HOT_NOISE"),
    ("combined.combined_figures", "detector.pixels.trails",
     "_HOT_COLUMN_FRACTION _LEAST_WELL _HOT_SIGMA=_EXCESS_SIGMA"),
    ("combined.measuring", "combine.row_sample", "_SAMPLE_BYTES _FEWEST_ROWS _MOST_EXCESS"),
    ("combined.remade_by_noise", "combine.clipping", "_BRIGHT_SIGMA"),
    ("combined.measuring", "combine.moments", "_CLIP_SIGMA"),
    ("reading.restated_numbers", "combine.noise", "DIGITAL_NOISE"),
    ("reduced.remade_frames", "frame.line_noise", "_OUTLIER_SIGMA _LEAST_SIGMA"),
    ("combined.measuring", "combine.member_noise",
     "MODEL_ROWS=SAMPLE_ROWS _BOX_SHAPE=_BOX_ROWS,_BOX_COLUMNS"),
    ("combined.measuring", "detector.flat_figures",
     "_PAIR_VARIANCE_FACTOR _FEWEST_GAIN_PIXELS"),
    ("comparing.amplifiers", "frame.readout", "ROUNDING_VARIANCE"),
    ("reading.restated_numbers", "mask_bits",
     "SATURATED NOT_FINITE NO_DATA HOT DEAD BAD_COLUMN COSMIC UNLIT UNCALIBRATED NOT_LINEAR BLEED"
     " REPLACED VARIES FLAT_UNRELIABLE LEAST_LIT_RESPONSE=UNLIT_BELOW"),
    ("reading.restated_numbers", "robust", "MAD_TO_SIGMA MEDIAN_VARIANCE"),
    ("reading.restated_numbers", "detector.pixels.response", "LOW_SIGMA"),
    ("comparing.noted_settings", "kinds.measuring.detector_measurement",
     "_UNNOTED_LOW_SIGMA=_LOW_SIGMA_IN_NO_BASIS"),
    ("reading.restated_numbers", "detector.pixels.columns", "PART_ROWS"),
    ("reading.restated_numbers", "detector.cosmic_rays.cosmics",
     "UNDERSAMPLED_FWHM=_UNDERSAMPLED_FWHM"),
    ("reading.restated_numbers", "calibrate.combined_master", "LEAST_FLAT"),
    ("reading.restated_numbers", "calibrate.signal", "MOST_BELOW_ZERO"),
    ("reading.restated_numbers", "detector.dead_time",
     "MOST_CELLS=_MOST_CELLS LEAST_CELL_SIDE=_LEAST_SIDE"),
)  # fmt: skip
# Numbers that only verification has: tolerances, sizes of samples, rows at once, limits of tables.
OWN_NUMBERS = {
    "calibrated.calibrated_verdict": "MOST_STEPS _SHUTTER_STEPS _ROWS_AT_ONCE",
    "calibrated.cosmic_rays": "_FWHM_TOLERANCE _FWHM_TOLERANCE_IN_STEPS",
    "calibrated.grading": "_ROUNDING_DEGREES",
    "calibrated.masking":
        "_BITS_WITHOUT_LIGHT _END_TOLERANCE"
        " _END_TOLERANCE_IN_STEPS _MOST_NAMED _MOST_DIFFERING _MOST_DIFFERING_FRACTION"
        " _ROWS_AT_ONCE",
    "calibrated.master_planes": "_NO_VALUE_BITS _LIGHT_ROWS",
    "calibrated.remade_calibration": "_SKY_ROWS _SKY_QUANTILES _SKY_TOLERANCE _HALVINGS",
    "calibrated.standard_errors":
        "_BLOCK_PIXELS CARD_TOLERANCE SCATTER_TOLERANCE _SUM_ROUNDING _NEAR_LIMIT",
    "combined.combined_verdict":
        "_MOST_BANDS _BAND_ROWS _MOST_VALUES _FEWEST_BANDS ERROR_TOLERANCE",
    "combined.kept_values": "_MOST_DOUBTFUL",
    "combined.measuring":
        "FIGURE_ROWS _ENOUGH_VALUES _CLIP_ITERATIONS _TRIAL_VALUES _FEWEST_TRIALS"
        " _MOST_TRIALS _TRIAL_SEED _GAIN_FRAMES _GAIN_LIGHT _GAIN_ITERATIONS"
        " _MEDIAN_OF_SQUARES _SQUARES_VARIANCE",
    "combined.remade_by_noise": "_NEAR_LIMIT",
    "combined.remade_combination": "_LIMIT_SHIFT",
    "combined.tolerances":
        "MOST_FLOAT_STEPS TIME_TOLERANCE_SECONDS EXPOSURE_TOLERANCE SHORT_EXPOSURE_TOLERANCE"
        " LONG_EXPOSURE_TOLERANCE READ_NOISE_TOLERANCE ZERO_NOISE_TOLERANCE"
        " COMBINED_NOISE_TOLERANCE CLIPPING_NOISE_TOLERANCE _FACTOR_TOLERANCE _GAIN_TOLERANCE"
        " _MOST_SIGMA MASTER_NOISE_TOLERANCE FLAT_SIGNAL_TOLERANCE FLAT_SCATTER_TOLERANCE",
    "command": "_OWN_FAULT_STATUS _MOST_NAMED_FILES",
    "comparing.amplifiers":
        "_MOST_SIMULATED_VALUES _MOST_DRAWN_VALUES _MOST_DRAWN_LEVELS _SEED"
        " _LEVEL_VARIANCE_TOLERANCE _LEAST_LEVEL_TOLERANCE _FLOAT_ROUNDING",
    "comparing.comparing":
        "RELATIVE_ROUNDING ABSOLUTE_ROUNDING DERIVED_ROUNDING NEAR_LIMIT_OF_CARD",
    "comparing.sentences": "_CARD_CHARACTERS _SHARE_ROUNDING _SENTENCE_ROUNDING",
    "comparing.source_cards": "_CARD_BYTES",
    "detector.dark_pixels": "_OWN_LIGHT_ROUNDS",
    "detector.flat_pixels": "_STRIP_ROWS _FEWEST_ROWS",
    "detector.night_tables": "_USELESS_BITS _SIGMA_ROUNDING",
    "detector.photon_light": "_NEAR_FRACTION _EXAMINED_FRACTION",
    "detector.pixel_bits": "NEAR_LIMIT_FRACTION",
    "detector.shutter_maps":
        "_ROWS_AT_ONCE _ERROR_FRACTION _VALUE_FRACTION _MEAN_TOLERANCE _LEAST_MEAN_TOLERANCE",
    "reading.accounts": "_SATURATED_LEVEL",
    "reading.stored_rows": "_BLOCK_BYTES",
    "reduced.reduced_verdict": "_NOISE_TOLERANCE _PIXEL_TOLERANCE",
    "reduced.remade_frames": "_ROWS_AT_ONCE",
    "selection": "MOST_BYTES",
}  # fmt: skip


def numbers_of_verification():
    """Return {module: names} of the numbers, and tuples of numbers, in modules of verification."""
    top, names_by_module = Path(verify.__file__).parent, {}
    for path in sorted(top.rglob("*.py")):
        module = ".".join(path.relative_to(top).with_suffix("").parts)
        targets = [
            name.id
            for line in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(line, ast.Assign)
            for target in line.targets
            for name in ast.walk(target)
            if isinstance(name, ast.Name)
        ]
        own = import_module(f"ccdflow.verify.{module}") if targets else None
        if names := [name for name in targets if is_of_numbers(getattr(own, name))]:
            names_by_module[module] = names
    return names_by_module


def is_of_numbers(value):
    """Return whether a value is a number, or a tuple of numbers."""
    values = value if isinstance(value, tuple) and value else (value,)
    return all(type(each) in (int, float, np.float64) for each in values)


def test_every_number_of_verification_is_listed_as_a_copy_or_as_its_own():
    numbers = {
        (module, name) for module, names in numbers_of_verification().items() for name in names
    }
    copies = {
        (copy, word.partition("=")[0])
        for copy, _, words in REPEATED_NUMBERS
        for word in words.split()
    }
    own = {(module, name) for module, names in OWN_NUMBERS.items() for name in names.split()}
    assert numbers - copies - own == set(), "compare these with their originals, or list them"
    assert copies & own == set()
    assert own - numbers == set()


@pytest.mark.parametrize(("copy", "original", "words"), REPEATED_NUMBERS)
def test_a_repeated_number_is_that_of_the_library(copy, original, words):
    own, library = (import_module(f"ccdflow.{each}") for each in (f"verify.{copy}", original))
    for word in words.split():
        name, _, names_of_library = word.partition("=")
        numbers = [
            getattr(library, each if hasattr(library, each) else each.removeprefix("_"))
            for each in (names_of_library or name).split(",")
        ]
        number = tuple(numbers) if len(numbers) > 1 else numbers[0]
        assert getattr(own, name) == pytest.approx(number, rel=1e-12), (
            f"{name} of verify/{copy} (a module below it) is {names_of_library or name} of "
            f"{original} once more: give both the same number"
        )


@pytest.mark.parametrize(("gain", "response"), [(1.0, 1.0), (4.0, 1.0), (0.5, 0.8)])
def test_the_light_of_steep_stars_is_that_of_the_library(gain, response):
    """Stars with peaks up to 500,000 electrons and a sigma of 0.85 pixels: no surface fits them."""
    random, side = np.random.default_rng(5), 128
    rows, columns = np.indices((side, side))
    y, x = rows % 16 - 8.3, columns % 16 - 8.3
    # Each star has two thirds of the light of the star before it.
    peaks = 500_000 * (2 / 3) ** (columns // 16 * 2 + rows // 16 % 2)
    scene = 100 + peaks * np.exp(-(y**2 + x**2) / (2 * 0.85**2))
    # The frame is in adu over the flat: electrons per unit.
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
    # Within 1 % of a limit either decision is right, because the library sums float32.
    decided = own.closeness[second] > 0.01
    assert np.count_nonzero(decided) > 300
    expected = own.light[second][decided]
    # Half an electron in faint pixels, and 1e-4 of the light in bright ones.
    tolerance = np.maximum(0.5 / electrons, 1e-4 * expected)
    assert (np.abs(light[first][decided] - expected) <= tolerance).all()
