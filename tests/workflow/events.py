"""The events of an archive, in any order; `archive.Model` has the rules that must hold."""

from __future__ import annotations

import gzip
import os
import shutil

from archive import (
    CAMERAS,
    KINDS,
    LATER_NIGHTS,
    MASTERS,
    NIGHTS,
    NUMBER,
    OLDER_NIGHTS,
    event,
    pick,
)
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition
from odd_events import OddEvents
from sandbox import snapshot

from ccdflow import paths
from ccdflow.frame import reduction
from ccdflow.run.raw_frames.raw_folders import is_plain_name

# Regions of the science pixels that a profile may give.
REGIONS = ("[:, :-8]", "[2:, :-8]", "[:, 4:-8]")


class EventArchive(OddEvents):
    """Events on an archive, each followed by a run, or by none."""

    # -- events on raw files -----------------------------------------------------------------------

    @initialize(biases=st.integers(2, 4), others=st.integers(1, 3))
    def begin(self, biases, others):
        """Write two nights of both cameras, with calibrations and frames of the sky, and run."""
        numbers = {"BIAS": biases, "DARK": others, "FLAT": others, "OBJECT": 1}
        for night in NIGHTS[:2]:
            for camera in CAMERAS:
                kinds = [kind for kind, count in numbers.items() for _ in range(count)]
                for number, kind in enumerate(kinds):
                    content = (number, kind, camera, night)
                    self.put(f"{night}/{camera}{number}.fits.gz", content)
        for night, kinds in OLDER_NIGHTS.items() if self.is_long else ():
            for number, kind in enumerate(kinds):
                self.put(f"{night}/alpha{number}.fits.gz", (number, kind, "alpha", night))
        # Events of links need a link, and would hardly be drawn without this one. A folder with a
        # link has no hash that shows its changes, so that no night is closed.
        if not self.is_long:
            self.link(biases, 1, others > 1)
        self.run(2)

    @event(
        night=st.sampled_from(NIGHTS),
        camera=st.sampled_from(CAMERAS),
        kind=st.sampled_from(KINDS),
        seed=NUMBER,
    )
    def add(self, night, camera, kind, seed):
        """Add a frame to a night."""
        number = sum(file.startswith(f"{night}/{camera}") for file in self.files)
        file = f"{night}/{camera}{number}.fits.gz"
        if number < 12 and file not in self.files:
            self.put(file, (seed, kind, camera, night))

    @precondition(lambda self: self.readable_files())
    @event(number=NUMBER, seed=NUMBER)
    def change(self, number, seed):
        """Give a raw file the pixels of another seed."""
        file = pick(self.readable_files(), number)
        _, kind, camera, night = self.files[file][0]
        self.put(file, (seed, kind, camera, night))

    @event()
    def touch_all(self):
        """Give all raw files another time."""
        for file in self.readable_files():
            os.utime(self.sandbox.raw / file, (1.7e9, 1.7e9))

    @event()
    def copy_and_back(self):
        """Copy the raw folder to another disk, and the copy back."""
        other = self.sandbox.root / "other disk"
        shut, self.shut = self.shut, set()
        shutil.copytree(self.sandbox.raw, other, copy_function=shutil.copy, symlinks=True)
        self.shut = shut
        shutil.rmtree(self.sandbox.raw)
        other.rename(self.sandbox.raw)

    @precondition(lambda self: len(self.files) > 4)
    @event(number=NUMBER)
    def delete(self, number):
        """Delete a raw file."""
        file = pick(self.files, number)
        (self.sandbox.raw / file).unlink()
        self.links.pop(file, None)
        self.shut.discard(file)
        self.deleted[file] = self.files.pop(file)

    @precondition(lambda self: self.deleted)
    @event(number=NUMBER)
    def bring_back(self, number):
        """Write a deleted raw file again."""
        file = pick(self.deleted, number)
        content, _ = self.deleted.pop(file)
        if file not in self.files:
            self.put(file, content)

    @precondition(lambda self: self.readable_files())
    @event(
        number=NUMBER, damage_kind=st.sampled_from(("flip", "cut", "empty", "text", "end", "later"))
    )
    def damage(self, number, damage_kind):
        """Damage a raw file."""
        file = pick(self.readable_files(), number)
        path = self.sandbox.raw / file
        content = bytearray(path.read_bytes())
        if len(content) < 100:
            return
        if damage_kind == "flip":
            content[len(content) // 2] ^= 16
        elif damage_kind == "later":
            content[len(content) * 9 // 10] ^= 1
        elif damage_kind == "end":
            content[-6] ^= 4
        else:
            content = {"cut": content[: len(content) * 2 // 3], "empty": b"", "text": b"no"}[
                damage_kind
            ]
        self.sandbox.write(file, bytes(content))
        self.links.pop(file, None)
        whole = damage_kind in ("flip", "later", "end") and not file.lower().endswith(".gz")
        if whole:
            # Without a checksum a damaged file counts as another frame.
            path.unlink()
            del self.files[file]
        else:
            self.files[file] = (self.files[file][0], False)

    @precondition(
        lambda self: set(self.readable_files()) - set(self.readable_files(are_whole=True))
    )
    @event(number=NUMBER, seed=NUMBER)
    def repair(self, number, seed):
        """Write a damaged raw file again, with the pixels of another seed."""
        file = pick(set(self.readable_files()) - set(self.readable_files(are_whole=True)), number)
        _, kind, camera, night = self.files[file][0]
        self.put(file, (seed, kind, camera, night))

    @precondition(lambda self: self.readable_files(are_whole=True))
    @event(number=NUMBER, keep=st.booleans())
    def unpack(self, number, keep):
        """Unpack a raw file, and keep or delete the packed one."""
        file = pick(self.readable_files(are_whole=True), number)
        if file.lower().endswith(".gz"):
            path = self.sandbox.raw / file
            other = file[: -len(".gz")]
            self.sandbox.write(other, gzip.decompress(path.read_bytes()))
            self.files[other] = self.files[file]
            if not keep:
                path.unlink()
                self.links.pop(file, None)
                del self.files[file]

    @precondition(lambda self: self.is_long and self.readable_files())
    @event(
        what=st.sampled_from(
            ("add", "add", "change", "product", "cut", "damage", "repair", "none")
        ),
        night=st.sampled_from((*NIGHTS, *LATER_NIGHTS)),
        camera=st.sampled_from(CAMERAS),
        kind=st.sampled_from(KINDS),
        number=NUMBER,
        seed=NUMBER,
    )
    def touch_a_night_beside_closed_ones(self, what, night, camera, kind, number, seed):
        """Run until all nights are closed, draw one event, and run with some nights open.

        By chance this hardly happens. Half of the events make the next run plan all nights, and a
        new master of a night before a closed one does so as well.
        """
        self.mend_names()
        self.run(2)
        if what == "add":
            self.add(night, camera, kind, seed)
        elif what == "change" and self.readable_files():
            self.change(number, seed)
        elif what == "product" and self.existing_products():
            self.delete_product(number)
        elif what == "cut" and self.existing_products():
            self.damage_product(number, seed, cut=bool(seed % 2))
        elif what == "damage" and self.readable_files():
            self.damage(number, ("flip", "cut", "end", "later")[seed % 4])
        elif what == "repair" and set(self.readable_files()) - set(
            self.readable_files(are_whole=True)
        ):
            self.repair(number, seed)
        self.run(1)

    def mend_names(self):
        """Restore permissions and targets of links, and remove files whose names are no plain text.

        Any of these keeps all nights open.
        """
        while self.shut:
            self.open_up(0)
        while None in self.links.values():
            self.mend_link(0)
        for file in [file for file in self.files if not is_plain_name(file)]:
            self.delete(sorted(self.files).index(file))
            del self.deleted[file]

    # -- events on settings ------------------------------------------------------------------------

    @event(
        camera=st.sampled_from(CAMERAS),
        region=st.sampled_from(REGIONS),
        dtype=st.sampled_from(("float32", "float64")),
        statistic=st.sampled_from(("median", "mean")),
    )
    def edit_camera(self, camera, region, dtype, statistic):
        """Change the amplifier and the reduction in a camera's profile."""
        amplifier = {"name": "A", "data": {"python": region}, "overscan": {"python": "[:, -6:]"}}
        if region.startswith("[2"):
            amplifier["overscan"] = {"python": "[2:, -6:]"}
        self.sandbox.profile(
            camera, amplifiers=[amplifier], reduction={"dtype": dtype, "statistic": statistic}
        )

    @event(camera=st.sampled_from(CAMERAS), text=st.sampled_from(("one", "two")))
    def edit_description(self, camera, text):
        """Change the description in a camera's profile."""
        self.sandbox.profile(camera, **{**self.sandbox.profiles[camera], "description": text})

    @event(types=st.sampled_from(("all", "all", ["bias"], ["bias", "dark", "science"], ["flat"])))
    def edit_types(self, types):
        """Change the image types that are reduced."""
        self.sandbox.config["types"] = types

    @event(
        kind=st.sampled_from(MASTERS), enabled=st.sampled_from((True, True, False)),
        minimum=st.sampled_from((2, 3)), clip=st.sampled_from((5.0, None)), count=st.booleans(),
    )  # fmt: skip
    def edit_combine(self, kind, enabled, minimum, clip, count):
        """Change the settings of a kind of master."""
        self.sandbox.config[kind] = {
            "enabled": enabled, "minimum": minimum, "clip": clip, "count": count,
        }  # fmt: skip

    @event(
        enabled=st.sampled_from((True, True, False)),
        direction=st.sampled_from(("causal", "nearest")),
        missing=st.sampled_from(("degrade", "refuse")),
        uncertainty=st.booleans(),
    )
    def edit_calibrate(self, **values):
        """Change the settings of calibrated frames."""
        self.sandbox.config["calibrate"] = values

    @event(
        enabled=st.sampled_from((True, True, False)),
        hot_rate=st.sampled_from((0.5, 5.0)),
        nights=st.sampled_from((1, 10)),
    )
    def edit_detector(self, **values):
        """Change the settings of the detector's measurement."""
        self.sandbox.config["detector"] = values

    @event(camera=st.sampled_from(CAMERAS), night=st.sampled_from((None, *NIGHTS)))
    def edit_epochs(self, camera, night):
        """Begin another epoch of a camera with a night, or remove its epochs."""
        values = {name: v for name, v in self.sandbox.profiles[camera].items() if name != "epochs"}
        self.sandbox.profile(camera, **values, **({"epochs": [night]} if night else {}))

    @event(per_type=st.sampled_from((0, 1, "all")))
    def edit_pictures(self, per_type):
        """Change the number of pictures."""
        self.sandbox.config["pictures"] = {"per_type": per_type}

    @event(sigma=st.sampled_from((1.0, 2.0)), statistic=st.sampled_from(("median", "mean")))
    def edit_reduction(self, sigma, statistic):
        """Change the settings of the reduction."""
        self.sandbox.config["reduction"] = {"reject_sigma": sigma, "statistic": statistic}

    @event(version=st.sampled_from((1, 2)))
    def new_release(self, version):
        """Change the version of the pixels of reduced frames."""
        self.arithmetic = version
        self.patch.setattr(reduction, "PIXELS_VERSION", version)

    # -- events on results -------------------------------------------------------------------------

    def existing_products(self):
        """Return the existing products."""
        if not self.sandbox.results.is_dir():
            return []
        return [
            name
            for name in snapshot(self.sandbox.results).stamps
            if name != "inventory.csv" and not name.startswith("set_aside/")
        ]

    @precondition(lambda self: self.existing_products())
    @event(number=NUMBER)
    def delete_product(self, number):
        """Delete a product; the next run makes it anew."""
        name = pick(self.existing_products(), number)
        (self.sandbox.results / name).unlink()
        self.forget(name)

    @precondition(lambda self: self.existing_products())
    @event(number=NUMBER, place=NUMBER, cut=st.booleans())
    def damage_product(self, number, place, cut):
        """Cut a product, or change a byte of it."""
        name = pick(self.existing_products(), number)
        path = self.sandbox.results / name
        content = bytearray(path.read_bytes())
        if not content:
            return
        if cut:
            content = content[: place % len(content)]
        else:
            content[place % len(content)] ^= 1 + place % 255
        path.write_bytes(content)
        self.forget(name)

    @precondition(lambda self: self.existing_products())
    @event(number=NUMBER)
    def touch_product(self, number):
        """Give a product another time."""
        os.utime(self.sandbox.results / pick(self.existing_products(), number), (1.6e9, 1.6e9))

    def forget(self, product):
        """Note that a product has changed."""
        self.made.pop(product, None)

    @event(
        name=st.sampled_from((paths.LEDGER, paths.HEADERS, paths.INVENTORY)),
        damage_kind=st.sampled_from(("lose", "cut", "flip", "empty")),
    )
    def lose_notes(self, name, damage_kind):
        """Delete or damage a file of notes."""
        path = self.sandbox.results / name
        if not path.is_file() or not path.stat().st_size:
            return
        content = bytearray(path.read_bytes())
        if damage_kind == "lose":
            path.unlink()
        elif damage_kind == "flip":
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
        else:
            path.write_bytes(content[: len(content) // 2] if damage_kind == "cut" else b"")
        if name == paths.LEDGER:
            # Records of a killed run are not in the ledger yet.
            self.made = {p: of for p, of in self.made.items() if p in self.pending}

    @precondition(lambda self: self.sandbox.results.is_dir())
    @event(copied=st.booleans())
    def move_results(self, copied):
        """Move the results away and back, or copy them."""
        other = self.sandbox.root / "moved"
        if copied:
            shutil.copytree(self.sandbox.results, other)
            shutil.rmtree(self.sandbox.results)
        else:
            self.sandbox.results.rename(other)
        other.rename(self.sandbox.results)


# Number of times that an event is listed: those that need an earlier event are drawn seldom.
EVENT_WEIGHTS = {
    "link": 2,
    "retarget": 5,
    "break_link": 5,
    "mend_link": 5,
    "shut_folder": 2,
    "open_up": 2,
    "touch_a_night_beside_closed_ones": 4,
}
for _name, _times in EVENT_WEIGHTS.items():
    for _number in range(1, _times):
        setattr(EventArchive, f"{_name}_{_number}", getattr(EventArchive, _name))
