"""Where the prediction of one image is painted, part by part, in memory or on the disk.

with Canvas(out, "mosaic", raster.height, raster.width, classes, identity=identity,
            resume=True, geo=raster.geo) as canvas:
    for number, part in enumerate(parts):
        if number not in canvas.done:
            canvas.paint(window, labels, invalid=raster.invalid(window))
            canvas.finish_part(number)
    files = canvas.publish(raster)
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Integer, Shaped, UInt8

from pixelwright import images
from pixelwright.errors import MachineError, shown
from pixelwright.files import adopt
from pixelwright.images import geotiff, streaming
from pixelwright.jobs import overlay
from pixelwright.jobs.partial import Partial, folder_for
from pixelwright.types import Classes, OnEvent, Window, silent

Extra = Literal["probabilities", "entropy", "disagreement"]
"""What is painted beside the classes."""

IN_MEMORY = 2**26
"""Bytes of planes up to which a prediction is painted in memory."""

UNKNOWN = 255
"""Stands in `entropy` and `disagreement` where there are no data; their values end at 254."""

MOST_UNSURE = UNKNOWN - 1


def file_names(
    stem: str, extras: Sequence[Extra] = (), *, geo: bool = False, drawn: bool = True
) -> tuple[str, ...]:
    """What `Canvas.publish` writes, the classes first.

    Args:
        stem: Of the image.
        extras: Beside the classes.
        geo: Whether it is known where on earth the image lies.
        drawn: Whether there is an overlay.
    """
    suffix = "tif" if geo else "png"
    likely = suffix if geo else "npy"
    names = [f"{stem}.{suffix}", *([f"{stem}.overlay.jpg"] if drawn else [])]
    names += [f"{stem}.{one}.{likely if one == 'probabilities' else suffix}" for one in extras]
    return tuple(names)


class Canvas:
    """The planes of one prediction: a class for each pixel, and what was asked for beside it.

    Up to `IN_MEMORY` bytes they lie in memory. Larger ones lie in `<out>/.<stem>.partial/`, written
    with plain writes, so that memory does not grow with the picture, beside a journal of the parts
    that are done, from which a prediction that was killed goes on.

    Args:
        out: The folder of the results; None keeps the planes in memory whatever their size.
        stem: Names the results.
        height: Of the image.
        width: Of the image.
        classes: What is painted.
        extras: What is painted beside the classes.
        geo: Where on earth the image lies: the results are GeoTIFFs then.
        identity: Everything that the result depends on: plan, model, image, options.
        resume: Take up the parts that are done, if they were made with the same identity.
        on_event: Told how it goes on, or why it begins anew.
        most_in_memory: Bytes of planes that may lie in memory.

    Raises:
        PredictError: Another process writes the same results.
        MachineError: There is not enough space on the disk.
    """

    def __init__(
        self,
        out: Path | None,
        stem: str,
        height: int,
        width: int,
        classes: Classes,
        *,
        extras: Sequence[Extra] = (),
        geo: images.Geo | None = None,
        identity: Mapping[str, Any] | None = None,
        resume: bool = False,
        on_event: OnEvent = silent,
        most_in_memory: int = IN_MEMORY,
    ) -> None:
        self.out, self.stem, self.classes, self.geo = out, stem, classes, geo
        self.height, self.width = height, width
        self.extras = tuple(extras)
        self.ignored = images.ignored_value(len(classes))
        self._partial: Partial | None = None
        self._writer = ThreadPoolExecutor(1, "canvas")  # starts no thread until it is needed
        self._flushing: Future[None] | None = None
        self._done: set[int] = set()
        kinds = {"labels": np.dtype(np.uint8 if self.ignored == 255 else np.uint16)}
        kinds |= {extra: np.dtype(np.uint8) for extra in self.extras}
        shapes = {name: (self._count(name) * height, width) for name in kinds}
        heads = {name: self._head(name) for name in kinds}
        sizes = {
            name: len(heads[name]) + int(np.prod(shapes[name])) * kinds[name].itemsize
            for name in kinds
        }
        self._planes: dict[str, np.ndarray | images.StoredPlane] = {}
        if out is None or sum(sizes.values()) <= most_in_memory:
            self._planes = {name: np.zeros(shapes[name], kinds[name]) for name in kinds}
            return
        folder = folder_for(out, stem)
        files = {f"{name}.npy" if heads[name] else f"{name}.raw": sizes[name] for name in kinds}
        self._partial = Partial(folder, files, identity or {}, resume=resume, on_event=on_event)
        self._done = self._partial.done
        with self._writing():
            for file, name in zip(files, kinds, strict=True):
                with (folder / file).open("r+b") as begun:
                    begun.write(heads[name])
                self._planes[name] = images.StoredPlane(
                    folder / file, shapes[name], kinds[name], len(heads[name]), writable=True
                )

    @property
    def done(self) -> frozenset[int]:
        """The parts that are painted, and will not be lost."""
        return frozenset(self._done)

    @property
    def on_disk(self) -> bool:
        return self._partial is not None

    @property
    def labels(self) -> images.Plane:
        """Class indices, and `ignored` where there are no data; an array if it lies in memory."""
        return self._bands("labels")[0]

    @property
    def probabilities(self) -> Sequence[images.Plane]:
        """Of each class as parts of 255; all 0 where there are no data."""
        return self._bands("probabilities")

    @property
    def entropy(self) -> images.Plane:
        """As it was painted, 0 to 254; 255 where there are no data."""
        return self._bands("entropy")[0]

    @property
    def disagreement(self) -> images.Plane:
        """As it was painted, 0 to 254; 255 where there are no data."""
        return self._bands("disagreement")[0]

    def paint(
        self,
        window: Window,
        labels: Integer[np.ndarray, "h w"],
        *,
        invalid: Bool[np.ndarray, "h w"] | None = None,
        probabilities: UInt8[np.ndarray, "k h w"] | None = None,
        entropy: UInt8[np.ndarray, "h w"] | None = None,
        disagreement: UInt8[np.ndarray, "h w"] | None = None,
    ) -> None:
        """Lay down what was found in a window. All that the canvas was made for must be given.

        Args:
            window: Of the image.
            labels: Class indices.
            invalid: Where the image has no data, so that there is no result either (F71).
            probabilities: Parts of 255.
            entropy: From 0 to 254.
            disagreement: From 0 to 254.

        Raises:
            MachineError: The disk is full, or fails.
        """
        given: dict[str, np.ndarray | None] = {
            "probabilities": probabilities,
            "entropy": entropy,
            "disagreement": disagreement,
        }
        assert {name for name, part in given.items() if part is not None} == set(self.extras)
        self._lay("labels", 0, window, _cleared(labels, invalid, self.ignored))
        for name in self.extras:
            part = given[name]
            assert part is not None
            nothing = 0 if name == "probabilities" else UNKNOWN
            for band, plane in enumerate(part.reshape(-1, *part.shape[-2:])):
                self._lay(name, band, window, _cleared(plane, invalid, nothing))

    def finish_part(self, number: int) -> None:
        """All windows of a part are painted. Soon it is safe on the disk, which is not waited for.

        Raises:
            MachineError: The disk is full, or fails.
        """
        if self._partial is None:
            self._done.add(number)
        elif self._partial.record(number) and (not self._flushing or self._flushing.done()):
            self._await()
            # The disk is waited for beside the work. Fewer waits for more parts, if it is slow.
            self._flushing = self._writer.submit(self._write_down, self._partial.take())

    def flush(self) -> None:
        """Have all finished parts on the disk: first their pixels, then that they are done.

        Raises:
            MachineError: The disk is full, or fails.
        """
        self._await()
        if self._partial is not None and (parts := self._partial.take()):
            self._write_down(parts)

    def publish(self, raster: images.Raster | None = None) -> tuple[Path, ...]:
        """Write the results under their names, each whole or not at all, and remove the folder.

        The classes are written last: where they are, everything is.

        Args:
            raster: The image, for `<stem>.overlay.jpg`, which has at most 8192 pixels a side: of a
                larger image, each pixel is the mean of a square. None leaves it out.

        Returns:
            The files, the classes first.

        Raises:
            MachineError: The disk is full. What was painted is kept, so that `resume` goes on.
        """
        assert self.out is not None, "the canvas has no folder to publish to"
        self.flush()
        names = file_names(self.stem, self.extras, geo=bool(self.geo), drawn=raster is not None)
        files = tuple(self.out / name for name in names)
        scratch = self._partial.folder if self._partial else None
        first = len(files) - len(self.extras)
        for name, path in zip(self.extras, files[first:], strict=True):
            self._write_extra(name, path, scratch)
        if raster is not None:
            drawn = overlay.strips(raster, self.labels, self.classes.colors, self.ignored)
            rows = -(-self.height // overlay.scale_of(self.height, self.width))
            streaming.write_jpeg_strips(files[1], drawn, rows, scratch=scratch)
        self._write_labels(files[0], scratch)
        self._shut()
        if self._partial is not None:
            self._partial.remove()
            self._partial = None
        return files

    def discard(self) -> None:
        """Throw away what was painted."""
        self._shut()
        if self._partial is not None:
            self._partial.remove()
            self._partial = None

    def __enter__(self) -> "Canvas":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave what is painted and not published on the disk, for `resume`."""
        if self._partial is None:
            self._shut()
            return
        # What stops the work is told; that the disk is full as well is no news then.
        with suppress(MachineError) if error else _nothing():
            self.flush()
        self._shut()
        self._partial.close()
        self._partial = None

    def _write_down(self, parts: Sequence[int]) -> None:
        assert self._partial is not None
        with self._writing():
            for plane in self._planes.values():
                if isinstance(plane, images.StoredPlane):
                    plane.sync()
        self._partial.write_down(parts)

    def _await(self) -> None:
        flushing, self._flushing = self._flushing, None
        if flushing is not None:
            flushing.result()

    def _count(self, name: str) -> int:
        return len(self.classes) if name == "probabilities" else 1

    def _head(self, name: str) -> bytes:
        """What a file begins with that is going to be a result as it is."""
        if name != "probabilities" or self.geo:
            return b""
        return images.npy_header((len(self.classes), self.height, self.width), np.uint8)

    def _bands(self, name: str) -> list[images.Plane]:
        plane = self._planes[name]
        if isinstance(plane, np.ndarray):
            return list(plane.reshape(-1, self.height, self.width))
        count = self._count(name)
        return [plane.rows(band * self.height, self.height) for band in range(count)]

    def _lay(self, name: str, band: int, window: Window, part: Shaped[np.ndarray, "h w"]) -> None:
        top = band * self.height + window.top
        plane = self._planes[name]
        if isinstance(plane, np.ndarray):
            bottom, right = top + window.height, window.left + window.width
            plane[top:bottom, window.left : right] = part
            return
        with self._writing():
            plane.write(window._replace(top=top), part)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            assert self._partial is not None
            folder = self._partial.folder
            free = shutil.disk_usage(folder).free if folder.is_dir() else 0
            raise MachineError(
                f"{shown(folder)} cannot be written: {error.strerror or error} ({free:,} bytes "
                "free). What is done is kept: free space, and go on with --resume."
            ) from error

    def _write_labels(self, path: Path, scratch: Path | None) -> None:
        if self.geo is None:
            streaming.write_labels(path, self.labels, self.classes.colors, scratch=scratch)
            return
        geotiff.write_geotiff(
            path,
            [self.labels],
            self.geo,
            colors=self.classes.colors,
            nodata=self.ignored,
            names=["class"],
            scratch=scratch,
        )

    def _write_extra(self, name: Extra, path: Path, scratch: Path | None) -> None:
        bands = self._bands(name)
        likely = name == "probabilities"
        if self.geo is not None:
            geotiff.write_geotiff(
                path,
                bands,
                self.geo,
                nodata=None if likely else UNKNOWN,
                names=self.classes.names if likely else [name],
                scale=1 / 255 if likely else 1 / MOST_UNSURE,
                overviews="average",
                scratch=scratch,
            )
        elif not likely:
            streaming.write_grey(path, bands[0], scratch=scratch)
        elif isinstance(plane := self._planes[name], images.StoredPlane):
            plane.sync()
            adopt(plane.path, path)
        else:
            streaming.write_npy(path, bands, scratch=scratch)

    def _shut(self) -> None:
        self._writer.shutdown()
        for plane in self._planes.values():
            if isinstance(plane, images.StoredPlane):
                plane.close()


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _cleared(
    part: Integer[np.ndarray, "h w"], invalid: Bool[np.ndarray, "h w"] | None, nothing: int
) -> Integer[np.ndarray, "h w"]:
    """A part with `nothing` where there are no data."""
    if invalid is None:
        return part
    kind = np.uint16 if nothing > 255 else part.dtype
    return np.where(invalid, np.asarray(nothing, kind), part.astype(kind, copy=False))
