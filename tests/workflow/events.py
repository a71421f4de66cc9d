"""What may happen to an archive, in any order, and what must be true after each run.

A model beside the real folders knows what every raw file holds and from what every product was
made; from that it says which frames a run has to reduce. After each run the next one must find
nothing to do, nothing else may have been written, and the products must be those of a run from
scratch, byte for byte.
"""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sandbox import SMALL, Sandbox, products, snapshot
from stand_ins import use_stand_ins

from ccdflow import paths
from ccdflow.frame import reduction
from ccdflow.run import inventory, ledger
from ccdflow.run.describe import describe

NIGHTS = ("2024-03-01", "2024-03-02", "2024-03-03")
CAMERAS = ("alpha", "beta")
KINDS = ("BIAS", "BIAS", "BIAS", "FLAT")
# Region of the science pixels, and what else a profile can say of the pixels or not of them.
REGIONS = ("[:, :-8]", "[2:, :-8]", "[:, 4:-8]")

_any = st.integers(0, 10**6)


def pick(values, number):
    """Return one of some values."""
    values = sorted(values)
    return values[number % len(values)]


class Archive(RuleBasedStateMachine):
    """Events on an archive, each followed by a run, or by none."""

    events = 0
    runs = 0
    jobs = 0

    def __init__(self):
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        use_stand_ins(self.patch)
        self.root = Path(os.environ["CCDFLOW_TORTURE"]) / f"archive-{os.getpid()}"
        shutil.rmtree(self.root, ignore_errors=True)
        self.box = Sandbox(self.root / "box")
        # What each raw file holds: (content, whether it is whole).
        self.files = {}
        # From what each reduced frame was made, and its bytes.
        self.made = {}
        self.deleted = {}
        # Made by a run that was killed.
        self.pending = set()
        self.arithmetic = reduction.PIXELS

    def teardown(self):
        """Leave nothing behind."""
        self.patch.undo()
        shutil.rmtree(self.root, ignore_errors=True)

    # -- what frames are made of -------------------------------------------------------------------

    def identity(self, file):
        """Return what a reduced frame depends on."""
        seed, kind, camera, night = self.files[file][0]
        profile = self.box.profiles[camera]
        how = {"statistic": "median", "dtype": "float32"}
        how |= self.box.config.get("reduction", {}) | profile.get("reduction", {})
        # Without a model, what it would reject plays no part.
        how.pop("reject_sigma", None)
        return (
            file,
            seed,
            kind,
            camera,
            night,
            str(profile["amplifiers"]),
            str(how),
            self.arithmetic,
        )

    def is_wanted(self, file):
        """Tell whether the configuration asks for a frame."""
        types = self.box.config.get("types", "all")
        return types == "all" or self.files[file][0][1].lower() in types

    def due(self):
        """Return the products that the next run has to reduce, and those it may try in vain."""
        due, maybe = set(), set()
        for file, (_, whole) in self.files.items():
            product = paths.reduced(file)
            if not self.is_wanted(file) or self.twin(file):
                continue
            if not whole:
                maybe.add(product)
            elif self.made.get(product) != self.identity(file):
                due.add(product)
        return due, maybe

    def twin(self, file):
        """Tell whether another raw file would become the same product."""
        return sum(paths.reduced(other) == paths.reduced(file) for other in self.files) > 1

    # -- events on raw files -----------------------------------------------------------------------

    @initialize(counts=st.lists(st.integers(2, 4), min_size=2, max_size=2))
    def begin(self, counts):
        for night, count in zip(NIGHTS, counts, strict=False):
            for camera in CAMERAS:
                for number in range(count):
                    self.put(f"{night}/{camera}{number}.fits.gz", (number, "BIAS", camera, night))
        self.run(2)

    def put(self, file, content, *, whole=True):
        """Write a raw file of the model's content, and note it."""
        seed, kind, camera, night = content
        packed = file.endswith(".gz")
        written = self.box.put(
            file, seed, kind=kind, camera=camera, night=night, packed=packed, size=SMALL
        )
        self.files[file] = (content, whole)
        return written

    @rule(
        night=st.sampled_from(NIGHTS),
        camera=st.sampled_from(CAMERAS),
        kind=st.sampled_from(KINDS),
        seed=_any,
    )
    def add(self, night, camera, kind, seed):
        number = sum(file.startswith(f"{night}/{camera}") for file in self.files)
        file = f"{night}/{camera}{number}.fits.gz"
        if number < 6 and file not in self.files:
            self.put(file, (seed, kind, camera, night))

    @precondition(lambda self: self.files)
    @rule(number=_any, seed=_any)
    def change(self, number, seed):
        file = pick(self.files, number)
        _, kind, camera, night = self.files[file][0]
        self.put(file, (seed, kind, camera, night))

    @rule()
    def touch_all(self):
        for file in self.files:
            os.utime(self.box.raw / file, (1.7e9, 1.7e9))

    @rule()
    def copy_and_back(self):
        other = self.box.root / "other disk"
        shutil.copytree(self.box.raw, other, copy_function=shutil.copy)
        shutil.rmtree(self.box.raw)
        other.rename(self.box.raw)

    @precondition(lambda self: len(self.files) > 4)
    @rule(number=_any)
    def delete(self, number):
        file = pick(self.files, number)
        (self.box.raw / file).unlink()
        self.deleted[file] = self.files.pop(file)

    @precondition(lambda self: self.deleted)
    @rule(number=_any)
    def bring_back(self, number):
        file = pick(self.deleted, number)
        content, _ = self.deleted.pop(file)
        if file not in self.files:
            self.put(file, content)

    @precondition(lambda self: self.files)
    @rule(number=_any, how=st.sampled_from(("flip", "cut", "empty", "text", "end", "later")))
    def damage(self, number, how):
        file = pick(self.files, number)
        path = self.box.raw / file
        content = bytearray(path.read_bytes())
        if len(content) < 100:
            return
        if how == "flip":
            content[len(content) // 2] ^= 16
        elif how == "later":
            content[len(content) * 9 // 10] ^= 1
        elif how == "end":
            content[-6] ^= 4
        else:
            content = {"cut": content[: len(content) * 2 // 3], "empty": b"", "text": b"no"}[how]
        self.box.write(file, bytes(content))
        whole = how in ("flip", "later", "end") and not file.endswith(".gz")
        if whole:
            # Without a checksum it is another frame, and cannot be told from one.
            path.unlink()
            del self.files[file]
        else:
            self.files[file] = (self.files[file][0], False)

    @precondition(lambda self: any(not whole for _, whole in self.files.values()))
    @rule(number=_any, seed=_any)
    def repair(self, number, seed):
        file = pick([file for file, (_, whole) in self.files.items() if not whole], number)
        _, kind, camera, night = self.files[file][0]
        self.put(file, (seed, kind, camera, night))

    @precondition(lambda self: any(whole for _, whole in self.files.values()))
    @rule(number=_any, keep=st.booleans())
    def unpack(self, number, keep):
        file = pick([file for file, (_, whole) in self.files.items() if whole], number)
        if file.endswith(".gz"):
            path = self.box.raw / file
            other = file.removesuffix(".gz")
            self.box.write(other, gzip.decompress(path.read_bytes()))
            self.files[other] = self.files[file]
            if not keep:
                path.unlink()
                del self.files[file]

    # -- events on settings ------------------------------------------------------------------------

    @rule(
        camera=st.sampled_from(CAMERAS),
        region=st.sampled_from(REGIONS),
        dtype=st.sampled_from(("float32", "float64")),
        statistic=st.sampled_from(("median", "mean")),
    )
    def edit_camera(self, camera, region, dtype, statistic):
        amplifier = {"name": "A", "data": {"python": region}, "overscan": {"python": "[:, -6:]"}}
        if region.startswith("[2"):
            amplifier["overscan"] = {"python": "[2:, -6:]"}
        self.box.profile(
            camera, amplifiers=[amplifier], reduction={"dtype": dtype, "statistic": statistic}
        )

    @rule(camera=st.sampled_from(CAMERAS), text=st.sampled_from(("one", "two")))
    def edit_description(self, camera, text):
        self.box.profile(camera, **{**self.box.profiles[camera], "description": text})

    @rule(types=st.sampled_from(("all", ["bias"], ["flat"])))
    def edit_types(self, types):
        self.box.config["types"] = types

    @rule(
        enabled=st.booleans(), minimum=st.sampled_from((2, 3)), clip=st.sampled_from((5.0, None)),
        count=st.booleans(),
    )  # fmt: skip
    def edit_combine(self, enabled, minimum, clip, count):
        self.box.config["bias"] = {
            "enabled": enabled, "minimum": minimum, "clip": clip, "count": count,
        }  # fmt: skip

    @rule(per_type=st.sampled_from((0, 1, "all")))
    def edit_pictures(self, per_type):
        self.box.config["pictures"] = {"per_type": per_type}

    @rule(sigma=st.sampled_from((1.0, 2.0)), statistic=st.sampled_from(("median", "mean")))
    def edit_reduction(self, sigma, statistic):
        self.box.config["reduction"] = {"reject_sigma": sigma, "statistic": statistic}

    @rule(version=st.sampled_from((1, 2)))
    def new_release(self, version):
        self.arithmetic = version
        self.patch.setattr(reduction, "PIXELS", version)

    # -- events on results -------------------------------------------------------------------------

    def standing(self):
        """Return the products that are there."""
        if not self.box.results.is_dir():
            return []
        return [
            name
            for name in snapshot(self.box.results).stamps
            if name != "inventory.csv" and not name.startswith("set_aside/")
        ]

    @precondition(lambda self: self.standing())
    @rule(number=_any)
    def delete_product(self, number):
        name = pick(self.standing(), number)
        (self.box.results / name).unlink()
        self.forget(name)

    @precondition(lambda self: self.standing())
    @rule(number=_any, place=_any, cut=st.booleans())
    def damage_product(self, number, place, cut):
        name = pick(self.standing(), number)
        path = self.box.results / name
        content = bytearray(path.read_bytes())
        if not content:
            return
        if cut:
            content = content[: place % len(content)]
        else:
            content[place % len(content)] ^= 1 + place % 255
        path.write_bytes(content)
        self.forget(name)

    @precondition(lambda self: self.standing())
    @rule(number=_any)
    def touch_product(self, number):
        os.utime(self.box.results / pick(self.standing(), number), (1.6e9, 1.6e9))

    def forget(self, product):
        """A product is not what it was."""
        self.made.pop(product, None)

    @rule(
        name=st.sampled_from((paths.LEDGER, paths.HEADERS, paths.INVENTORY)),
        how=st.sampled_from(("lose", "cut", "flip", "empty")),
    )
    def lose_notes(self, name, how):
        path = self.box.results / name
        if not path.is_file() or not path.stat().st_size:
            return
        content = bytearray(path.read_bytes())
        if how == "lose":
            path.unlink()
        elif how == "flip":
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
        else:
            path.write_bytes(content[: len(content) // 2] if how == "cut" else b"")
        if name == paths.LEDGER:
            # Records of a run that was killed are not in it yet.
            self.made = {p: of for p, of in self.made.items() if p in self.pending}

    @precondition(lambda self: self.box.results.is_dir())
    @rule(copied=st.booleans())
    def move_results(self, copied):
        other = self.box.root / "moved"
        if copied:
            shutil.copytree(self.box.results, other)
            shutil.rmtree(self.box.results)
        else:
            self.box.results.rename(other)
        other.rename(self.box.results)

    # -- runs --------------------------------------------------------------------------------------

    @rule(done=st.integers(0, 30), cores=st.sampled_from((1, 3)))
    def killed_run(self, done, cores):
        if not self.files:
            return
        self.check_run(self.box.run(cores=cores, stop_after=done), killed=True)

    @rule(cores=st.sampled_from((1, 3)))
    def run(self, cores):
        """Run, and hold what it did against what it had to do."""
        if not self.files:
            return
        before = snapshot(self.box.results)
        noted = snapshot(self.box.results, state=True)
        dry = self.box.plan()
        assert snapshot(self.box.results, state=True) == noted, "-n wrote something"
        said = describe(dry.plan)
        outcome = self.box.run(cores=cores)
        assert outcome.jobs == list(dry.plan.jobs), "-n said something else than what was done"
        self.check_run(outcome)
        self.check_words(said, dry.plan)
        self.check_untouched(before, outcome, dry.plan)
        self.check_again()
        self.check_from_scratch()

    # A rule of many others is seldom drawn; what a run finds is what all this is about.
    run_again, and_again, once_more, and_on = (
        rule(cores=st.just(cores))(lambda self, cores: self.run(cores)) for cores in (1, 2, 3, 4)
    )

    def check_run(self, outcome, *, killed=False):
        """The frames that were reduced are those that had to be."""
        type(self).runs += 1
        type(self).jobs += len(outcome.jobs)
        due, maybe = self.due()
        frames = {product for product in outcome.jobs if product.startswith("reduced/")}
        assert frames <= due | maybe, f"{frames - due - maybe} for nothing"
        assert killed or due <= frames, f"{due - frames} not made"
        self.pending = frames if killed else set()
        for file in self.files:
            product = paths.reduced(file)
            if product in frames and product in due:
                self.made[product] = self.identity(file)
            elif product in maybe or self.twin(file):
                self.made.pop(product, None)

    def check_words(self, said, made):
        """The lines before the jobs name every reason, and are few."""
        assert len(said) <= 12
        text = "\n".join(said)
        for job in made.jobs.values():
            assert job.why in text
        if not made.jobs:
            assert said[0].startswith("nothing to do")

    def check_untouched(self, before, outcome, made):
        """Nothing was written but by the jobs, and nothing lost but by being set aside."""
        after = snapshot(self.box.results)
        for name in before.changed(after):
            own = name == "inventory.csv" or name.startswith("set_aside/")
            assert own or name in outcome.jobs, f"{name} was written for nothing"
        for name in before.lost(after):
            assert name in made.retire or name in outcome.jobs, f"{name} is lost"

    def check_again(self):
        """The next run has nothing to do, and writes nothing."""
        before = snapshot(self.box.results, state=True)
        assert list(self.box.plan().plan.jobs) == []
        assert snapshot(self.box.results, state=True) == before

    def check_from_scratch(self):
        """A run from scratch makes the same bytes, where no raw file is gone."""
        store = inventory.load_store(self.box.results)
        if any(row.gone for row in store.rows.values()):
            return
        clean = self.box.clean()
        clean.run(cores=2)
        wanted, found = products(clean.results), products(self.box.results)
        unasked = set(found) - set(wanted)
        for name in unasked:
            assert self.is_unasked(name), f"{name} is left over"
            del found[name]
        assert found.keys() == wanted.keys()
        for name, content in wanted.items():
            assert found[name] == content, f"{name} is not as a run from scratch makes it"

    def is_unasked(self, product):
        """Tell whether a product stays because the configuration does not ask for such now."""
        config = self.box.config
        if product.startswith("combined/"):
            types = config.get("types", "all")
            enabled = config.get("bias", {}).get("enabled", True)
            return not enabled or (types != "all" and "bias" not in types)
        own = [file for file in self.files if paths.reduced(file) == product]
        return not any(map(self.is_wanted, own))

    @invariant()
    def all_is_whole(self):
        """No product has a temporary name, and none under its own is half-written."""
        type(self).events += 1
        if not self.box.results.is_dir():
            return
        records = ledger.load(self.box.results)
        assert not [p for p in self.box.results.rglob("*.part")]
        assert all(record.status != ledger.GONE for record in records.values())
