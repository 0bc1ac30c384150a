"""What every network must do: shapes, gradients, one step, and no talk between images."""

from copy import deepcopy
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import torch
from timm.layers import DropPath

from benchmark import tensors
from benchmark.method import Batch, Clock, Method, Setup
from benchmark.methods import METHODS
from benchmark.protocol import Protocol
from benchmark.weights import load_method, save_weights

TASKS = ("BC", "FH", "LA")
NAMES = [name for name, entry in METHODS.items() if entry.target]
# a small encoder where it can be exchanged: what is tested does not depend on its size
SMALL = "tf_efficientnet_lite0"


def kind_of(name: str) -> type[Method]:
    module, _, kind = METHODS[name].target.partition(":")
    return getattr(import_module(module), kind)


def make(name: str, variant: str = "paper") -> Method:
    torch.manual_seed(0)
    kind = kind_of(name)
    encoder = SMALL if "packaged" in kind.weights else ""
    protocol = Protocol(size=64, weights="none", text="random", encoder=encoder)
    config = kind.Config(
        **{
            key: value
            for key, value in kind.variants[variant].items()
            if key in kind.Config.__dataclass_fields__
        }
    )
    return kind(config, Setup(TASKS if kind.universal else ("BC",), protocol, 0))


def batch_for(method: Method) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.nn.functional.avg_pool2d(torch.rand(2, 1, 72, 72, generator=generator), 9, 1)
    masks = (images > 0.5).float()
    index = torch.arange(2)
    tasks = index % len(method.setup.tasks)
    if method.unlabelled:
        return Batch(images, masks, tasks, index, images.flip(0), tasks.flip(0), index + 2)
    nothing = torch.empty(0)
    return Batch(images, masks, tasks, index, nothing, nothing, nothing)


@cache
def stepped(name: str) -> tuple[Method, list[float], list[str]]:
    """A method after three steps on one batch: the losses, and what got no gradient in the last."""
    method = make(name).train()
    for module in method.modules():
        if isinstance(module, DropPath):
            module.drop_prob = 0.0  # of two images it may drop both
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=1e-5)
    batch = batch_for(method)
    losses = []
    for step in range(3):
        torch.manual_seed(1)  # the same dropout every time: the loss falls or it does not
        terms = method.update(batch, Clock(step, 3), optimizer)
        # shares of pixels are for the log: they may well rise
        minimised = [term for name, term in terms.items() if not name.startswith("kept")]
        losses.append(sum(minimised).item())
    named = method.named_parameters()
    return method, losses, [n for n, p in named if p.requires_grad and not _reached(p)]


def _reached(parameter: torch.nn.Parameter) -> bool:
    return parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)


@pytest.mark.parametrize("name", NAMES)
def test_steps_lower_the_loss(name):
    _, losses, _ = stepped(name)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_receives_a_gradient(name):
    # DDFP's batch norm of disturbed features waits for the first confident pseudo-label
    assert [n for n in stepped(name)[2] if ".auxiliary." not in n] == []


@pytest.mark.parametrize("name", NAMES)
def test_predictions_are_probabilities_and_know_only_their_own_image_and_task(name):
    method = stepped(name)[0].eval()
    batch = batch_for(method)
    tasks = batch.task_x
    with torch.no_grad():
        together = method.predict(batch.img_x, tasks)
        assert together.shape == (2, 1, 64, 64)
        assert together.min() >= 0
        assert together.max() <= 1
        for index in range(2):
            alone = method.predict(batch.img_x[index : index + 1], tasks[index : index + 1])
            torch.testing.assert_close(alone[0], together[index], atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", [name for name in NAMES if kind_of(name).universal])
def test_a_universal_method_is_told_the_task(name):
    method = stepped(name)[0].eval()
    image = batch_for(method).img_x[:1].expand(2, -1, -1, -1)
    with torch.no_grad():
        first, second = method.predict(image, torch.tensor([0, 1]))
    assert (first - second).abs().max() > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_an_encoder_is_named_where_there_is_one(name):
    kind = kind_of(name)
    assert kind.encoder or "none" in kind.weights
    assert kind.weights[0] != "packaged"


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_that_are_kept_predict_as_the_method_did(name, tmp_path):
    method = deepcopy(stepped(name)[0]).eval()
    save_weights(tmp_path / "kept.safetensors", method, {})
    kept = load_method(tmp_path / "kept.safetensors")
    images, tasks = torch.rand(2, 1, 64, 64), torch.zeros(2, dtype=torch.long)
    with torch.no_grad():
        assert torch.equal(kept.predict(images, tasks), method.predict(images, tasks))
    assert not any(key.startswith(kind_of(name).training_only) for key in _names(tmp_path))


def _names(folder: Path) -> list[str]:
    state, _ = tensors.read(folder / "kept.safetensors")
    return list(state)
