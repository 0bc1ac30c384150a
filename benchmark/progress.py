"""What a person sees while a run trains, and how they stop it."""

import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from torch import Tensor

REFRESH_SECONDS = 0.5  # reading a loss waits for the device: twice a second costs nothing
LINE_SECONDS = 30.0  # between lines where bars cannot be drawn: a log file
_TEST = 1 / 3  # cost of an evaluated image in trained ones, which also go backward, at twice that


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a run is."""

    share: float = 0.0  # of the whole run that is done, 0 to 1
    images_per_s: float = 0.0  # of its training now; while it evaluates, of the last one


_standing: Standing | None = None
_asked = False


def standing() -> Standing | None:
    """How far the run of this process is; None if none is under way. For any thread."""
    return _standing


def was_asked_to_stop() -> bool:
    """Whether the last run of this process was; one that had no step left ended all the same."""
    return _asked


class Progress:
    """Bars for training and evaluation. Ctrl-C stops after the step, a second one at once.

    Into a file go lines instead of bars, now and then.

    Args:
        title: printed above the bars.
        tests: of each part of the run, one training each, how many test images it has.
    """

    def __init__(self, title: str, tests: Mapping[str, int]) -> None:
        self.stopped = False
        self._tests = tests
        self._behind = 0  # parts
        self._speed = 0.0
        console = Console(stderr=True)
        self._lines = not console.is_terminal
        self._line = 0.0
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=self._lines,
        )
        self._title = title
        self._read = 0.0
        self._note = ""

    def __enter__(self) -> Self:
        global _asked
        _asked = False
        self._handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
        for number in self._handlers:
            signal.signal(number, self._stop)
        self._stand(0.0)
        self._bars.start()
        self._say(self._title)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _standing
        _standing = None
        self._bars.stop()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        global _asked
        if self.stopped and number == signal.SIGINT:  # SIGTERM may come from several sides
            sys.exit(128 + number)
        self.stopped = _asked = True

    def training(self, part: str, start: int, total: int, batch: int, parameters: int) -> None:
        """A training of so many parameters begins at step `start`."""
        self._say(f"{part}: {parameters:,} trainable parameters")
        self._images, self._part, self._total = batch, part, total
        self._first, self._began, self._evaluated = start, time.monotonic(), 0
        self._speed = 0.0
        self._stand(self._share(start))
        self._bar = self._bars.add_task(f"{part:>3} train", total=total, completed=start, note="")

    def stage(self, stage: int, stages: int) -> None:
        """A stage of many is next; a method may first label its images for it, which takes time."""
        if stages > 1:
            self._say(f"{self._part} stage {stage + 1}/{stages}")

    def step(self, step: int, terms: dict[str, Tensor]) -> None:
        """A step is done; its loss terms and the images/s are shown now and then."""
        now = time.monotonic()
        self._speed = (step - self._first) * self._images / max(now - self._began, 1e-9)
        self._stand(self._share(step))
        line = self._lines and (now - self._line > LINE_SECONDS or step == self._total)
        if line or now - self._read > REFRESH_SECONDS:
            self._read = now
            losses = "  ".join(f"{name} {term.item():.3f}" for name, term in terms.items())
            self._note = f"{losses}  {self._speed:.0f} images/s"
        self._bars.update(self._bar, completed=step, note=self._note)
        if line:
            self._line = now
            self._say(f"{self._part} step {step}/{self._total}  {self._note}")

    def validated(self, step: int, dice: float) -> None:
        """The images kept aside were scored after so many steps; `dice` is their tasks' mean."""
        self._say(f"{self._part} step {step}/{self._total}  validation Dice {100 * dice:.2f} %")

    def evaluating(self, task: str, images: int) -> None:
        """The test images of a task are next."""
        self._bar = self._bars.add_task(f"{task:>3} test ", total=images, note="")

    def advance(self, images: int) -> None:
        """So many of them are done."""
        self._bars.advance(self._bar, images)
        self._evaluated += images
        self._stand(self._share(self._total))

    def done(self) -> None:
        """A part is done, now or by an earlier process."""
        self._behind += 1
        self._stand(0.0)

    def _share(self, step: int) -> float:
        """Of the part, after so many steps."""
        test = _TEST * self._tests[self._part]
        done = step * self._images + _TEST * self._evaluated
        return done / (self._total * self._images + test)

    def _stand(self, share: float) -> None:
        """So much of the part is done."""
        global _standing
        _standing = Standing((self._behind + share) / len(self._tests), self._speed)

    def _say(self, line: str) -> None:
        """A line of its own, above the bars."""
        self._bars.console.print(line, highlight=False, soft_wrap=True)
