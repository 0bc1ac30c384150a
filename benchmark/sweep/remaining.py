"""How long the runs of a sweep will still take, from what is known of them by now.

A prediction counts as far as runs that are done bear it out. Without one, a run under way is
judged by its own progress, and one that waits by the mean of those done.
"""

import heapq
from collections.abc import Sequence
from statistics import fmean, median

from benchmark.sweep.queue import DONE, RUNNING, WAITING, Entry

_SURE = 0.02  # share of a run after which its own progress says more than a prediction


class Remaining:
    """Sees the jobs again and again; says what is left of them, in seconds."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, float], tuple[float, float]] = {}
        self._ratio, self._mean = 1.0, 0.0

    def see(self, entries: Sequence[Entry]) -> None:
        """Learn from how the jobs stand."""
        for entry in entries:
            if entry.state == RUNNING and entry.share:  # a resumed run does not begin at 0
                self._first.setdefault((entry.name, entry.began), (entry.heard, entry.share))
        done = [entry for entry in entries if entry.state == DONE]
        ratios = [(entry.ended - entry.began) / entry.seconds for entry in done if entry.seconds]
        self._ratio = median(ratios) if ratios else 1.0
        self._mean = fmean(entry.ended - entry.began for entry in done) if done else 0.0

    def run(self, entry: Entry) -> float | None:
        """Of a job that runs; None if nothing is known."""
        predicted = self._ratio * entry.seconds
        heard, share = self._first.get((entry.name, entry.began), (entry.heard, entry.share))
        moved = entry.share - share
        if moved > (_SURE if predicted else 0):
            return (entry.heard - heard) * (1 - entry.share) / moved
        return predicted * (1 - entry.share) if predicted else None

    def sweep(self, entries: Sequence[Entry]) -> float | None:
        """Until all are done, if as many run at a time as do now; None if too little is known."""
        running = [self.run(entry) for entry in entries if entry.state == RUNNING]
        waiting = [self._ratio * entry.seconds for entry in entries if entry.state == WAITING]
        ends = [self._mean if left is None else left for left in running]
        jobs = [seconds or self._mean for seconds in waiting]
        unknown = not self._mean and (None in running or 0 in jobs)
        if unknown or (jobs and not ends):
            return None
        heapq.heapify(ends)
        for seconds in jobs:
            heapq.heapreplace(ends, ends[0] + seconds)
        return max(ends, default=0.0)
