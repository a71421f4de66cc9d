"""Events that are odd: links, permissions, names, and files replaced while they are read."""

from __future__ import annotations

import os

import pytest
from archive import CAMERAS, KINDS, NIGHTS, NUMBER, Model, event, light_of, pick
from hypothesis import strategies as st
from hypothesis.stateful import precondition
from refused_folders import refuse_folder
from sandbox import SMALL_FRAME, frame_bytes, products

from ccdflow import paths
from ccdflow.files import raw_files

# Two folders differ in a blank, one is a link, one is not UTF-8, and one has a line break. Frames
# in the last two cannot be reduced.
FOLDERS = (
    "dark run", "dark_run", "nächte ½", "it's {a} [b]", "2024-03-02/deep er", "UPPER.FITS",
    "linked", os.fsdecode(b"n\xff"), "two\nlines",
)  # fmt: skip
ENDINGS = (".FITS", ".fit", ".FTS", ".FIT.GZ", ".fits.fz.gz", ".Fits.gz")


class OddEvents(Model):
    """An archive with odd events."""

    # -- names -------------------------------------------------------------------------------------

    @event(
        folder=st.sampled_from((*FOLDERS, *NIGHTS)),
        ending=st.sampled_from(ENDINGS),
        camera=st.sampled_from(CAMERAS),
        kind=st.sampled_from(KINDS),
        dated=st.booleans(),
        seed=NUMBER,
    )
    def add_odd_name(self, folder, ending, camera, kind, dated, seed):
        """Add a frame with an odd name, or in an odd folder."""
        place = self.sandbox.raw / folder
        if folder == "linked" and not place.is_symlink():
            (self.sandbox.root / "elsewhere").mkdir(exist_ok=True)
            place.symlink_to(self.sandbox.root / "elsewhere")
        number = sum(file.startswith(f"{folder}/") for file in self.files)
        file = f"{folder}/{camera}{number}{ending}"
        if number < 5 and file not in self.files:
            self.put(file, (seed, kind, camera, NIGHTS[0] if dated else ""))

    # -- links -------------------------------------------------------------------------------------

    def disk(self):
        """Return the folder to which links lead."""
        folder = self.sandbox.root / "disk"
        folder.mkdir(exist_ok=True)
        return folder

    def lead_to(self, file, content, seed, *, through):
        """Make a raw file a link to a new file with some bytes, perhaps through a second link."""
        target = self.disk() / f"{seed}-{len(list(self.disk().iterdir()))}"
        target.write_bytes(content)
        if through:
            first = target.with_name(f"{target.name}.link")
            first.symlink_to(target)
        path = self.sandbox.raw / file
        path.unlink()
        path.symlink_to(first if through else target)
        self.links[file] = target

    @precondition(lambda self: self.readable_files())
    @event(number=NUMBER, seed=NUMBER, through=st.booleans())
    def link(self, number, seed, through):
        """Replace a raw file by a link to its bytes."""
        file = pick(self.readable_files(), number)
        self.lead_to(file, (self.sandbox.raw / file).read_bytes(), seed, through=through)

    @precondition(lambda self: self.linked_files())
    @event(number=NUMBER, seed=NUMBER, through=st.booleans())
    def retarget(self, number, seed, through):
        """Let a link lead to another frame."""
        file = pick(self.linked_files(), number)
        _, kind, camera, night = self.files[file][0]
        self.put(file, (seed, kind, camera, night))
        self.lead_to(file, (self.sandbox.raw / file).read_bytes(), seed, through=through)

    @precondition(lambda self: self.linked_files() and len(self.readable_files()) > 3)
    @event(number=NUMBER)
    def break_link(self, number):
        """Remove the target of a link."""
        file = pick(self.linked_files(), number)
        self.links[file].unlink()
        self.links[file] = None

    def linked_files(self):
        """Return the files that are links and can be read."""
        return [file for file in self.readable_files() if self.links.get(file)]

    @precondition(lambda self: None in self.links.values())
    @event(number=NUMBER)
    def mend_link(self, number):
        """Write the target of a broken link again."""
        file = pick([file for file, target in self.links.items() if target is None], number)
        target = (self.sandbox.raw / file).readlink()
        target = target.readlink() if target.is_symlink() else target
        # The file is whole again.
        self.put(file, self.files[file][0])
        (self.sandbox.raw / file).rename(target)
        (self.sandbox.raw / file).symlink_to(target)
        self.links[file] = target

    # -- permissions -------------------------------------------------------------------------------

    @precondition(lambda self: len(self.readable_files()) > 3)
    @event(number=NUMBER)
    def shut_file(self, number):
        """Remove the permission to read a file, which changes its ctime."""
        file = pick(self.readable_files(), number)
        (self.sandbox.raw / file).chmod(0o200)
        self.shut.add(file)

    @precondition(lambda self: self.folders())
    @event(number=NUMBER)
    def shut_folder(self, number):
        """Remove the permission to read a raw folder."""
        self.shut.add(pick(self.folders(), number))

    def folders(self):
        """Return the raw folders without which some readable files remain."""
        readable = self.readable_files()
        tops = {file.partition("/")[0] for file in readable}
        return [top for top in tops if any(not file.startswith(f"{top}/") for file in readable)]

    @precondition(lambda self: self.shut)
    @event(number=NUMBER)
    def open_up(self, number):
        """Restore a permission."""
        name = pick(self.shut, number)
        (self.sandbox.raw / name).chmod(0o755 if (self.sandbox.raw / name).is_dir() else 0o644)
        self.shut.discard(name)

    @precondition(lambda self: self.shut or None in self.links.values() or self.deleted)
    @event(cores=st.sampled_from((1, 3)))
    def mend_all(self, cores):
        """Restore all permissions, links and deleted files, and run."""
        while self.shut:
            self.open_up(0)
        while None in self.links.values():
            self.mend_link(0)
        while self.deleted:
            self.bring_back(0)
        self.run(cores)

    @precondition(lambda self: self.readable_files() and self.reduced_folders())
    @event(number=NUMBER)
    def results_shut_in_a_run(self, number):
        """Run without permission to read a folder of reduced frames, whose products must stay."""
        name = pick(self.reduced_folders(), number)
        before = products(self.sandbox.results)
        with pytest.MonkeyPatch.context() as patch:
            folder = str(self.sandbox.results / name)
            refuse_folder(patch, folder, PermissionError, 13, "Permission denied")
            outcome = self.sandbox.run()
        now = products(self.sandbox.results)
        skipped = {product for product in before if product.startswith(f"{name}/")}
        assert {product: now.get(product) for product in skipped} == {
            product: before[product] for product in skipped
        }
        own = {paths.reduced_frame(file) for file in self.files}
        skipped |= {product for product in own if product.startswith(f"{name}/")}
        assert not skipped & set(outcome.jobs)
        self.check_run(outcome, skipped=skipped)

    def reduced_folders(self):
        """Return the folders of reduced frames."""
        top = self.sandbox.results / "reduced"
        return [f"reduced/{path.name}" for path in top.glob("*") if path.is_dir()]

    # -- while a run goes on -----------------------------------------------------------------------

    @precondition(lambda self: self.readable_files(are_whole=True))
    @event(number=NUMBER, seed=NUMBER, when=st.integers(1, 3), cores=st.sampled_from((1, 3)))
    def replace_while_it_is_read(self, number, seed, when, cores):
        """Run while another frame replaces a raw file just before its n-th opening."""
        file = pick(self.readable_files(are_whole=True), number)
        _, kind, camera, night = self.files[file][0]
        path, product = self.sandbox.raw / file, paths.reduced_frame(file)
        new = frame_bytes(
            seed, kind=kind, camera=camera, night=night, size=SMALL_FRAME, **light_of(seed, kind)
        )
        if file.lower().endswith(".gz"):
            import gzip

            new = gzip.compress(new, 1, mtime=0)
        os.utime(path)
        opener, count = raw_files.open_at_once, []

        def replace_and_open(name, flags):
            """Replace the file before its n-th opening."""
            if str(name) == str(path):
                count.append(name)
                if len(count) == when:
                    self.sandbox.write(file, new)
            return opener(name, flags)

        self.patch.setattr(raw_files, "open_at_once", replace_and_open)
        try:
            outcome = self.sandbox.run(cores=cores, keep_going=True)
        finally:
            self.patch.setattr(raw_files, "open_at_once", opener)
        self.unsure.add(product)
        self.check_run(outcome)
        if len(count) < when:
            self.sandbox.write(file, new)
        self.made.pop(product, None)
        self.unsure.add(product)
        self.files[file] = ((seed, kind, camera, night), True)
        self.links.pop(file, None)
