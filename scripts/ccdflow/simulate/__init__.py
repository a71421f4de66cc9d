"""Simulated raw frames, with the injected truth kept beside them.

A frame is built as in a detector. It begins with electrons of light, dark current, glow and cosmic
rays, with Poisson noise. Charge above the full well runs over, and traps hold charge back. An
amplifier adds gain, read noise, a level that drifts from row to row, and a fixed structure. The
converter rounds to 16 bits. The overscan columns have the same level and read noise.

There are two simulators:

- `expose` takes one frame of any `Detector` under any `Sky`, exactly, and returns frame and truth.
  `draw_detector` makes a detector with faults of every kind, `expose_night` writes a folder of
  frames.
- `simulate_night`, `simulate_biases`, `simulate_archive` write the CCD guide's camera, fast.

Everything follows from the seed: the same parameters give the same files, byte for byte.

============== ===================================================================================
module         contents
============== ===================================================================================
chip           `Detector`, `SimulatedAmplifier`, `Glow`
drawing        detectors drawn from a seed, and their later epochs
optics         response of pixels, vignetting, dust
scene          `Sky`: light of lamps and skies, stars
tracks         tracks of cosmic rays
charge         full well and bleeding, traps, an amplifier's curve
exposing       `expose`: from light to adu
exposed_nights `expose_night`: exposures after a plan, written with headers and truth
camera         `SimulatedCamera`: the camera of the CCD guide
observing_log  the exposures of the guide's observing log, of biases, of an archive
guide          pixels of the guide's frames
raw_cards      header cards and FITS bytes
truth          truth of the guide's folders
guide_nights   folders of the guide's frames
frame_arrivals frames of a folder that arrive one by one, half first
files          files and folders of simulated frames
seeds          random numbers that follow from names and seeds
user_values    checks of the numbers and dates that a user gives
============== ===================================================================================
"""

from ccdflow.simulate.camera import ARCHIVE_CAMERA, LFC, SATURATION, SimulatedCamera
from ccdflow.simulate.chip import Detector, Glow, SimulatedAmplifier
from ccdflow.simulate.drawing import FaultCounts, draw_detector, draw_guide_detector, later_detector
from ccdflow.simulate.exposed_nights import Shot, expose_night, profile, read_night_truth
from ccdflow.simulate.exposing import Exposure, expose
from ccdflow.simulate.guide import Realisation, realise, render
from ccdflow.simulate.guide_nights import simulate_archive, simulate_biases, simulate_night
from ccdflow.simulate.observing_log import LogLine, archive_frames, guide_frames
from ccdflow.simulate.optics import Dust, flat_response
from ccdflow.simulate.raw_cards import frame_bytes, header_cards
from ccdflow.simulate.scene import Sky, draw_stars
from ccdflow.simulate.tracks import draw_cosmics
from ccdflow.simulate.truth import TRUTH_ARRAYS, TRUTH_FILE, Truth, read_truth

__all__ = [
    "ARCHIVE_CAMERA",
    "LFC",
    "SATURATION",
    "TRUTH_ARRAYS",
    "TRUTH_FILE",
    "Detector",
    "Dust",
    "Exposure",
    "FaultCounts",
    "Glow",
    "LogLine",
    "Realisation",
    "Shot",
    "SimulatedAmplifier",
    "SimulatedCamera",
    "Sky",
    "Truth",
    "archive_frames",
    "draw_cosmics",
    "draw_detector",
    "draw_guide_detector",
    "draw_stars",
    "expose",
    "expose_night",
    "flat_response",
    "frame_bytes",
    "guide_frames",
    "header_cards",
    "later_detector",
    "profile",
    "read_night_truth",
    "read_truth",
    "realise",
    "render",
    "simulate_archive",
    "simulate_biases",
    "simulate_night",
]
