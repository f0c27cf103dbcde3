"""Give every pixel of pictures of any size a class, within a budget of memory."""

import dataclasses
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Integer, UInt8

from pixelwright import build, images, memory, render
from pixelwright.build.sources import keep_folder, source_of
from pixelwright.errors import DataError
from pixelwright.exporting.opening import choose, opened
from pixelwright.files import write_text
from pixelwright.inference import backends
from pixelwright.inference.answers import Answer, Extra, answer
from pixelwright.inference.plan import WHOLE_PIXELS, Plan, plan_for
from pixelwright.inference.run import Member, run_part, run_whole, seams
from pixelwright.inference.views import PLAIN, View
from pixelwright.jobs.canvas import IN_MEMORY, Canvas, file_names
from pixelwright.run import Run
from pixelwright.types import Classes, Event, OnEvent, Window

FAILED = "failed.txt"
"""Lists the pictures of a folder that could not be read (F74)."""

_SMALL = 2**18
"""Pixels up to which pictures of one size are run together."""

_TOGETHER = 2**20
"""Pixels of such a batch."""

_IN_MEMORY_SHARE = 1 / 16
"""Of a budget of memory: what planes, or a picture that is looked at, may take."""

_SAMPLE = 384
"""Side of the tile by which networks are timed."""


@dataclass(frozen=True)
class Prediction:
    """The classes of an image.

    Args:
        labels: Class index of every pixel; where the image has no data, a value above all classes.
            Empty where the result lies in files alone.
        classes: What the indices mean.
        image: What was predicted, for people to look at; empty likewise.
        probabilities: Of every class, if asked for, in steps of 1/255.
        entropy: How unsure the networks are, from 0 to 1, if asked for.
        disagreement: Between several networks or views, likewise.
        files: What was written, if anything.
        plan: How the image was run.
        seconds: That it took, reading and writing included.
        source: The file; None for an array.
    """

    labels: Integer[np.ndarray, "h w"]
    classes: Classes
    image: UInt8[np.ndarray, "h w c"]
    probabilities: Float[np.ndarray, "k h w"] | None = None
    entropy: Float[np.ndarray, "h w"] | None = None
    disagreement: Float[np.ndarray, "h w"] | None = None
    files: tuple[Path, ...] = ()
    plan: Plan | None = None
    seconds: float = 0.0
    source: Path | None = None

    @property
    def overlay(self) -> UInt8[np.ndarray, "h w 3"]:
        """The image with the classes over it."""
        labels = self.labels.astype(np.int16)
        labels[labels >= len(self.classes)] = -1
        return render.overlay(self.image, labels, self.classes.colors)

    def _repr_png_(self) -> bytes:
        return images.encode_png(self.overlay)

    def told(self) -> dict[str, Any]:
        """What scripts want to know of it, as JSON types."""
        plan = self.plan
        pixels = plan.height * plan.width if plan else self.labels.size
        return {
            "image": str(self.source) if self.source else None,
            "files": [str(path) for path in self.files],
            "height": plan.height if plan else self.labels.shape[0],
            "width": plan.width if plan else self.labels.shape[1],
            "plan": None if plan is None else plan.kind,
            "band": plan.band if plan else None,
            "tile": None if plan is None else [plan.rows, plan.columns],
            "bytes": plan.bytes if plan else None,
            "seconds": round(self.seconds, 3),
            "megapixels_per_second": round(pixels / 1e6 / max(self.seconds, 1e-9), 3),
        }


