"""Decode and encode pictures and masks: EXIF, palettes, bit depths, limits.

    height, width = images.size("photo.jpg")            # from the header alone
    image = images.read_image("photo.jpg")               # uint8 "h w 3", red first, upright
    raw = images.raw_mask("mask.png")                    # palette indices, unscaled samples
    target = images.read_mask("mask.png", classes)       # int16 "h w" of classes and IGNORE
    images.write_mask("out.png", labels, classes.colors)
    raster = images.open_raster("mosaic.tif", channels=3)    # any size, read by windows
    stack = images.rows("cifar-100-python/train")        # uint8 "n h w 3": all pictures of one file

Photos are read by OpenCV and masks by Pillow: OpenCV turns palettes into colours, and Pillow cuts
16-bit colour to 8 bits. Every file is opened by us and decoded from memory, so any name works, and
so does a path that leads into a zip archive: `photos.zip/train/a.png`.
"""

from pixelwright.images.arrays import (
    content,
    read_row,
    row_contents,
    row_labels,
    row_names,
    rows,
    size,
)
from pixelwright.images.bands import NoData, check_bands, nodata_of
from pixelwright.images.files import (
    MAX_PIXELS,
    children,
    exists,
    fingerprint,
    is_folder,
    opened,
    read_bytes,
    stored_bytes,
)
from pixelwright.images.geo import Geo
from pixelwright.images.headers import IMAGE_SUFFIXES, Header, read_header
from pixelwright.images.masks import (
    UNDECLARED,
    Stored,
    check_sizes,
    in_color,
    is_lossy,
    labels_of,
    packed,
    raw_mask,
    read_mask,
    stored_mask,
    unpacked,
)
from pixelwright.images.photos import read_image, upright
from pixelwright.images.raster import Raster, array_raster, open_raster
from pixelwright.images.stored import Plane, StoredPlane, npy_header
from pixelwright.images.values import Values, infer_values
from pixelwright.images.write import encode_png, ignored_value, write_jpeg, write_mask, write_png

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "UNDECLARED",
    "Geo",
    "Header",
    "NoData",
    "Plane",
    "Raster",
    "Stored",
    "StoredPlane",
    "Values",
    "array_raster",
    "check_bands",
    "check_sizes",
    "children",
    "content",
    "encode_png",
    "exists",
    "fingerprint",
    "ignored_value",
    "in_color",
    "infer_values",
    "is_folder",
    "is_lossy",
    "labels_of",
    "nodata_of",
    "npy_header",
    "open_raster",
    "opened",
    "packed",
    "raw_mask",
    "read_bytes",
    "read_header",
    "read_image",
    "read_mask",
    "read_row",
    "row_contents",
    "row_labels",
    "row_names",
    "rows",
    "size",
    "stored_bytes",
    "stored_mask",
    "unpacked",
    "upright",
    "write_jpeg",
    "write_mask",
    "write_png",
]
