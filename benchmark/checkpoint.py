"""Save and restore a training exactly: the resumed run ends with the same weights, bit for bit."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from dataset_builders.errors import UsageError


class CheckpointError(UsageError):
    """A checkpoint of another run, or none."""


def save(
    path: Path,
    step: int,
    seconds: float,
    settings: object,
    method: nn.Module,
    optimizer: Optimizer,
) -> None:
    """Write the whole state after `step` steps, atomically.

    Args:
        path: file to write.
        step: steps done.
        seconds: time they took.
        settings: what the run was started with, of plain values; compared on resume.
        method: weights and buffers.
        optimizer: its moments.
    """
    state = {
        "step": step,
        "seconds": seconds,
        "settings": settings,
        "method": method.state_dict(),
        "optimizer": optimizer.state_dict(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".tmp")
    torch.save(state, partial)
    partial.replace(path)


def restore(
    path: Path, settings: object, method: nn.Module, optimizer: Optimizer
) -> tuple[int, float]:
    """Bring method, optimizer and random numbers back; return the steps done and their seconds.

    Raises:
        CheckpointError: the checkpoint was made with other settings, or cannot be read.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}); begin again with --restart"
        ) from error
    if state["settings"] != settings:
        raise CheckpointError(
            f"{path} was made with other settings ({_difference(state['settings'], settings)}); "
            "repeat the command it was started with, or begin again with --restart"
        )
    method.load_state_dict(state["method"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    return int(state["step"]), float(state["seconds"])


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