@dataclass(frozen=True)
class Wanted:
    """How pictures are to be predicted; `jobs.predict` explains each."""

    out: Path | None = None
    tile: int | None = None
    budget: int | None = None
    backend: str = "torch"
    extras: tuple[Extra, ...] = ()
    views: Sequence[View] = PLAIN
    overwrite: bool = False
    resume: bool = False
    bands: tuple[int, ...] | None = None
    nodata: images.NoData | None = None
    page: int | None = None


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
        self.models, self.runs, self.wanted, self.tell = models, runs, wanted, on_event
        self.classes = models[0].classes
        self._together: build.Together | None = None
        self._plans: dict[tuple[int, int], Plan] = {}
        self._pace: float | None = None
        self._digest: str | None = None
        self._light = False
        if all(model.engine.device.type == "cpu" for model in models):
            # What a training would keep for its next step counts towards the budget here.
            memory.return_freed()

    @property
    def _in_memory(self) -> int:
        """Bytes that planes may take in memory."""
        budget = self.wanted.budget
        return IN_MEMORY if budget is None else min(IN_MEMORY, int(budget * _IN_MEMORY_SHARE))

    def one(self, raster: images.Raster, stem: str) -> Prediction:
        """Predict a picture that is open; with its pixels, if they lay in memory."""
        with self._writing() as write:
            return self._large(raster, stem, write).result()

    def there(self, file: Path) -> Prediction:
        """A picture that was predicted before: what lies where its results are written."""
        out = self.wanted.out
        assert out is not None
        found = [file_names(file.stem, self.wanted.extras, geo=geo) for geo in (False, True)]
        files = [out / name for name in found[(out / found[1][0]).exists()]]
        nothing = np.zeros((0, 0, self.models[0].channels), np.uint8)
        kept = tuple(path for path in files if path.exists())
        return Prediction(nothing[..., 0], self.classes, nothing, files=kept, source=file)

    def several(self, files: Sequence[Path]) -> tuple[list[Prediction], list[tuple[Path, str]]]:
        """Predict files; those that are there already are passed over if that is wanted.

        Returns:
            What was done, in the order of the files, and which could not be read, and why.
        """
        self._light = self.wanted.out is not None
        coming: list[Future[Prediction]] = []
        failed: list[tuple[Path, str]] = []
        done = 0

        def finish(most: int) -> None:
            nonlocal done
            while len(coming) - done > most:
                coming[done].result()
                done += 1
                self._progress(done + len(failed), len(files))

        with self._writing() as write:
            for group in self._groups(files, failed):
                try:
                    coming += self._group(group, write)
                except DataError as error:
                    failed += [(path, str(error)) for path, _ in group]
                    self.tell(Event("note", {"text": str(error)}))
                # What is being written holds its planes: no more than two groups of them.
                finish(2 * len(group))
            finish(0)
        return [one.result() for one in coming], failed

    def _progress(self, done: int, total: int) -> None:
        self.tell(Event("progress", {"what": "predict", "done": done, "total": total}))

    def _writing(self) -> ThreadPoolExecutor:
        """One thread that paints and writes while the networks go on."""
        return ThreadPoolExecutor(1, "write")

    def _groups(
        self, files: Sequence[Path], failed: list[tuple[Path, str]]
    ) -> Iterator[list[tuple[Path, images.Raster]]]:
        """Pictures that are run together: small ones of one size, else each alone."""
        group: list[tuple[Path, images.Raster]] = []
        with ThreadPoolExecutor(1, "open") as pool:
            ahead: deque[tuple[Path, Future[images.Raster]]] = deque()
            waiting = deque(files)
            while waiting or ahead:
                while waiting and len(ahead) < 2:
                    path = waiting.popleft()
                    ahead.append((path, pool.submit(self.open, path)))
                path, opening = ahead.popleft()
                try:
                    raster = opening.result()
                except DataError as error:
                    failed.append((path, str(error)))
                    self.tell(Event("note", {"text": str(error)}))
                    continue
                if group and not self._fits(group, raster):
                    yield group
                    group = []
                group.append((path, raster))
        if group:
            yield group

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

    def _group(
        self, group: list[tuple[Path, images.Raster]], write: ThreadPoolExecutor
    ) -> list[Future[Prediction]]:
        rasters = [raster for _, raster in group]
        plan = self._plan(rasters[0])
        if len(group) == 1 or plan.kind != "whole":
            return [self._large(raster, path.stem, write) for path, raster in group]
        begin = time.perf_counter()
        found = run_whole(plan, rasters, self._members(plan))
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
        plan = self._plan(raster)
        with ExitStack() as stack:
            stack.enter_context(raster)
            canvas = stack.enter_context(self._canvas(raster, stem, plan))
            members = self._members(plan)
            if plan.kind == "windows":
                self._tell_of_seams(plan, raster, members[0])
            progress = _Pace(self.tell, plan)
            laid: deque[Future[None]] = deque()
            for number, part in enumerate(plan.parts()):
                if number in canvas.done:
                    progress.skip(part.rows, part.columns)
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
        return _result(canvas, raster, self.classes, files, plan, took, self._light)

    def _canvas(self, raster: images.Raster, stem: str, plan: Plan) -> Canvas:
        wanted = self.wanted
        if wanted.out is not None:
            wanted.out.mkdir(parents=True, exist_ok=True)
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
            most_in_memory=self._in_memory,
        )

    def _identity(self, raster: images.Raster, plan: Plan) -> dict[str, Any]:
        """Everything that the result depends on."""
        if self._digest is None:
            self._digest = " ".join(source_of(model).digest for model in self.models)
        told = dataclasses.asdict(plan) | {"bytes": 0, "seconds": None}
        source = raster.source
        stat = source.stat() if source and source.is_file() else None
        return {
            "plan": told,
            "models": self._digest,
            "backends": [backend.name for backend in self._ready(raster).backends],
            "image": [str(source), stat.st_size, stat.st_mtime_ns] if stat else str(source),
            "views": [list(view) for view in self.wanted.views],
            "read": [self.wanted.bands, str(self.wanted.nodata), self.wanted.page],
        }

    def _ready(self, raster: images.Raster) -> "build.Together":
        """The networks with their backends, chosen at the first picture."""
        if self._together is None:
            found = [
                self._backend(model, run, raster)
                for model, run in zip(self.models, self.runs, strict=True)
            ]
            self._together = build.Together(
                self.models, found, self.wanted.views, self.wanted.extras, self.tell
            )
        return self._together

    def _backend(self, model: build.Model, run: Run, raster: images.Raster) -> backends.Backend:
        device, source = str(model.engine.device), source_of(model)
        keep = keep_folder(run)
        if self.wanted.backend != "auto":
            named: Any = self.wanted.backend
            return opened(named, source, keep=keep, device=device)
        return choose(
            source,
            backends.NAMES,
            _sample(raster, model),
            keep=keep,
            pixels=raster.height * raster.width if self.wanted.out is None else None,
            device=device,
            on_event=self.tell,
        )

    def _members(self, plan: Plan) -> list[Member]:
        assert self._together is not None
        return self._together.members(streaming=plan.band is not None)

    def _plan(self, raster: images.Raster) -> Plan:
        """How to run a picture; told where it is not simply one pass."""
        size = (raster.height, raster.width)
        together = self._ready(raster)
        if size not in self._plans:
            plan = plan_for(
                together.costs,
                *size,
                available=together.available(self.wanted.budget) - self._held(raster),
                tile=self.wanted.tile or self.models[0].tile,
            )
            if raster.height * raster.width > WHOLE_PIXELS:
                plan = replace(plan, seconds=self._seconds(plan, together))
            self._plans[size] = plan
            if plan.kind != "whole" or plan.seconds is not None:
                self.tell(Event("note", {"text": str(plan)}))
        return self._plans[size]

    def _held(self, raster: images.Raster) -> int:
        """Bytes that a picture comes to take beside what networks do: planes, and blocks read."""
        wanted, classes = self.wanted, len(self.classes)
        shares = sum(classes if extra == "probabilities" else 1 for extra in wanted.extras)
        pixels = raster.height * raster.width
        planes = pixels * (shares + (1 if images.ignored_value(classes) == 255 else 2))
        if wanted.out is None:
            planes += 4 * pixels * shares  # told as fractions
        elif planes > self._in_memory:
            planes = 0
        return planes + (0 if raster.decoded else raster.held)

    def _tell_of_seams(self, plan: Plan, raster: images.Raster, member: Member) -> None:
        """That the result is not that of one pass, and by how much."""
        assert self._together is not None
        needs, share = self._together.field.unbounded, seams(plan, raster, member).share
        text = (
            f"the network needs the whole image ({needs}), which does not fit: windows are "
            f"blended, and around their seams {share:.2%} of the pixels have another class than "
            f"in one pass over the seam"
        )
        self.tell(Event("note", {"text": text}))

    def _seconds(self, plan: Plan, together: "build.Together") -> float:
        """What a plan is expected to take, from a tile that is timed."""
        if self._pace is None:
            side = min(-(-_SAMPLE // plan.align) * plan.align, *plan.padded)
            while side > plan.align and together.costs.at_once(side, side) > plan.bytes:
                side = -(-side // 2 // plan.align) * plan.align
            channels = self.models[0].channels
            tile = torch.zeros(1, side, side, channels, dtype=torch.uint8).permute(0, 3, 1, 2)
            self._pace = 0.0
            for backend in together.backends:
                backend(tile)
                begin = time.perf_counter()
                backend(tile)
                took = (time.perf_counter() - begin) * len(self.wanted.views)
                self._pace += took / (side * side)
        return self._pace * plan.work * plan.height * plan.width


def _sample(raster: images.Raster, model: build.Model) -> torch.Tensor:
    """A tile of the picture, as large as the model takes it."""
    multiple = model.field.multiple
    high, wide = (
        max(min(_SAMPLE, length) // multiple, 1) * multiple
        for length in (raster.height, raster.width)
    )
    window = Window(0, 0, min(high, raster.height), min(wide, raster.width))
    pixels = raster.read(window)
    below, beside = high - window.height, wide - window.width
    pixels = np.pad(pixels, ((0, below), (0, beside), (0, 0)), mode="edge")
    return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)


def _paint(canvas: Canvas, raster: images.Raster, window: Window, found: Answer) -> None:
    canvas.paint(
        window,
        found.labels,
        invalid=raster.invalid(window),
        probabilities=found.probabilities,
        entropy=found.entropy,
        disagreement=found.disagreement,
    )


def _result(
    canvas: Canvas,
    raster: images.Raster,
    classes: Classes,
    files: tuple[Path, ...],
    plan: Plan,
    seconds: float,
    light: bool,
) -> Prediction:
    """With its pixels, unless they are many: those of thousands of pictures would fill memory."""
    nothing = np.zeros((0, 0, raster.channels), np.uint8)
    found = Prediction(
        nothing[..., 0], classes, nothing, files=files, plan=plan, seconds=seconds,
        source=raster.source,
    )  # fmt: skip
    if light or not isinstance(canvas.labels, np.ndarray):
        return found
    window = Window(0, 0, raster.height, raster.width)
    shares: dict[str, Any] = {}
    for name, most in (("probabilities", 255), ("entropy", 254), ("disagreement", 254)):
        if name in canvas.extras:
            shares[name] = np.asarray(getattr(canvas, name), np.float32) / np.float32(most)
    return replace(found, labels=canvas.labels, image=raster.picture(window), **shares)


class _Pace:
    """Tells how far a large picture is, how fast it goes, and what is left.

    Args:
        tell: Who is told.
        plan: Of the picture.
    """

    def __init__(self, tell: OnEvent, plan: Plan) -> None:
        self._tell, self._total = tell, plan.height * plan.width
        self._limits = (plan.height, plan.width)
        self._done = self._own = 0
        self._begin = self._told = time.perf_counter()
        self._large = self._total > WHOLE_PIXELS // 4

    def skip(self, rows: Any, columns: Any) -> None:
        """A part that was done before."""
        high, wide = (
            min(axis.keep_stop, most) - axis.keep_start
            for axis, most in zip((rows, columns), self._limits, strict=True)
        )
        self._done += high * wide

    def made(self, window: Window) -> None:
        self._done += window.height * window.width
        self._own += window.height * window.width
        now = time.perf_counter()
        if self._large and now - self._told > 0.2:
            self._told = now
            self._event(self._own / (now - self._begin))

    def end(self) -> None:
        if self._large:
            self._event(self._own / max(time.perf_counter() - self._begin, 1e-9))

    def _event(self, speed: float) -> None:
        left = (self._total - self._done) / speed if speed else None
        data = {"what": "megapixels", "done": self._done, "total": self._total, "unit": "pixels"}
        self._tell(Event("progress", data | {"left": left, "speed": speed}))


def write_failed(folder: Path | None, failed: Sequence[tuple[Path, str]]) -> None:
    """The list of what could not be read, beside what was."""
    if folder is not None and failed:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / FAILED, "".join(f"{path}\t{why}\n" for path, why in failed))
