"""Names and figures of groups of frames, for pictures, pages and tables."""

from __future__ import annotations


def names_of_groups(groups):
    """Return {product: name} of groups: the camera, and the traits that distinguish its groups."""
    groups_and_traits = [(group, _shared_values(group)) for group in groups]
    common_traits = {}
    for group, traits_of_group in groups_and_traits:
        common_traits[group.camera] = common_traits.get(
            group.camera, set(traits_of_group)
        ).intersection(traits_of_group)
    return {
        group.product: " ".join(
            [
                group.camera,
                *(trait for trait in traits_of_group if trait not in common_traits[group.camera]),
            ]
        )
        for group, traits_of_group in groups_and_traits
    }


def _shared_values(group):
    """Return the values that a group's frames share, as short texts."""
    return [
        trait.strip().replace(" ", "x" if name == "ccdsum" else " ")
        for name, value in group.shared
        for trait in value.split(", ")
        if trait.strip() and value != "None"
    ]


def amplifier_figures(context, groups):
    """Yield the figures of each amplifier of some combined biases.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    groups : iterable of ccdflow.run.job.Group
        Groups of combined biases.

    Yields
    ------
    (ccdflow.run.job.Group, dict)
        The group, and the figures of one amplifier.
    """
    for group in groups:
        record = context.outcome(group.product)
        for figures in record.data.get("quality", ()) if record is not None else ():
            yield group, figures
