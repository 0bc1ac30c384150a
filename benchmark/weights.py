"""Trained weights of finished runs: what `usbench predict` and `usbench export` begin from.

    results/weights/<name of the run>/<part>.safetensors

A part is one training: a task's code, or "all" for a universal method. The file's header says
which method it is, its tasks and settings, and what it learned from; nothing else is needed to
rebuild it, least of all the weights that it began from.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from textwrap import shorten
from typing import Any

from torch import Tensor

from benchmark import tensors
from benchmark.method import Method, Setup
from benchmark.methods import METHODS
from benchmark.protocol import Protocol
from benchmark.resolve import method_class
from benchmark.settings import today
from dataset_builders.errors import UsageError

FORMAT = "weights 1"


class TrainedError(UsageError):
    """Trained weights that are not there, or that cannot be used."""


def trainable(method: Method) -> int:
    """Number of parameters that learn."""
    return sum(p.numel() for p in method.parameters() if p.requires_grad)


def path_of(results: Path, name: str, part: str) -> Path:
    """Where the weights of one part of a run lie or will lie."""
    return results / "weights" / name / f"{part}.safetensors"


def weights_of(results: Path, name: str) -> dict[str, Path]:
    """Files of a run, by part: task codes, or "all".

    Args:
        results: folder that holds `weights/` and `runs/`.
        name: of the run's record, such as "propl/1_4/seed0".

    Raises:
        TrainedError: there are none.
    """
    folder = path_of(results, name, "all").parent
    files = {path.stem: path for path in sorted(folder.glob("*.safetensors"))}
    if not files:
        raise TrainedError(
            f"{folder} holds no weights of {name}; "
            "run it again with --restart and without --no-weights"
        )
    return files


def save_weights(path: Path, method: Method, origin: Mapping[str, Any]) -> None:
    """Write the parameters and buffers that predict, with what is needed to rebuild the method.

    Args:
        path: file to write.
        method: trained.
        origin: what it learned from, of plain values, for whoever finds the file.

    Raises:
        WriteError: the disk is full.
    """
    values = {
        "format": FORMAT,
        "target": f"{type(method).__module__}:{type(method).__name__}",
        "tasks": list(method.setup.tasks),
        "protocol": asdict(method.setup.protocol),
        "config": asdict(method.config),
        "seed": method.setup.seed,
        "parameters": trainable(method),
        **origin,
    }
    tensors.write(path, _predicting(method), values)


def keep(results: Path, name: str, made: Mapping[str, Path], parts: Collection[str]) -> None:
    """Put the weights of a finished run in their place.

    Args:
        results: folder that holds `weights/`.
        name: of the run's record.
        made: part -> file that is moved, unless it was before.
        parts: all that the record stands for; files of others are an earlier run's, and go.
    """
    folder = path_of(results, name, "all").parent
    for part, path in made.items():
        if path.is_file() and part in parts:
            folder.mkdir(parents=True, exist_ok=True)
            path.replace(path_of(results, name, part))
    for path in folder.glob("*.safetensors"):
        if path.stem not in parts:
            path.unlink()


def load_method(path: Path) -> Method:
    """The trained method, on the CPU and ready to predict; no pretrained weights are fetched.

    Its tasks are in `method.setup.tasks`, its image size in `method.setup.protocol`.

    Raises:
        TrainedError: no such file, not one of ours, or of a method that has changed since.
    """
    try:
        state, values = tensors.read(path)
    except (tensors.TensorFileError, OSError) as error:
        raise TrainedError(
            f"{path} holds no trained weights ({error}); give one of results/weights"
        ) from error
    try:
        method = _blank(values)
        method.load_state_dict({**method.state_dict(), **state})
        if lacking := _predicting(method).keys() - state.keys():
            raise KeyError(f"it lacks {', '.join(sorted(lacking))}")
    except (KeyError, TypeError, RuntimeError) as error:
        raise TrainedError(
            f"{path} does not fit this usbench ({shorten(str(error), 300)}); train the method "
            "again, or install the version that the weights were made with "
            f"(commit {values.get('commit', 'unknown')})"
        ) from error
    return method.eval()


def _predicting(method: Method) -> dict[str, Tensor]:
    """What of a method's state predictions come from."""
    state = method.state_dict()
    return {k: v for k, v in state.items() if not k.startswith(method.training_only)}


def _blank(values: Mapping[str, Any]) -> Method:
    if values["format"] != FORMAT:
        raise TypeError(f"it is '{values['format']}', not '{FORMAT}'")
    # only what the table of methods names is imported, whatever the file says
    if values["target"] not in {entry.target for entry in METHODS.values()}:
        raise KeyError(f"no method '{values['target']}'")
    kind = method_class(values["target"])
    protocol = Protocol(**values["protocol"])
    setup = Setup(tuple(values["tasks"]), protocol, values["seed"], blank=True)
    return kind(kind.Config(**today(values["config"])), setup)
