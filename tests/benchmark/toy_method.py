"""A method of few weights that does what methods do, for tests of the loop that trains it."""

from contextlib import suppress
from copy import deepcopy
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

from benchmark.augment import normalise, stable_key, weak
from benchmark.data import Batches, Resident, pack_masks
from benchmark.execution import Execution
from benchmark.losses import bce_dice
from benchmark.method import Method, Setup
from benchmark.protocol import Protocol
from benchmark.train import Interrupted, make_optimizer, train

SIZE = 32
STEPS = 6
CPU = torch.device("cpu")
REFERENCE = Execution()


class Toy(Method):
    """A student, its moving average, and weights that follow the clock."""

    universal = True
    unlabelled = True

    def __init__(self, config, setup, norm=lambda width: nn.GroupNorm(2, width)):
        super().__init__(config, setup)
        layers = nn.Conv2d(3, 8, 3, padding=1), norm(8), nn.GELU(), nn.Conv2d(8, 1, 3, padding=1)
        self.student = nn.Sequential(*layers)
        self.teacher = deepcopy(self.student).requires_grad_(False)
        self.noise = 0.3

    def losses(self, batch, clock):
        img_x, mask_x = weak(batch.img_x, batch.mask_x, batch.key_x, self.setup.protocol)
        img_u, _ = weak(batch.img_u, None, batch.key_u, self.setup.protocol)
        with torch.no_grad():
            target = self.teacher(normalise(img_u)).sigmoid().float()
        probs_u = self.student(F.dropout(normalise(img_u), self.noise)).sigmoid().float()
        return {
            "mask": bce_dice(self.student(normalise(img_x)), mask_x),
            "agree": 10 * clock.fraction * (probs_u - target).square().mean(),
        }

    def after_step(self, clock):
        share = torch.as_tensor(1 / (clock.step + 1), dtype=torch.float32).clamp(min=0.01)
        with torch.no_grad():
            pairs = zip(self.teacher.parameters(), self.student.parameters(), strict=True)
            for slow, fast in pairs:
                slow.lerp_(fast, share.to(slow.device))

    def predict(self, images, tasks):
        return self.student(normalise(images)).sigmoid()


def make_protocol(**changes) -> Protocol:
    small = Protocol(
        size=SIZE,
        batch=8,
        steps=STEPS,
        optimizer="adamw",
        encoder="test_convnext",
        weights="none",
        text="random",
    )
    return replace(small, **changes)


def make_method(kind, protocol, device=CPU, **options) -> Method:
    torch.manual_seed(0)
    method = kind(kind.Config(), Setup(("FH", "LA"), protocol, 0), **options)
    return method if device == next(method.parameters()).device else method.to(device)


def make_batches(kind, batch=8, device=CPU, images=24) -> Batches:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, 1, SIZE, SIZE), generator=generator)
    order = torch.arange(images)
    resident = Resident(
        pixels=pixels.to(device, torch.uint8),
        masks=pack_masks((pixels > 127).numpy()).to(device),
        tasks=(order % 2).to(device),
        keys=torch.tensor([stable_key(str(n)) for n in range(images)]).to(device),
        labelled=order[: images // 2],
        unlabelled=order[images // 2 :],
    )
    return Batches(resident, batch, 0, unlabelled=kind.unlabelled)


def training(
    kind,
    execution=REFERENCE,
    *,
    device=CPU,
    start=0,
    stop=None,
    total=STEPS,
    method=None,
    generator=None,
    **changes,
):
    """Train from `start` to `stop`; return all losses, the method, and how it was done at last."""
    protocol = make_protocol(**changes)
    method = method or make_method(kind, protocol, device)
    optimizer = make_optimizer(method, protocol)
    batches = make_batches(kind, protocol.batch, device)
    losses = []

    def watch(step, terms):
        losses.append({name: term.item() for name, term in terms.items()})
        return step == stop

    torch.manual_seed(1)
    if generator is not None:
        torch.set_rng_state(generator)
    done = None
    with suppress(Interrupted):
        done = train(
            method,
            batches,
            optimizer,
            protocol,
            total,
            execution=execution,
            start=start,
            watch=watch,
        )
    return losses, method, done
