"""Figures of groups of frames, as pictures, pages and tables show them."""

from __future__ import annotations


def names_of_groups(groups):
    """Return {product: name} of groups: the camera, and the traits that distinguish its groups."""
    traits, common_traits = [(group, _shared_values(group)) for group in groups], {}
    for group, traits_of_group in traits:
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
        for group, traits_of_group in traits
    }


def _shared_values(group):
    """Return the shared values of a group's frames, a short text each."""
    return [
        trait.strip().replace(" ", "x" if name == "ccdsum" else " ")
        for name, value in group.shared
        for trait in value.split(", ")
        if trait.strip() and value != "None"
    ]


def night_figures(context, groups):
    """Yield (group, figures) for each amplifier of the groups' biases.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    groups : iterable of ccdflow.run.job.Group
        Groups of combined biases.

    Yields
    ------
    (ccdflow.run.job.Group, dict)
    """
    for group in groups:
        record = context.outcome(group.product)
        for figures in record.data.get("quality", ()) if record is not None else ():
            yield group, figures
