"""Give every pixel of pictures of any size a class, within a budget of memory."""

import dataclasses
import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

from pixelwright import build, images
from pixelwright.errors import DataError
from pixelwright.files import make_folder
from pixelwright.inference.answers import Answer, answer
from pixelwright.inference.plan import Plan
from pixelwright.inference.run import run_part, run_whole, window_of
from pixelwright.jobs.canvas import Canvas, file_names
from pixelwright.jobs.mask_planning import Planner
from pixelwright.jobs.masks import Prediction, Wanted, result_of
from pixelwright.jobs.partial import identity_of
from pixelwright.jobs.unread import Unread
from pixelwright.jobs.watch import Pace
from pixelwright.run import Run
from pixelwright.types import Event, OnEvent, Window

_SMALL = 2**18
"""Pixels up to which pictures of one size are run together."""

_TOGETHER = 2**20
"""Pixels of such a batch."""


class MaskPredictor:
    """Predicts one picture after the other; networks are prepared once.

    Args:
        models: Whose probabilities are averaged.
        runs: That they are of; where exported files are kept.
        wanted: The options.
        on_event: Told how it goes.
    """

    def __init__(
        self,
        models: Sequence[build.Model],
        runs: Sequence[Run],
        wanted: Wanted,
        on_event: OnEvent,
    ) -> None:
        self.models, self.wanted, self.tell = models, wanted, on_event
        self.classes = models[0].classes
        self._planner = Planner(models, runs, wanted, on_event)

    def one(self, raster: images.Raster, stem: str) -> Prediction:
        """Predict a picture that is open."""
        self._planner.pixels = raster.height * raster.width
        with self._writing() as write:
            return self._large(raster, stem, write).result()

    def there(self, file: Path) -> Prediction | None:
        """A picture that was predicted before, if every file is there that is wanted of it.

        Raises:
            DataError: The classes that lie there are no picture.
        """
        out = self.wanted.out
        assert out is not None
        for geo in (False, True):
            names = file_names(file.stem, self.wanted.extras, geo=geo)
            kept = tuple(out / name for name in names)
            if all(path.exists() for path in kept):
                with images.opened(kept[0]) as labels:
                    size = images.read_header(labels, kept[0], any_size=True).upright
                nothing = np.zeros((0, 0, self.models[0].channels), np.uint8)
                return Prediction(
                    nothing[..., 0], self.classes, nothing, files=kept, source=file, size=size
                )
        return None

    def several(self, files: Sequence[Path]) -> tuple[list[Prediction], list[Unread]]:
        """Predict files.

        Returns:
            What was done, in the order of the files, and which could not be read, and why.
        """
        if self.wanted.backend == "auto":
            self._planner.pixels = sum(map(_pixels, files))
        coming: list[Future[Prediction]] = []
        failed: list[Unread] = []
        done = 0

        def finish(most: int) -> None:
            nonlocal done
            while len(coming) - done > most:
                coming[done].result()
                done += 1
                self._progress(done + len(failed), len(files))

        with self._writing() as write:
            for group in self._groups(files, failed):
                coming += self._group(group, write, failed)
                # What is being written holds its planes: no more than two groups of them, and none
                # where a plan counts on the memory.
                finish(0 if self._counted(group[0][1]) else 2 * len(group))
            finish(0)
        return [one.result() for one in coming], failed

    def _progress(self, done: int, total: int) -> None:
        self.tell(Event("progress", {"what": "predict", "done": done, "total": total}))

    def _writing(self) -> ThreadPoolExecutor:
        """One thread that paints and writes while the networks go on."""
        return ThreadPoolExecutor(1, "write")

    def _groups(
        self, files: Sequence[Path], failed: list[Unread]
    ) -> Iterator[list[tuple[Path, images.Raster]]]:
        """Pictures that are run together: small ones of one size, else each alone."""
        group: list[tuple[Path, images.Raster]] = []
        with ThreadPoolExecutor(1, "open") as pool:
            ahead: deque[tuple[Path, Future[images.Raster]]] = deque()
            waiting = deque(files)
            while waiting or ahead:
                while waiting and len(ahead) < 2:
                    if ahead and self.wanted.budget is not None and _pixels(waiting[0]) > _SMALL:
                        break
                    path = waiting.popleft()
                    ahead.append((path, pool.submit(self.open, path)))
                path, opening = ahead.popleft()
                try:
                    raster = opening.result()
                except DataError as error:
                    self._unread(path, error, failed)
                    continue
                if group and not self._fits(group, raster):
                    yield group
                    group = []
                group.append((path, raster))
                if self._counted(raster):
                    yield group
                    group = []
        if group:
            yield group

    def _counted(self, raster: images.Raster) -> bool:
        """Whether a picture has the budget to itself: no other is opened or written meanwhile."""
        return self.wanted.budget is not None and raster.height * raster.width > _SMALL

    def _fits(self, group: list[tuple[Path, images.Raster]], raster: images.Raster) -> bool:
        pixels, first = raster.height * raster.width, group[0][1]
        alike = (first.height, first.width, first.dtype) == (
            raster.height,
            raster.width,
            raster.dtype,
        )
        small = 0 < pixels <= _SMALL and (len(group) + 1) * pixels <= _TOGETHER
        return alike and small and self.wanted.tile is None

    def open(self, path: Path) -> images.Raster:
        wanted = self.wanted
        return images.open_raster(
            path,
            self.models[0].channels,
            bands=wanted.bands,
            nodata=wanted.nodata,
            page=wanted.page,
        )

    def _unread(self, path: Path, error: DataError, failed: list[Unread]) -> None:
        failed.append((path, str(error)))
        self.tell(Event("note", {"text": str(error)}))

    def _group(
        self,
        group: list[tuple[Path, images.Raster]],
        write: ThreadPoolExecutor,
        failed: list[Unread],
    ) -> list[Future[Prediction]]:
        if len(group) > 1 and self._planner.plan(group[0][1]).kind == "whole":
            # Which of them is damaged shows when each is run alone.
            with suppress(DataError):
                return self._together(group, write)
        found = []
        for path, raster in group:
            try:
                found.append(self._large(raster, path.stem, write))
            except DataError as error:
                self._unread(path, error, failed)
        return found

    def _together(
        self, group: list[tuple[Path, images.Raster]], write: ThreadPoolExecutor
    ) -> list[Future[Prediction]]:
        """Small pictures of one size in one pass."""
        rasters = [raster for _, raster in group]
        plan = self._planner.plan(rasters[0])
        begin = time.perf_counter()
        found = run_whole(plan, rasters, self._planner.members(plan))
        answers = [answer(logits, self.wanted.extras) for logits in found]
        each = (time.perf_counter() - begin) / len(group)
        return [
            write.submit(self._small, raster, path.stem, plan, one, each)
            for (path, raster), one in zip(group, answers, strict=True)
        ]

    def _small(
        self, raster: images.Raster, stem: str, plan: Plan, found: Answer, seconds: float
    ) -> Prediction:
        begin = time.perf_counter()
        with raster, self._canvas(raster, stem, plan) as canvas:
            window = Window(0, 0, raster.height, raster.width)
            _paint(canvas, raster, window, found)
            canvas.finish_part(0)
            return self._published(canvas, raster, plan, begin - seconds)

    def _large(
        self, raster: images.Raster, stem: str, write: ThreadPoolExecutor
    ) -> Future[Prediction]:
        """Part by part; reading, computing and writing at the same time."""
        begin = time.perf_counter()
        plan = self._resumed(raster, stem, self._planner.plan(raster))
        with ExitStack() as stack:
            stack.enter_context(raster)
            canvas = stack.enter_context(self._canvas(raster, stem, plan))
            members = self._planner.members(plan)
            if plan.kind == "windows":
                self._planner.tell_of_seams(plan, raster, members[0])
            progress = Pace(self.tell, plan.height, plan.width)
            laid: deque[Future[None]] = deque()
            for number, part in enumerate(plan.parts()):
                if number in canvas.done:
                    progress.skip(window_of(part, plan))
                    continue
                for window, logits in run_part(part, plan, raster, members):
                    found = answer(logits, self.wanted.extras)
                    del logits
                    laid.append(write.submit(_paint, canvas, raster, window, found))
                    while len(laid) > 1:
                        laid.popleft().result()
                    progress.made(window)
                while laid:
                    laid.popleft().result()
                canvas.finish_part(number)
            progress.end()
            kept = stack.pop_all()

        def publish() -> Prediction:
            with kept:
                return self._published(canvas, raster, plan, begin)

        return write.submit(publish)

    def _published(
        self, canvas: Canvas, raster: images.Raster, plan: Plan, begin: float
    ) -> Prediction:
        files = canvas.publish(raster) if self.wanted.out else ()
        took = time.perf_counter() - begin
        # Under a budget the files are the result: the picture once more was not counted.
        light = self.wanted.light or bool(files and self.wanted.budget is not None)
        return result_of(canvas, raster, self.classes, files, plan, took, light)

    def _canvas(self, raster: images.Raster, stem: str, plan: Plan) -> Canvas:
        wanted = self.wanted
        if wanted.out is not None:
            make_folder(wanted.out)
        return Canvas(
            wanted.out,
            stem,
            raster.height,
            raster.width,
            self.classes,
            extras=wanted.extras,
            geo=raster.geo,
            identity=self._identity(raster, plan),
            resume=wanted.resume,
            on_event=self.tell,
            most_in_memory=self.wanted.in_memory,
        )

    def _resumed(self, raster: images.Raster, stem: str, plan: Plan) -> Plan:
        """The plan by which a prediction began that can be gone on with, else the one given.

        Another amount of free memory would give another plan, and other parts.
        """
        wanted = self.wanted
        told = identity_of(wanted.out, stem) if wanted.resume and wanted.out else None
        if told is None or wanted.tile is not None:
            return plan
        try:
            begun = Plan(**told["plan"])
        except (KeyError, TypeError):
            return plan
        own = json.loads(json.dumps(self._identity(raster, begun), default=str))
        same = {key: told.get(key) for key in own} == own
        enough = wanted.budget is None or begun.bytes <= max(plan.bytes, self._planner.left)
        return begun if same and enough else plan

    def _identity(self, raster: images.Raster, plan: Plan) -> dict[str, Any]:
        """Everything that the result depends on."""
        source = raster.source
        stat = source.stat() if source and source.is_file() else None
        return {
            "plan": dataclasses.asdict(plan) | {"seconds": None},
            "models": self._planner.digest,
            "backends": self._planner.names(raster),
            "precision": [self.wanted.precision, self.wanted.compile],
            "image": [str(source), stat.st_size, stat.st_mtime_ns] if stat else str(source),
            "views": [list(view) for view in self.wanted.views],
            "read": [self.wanted.bands, str(self.wanted.nodata), self.wanted.page],
        }


def _pixels(file: Path) -> int:
    """Of a picture, as its header has it; what cannot be read is told later."""
    try:
        height, width = images.size(file)
    except DataError:
        return 0
    return height * width


def _paint(canvas: Canvas, raster: images.Raster, window: Window, found: Answer) -> None:
    canvas.paint(
        window,
        found.labels,
        invalid=raster.invalid(window),
        probabilities=found.probabilities,
        entropy=found.entropy,
        disagreement=found.disagreement,
    )
