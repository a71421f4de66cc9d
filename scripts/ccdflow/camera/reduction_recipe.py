"""The settings of a frame's reduction."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace

AUTO = "auto"
"""The model by which the width of the strip decides whether the level along it is smoothed."""

WIDE_STRIP_COLUMNS = 16
"""In a strip of this many columns or more, the level of each row is not smoothed. The median of n
columns has pi / (2 n) of a pixel's variance, and is subtracted from all pixels of the row. At this
width the variance grows by less than a tenth, and the noise by less than a twentieth."""

# Rows for each order of a polynomial: short windows get a straight line, or a constant.
_ROWS_OF_AN_ORDER = 16

# Directions of strips with a level for each row, or for each column; other strips have one level.
_DIRECTIONS_WITH_LINES = ("rows", "columns")


def _width_and_length(amplifier):
    """Return the number of columns of an amplifier's strips together, and of the rows of its data.

    For strips above or below the data these are rows of the strips, and columns of the data.
    """
    axis = int(amplifier.along == "rows")
    return sum(s.shape[axis] for s in amplifier.overscan), amplifier.data.shape[1 - axis]


@dataclass(frozen=True)
class ReductionRecipe:
    """The settings by which the frames of a camera are reduced.

    Attributes
    ----------
    subtract, trim : bool
        Whether the overscan is subtracted, whether the frame is cut to its science pixels.
    statistic : str
        'median' or 'mean' across the strip.
    model : str or None
        None for the statistic itself; 'polynomial' or 'spline' fitted to it along the strip; 'auto'
        until `for_geometry` decides between None and 'polynomial'.
    order : int
        Degree of the polynomial, or number of spline pieces. This default and the next two are
        those of config/config.yaml. Chosen: a cubic follows the slow change along a strip.
    reject_sigma : float
        Values farther than this many sigma from the model are left out of the fit; with 0 none is.
        With the default, noise alone rejects 0.3 % of the values.
    reject_iterations : int
        Rounds of this rejection. With the default, a fit that one wrong value has bent recovers.
    dtype : str
        'float32' or 'float64', of the product.
    mask : bool
        Whether the product has a mask extension.
    layout : str
        'image' or 'extensions'.
    raw : bool
        Whether a frame of floating point counts as raw although it has pixels below 0.
    """

    subtract: bool = True
    trim: bool = True
    statistic: str = "median"
    model: str | None = None
    order: int = 3
    reject_sigma: float = 3.0
    reject_iterations: int = 3
    dtype: str = "float32"
    mask: bool = False
    layout: str = "image"
    raw: bool = False

    def for_geometry(self, geometry):
        """Return the recipe with the model along the overscan that suits the width of its strips.

        Parameters
        ----------
        geometry : ccdflow.camera.geometry.Geometry
            Its strips decide, and no pixel does: all frames of one geometry have one recipe.

        Returns
        -------
        ReductionRecipe
            The recipe itself if its model is not 'auto'. Otherwise with None where nothing is
            subtracted or all strips have `WIDE_STRIP_COLUMNS` or more, else with a polynomial of
            the given order, or of a lower one where a strip is short.
        """
        if self.model != AUTO:
            return self
        strips = [
            _width_and_length(a) for a in geometry.amplifiers if a.along in _DIRECTIONS_WITH_LINES
        ]
        if not self.subtract or all(across >= WIDE_STRIP_COLUMNS for across, _ in strips):
            return replace(self, model=None)
        shortest = min(along for _, along in strips)
        return replace(
            self, model="polynomial", order=min(self.order, shortest // _ROWS_OF_AN_ORDER)
        )

    def region_of(self, amplifier):
        """Return where the science pixels of an amplifier lie in a reduced image, a `Region`."""
        return amplifier.place if self.trim else amplifier.data

    @classmethod
    def from_canonical(cls, canonical):
        """Return the recipe of a plain dict that `canonical` returned.

        A setting whose name is unknown is left out: another version of ccdflow wrote it.
        """
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in canonical.items() if name in names})

    def canonical(self):
        """Return a plain dict without the settings of a model that is not used."""
        settings = asdict(self)
        if not self.raw:
            del settings["raw"]
        if self.model in (None, AUTO):
            for name in ("order", "reject_sigma", "reject_iterations"):
                del settings[name]
        return dict(sorted(settings.items()))
