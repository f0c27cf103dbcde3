"""Studies: grids of recipes and seeds, compared honestly; and searches over ranges."""

from pixelwright.study.comparison import Comparison
from pixelwright.study.job import compare
from pixelwright.study.plan import Study
from pixelwright.study.tuning import Tuned, tune

__all__ = ["Comparison", "Study", "Tuned", "compare", "tune"]
