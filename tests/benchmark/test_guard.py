"""Losses and weights that are not finite, and errors that say what to try."""

import math
import re

import pytest
import torch
from torch import nn
from torch._dynamo.exc import BackendCompilerFailed

from benchmark.guard import EVERY, Finite, TrainingError, explained

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def terms(bce: float, dice: float = 0.5) -> dict[str, torch.Tensor]:
    return {"bce": torch.tensor(bce), "dice": torch.tensor(dice)}


@pytest.mark.parametrize(
    ("bad", "name", "value"),
    [
        ((math.nan,), "bce", "nan"),
        ((0.5, math.inf), "dice", "inf"),
        ((-math.inf, math.nan), "bce", "-inf"),
    ],
)
def test_on_a_processor_training_stops_at_the_step_itself(bad, name, value):
    guard = Finite(CPU)
    for step in range(1, 7):
        guard.observe(step, terms(0.7), 0.01)
    message = re.escape(f"loss term '{name}' is {value} at step 7 (learning rate 0.00912)")
    with pytest.raises(TrainingError, match=message):
        guard.observe(7, terms(*bad), 0.00912)


@pytest.mark.parametrize("bad", [1, 50, EVERY])
def test_on_a_gpu_the_first_bad_step_is_named_when_losses_are_looked_at(bad):
    guard = Finite(GPU)  # its losses are the test's, which are on the processor
    for step in range(1, EVERY):
        guard.observe(step, terms(math.nan if step >= bad else 0.7), 0.01)
    with pytest.raises(TrainingError, match=f"'bce' is nan at step {bad} "):
        guard.observe(EVERY, terms(math.nan), 0.01)


def test_losses_are_looked_at_before_they_are_saved():
    guard = Finite(GPU)
    guard.observe(1, terms(0.7), 0.01)
    guard.check()
    guard.observe(2, terms(math.inf), 0.01)
    with pytest.raises(TrainingError, match="at step 2 "):
        guard.check()


def test_terms_that_are_overwritten_are_remembered():
    guard = Finite(GPU)
    same = terms(math.nan)
    guard.observe(1, same, 0.01)
    same["bce"].fill_(0.7)
    guard.observe(2, same, 0.01)
    with pytest.raises(TrainingError, match="at step 1 "):
        guard.check()


def test_terms_may_come_and_go():
    guard = Finite(GPU)
    guard.observe(1, {"bce": torch.tensor(0.7)}, 0.01)
    guard.observe(2, terms(0.7), 0.01)
    guard.observe(3, {"dice": torch.tensor(math.nan)}, 0.01)
    with pytest.raises(TrainingError, match="'dice' is nan at step 3 "):
        guard.check()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_must_be_finite_although_every_loss_was(value):
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    guard = Finite(CPU)
    guard.observe(4, terms(0.7), 0.01)
    guard.check(net)
    with torch.no_grad():
        net[1].weight[0, 1] = value
    guard.check()
    with pytest.raises(TrainingError, match=r"the weight '1\.weight' is not finite after step 4"):
        guard.check(net)


def test_the_error_says_what_is_left_and_what_to_try(tmp_path):
    saved = tmp_path / "FH.checkpoint"
    for kept in ("none was saved yet", f"the last good checkpoint is {re.escape(str(saved))}"):
        message = rf"{kept}\. Try a lower rate \(--set rate=\.\.\.\).*--restart"
        with pytest.raises(TrainingError, match=message):
            Finite(CPU, saved).observe(1, terms(math.nan), 0.01)
        saved.touch()


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "smaller batch"),
        (
            RuntimeError("CUDA error: operation not permitted when stream is capturing"),
            "--no-graph",
        ),
        (BackendCompilerFailed(print, ValueError("no g++"), None), "leave --compile off"),
    ],
    ids=["memory", "graph", "compiler"],
)
def test_what_torch_cannot_do_is_said_with_what_to_try(error, remedy):
    words = str(error).split("\n")[0][:40]
    with pytest.raises(TrainingError, match=f"^{re.escape(words)}.*; .*{remedy}"), explained():
        raise error


def test_a_lack_of_main_memory_says_what_to_try():
    with (
        pytest.raises(TrainingError, match=r"can't allocate memory.*try a smaller batch"),
        explained(),
    ):
        torch.empty(2**60, dtype=torch.uint8)


def test_an_operation_that_is_never_the_same_says_what_to_try():
    torch.use_deterministic_algorithms(True)
    try:
        with (
            pytest.raises(TrainingError, match=r"does not have.*leave --deterministic off"),
            explained(),
        ):
            torch.zeros(3).put_(torch.tensor([0]), torch.ones(1), accumulate=False)
    finally:
        torch.use_deterministic_algorithms(False)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match=r"^no$") as error, explained():
        raise RuntimeError("no")
    assert not isinstance(error.value, TrainingError)
