"""Write rasters that know where on earth they lie: cloud-optimised GeoTIFFs, by rasterio."""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pixelwright.errors import shown
from pixelwright.files import arriving, sync
from pixelwright.images.geo import Geo, environment, without_place
from pixelwright.images.stored import Plane
from pixelwright.types import Color

BLOCK = 256
"""Side of the tiles, in pixels: a row of them, 100,000 wide, is 26 MB."""


def write_geotiff(
    path: Path | str,
    bands: Sequence[Plane],
    geo: Geo,
    *,
    colors: Sequence[Color] | None = None,
    nodata: int | None = None,
    names: Sequence[str] = (),
    scale: float | None = None,
    overviews: Literal["mode", "average"] = "mode",
    scratch: Path | None = None,
) -> None:
    """Write planes as the bands of a tiled, compressed GeoTIFF with overviews.

    Memory holds one row of tiles at a time, and GDAL's cache; the disk for a while twice the file.

    Args:
        path: Where to.
        bands: Planes "h w" of one size and type.
        geo: Where it lies.
        colors: Of the values from 0, as a colour table; only for one band of bytes.
        nodata: The value that stands for no data.
        names: Descriptions of the bands.
        scale: What a value is to be multiplied by.
        overviews: How smaller versions are made: the most frequent value, or the mean.
        scratch: Where the file lies until it is whole; its folder if not given.

    Raises:
        MachineError: If the file cannot be written.
    """
    import rasterio
    import rasterio.shutil

    with arriving(path, scratch=scratch) as temporary:
        plain = temporary.with_suffix(".tif")
        try:
            with environment(), without_place():
                _write_plain(plain, bands, geo, colors, nodata, names, scale)
                # The overviews come first in such a file, so it is made from a finished one.
                rasterio.shutil.copy(
                    plain,
                    temporary,
                    driver="COG",
                    compress="DEFLATE",
                    blocksize=512,
                    overview_resampling=overviews.upper(),
                    bigtiff="IF_SAFER",
                    num_threads="ALL_CPUS",
                )
            sync(temporary)
        except rasterio.errors.RasterioError as error:
            # Told as any other file that cannot be written, in GDAL's own words.
            raise OSError(errno.EIO, shown(error.__cause__ or error)) from error
        finally:
            plain.unlink(missing_ok=True)


def _write_plain(
    path: Path,
    bands: Sequence[Plane],
    geo: Geo,
    colors: Sequence[Color] | None,
    nodata: int | None,
    names: Sequence[str],
    scale: float | None,
) -> None:
    """A tiled file without overviews."""
    import rasterio

    height, width = bands[0].shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=len(bands),
        dtype=bands[0].dtype,
        nodata=nodata,
        tiled=True,
        blockxsize=BLOCK,
        blockysize=BLOCK,
        compress="deflate",
        zlevel=1,
        interleave="band",
        bigtiff="if_safer",
        **_place(geo),
    ) as file:
        if colors is not None and len(bands) == 1 and bands[0].dtype == np.uint8:
            file.write_colormap(1, {i: (*color, 255) for i, color in enumerate(colors)})
        if scale is not None:
            file.scales = (scale,) * len(bands)
        for number, name in enumerate(names, 1):
            file.set_band_description(number, name)
        for number, plane in enumerate(bands, 1):
            for top in range(0, height, BLOCK):
                stop = min(top + BLOCK, height)
                rows = np.ascontiguousarray(plane[top:stop])
                file.write(rows, number, window=((top, stop), (0, width)))


def _place(geo: Geo) -> dict[str, Any]:
    from rasterio import Affine
    from rasterio.control import GroundControlPoint

    place: dict[str, Any] = {"crs": geo.crs} if geo.crs else {}
    if not geo.points:
        return place | {"transform": Affine(*geo.transform)}
    points = [GroundControlPoint(row, col, x, y, z) for row, col, x, y, z in geo.points]
    return place | {"gcps": points}
