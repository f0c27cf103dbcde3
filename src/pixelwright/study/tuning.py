"""Search for the best values of a recipe's keys, on the training and validation splits only.

found = tune("tune.toml", trials=30)
found.best.values, found.best.score
found.files                      # best.toml, tuning.html, ...

Every trial is a run of its own in `runs/<name>/trial-<n>`, trained by the normal job.
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pixelwright import jobs
from pixelwright.console import count, duration
from pixelwright.data import index
from pixelwright.errors import DataError, MachineError, RecipeError, first_few
from pixelwright.files import write_text
from pixelwright.jobs.watch import watched
from pixelwright.metrics import LabelScores, Scores, read_scores
from pixelwright.metrics.told import number
from pixelwright.recipe import Recipe
from pixelwright.reporting import tuning as page
from pixelwright.run import Run
from pixelwright.study.process import Training
from pixelwright.study.ranges import Pruning, Tuning
from pixelwright.study.search import RUNGS, Search, Trial, require_optuna
from pixelwright.types import CHOSEN_BY, Event, OnEvent, chosen_score

_MOST_FAILED = 8
"""Trials that fail in a row before the search is given up: then it is not their values."""
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Tuned:
    """What a search has found so far.

    Args:
        tuning: What was searched.
        trials: All, in the order of their numbers.
        importance: How much each key mattered, most first; empty where too few trials say.
        title: Of the score.
        files: What was written.
        test: The scores of the best trial on the test split, if they were asked for.
    """

    tuning: Tuning
    trials: tuple[Trial, ...]
    importance: Mapping[str, float]
    title: str = CHOSEN_BY["mean_iou"]
    files: tuple[Path, ...] = ()
    test: Scores | LabelScores | None = None

    @property
    def best(self) -> Trial | None:
        """The finished trial with the highest score, the earlier of two."""
        finished = [t for t in self.trials if t.state == "finished" and t.score is not None]
        return max(finished, key=lambda trial: (trial.score, -trial.number), default=None)

    def headline(self) -> str:
        states = [trial.state for trial in self.trials]
        kinds = ("finished", "pruned", "failed", "stopped")
        told = ", ".join(f"{states.count(kind)} {kind}" for kind in kinds if kind in states)
        return f"{count(len(states), 'trial')} in {self.tuning.out}: {told or 'none'}"

    def table(self) -> list[tuple[str, ...]]:
        """A header, then a row for each trial, the best first."""
        keys = [one.key for one in self.tuning.ranges]
        order = {"finished": 0, "pruned": 1, "stopped": 2, "failed": 3}
        ranked = sorted(self.trials, key=lambda t: (order[t.state], -(t.score or 0.0), t.number))
        rows = [("trial", "state", self.title, *keys, "time")]
        rows += [
            (
                str(trial.number),
                trial.state,
                "" if trial.score is None else number(trial.score),
                *(page.short(trial.values.get(key)) for key in keys),
                duration(trial.seconds),
            )
            for trial in ranked
        ]
        return rows

    def notes(self) -> list[str]:
        """What a reader has to know."""
        notes = [f"{t.name} failed: {t.why.rstrip('.')}." for t in self.trials if t.why][:3]
        best = self.best
        if best and self.trials[0].state == "finished" and best.number:
            was = self.trials[0].score or 0.0
            notes.append(f"The recipe as it stands (trial 0) has {number(was)}.")
        if best:
            notes.append(
                "The best of many trials is partly the luckiest on these validation images: expect "
                "less on others."
            )
        return notes


def tune(
    source: str | Path | Tuning,
    *,
    settings: Sequence[str] = (),
    out: str | Path | None = None,
    trials: int | None = None,
    minutes: float | None = None,
    pruning: Pruning | None = None,
    test: bool = False,
    on_event: OnEvent | None = None,
) -> Tuned:
    """Search the ranges of a tuning file; called again, go on with the search.

    Args:
        source: The file, or what was read from it.
        settings: `key=value`, set in its recipe beforehand.
        out: The folder, instead of `runs/<name>`.
        trials: In all, those of earlier calls among them; by default the file's, or 20.
        minutes: Of this call; a trial that is not done by then goes on in the next.
        pruning: "median", "hyperband" or "none"; by default the file's.
        test: At the end, look at the test split with the best trial: once, counted in its run.
        on_event: Told the progress; None draws it, in a terminal and a notebook alike.

    Raises:
        RecipeError: The file cannot be used as it is, or Optuna is not installed.
        DataError: The data cannot be read, or has no test split to look at.
        MachineError: No trial could be finished.
    """
    began = time.monotonic()
    require_optuna()
    own = {"trials": trials, "minutes": minutes, "pruning": pruning}
    if not isinstance(source, Tuning):
        tuning = Tuning.read(str(source), settings, out=out, **own)
    elif settings or out or any(value is not None for value in own.values()):
        raise RecipeError(
            "This tuning was read already: settings, out and the like go to Tuning.read."
        )
    else:
        tuning = source
    found = index.load_for_training(tuning.recipe.data)
    if test and "test" not in found.splits:
        raise DataError(f"{tuning.recipe.data} has no test split: leave out --test.")
    folder = _folder(tuning)
    with folder.locked(), watched(on_event) as tell:
        search = Search(tuning, folder.path)
        title = CHOSEN_BY["top1" if found.one_label else "mean_iou"]
        seconds = None if tuning.head.minutes is None else 60 * tuning.head.minutes
        deadline = None if seconds is None else began + seconds
        sitting = _Sitting(tuning, search, title, tell, deadline)
        try:
            sitting.work()
        finally:
            result = _write(tuning, search, title)
        if result.best is None:
            raise MachineError(_nothing(result))
        return _with_test(result, tell) if test else result


class _OutOfTimeError(Exception):
    """The minutes of this call are over."""


class _Sitting:
    def __init__(
        self, tuning: Tuning, search: Search, title: str, tell: OnEvent, deadline: float | None
    ) -> None:
        self._tuning = tuning
        self._search = search
        self._title = title
        self._tell = tell
        self._deadline = deadline
        self._failed = 0

    def work(self) -> None:
        """Train trials until there are enough, or the time is up."""
        while not self._enough():
            try:
                self._do(self._search.next())
            except _OutOfTimeError:
                self._note("the time is up; the same command goes on with this trial")
                return
            _write_table(self._tuning, self._search, self._title)

    def _enough(self) -> bool:
        trials = self._search.trials()
        ended = [trial for trial in trials if trial.state != "stopped"]
        most = self._tuning.head.trials
        if most is not None and len(ended) >= most:
            return True
        if self._failed >= _MOST_FAILED and not any(t.state == "finished" for t in trials):
            self._note(f"{self._failed} trials failed in a row: the search is given up")
            return True
        return self._deadline is not None and not self._fits(self._deadline, ended)

    def _fits(self, deadline: float, ended: Sequence[Trial]) -> bool:
        """Whether another trial can be done in time, as far as that is known."""
        took = [trial.seconds for trial in ended if trial.state == "finished"]
        minutes = self._tuning.recipe.train.minutes
        needed = 60 * minutes if minutes is not None else sum(took) / len(took) if took else 0.0
        return time.monotonic() + 0.9 * needed < deadline

    def _do(self, trial: Any) -> None:
        told = self._search.told(trial)
        shown = ", ".join(f"{_key(key)}={page.short(value)}" for key, value in told.values.items())
        self._note(f"trial {told.number}: {shown}")
        twin = next(
            (t for t in self._search.trials()[: told.number] if t.values == told.values), None
        )
        if twin and twin.state == "finished" and twin.score is not None:
            trial.set_user_attr("twin", twin.number)
            self._search.finish(trial, twin.score)
            self._note(f"trial {told.number} is trial {twin.number} again, so it is not trained")
            return
        if told.run.status == "finished" and told.run.scores("val"):
            # We were killed before it could be written down. The log knows how long it took.
            times = [row.get("seconds") or 0.0 for row in told.run.log()]
            trial.set_user_attr("seconds", max([told.seconds, *times]))
            self._end(trial, told, None, pruned=False)
            return
        try:
            recipe = self._tuning.recipe_with(told.values)
        except RecipeError as error:
            self._fail(trial, str(error).removeprefix("settings: "))
            return
        training = self._start(told.run, recipe)
        try:
            pruned = self._watch(trial, told, training)
        except BaseException:
            training.stop()
            raise
        finally:
            trial.set_user_attr("seconds", told.seconds + training.seconds)
        self._end(trial, told, training, pruned=pruned)

    def _start(self, run: Run, recipe: Recipe) -> Training:
        file = self._tuning.out / "recipes" / f"{run.name}.toml"
        output = self._tuning.out / "output" / f"{run.name}.txt"
        for written in (file, output):
            written.parent.mkdir(exist_ok=True)
        if run.owner:
            # Whoever started it was killed, and it went on by itself.
            return Training.adopt(run, output)
        if run.recipe_file.is_file():
            return Training.start(run, output)
        write_text(file, recipe.model_copy(update={"name": ""}).to_toml())
        # The data was checked before the search, or its user does not want it checked.
        return Training.start(run, output, recipe=file, options=("--no-check",))

    def _watch(self, trial: Any, told: Trial, training: Training) -> bool:
        """Follow a training to its end.

        Returns:
            Whether it was stopped as not worth finishing.

        Raises:
            _OutOfTimeError: It is not done by the end of this call.
        """
        seen, size = set(told.curve), -1
        what = f"trial {told.number}"
        while training.exit_code(wait=_LOOK_SECONDS) is None:
            if self._deadline is not None and time.monotonic() > self._deadline:
                raise _OutOfTimeError
            log = told.run.log_file
            if not log.is_file() or log.stat().st_size == size:
                continue
            size = log.stat().st_size
            done, steps = training.steps()
            self._tell(Event("progress", {"what": what, "done": done, "total": steps or None}))
            if self._report(trial, told.run, seen) and trial.should_prune():
                training.stop()
                return True
        self._report(trial, told.run, seen)
        return False

    def _report(self, trial: Any, run: Run, seen: set[int]) -> bool:
        """Hand over the scores that are new; whether there are some, and more to train."""
        steps, best, new = 0, -math.inf, False
        for row in run.log():
            steps = row.get("steps") or steps
            _, score = chosen_score(row)
            if row.get("kind") != "epoch" or score is None or not steps:
                continue
            best = max(best, score)
            rung = RUNGS * row["step"] // steps
            if rung not in seen:
                seen.add(rung)
                trial.report(best, rung)
                new = rung < RUNGS
        return new

    def _end(self, trial: Any, told: Trial, training: Training | None, *, pruned: bool) -> None:
        title, score = chosen_score(told.run.scores("val"), prefix="")
        if told.run.status == "finished" and score is not None:
            self._failed = 0
            before = [t.score for t in self._search.trials() if t.state == "finished"]
            self._search.finish(trial, score)
            high = all(other is None or score > other for other in before)
            record = ", the best so far" if high else ""
            self._note(f"trial {told.number}: {title} {number(score)} on val{record}")
        elif pruned:
            self._search.prune(trial)
            self._note(f"trial {told.number} is behind the others and was stopped")
        elif training is None or training.exit_code() == 0:
            self._fail(trial, "its score is not defined")
        else:
            self._fail(trial, training.why())

    def _fail(self, trial: Any, why: str) -> None:
        self._failed += 1
        self._search.fail(trial, why)
        self._note(f"trial {trial.number} failed: {why}")

    def _note(self, text: str) -> None:
        self._tell(Event("note", {"text": text}))


def _folder(tuning: Tuning) -> Run:
    """The folder of a tuning, new or with the same search in it.

    Raises:
        RecipeError: It holds another search, or something else.
        MachineError: It cannot be made.
    """
    folder, file = tuning.out, tuning.out / "tuning.json"
    if not file.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise RecipeError(f"{folder} is not empty and holds no tuning. Take another --out.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MachineError(
                f"The folder {folder} cannot be made: {error.strerror}. Give another with --out."
            ) from None
        write_text(file, json.dumps({"search": tuning.to_json(), "trials": []}, default=str) + "\n")
        return Run(folder)
    was = json.loads(file.read_text(encoding="utf-8"))["search"]
    now = json.loads(json.dumps(tuning.to_json(), default=str))
    changed = sorted(_changes(was, now))
    if changed:
        raise RecipeError(
            f"{folder} holds a search in which {first_few(changed)}. Take another --out, or "
            f"delete it."
        )
    return Run(folder)


def _changes(was: Mapping[str, Any], now: Mapping[str, Any], above: str = "") -> list[str]:
    found = []
    for key in was.keys() | now.keys():
        old, new = was.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += _changes(old, new, f"{above}{key} ")
        elif old != new:
            found.append(f"{above}{key} was {old}, not {new}")
    return found


def _write_table(tuning: Tuning, search: Search, title: str) -> Tuned:
    """Write `tuning.json`, from which the page is drawn."""
    result = Tuned(tuning, tuple(search.trials()), search.importance(), title)
    table = {
        "search": tuning.to_json(),
        "score": title,
        "ranges": {
            one.key: {"text": str(one), "log": bool(getattr(one, "log", False))}
            for one in tuning.ranges
        },
        "importance": dict(result.importance),
        "best": None if result.best is None else result.best.number,
        "trials": [
            {
                "number": trial.number,
                "state": trial.state,
                "score": trial.score,
                "values": dict(trial.values),
                "seconds": round(trial.seconds, 1),
                "why": trial.why,
                "curve": {str(rung): score for rung, score in trial.curve.items()},
            }
            for trial in result.trials
        ],
    }
    write_text(tuning.out / "tuning.json", json.dumps(table, indent=1, default=str) + "\n")
    return result


def _write(tuning: Tuning, search: Search, title: str) -> Tuned:
    """Write what a search has found: table, page, figure, and the best recipe."""
    result = _write_table(tuning, search, title)
    files = [tuning.out / "tuning.json"]
    best = result.best
    if best is not None:
        files += [*page.write(tuning.out), tuning.out / "best.toml"]
        trained = Recipe.read(best.run.recipe_file)
        text = (
            f"# The best of {count(len(result.trials), 'trial')}: {title} "
            f"{number(best.score or 0.0)} on val ({best.name}).\n\n"
        )
        write_text(files[-1], text + trained.model_copy(update={"name": ""}).to_toml())
    return replace(result, files=tuple(files))


def _with_test(result: Tuned, tell: OnEvent) -> Tuned:
    """One look at the test split with the best trial; none where it was taken already."""
    best = result.best
    assert best is not None
    if kept := best.run.scores("test"):
        scores = read_scores(kept)
    else:
        others = [t.name for t in result.trials if t.run.path.is_dir() and t.run.looks()]
        if others:
            text = f"The test split was looked at before, with {first_few(others)}."
            tell(Event("note", {"text": text}))
        scores = jobs.evaluate(best.run, split="test", on_event=tell)
    return replace(result, test=scores)


def _nothing(result: Tuned) -> str:
    why = next((t.why for t in reversed(result.trials) if t.why), "")
    because = f"The last failed: {why.rstrip('.')}." if why else "Give it more time."
    return f"No trial is finished. {because} The same command goes on."


def _key(key: str) -> str:
    return key.rpartition(".")[2]
