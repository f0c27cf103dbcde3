"""Cars on the roads. They belong to the road: no class is theirs."""

import numpy as np

from pixelwright.data.scene import land as plan
from pixelwright.data.scene.ground import ROAD, Surface, reflectance
from pixelwright.data.scene.noise import key_of, uniform
from pixelwright.data.scene.stamp import cells, offsets, patch_of, put
from pixelwright.types import Window

CELL = 16.0  # px of the grid that holds one car at most in each cell
PAINTS = reflectance((225, 225, 222), (58, 60, 66), (136, 140, 146), (150, 52, 46), (62, 84, 136))
GLASS = reflectance((52, 60, 70))[0]


def park(seed: int, surface: Surface, window: Window) -> None:
    """Draw the cars that touch the window."""
    h, y, x = cells(key_of(seed, 71), window, CELL, reach=8)
    spot = plan.survey(seed, y, x)
    # Across the road is where the distance from its middle grows.
    ahead = (
        plan.survey(seed, y + 1, x).offset - spot.offset,
        plan.survey(seed, y, x + 1).offset - spot.offset,
    )
    steep = np.sqrt(ahead[0] * ahead[0] + ahead[1] * ahead[1])
    lane = (spot.road < -1.8) & (spot.offset > 2.4) & (steep > 0.5)
    for k in np.flatnonzero(lane & (uniform(h, 3) < 0.3)):
        patch = patch_of(window, float(y[k]), float(x[k]), 7.0)
        if patch is None:
            continue
        dy, dx = offsets(window, patch, float(y[k]), float(x[k]))
        ny, nx = ahead[0][k] / steep[k], ahead[1][k] / steep[k]
        across, along = dy * ny + dx * nx, dx * ny - dy * nx
        body = (np.abs(across) < 2.0) & (np.abs(along) < 4.6)
        glass = (np.abs(np.abs(along) - 1.9) < 0.7) & (np.abs(across) < 1.6)
        paint = PAINTS[int(h[k]) % len(PAINTS)]
        color = np.where(glass, GLASS[:, None, None], paint[:, None, None])
        put(surface, patch, body, np.full(body.shape, 3, dtype=np.float32), color, ROAD)
