"""Mirrors of a run's log in other tools: one a file. The run folder stays the truth.

    opener = trackers.build(Spec("tensorboard"), run=run, settings=recipe.to_dict())
    mirror = Mirror(run, {"tensorboard": opener})
    mirror.catch_up()                      # what the log holds by now
    mirror.close()                         # and the pictures

A builder checks that its tool is there and returns what opens it.
"""

from pixelwright.registry import Registry
from pixelwright.track._mirror import Mirror, Opener, Tracker

trackers = Registry("tracker", "pixelwright.track")

__all__ = ["Mirror", "Opener", "Tracker", "trackers"]
