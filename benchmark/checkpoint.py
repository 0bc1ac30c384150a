"""Save and restore a training exactly: the resumed run ends with the same weights, bit for bit.

One safetensors file (`benchmark.tensors`) holds all of it:

    method.*            parameters and buffers. A teacher is a submodule and a queue a buffer, so
                        both are here; what a method keeps elsewhere would be lost
    optimizer.N.*       moments of the N-th parameter
    generator.*         states of torch's random generators, of the CPU and of the device in use
    labels.*            what a method of several stages says of the unlabelled images
    the header          all that is no tensor, as JSON: `Standing`, settings, the optimiser's groups

Data and views need nothing: they are functions of seed and step.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from benchmark import tensors
from benchmark.data import Unlabelled
from dataset_builders.errors import UsageError

FORMAT = "checkpoint 2"


class CheckpointError(UsageError):
    """A checkpoint of another run, or none."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a training stands, of plain values."""

    step: int = 0  # steps done
    seconds: float = 0.0  # they took
    validation: Mapping[str, Any] = field(default_factory=dict)  # the curve so far, and its best


def save(
    path: Path,
    standing: Standing,
    settings: object,
    method: nn.Module,
    optimizer: Optimizer,
    labels: Unlabelled | None = None,
) -> None:
    """Write the whole state; the checkpoint before it stays until this one is on the disk.

    Args:
        path: file to write.
        standing: where the training is.
        settings: what it was started with, of plain values; compared on resume.
        method: weights and buffers.
        optimizer: its moments.
        labels: of a method of several stages.

    Raises:
        WriteError: the disk is full.
    """
    state = optimizer.state_dict()
    named = {f"method.{name}": tensor for name, tensor in method.state_dict().items()}
    plain: dict[str, dict[str, Any]] = {}
    for index, moments in state["state"].items():
        for name, value in moments.items():
            if isinstance(value, Tensor):
                named[f"optimizer.{index}.{name}"] = value
            else:
                plain.setdefault(str(index), {})[name] = value
    if labels is not None:
        named |= {f"labels.{name}": tensor for name, tensor in labels.state().items()}
    named["generator.cpu"] = torch.get_rng_state()
    device = _device(method)
    if device.type == "cuda":
        named["generator.cuda"] = torch.cuda.get_rng_state(device)
    values = {
        "format": FORMAT,
        "settings": settings,
        "standing": asdict(standing),
        "optimizer": {"plain": plain, "groups": [_plain(group) for group in state["param_groups"]]},
    }
    tensors.write(path, named, values)


def restore(
    path: Path,
    settings: object,
    method: nn.Module,
    optimizer: Optimizer,
    labels: Unlabelled | None = None,
) -> Standing:
    """Bring method, optimizer, labels and random generators back.

    Raises:
        CheckpointError: the file is damaged or none of ours, or was made with other settings.
    """
    try:
        named, values = tensors.read(path)
    except (tensors.TensorFileError, OSError) as error:
        raise CheckpointError(
            f"{path} is no whole checkpoint ({error}); {anew(path.parent)}"
        ) from error
    if values.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is '{values.get('format')}', this usbench reads '{FORMAT}'; "
            + anew(path.parent)
        )
    require_same(path, values["settings"], settings)
    try:
        method.load_state_dict(_below("method", named))
        _restore_optimizer(optimizer, _below("optimizer", named), values["optimizer"])
        if labels is not None:
            labels.load_state(_below("labels", named))
    except (RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} does not fit the method as it is now ({shorten(str(error), 300)}); "
            + anew(path.parent)
        ) from error
    torch.set_rng_state(named["generator.cpu"])
    device = _device(method)
    if device.type == "cuda":
        torch.cuda.set_rng_state(named["generator.cuda"], device)
    return Standing(**values["standing"])


def anew(folder: Path) -> str:
    """How a run begins again whose unfinished files lie in a folder."""
    return f"begin again with --restart (in a sweep: remove {folder} and add --retry)"


def require_same(path: Path, then: object, now: object) -> None:
    """Check that a run goes on with the settings that `path` says it was started with.

    Raises:
        CheckpointError: names what differs.
    """
    now = json.loads(json.dumps(now))  # tuples are lists in what was read
    if then != now:
        raise CheckpointError(
            f"{path} was made with other settings ({_difference(then, now)}); "
            f"repeat the command it was started with, or {anew(path.parent)}"
        )


def _restore_optimizer(
    optimizer: Optimizer, moments: Mapping[str, Tensor], values: Mapping[str, Any]
) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Any]] = {int(n): dict(kept) for n, kept in values["plain"].items()}
    for place, saved in moments.items():
        index, _, name = place.partition(".")
        like = parameters[int(index)]
        if saved.shape == like.shape:  # in the parameter's layout, as it was: sums round by order
            saved = torch.empty_like(like, dtype=saved.dtype, device="cpu").copy_(saved)
        state.setdefault(int(index), {})[name] = saved
    groups = [
        {name: _as(group.get(name), value) for name, value in kept.items()}
        for group, kept in zip(optimizer.param_groups, values["groups"], strict=True)
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _plain(group: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter group; a learning rate may be a tensor, so that a CUDA graph can read it."""
    return {k: v.item() if isinstance(v, Tensor) else v for k, v in group.items()}


def _as(now: object, saved: Any) -> Any:  # noqa: ANN401 - any setting of an optimiser
    if isinstance(now, Tensor):
        return torch.full_like(now, saved)
    return tuple(saved) if isinstance(now, tuple) else saved


def _below(prefix: str, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): t for name, t in named.items() if name.startswith(start)}


def _device(method: nn.Module) -> torch.device:
    return next(method.parameters()).device


def _difference(old: Any, new: Any) -> str:  # noqa: ANN401 - plain values of any kind
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return f"then {old}, now {new}"
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    parts = [
        _difference(old[name], new[name])
        if isinstance(old.get(name), dict) and isinstance(new.get(name), dict)
        else f"{name}: then {old.get(name)}, now {new.get(name)}"
        for name in changed
    ]
    return "; ".join(parts)
