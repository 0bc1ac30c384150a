"""Masks of any pictures by a trained method, made exactly as those that a run is scored by."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark import record
from benchmark.dataset import square
from benchmark.evaluate import THRESHOLD, predict, stretch
from benchmark.method import Method
from benchmark.pictures.frames import PictureError, Pixels, in_colour
from benchmark.pictures.inputs import Frame, Input, frames_of
from benchmark.pictures.reading import sniff
from benchmark.pictures.writing import ExistsError, Mask, Outputs, Row
from benchmark.settings import choose
from benchmark.weights import load_method, weights_of
from dataset_builders.errors import UsageError
from dataset_builders.tasks import TASKS

AHEAD = 4  # files that are read while the device is busy; a film may take a gigabyte


class TaskError(UsageError):
    """A task that the trained model does not serve."""


def weights_path(run: str | None, checkpoint: Path | None, results: Path, task: str) -> Path:
    """The weights to use: of a run, by its record's file or its name, or those of a file.

    Args:
        run: path of a record, or a name such as "unet/1_4/seed0" of one in `results`.
        checkpoint: a file of weights, instead of a run.
        results: folder that holds `runs/` and `weights/`.
        task: that the model must serve.

    Raises:
        UsageError: not one of the two, or an unknown run.
        TaskError: the run did not train for the task.
    """
    if (run is None) == (checkpoint is None):
        raise UsageError("name the model by one of --run and --checkpoint")
    choose("task", task, TASKS)
    if checkpoint is not None:
        return checkpoint
    assert run is not None
    if run.endswith(".json"):
        place = Path(run).absolute()
        name = record.load(place).name
        tail = record.path_of(Path(), name).parts  # runs/<method>/<split>/<run>.json
        if place.parts[-len(tail) :] == tail:
            results = place.parents[len(tail) - 1]
    else:
        known = [other.name for other in record.load_all(results, left_out=lambda error: None)]
        name = choose("run", run, known) if known else run
    parts = weights_of(results, name)
    part = task if task in parts else "all"
    if part not in parts:
        raise TaskError(f"run {name} has no model for task {task}; it has: {', '.join(parts)}")
    return parts[part]


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A trained method, asked about one task."""

    method: Method
    task: str
    device: torch.device

    @property
    def index(self) -> int:
        """Of the task, among those that the method serves."""
        return self.method.setup.tasks.index(self.task)

    @torch.inference_mode()
    def probabilities(self, pictures: Sequence[Pixels]) -> NDArray[np.float32]:
        """Foreground probability (N, S, S) at the protocol's size."""
        size = self.method.setup.protocol.size
        colour = TASKS[self.task].colour
        squares = np.stack([square(in_colour(pixels, colour=colour), size) for pixels in pictures])
        images = torch.from_numpy(squares).to(self.device)
        batch = self.method.setup.protocol.evaluation_batch
        return torch.cat(list(predict(self.method, images, self.index, batch))).cpu().numpy()


def load_model(weights: Path, task: str, device: torch.device) -> Model:
    """Read trained weights for one task.

    Raises:
        TrainedError: no weights of ours.
        TaskError: they do not serve the task.
    """
    method = load_method(weights)
    served = method.setup.tasks
    if task not in served:
        raise TaskError(f"{weights} is no model for task {task}; it serves: {', '.join(served)}")
    # as in training: another layout may round otherwise
    method.to(memory_format=torch.channels_last).to(device)
    return Model(method, task, device)


def write_predictions(
    model: Model,
    inputs: Sequence[Input],
    outputs: Outputs,
    failed: Callable[[str], None],
    advance: Callable[[], None] = lambda: None,
) -> int:
    """Write masks and overlays of all frames of all inputs, and their summary.

    Args:
        model: of one task.
        inputs: of `find_inputs`.
        outputs: where to.
        failed: told of each input that cannot be read, or whose outputs are there already.
        advance: told of each input that is done.

    Returns:
        Frames that have a mask now.

    Raises:
        WriteError: the disk is full.
    """
    batch = model.method.setup.protocol.evaluation_batch
    rows: list[Row] = []
    masks: list[Mask] = []  # of the input that is being written
    with ThreadPoolExecutor() as pool:
        read = _read(inputs, outputs, pool, failed, advance)
        try:
            while frames := list(islice(read, batch)):
                probs = model.probabilities([frame.pixels for frame in frames])
                for frame, (row, mask) in zip(
                    frames, pool.map(partial(_write, outputs), frames, probs), strict=True
                ):
                    rows.append(row)
                    masks.append(mask)
                    if frame.number == frame.count:
                        if _is_volume(frame.source):
                            outputs.write_volume(frame.source, masks)
                        masks.clear()
                        advance()
        finally:  # also of what was done before Ctrl-C
            if rows:
                outputs.write_summary(rows)
    return len(rows)


def _read(
    inputs: Iterable[Input],
    outputs: Outputs,
    pool: ThreadPoolExecutor,
    failed: Callable[[str], None],
    advance: Callable[[], None],
) -> Iterator[Frame]:
    """Frames in order; inputs that fail are left out."""
    for reading, source in _ahead(inputs, pool):
        try:
            frames = reading.result()
            outputs.claim(frames, volume=_is_volume(source))
        except (PictureError, ExistsError) as error:
            failed(str(error))
            advance()
        else:
            yield from frames


def _ahead(
    inputs: Iterable[Input], pool: ThreadPoolExecutor
) -> Iterator[tuple[Future[list[Frame]], Input]]:
    waiting: deque[tuple[Future[list[Frame]], Input]] = deque()
    for source in inputs:
        waiting.append((pool.submit(frames_of, source), source))
        if len(waiting) > AHEAD:
            yield waiting.popleft()
    yield from waiting


def _write(outputs: Outputs, frame: Frame, probs: NDArray[np.float32]) -> tuple[Row, Mask]:
    """Write one frame from its probability (S, S) at the protocol's size."""
    height, width = frame.pixels.shape[:2]
    native = stretch(probs, (height, width))
    mask = native > THRESHOLD
    return outputs.write_frame(frame, native, mask), mask


def _is_volume(source: Input) -> bool:
    return sniff(source.path) == "NIfTI"
