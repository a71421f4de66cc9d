"""Masters: frames of one image type that belong together, combined into one."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter

from ccdflow import paths
from ccdflow.files import checksum
from ccdflow.kinds.frame import frame_key, raw_pixels
from ccdflow.kinds.kind import Kind
from ccdflow.run import ledger
from ccdflow.run.context import asks_for, is_wanted, reduced
from ccdflow.run.inventory import OK, SET_ASIDE, copies, digest
from ccdflow.run.job import Group, Size

# Nights whose figures a night's page shows beside its own.
TREND_NIGHTS = 30
# Frames left out of their master that are named at the end of a run.
_MOST_LEFT_OUT = 10


class Master(Kind):
    """A kind of product that is combined of frames of one image type.

    Attributes
    ----------
    type : str
        The frames' image type; products are ``combined/<night>/<type>_<group>.fits``.
    block : str
        The part of the configuration that is about it.
    one, several : str
        In sentences.
    settings : tuple of str
        Keys of the block that the product's bytes depend on.
    table : str
        The table with its figures.
    """

    type = ""
    block = ""
    settings = ()
    table = ""
    todo = "make"
    place = "combined/"

    @property
    def one(self):
        """One of them, in sentences."""
        return self.words[0]

    def configuration(self, context):
        """Return this kind's block of the settings."""
        return context.settings[self.block]

    def is_enabled(self, context):
        """Tell whether the configuration asks for products of this kind."""
        return self.configuration(context)["enabled"] and asks_for(context.settings, self.type)

    # -- planning ----------------------------------------------------------------------------------

    def has_name(self, product):
        """Tell whether a path is that of a master of this type."""
        name = product.rpartition("/")[2]
        return product.startswith(self.place) and name.startswith(self.type)

    def is_stray(self, context, product):
        """Tell whether a file that no record is about was made by ccdflow: a key is in it."""
        return bool(checksum.signature(context.results / product)[1])

    def plan(self, planner):
        """Want the master of each group; leave all as they are where none is asked for."""
        context = planner.context
        if not self.is_enabled(context):
            planner.keep_all_of(self)
            return
        groups = self.make_groups(context)
        context.groups.update(groups)
        for group in self.groups(context):
            needs = [reduced(file) for file in group.files]
            basis = self.group_basis(context, group)
            planner.want(self, group.product, group.night, basis, needs=needs)

    def basis(self, context, job):
        """Return what a master depends on: its members as they turned out."""
        return self.group_basis(context, context.groups[job.product])

    def group_basis(self, context, group):
        """Return what the master of a group depends on."""
        settings = self.configuration(context)
        return {
            "arithmetic": self.version,
            "settings": {name: settings[name] for name in self.settings},
            "shared": list(map(list, group.shared)),
            "members": [[file, record.key] for file, record in members(context, group)],
        }

    def what_changed(self, before, now):
        """Say what makes a master out of date."""
        if before.get("members") != now.get("members"):
            return "its frames changed"
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
        return self.configuration(context)["memory"]

    def carries(self, context, job):
        """Return the members of the group, and the group."""
        group = context.groups[job.product]
        return [context.store.rows[file] for file in group.files], [group]

    def size(self, context, job):
        """Return the size of a group."""
        files = context.groups[job.product].files
        pixels = [raw_pixels(context, context.store.rows[file]) for file in files]
        return Size(combined=len(files), largest=max(pixels, default=0), pixels=sum(pixels))

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
            found = {}
            for group in self.groups(context):
                found.setdefault(group.shown, []).append(group)
            return found

        return context.lookup(("groups by night", self.name), make)

    def night_groups(self, context, night):
        """Return the groups that belong to a night, sorted by product."""
        return self.groups_by_night(context).get(night, [])

    def trend_groups(self, context, night):
        """Return the groups of a night and of the nights before it, oldest first."""
        by_night = self.groups_by_night(context)
        nights = context.lookup(("nights of groups", self.name), lambda: sorted(by_night))
        end = bisect_right(nights, night)
        return [
            group for each in nights[max(0, end - TREND_NIGHTS) : end] for group in by_night[each]
        ]

    def elsewhere(self, context, night):
        """Return the other nights, sorted, whose pages show groups with members of this night."""

        def make():
            found = {}
            for group in self.groups(context):
                for each in group.nights[:-1]:
                    found.setdefault(each, set()).add(group.shown)
            return found

        return sorted(context.lookup(("groups elsewhere", self.name), make).get(night, ()))

    def make_groups(self, context):
        """Return {product: Group} of the frames that were or are to be reduced."""
        by = self.configuration(context)["group_by"]
        found = {}
        for row in self._candidates(context):
            geometry = context.store.shared[row.geometry]
            shared = [
                ("size", "{1}x{0}".format(*geometry["shape"])),
                ("part", row.facts["part"]),
                *((name, str(row.facts[name])) for name in by if name != "night"),
            ]
            night = row.night if "night" in by else "all"
            key = (night, row.camera, tuple(shared), row.geometry, row.recipe)
            found.setdefault(key, []).append(row)
        names = Counter((night, self._name(camera, shared)) for night, camera, shared, *_ in found)
        groups = {}
        for (night, camera, shared, geometry, recipe), rows in found.items():
            name = self._name(camera, shared)
            if names[night, name] > 1:
                name += "_" + digest([geometry, recipe, shared])[:6]
            product = paths.combined(night, name)
            files, nights = tuple(row.file for row in rows), {row.night for row in rows}
            groups[product] = Group(
                product, night, camera, shared, files, tuple(sorted(nights)), self.name
            )
        return groups

    def _name(self, camera, shared):
        parts = [self.type, camera]
        for name, value in shared:
            if value in ("", "None") or name == "part":
                continue
            value = value.strip().replace(" ", "x") if name == "ccdsum" else value
            parts.append(f"{name[0]}{value}" if name in ("gain", "exptime") else value)
        return paths.segment("_".join(parts))

    def _candidates(self, context):
        """Return the rows of frames that may be members of a group, sorted by time.

        A frame that was set aside for its pixels is among them: that it is missing is told where
        its group is. Of copies of a frame the first one is. One whose raw file is gone goes on to
        be a member, unless its camera was edited and others of its night are reduced anew, or the
        file only has another name now.
        """
        rows = [
            row
            for row in sorted(context.store.rows.values(), key=_by_time)
            if row.facts["type"] == self.type
            and row.status in (OK, SET_ASIDE)
            and row.geometry
            and is_wanted(row, context.settings)
        ]
        again = copies(rows)
        rows = [row for row in rows if row.file not in again]
        here = [row for row in rows if not row.gone]
        nights = {(row.night, row.camera) for row in here}
        contents = {row.fingerprint for row in here}
        return [
            row
            for row in rows
            if not row.gone
            or (
                row.fingerprint not in contents
                and (_is_up_to_date(context, row) or (row.night, row.camera) not in nights)
            )
        ]

    # -- what is said of it ------------------------------------------------------------------------

    def flags(self, context, records):
        """Yield the copies among the frames, and those that are not in the master."""
        rows = context.store.rows
        own = [row for row in rows.values() if row.facts["type"] == self.type]
        for file, other in copies(own).items():
            if rows[file].status == OK:
                yield reduced(file), f"the same frame as {other}: combined once"
        for record in records:
            for file, text, *_ in record.data.get("left_out", ()):
                yield reduced(file), f"left out of its {self.one}: {text}"

    def closing(self, context, records):
        """Return the lines on masters that were not made, or not of all frames."""
        if not self.configuration(context)["enabled"]:
            return []
        made = [record for record in records if record.status == ledger.MADE]
        lines = [
            f"no {self.one}: {record.product}: {record.reason}"
            for record in records
            if record.status == ledger.REFUSED
        ]
        lines += [
            f"{self.one}: {record.product}: {text}"
            for record in made
            for text in record.data.get("remarks", ())
        ]
        outs = [
            f"left out of its {self.one}: {file}: {text}"
            for record in made
            for file, text, *_ in record.data.get("left_out", ())
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
        """Return [[product, key]] of some groups, for the basis of what shows them."""
        lines = []
        for group in groups:
            record = context.outcome(group.product)
            if record is not None:
                key = context.planned(
                    group.product, lambda group=group: digest(self.group_basis(context, group))
                )
                lines.append([group.product, key, *self._for_want_of_memory(context, record)])
        return lines

    def _for_want_of_memory(self, context, record):
        """Return ['memory'] for a master that was refused, or will be, for want of it, else [].

        How much is allowed is no part of its key, and yet what shows the group has to be made again
        when it is made after all.
        """
        if record.status != ledger.REFUSED or "memory" not in record.data:
            return []
        is_tried = context.will_be_made(record.product)
        will_do = is_tried and self.memory(context) >= record.data.get("enough", 0)
        return [] if will_do else ["memory"]


def members(context, group):
    """Return [(raw file, record)] of the frames of a group that were reduced."""
    found = []
    for file in group.files:
        record = context.outcome(reduced(file))
        if record is not None and record.status == ledger.MADE:
            found.append((file, record))
    return found


def _by_time(row):
    """Return what rows are sorted by: frames taken one after the other are neighbours."""
    return row.facts["date_obs"] or "", row.file


def _is_up_to_date(context, row):
    """Tell whether the product of a frame whose raw file is gone is what would be made now."""
    record = context.ledger.get(reduced(row.file))
    return row.file not in context.outdated and record is not None and record.key == frame_key(row)
