"""Masters: frames of one image type that belong together, combined into one."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from ccdflow.combine import combined_header, stack
from ccdflow.detector import choosing
from ccdflow.files import checksum
from ccdflow.files.headertext import printable
from ccdflow.kinds.frame import raw_pixels
from ccdflow.kinds.kind import Kind
from ccdflow.kinds.masters import combining, grouping, selecting
from ccdflow.kinds.matching import association, master_snapshot, shelves
from ccdflow.run import ledger
from ccdflow.run.context import reduced, type_is_enabled
from ccdflow.run.job import MASTERS, Size
from ccdflow.run.rawframes.rawnames import copies
from ccdflow.run.rawframes.rows import OK, digest

# Nights whose figures a night's page shows beside its own.
TREND_NIGHTS = 30
# Frames left out of their master that are named at the end of a run.
_MOST_LEFT_OUT = 10


class MasterKind(Kind):
    """A kind of product that is combined of frames of one image type.

    Attributes
    ----------
    type : str
        The frames' image type; products are ``combined/<night>/<type>_<group>.fits``.
    block : str
        The part of the configuration that is about it.
    settings : tuple of str
        Keys of the block that the product's bytes depend on.
    table : str
        The table with its figures.
    before : tuple of str
        Kinds of masters that are applied to the members before they are combined.
    always : tuple of str
        What members must have alike whatever the configuration says.
    unnamed : tuple of str
        What members share and is not in a product's name.
    told_by_split : tuple of str
        Settings (`ccdflow.camera.identity`) that `split` looks at, within a tolerance.
    of_the_combined : tuple of str
        Figures that only a master has, not a group of which none was made.
    memory_setting : str
        The setting of the memory that combining may take, as messages name it.
    """

    type = ""
    block = ""
    settings = ()
    table = ""
    before = ()
    always = ()
    unnamed = ("part",)
    told_by_split = ()
    of_the_combined = ()
    memory_setting = "limits: combine_memory"
    todo = "make"
    place = "combined/"
    reach = MASTERS
    header = 4

    @property
    def one(self):
        """One of them, in sentences."""
        return self.words[0]

    def configuration(self, context):
        """Return this kind's block of the settings."""
        return context.settings[self.block]

    def is_enabled(self, context):
        """Tell whether the configuration asks for products of this kind."""
        own = self.configuration(context)
        return own["enabled"] and type_is_enabled(context.settings, self.type)

    # -- planning ----------------------------------------------------------------------------------

    def has_name(self, product):
        """Tell whether a path is that of a master of this type."""
        name = product.rpartition("/")[2]
        return product.startswith(self.place) and name.startswith(self.type)

    def is_stray(self, context, product):
        """Tell whether a file that no record is about was made by ccdflow: a key is in it."""
        return bool(checksum.signature(context.results / product)[1])

    def plan(self, planner):
        """Want the master of each group; keep all if the kind is off."""
        context = planner.context
        if not self.is_enabled(context):
            planner.keep_all_of(self)
            return
        groups = self.make_groups(context)
        context.groups.update(groups)
        for group in self.groups(context):
            if context.is_settled(group.product):
                planner.keep(group.product)
                continue
            masters, spare = association.needs_of(context, group.steps)
            needs = [*map(reduced, group.files), *masters]
            basis = self.group_basis(context, group)
            planner.want(self, group.product, group.night, basis, needs=needs, spare=spare)

    def basis(self, context, job):
        """Return the sources of a master: its members as they turned out."""
        return self.group_basis(context, context.groups[job.product])

    def group_basis(self, context, group):
        """Return the sources of the master of a group.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        group : ccdflow.run.job.Group

        Returns
        -------
        dict
        """
        settings = self.configuration(context)
        basis = {
            "arithmetic": self.version,
            "settings": self.settings_of(settings),
            "shared": list(map(list, group.shared)),
            "members": [[file, record.key] for file, record in self.members(context, group)],
        }
        if masters := association.keys_of(context, group.steps):
            basis["masters"] = masters
        if missing := self.lacks(context, group):
            basis["missing"] = missing
        return basis

    def lacks(self, context, group):
        """Return in words which master its members cannot do without and have not, or ''.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        group : ccdflow.run.job.Group

        Returns
        -------
        str
        """
        return ""

    def members(self, context, group):
        """Return [(raw file, record)] of the frames of a group that were reduced.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        group : ccdflow.run.job.Group

        Returns
        -------
        list of (str, ccdflow.run.ledger.Record)
        """
        members = []
        for file in group.files:
            record = context.outcome(reduced(file))
            if record is not None and record.status == ledger.MADE:
                members.append((file, record))
        return members

    def settings_of(self, block):
        """Return the settings of a block of the configuration that a master's pixels depend on."""
        return {name: block[name] for name in self.settings}

    def what_changed(self, before, now):
        """Say why a master is out of date."""
        if before.get("members") != now.get("members"):
            return "its frames changed"
        if before.get("masters") != now.get("masters"):
            return "what is subtracted from its frames changed"
        for name, words in (("settings", "settings changed"), ("arithmetic", "new arithmetic")):
            if before.get(name) != now.get(name):
                return words
        return super().what_changed(before, now)

    def try_again(self, context, record):
        """Tell whether a master that was refused for want of memory may have another amount."""
        if "memory" in record.data and record.data["memory"] != self.memory(context):
            return "another memory"
        return ""

    def memory(self, context):
        """Return the MB that combining may take."""
        return context.settings["limits"]["combine_memory"]

    def carries(self, context, job):
        """Return the members of the group, and the group; and those of the masters it needs."""
        group = context.groups[job.product]
        masters = masters_carried(context, group)
        return [context.store.rows[file] for file in group.files], [group, *masters]

    def size(self, context, job):
        """Return the size of a group."""
        files = context.groups[job.product].files
        pixels = [raw_pixels(context, context.store.rows[file]) for file in files]
        return Size(combined=len(files), largest=max(pixels, default=0), pixels=sum(pixels))

    # -- closed nights -----------------------------------------------------------------------------

    def can_close(self, context):
        """Tell whether groups are of one night each."""
        return not self.is_enabled(context) or "night" in self.configuration(context)["group_by"]

    def summary(self, context, night, records):
        """Return the facts by which masters are chosen."""
        members = {
            group.product: shelves.members_of(context, group)
            for group in self.night_groups(context, night)
        }
        return {shelves.name_of_members(self): members}

    def kept(self, context):
        """Return the noises of detectors, and the cards that tell masters apart."""
        return master_snapshot.kept_of(context, self)

    def restore(self, context, kept):
        """Give a context the result of `kept`."""
        master_snapshot.restore(context, self, kept)

    def opens(self, context, new):
        """Return no night; raise `NeedsWholePlan` where masters are told apart by other cards."""
        kept = context.closed.first["kept"][self.name]
        is_new = any(group.kind == self.name for group in new)
        master_snapshot.check_kept(context, self, kept, is_new=is_new)
        return set()

    # -- the job -----------------------------------------------------------------------------------

    def make(self, context, job, *, threads):
        """Combine the frames of a group, or refuse it."""
        return combining.combine_group(self, context, job, threads=threads)

    def select(self, context, group, found):
        """Return the `ccdflow.detector.choosing.Selection` of the frames of a group.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        group : ccdflow.run.job.Group
        found : list of (str, ccdflow.run.ledger.Record)
            As `members` returns them.
        """
        return selecting.select_frames(context, found, choosing.select_members)

    def recipe(self, work):
        """Return the recipe by which the values of a pixel become one."""
        settings = work.settings
        return stack.CombineRecipe(
            settings["method"],
            settings["clip"],
            settings["iterations"],
            clip_by=settings["clip_by"],
        )

    def combine(self, work, image, members):
        """Combine one image of the members.

        Parameters
        ----------
        work : ccdflow.kinds.masters.combining.CombineWork
        image : ccdflow.frame.products.ProductImage
        members : list of ccdflow.combine.member_reader.Member

        Returns
        -------
        ccdflow.combine.stack.Combined
        """
        return stack.combine(
            members,
            self.recipe(work),
            noise=self.noise(work, image, members),
            threads=work.threads,
            memory=work.memory,
            dtype=np.dtype(work.reduction.dtype),
            uncertainty=work.settings["uncertainty"],
            allow_empty=True,
        )

    def noise(self, work, image, members):
        """Return the `ccdflow.combine.noise.NoiseModel` of the members, None where none is needed.

        Parameters
        ----------
        work : ccdflow.kinds.masters.combining.CombineWork
        image : ccdflow.frame.products.ProductImage
        members : list of ccdflow.combine.member_reader.Member
        """
        return None

    def combined_images(self, work, found):
        """Yield (image, HDUs of the members, their combination) of each image.

        Parameters
        ----------
        work : ccdflow.kinds.masters.combining.CombineWork
        found : list of list of ccdflow.combine.members.ProductHdu
            Of each member.
        """
        for image in work.images:
            hdus = [own[image.hdu] for own in found]
            yield image, hdus, self.combine(work, image, [hdu.member for hdu in hdus])

    def strangers(self, work, combined, image):
        """Return the members (`choosing.LeftOut`) whose pixels show that they do not belong.

        Parameters
        ----------
        work : CombineWork
        combined : ccdflow.combine.stack.Combined
            Of one image; it has the sample of the members.
        image : ccdflow.frame.products.ProductImage
            The image and its amplifiers.

        Returns
        -------
        list of ccdflow.detector.choosing.LeftOut
        """
        return combining.strangers_of(work, combined, image)

    def measure_image(self, work, combined, image, unit):
        """Return the figures of each amplifier of an image, as `measure` does of one.

        Parameters
        ----------
        work : CombineWork
        combined : ccdflow.combine.stack.Combined
            Of this image.
        image : ccdflow.frame.products.ProductImage
            The image and its amplifiers.
        unit : {'adu', 'electron'}
            Of the combined pixels.

        Returns
        -------
        list of dict
        """
        return [self.measure(work, combined, a, unit) for a in image.amplifiers]

    def measure(self, work, combined, amplifier, unit):
        """Return the figures of one amplifier by the members: a dict with its name, figures, lists.

        Parameters
        ----------
        work : CombineWork
        combined : ccdflow.combine.stack.Combined
            Of its image.
        amplifier : ccdflow.camera.geometry.Amplifier
        unit : {'adu', 'electron'}
            Of the combined pixels.

        Returns
        -------
        dict
        """
        raise NotImplementedError(f"{self.name}: what is measured?")

    def warnings_of(self, work, figures):
        """Return the warnings on an amplifier, a sentence each.

        Parameters
        ----------
        work : CombineWork
        figures : dict
            Of the amplifier, as `measure` returns them.

        Returns
        -------
        list of str
        """
        return []

    def remarks(self, work, figures, *, several):
        """Return the warnings on an image, a sentence each.

        Parameters
        ----------
        work : ccdflow.kinds.masters.combining.CombineWork
        figures : list of dict
            Of each of its amplifiers, as `measure` returns them.
        several : bool
            Whether the master has more than one amplifier.
        """
        sentences = []
        for each in figures:
            name = each["amplifier"]
            if name in work.flags:
                sentences.append(f"amplifier {name} is {work.flags[name]} throughout")
                continue
            where = f"amplifier {name}: " if several else ""
            sentences += [where + text for text in self.warnings_of(work, each)]
        return sentences

    def more_data(self, work):
        """Return the entries of a master's record beside members and figures: a dict."""
        return {}

    def write_group_cards(self, work, cards):
        """Write members and recipe into the first header of a master.

        Parameters
        ----------
        work : CombineWork
        cards : ccdflow.files.headertext.CardList
            Changed in place.
        """
        combined_header.write_group_cards(
            cards,
            key=work.record.key,
            recipe=self.recipe(work),
            members=work.files,
            dates=work.dates,
            left_out=work.left_out,
        )
        cards.set("CCDFNAME", printable(work.record.product), "name of this product")

    def write_image_cards(self, cards, combined, figures, texts, unit):
        """Write the figures of one image into its header.

        Parameters
        ----------
        cards : ccdflow.files.headertext.CardList
            Changed in place.
        combined : ccdflow.combine.stack.Combined
            Of this image.
        figures : list of dict
            Of its amplifiers, as `measure` returns them.
        texts : list of str
            Warnings on the image.
        unit : {'adu', 'electron'}
            Of the combined pixels.
        """
        combined_header.write_image_cards(cards, combined, figures, texts, unit)

    def extensions(self, work, combined, suffix, unit):
        """Return the HDUs that follow an image.

        Parameters
        ----------
        work : CombineWork
        combined : ccdflow.combine.stack.Combined
            Of one image.
        suffix : str
            Appended to the names of its extensions.
        unit : {'adu', 'electron'}
            Of the combined pixels.

        Returns
        -------
        list of bytes-like
        """
        return combining.extensions(work, combined, suffix, unit)

    # -- groups ------------------------------------------------------------------------------------

    def groups(self, context):
        """Return all groups of this kind, sorted by product."""
        return context.lookup(
            ("groups", self.name),
            lambda: sorted(
                (group for group in context.groups.values() if group.kind == self.name),
                key=lambda group: group.product,
            ),
        )

    def groups_by_night(self, context):
        """Return {night: groups that its page shows, sorted by product}."""

        def make():
            groups = {}
            for group in self.groups(context):
                groups.setdefault(group.shown, []).append(group)
            return groups

        return context.lookup(("groups by night", self.name), make)

    def night_groups(self, context, night):
        """Return the groups that belong to a night, sorted by product.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        night : str
            YYYY-MM-DD, or the folder of undated frames.
        """
        return self.groups_by_night(context).get(night, [])

    def trend_groups(self, context, night):
        """Return the groups of a night and of the nights before it, oldest first.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        night : str
            YYYY-MM-DD, or the folder of undated frames.

        Returns
        -------
        list of ccdflow.run.job.Group
        """
        by_night = self.groups_by_night(context)
        nights = context.lookup(("nights of groups", self.name), lambda: sorted(by_night))
        end = bisect_right(nights, night)
        return [
            group for each in nights[max(0, end - TREND_NIGHTS) : end] for group in by_night[each]
        ]

    def elsewhere(self, context, night):
        """Return the other nights, sorted, whose pages show groups with members of this night.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        night : str
            YYYY-MM-DD, or the folder of undated frames.

        Returns
        -------
        list of str
        """

        def make():
            others = {}
            for group in self.groups(context):
                for each in group.nights[:-1]:
                    others.setdefault(each, set()).add(group.shown)
            return others

        return sorted(context.lookup(("groups elsewhere", self.name), make).get(night, ()))

    def make_groups(self, context):
        """Return {product: Group} of the frames that were or are to be reduced."""
        return grouping.groups_of(self, context)

    def split(self, context, rows):
        """Yield parts of frames that agree in all written values, with the values that each shares.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        rows : list of ccdflow.run.rawframes.rows.Row

        Yields
        ------
        shared : tuple of (str, str)
        rows : list of ccdflow.run.rawframes.rows.Row
        """
        yield (), rows

    def name_part(self, name, value):
        """Return the part of a product's name on a value that its members share.

        Parameters
        ----------
        name : str
            Of the value, such as ``gain``.
        value : str

        Returns
        -------
        str
        """
        return f"{name[0]}{value}" if name in ("gain", "exptime") else value

    # -- lines, sections, flags --------------------------------------------------------------------

    def flags(self, context, records):
        """Yield the flags of copies, and of frames that are not in the master."""
        rows = context.store.rows
        own = [row for row in rows.values() if row.facts["type"] == self.type]
        for file, other in copies(own).items():
            if rows[file].status == OK:
                yield reduced(file), f"the same frame as {other}: combined once"
        # A master that is no longer asked for flags no frame, nor one that was set aside since.
        for record in records if self.is_enabled(context) else ():
            if context.is_settled(record.product):
                continue
            for file, text, *_ in record.data.get("left_out", ()):
                if file in rows and rows[file].status == OK:
                    yield reduced(file), f"left out of its {self.one}: {text}"

    def closing(self, context, records):
        """Return the lines on masters that were not made, or not of all frames."""
        if not self.is_enabled(context):
            return []
        # The data are JSON text until they are read: once.
        made = [(r, dict(r.data.items())) for r in records if r.status == ledger.MADE]
        lines = [
            f"no {self.one}: {record.product}: {record.reason}"
            for record in records
            if record.status == ledger.REFUSED
        ]
        lines += [
            f"{self.one}: {record.product}: {text}"
            for record, data in made
            for text in data.get("remarks", ())
        ]
        outs = [
            f"left out of its {self.one}: {file}: {text}"
            for _, data in made
            for file, text, *_ in data.get("left_out", ())
        ]
        lines += outs[:_MOST_LEFT_OUT]
        if len(outs) > _MOST_LEFT_OUT:
            lines.append(f"... and {len(outs) - _MOST_LEFT_OUT} more, see {self.table}")
        return lines

    def shown(self, context, night):
        """Return the masters of a night, and those whose figures its page shows beside them."""
        groups = [*self.night_groups(context, night), *self.trend_groups(context, night)]
        return list(dict.fromkeys(group.product for group in groups))

    def lines(self, context, groups):
        """Return [[product, key]] of some groups, for the basis of a product that shows them.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        groups : iterable of ccdflow.run.job.Group

        Returns
        -------
        list of list
        """
        lines = []
        for group in groups:
            record = context.outcome(group.product)
            if record is not None:
                key = record.key
                if not context.is_settled(group.product):
                    key = context.planned(
                        group.product, lambda group=group: digest(self.group_basis(context, group))
                    )
                failed = ["failed", record.reason] if record.status == ledger.FAILED else []
                memory = self._for_want_of_memory(context, record)
                lines.append([group.product, key, *memory, *failed])
        return lines

    def _for_want_of_memory(self, context, record):
        """Return ['memory'] for a master that was refused, or will be, for want of it, else [].

        The limit is no part of its key, and yet a product that shows the group has to be made again
        when the group is made after all.
        """
        if record.status != ledger.REFUSED or "memory" not in record.data:
            return []
        is_tried = context.will_be_made(record.product)
        will_do = is_tried and self.memory(context) >= record.data.get("enough", 0)
        return [] if will_do else ["memory"]


def masters_carried(context, group):
    """Return the groups of all masters that a group or frame may take, and of those in them.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group
        Of a master, or of a calibrated frame.

    Returns
    -------
    list of ccdflow.run.job.Group
    """
    groups = []
    for step in group.steps:
        for use in step.uses:
            if use.product in context.groups:
                groups.append(context.groups[use.product])
    return groups
