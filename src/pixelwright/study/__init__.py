"""Studies: grids of recipes and seeds, trained in a queue, compared honestly."""

from pixelwright.study.comparison import Comparison
from pixelwright.study.job import compare
from pixelwright.study.plan import Study

__all__ = ["Comparison", "Study", "compare"]
