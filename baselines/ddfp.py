"""DDFP (Wang et al., CVPR 2024, arXiv:2403.06462): features are pushed to where few others are.

A normalizing flow learns the density of the features before the classifier. The unlabelled ones are
moved down that density by one step, and must keep their pseudo-label there. As
Gavinwxy/DDFP at 7956c72.

The flow has an optimiser of its own, within `losses`: nothing after its perturbation reads it in
the same step. Its weights do not require gradients, so the training's optimiser never sees them;
they and their moments are in the state of the method, and so in checkpoints.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from baselines.networks.flow import UNLABELLED, Density
from baselines.networks.segnet import CLASSES, SegNet, enlarge
from baselines.semi import SemiSupervised, first_epochs, rows, thin
from benchmark.augment import standardise, strong
from benchmark.ema import Ema
from benchmark.fidelity import Fidelity
from benchmark.keys import derive, stable_key, uniforms
from benchmark.losses import cross_entropy
from benchmark.method import Batch, Clock, Setup
from benchmark.pseudo import kept_shares, masked_ce, pseudo
from benchmark.views.boxes import paste

DECAY = 0.999  # of the teacher
# of the flow's training
RATE, LAST = 1e-3, 0.01  # rate of the first step, and the share of it that the last one has
BETAS, EPSILON = (0.5, 0.9), 1e-8  # of Adam
CLIP = 50.0  # largest norm of its gradient
SAMPLED = 20_480  # most positions a step
NOISE = 0.05  # standard deviation
_SAMPLE, _NOISE = stable_key("ddfp/sample"), stable_key("ddfp/noise")


class DDFP(SemiSupervised):
    """A strong view, and the same at a lower density of its features."""

    training_only = (
        "net.",
        "density.",
        "adam.",
    )
    fidelity = Fidelity(
        repository="Gavinwxy/DDFP at 7956c72",
        licence="Apache-2.0",
        library="network from segmentation-models-pytorch on timm's encoder; step, flow are ours",
        theirs="DeepLabv3+ on ResNet-101, a flow of 2 blocks on 256 features with 21 classes",
        pretraining="ImageNet encoder",
        recipe="SGD 1e-3 (head 1e-2), wd 1e-4, poly 0.9, 16 + 16 images, 80 epochs; Adam 1e-3",
        deviations=(
            "the common network's head has one separable convolution, theirs two with dropout",
            (
                "only positions with a pseudo-label are moved; in the released code batch norm "
                "gives every position some gradient, which is then scaled to the full step"
            ),
            (
                "the teacher is an average, as the paper; in the released code it shares the "
                "student's weights, which it was given by reference, and differs in batch norm only"
            ),
            (
                "the teacher is evaluated, at the last step; the released code takes the better of "
                "teacher and student"
            ),
            (
                "phases of one epoch are 1/80 of the training, 200 steps at least and a tenth at "
                "most; in the first two the auxiliary batch norm has the undisturbed unlabelled "
                "features, there half of the batch"
            ),
            "the box's donor is the image before in the batch, there the one after",
            "an unlabelled loss without any confident pixel is 0, there not a number",
            "weak views are the protocol's rotation and scaling, without crops",
            "the flow's 0.66 million weights have their own optimiser and are not counted",
        ),
    )

    @dataclass(frozen=True)
    class Config(SemiSupervised.Config):
        """Settings of DDFP."""

        tau: float = 0.95  # confidence above which a pseudo-label counts
        epsilon: float = 4.0  # length of the perturbation of f at a position

    config: Config

    def __init__(self, config: Config, setup: Setup) -> None:
        super().__init__(config, setup)
        split_norms(self.net.neck)
        self.teacher = Ema(self.net, DECAY, "own")
        self.density = Density(self.net.width, CLASSES).requires_grad_(False)
        self.adam = Adam(sum(weight.numel() for weight in self.density.parameters()))

    @property
    def evaluated(self) -> SegNet:
        return cast(SegNet, self.teacher.net)

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        img_x, y_x = self.weak_x(batch)
        img_w = self.weak_u(batch)
        sizes = [len(img_x), len(img_w)]
        with torch.no_grad():  # in training mode: the teacher's batch norm learns from this pass
            teacher = self.evaluated
            v = teacher.head(teacher.fuse(teacher.encode(standardise(torch.cat((img_x, img_w))))))
            u = pseudo(enlarge(teacher.classify(v[sizes[0] :])))
        img_s, box = strong(img_w, batch.key_u), self.half_boxes_u(batch)
        img_s, mixed = paste(img_s, img_s.roll(1, 0), box), u.paste(u.roll(), box)
        kept = mixed.conf > self.config.tau

        f = self.net.fuse(self.net.encode(standardise(torch.cat((img_x, img_s)))))
        f_u = f[sizes[0] :]
        began, disturbs = (clock.step >= first_epochs(count, clock.total) for count in (1, 2))
        r = disturbs * self.perturbation(f_u, thin(kept))
        pred_x, pred_u = self.net.decode(f).split(sizes)
        with auxiliary(self.net.neck):
            pred_r = self.net.decode(f_u + r)
        y = thin(torch.cat((y_x, torch.full_like(u.label, UNLABELLED))))
        return {
            "loss_x": cross_entropy(pred_x.float(), y_x),
            "loss_u": began * 0.5 * masked_ce(pred_u, mixed.label, kept, over="kept"),
            "loss_r": began * 0.5 * masked_ce(pred_r, mixed.label, kept, over="kept"),
            "flow": self.learn_density(rows(v), y.flatten(), batch.key_u[:1], clock),
            "f_norm": f_u.detach().float().norm(dim=1).mean(),  # what epsilon is to be held against
            **kept_shares(kept, mixed.label),
        }

    def after_step(self, clock: Clock) -> None:
        self.teacher.update(self.net, clock.step, first_epochs(1, clock.total))

    def perturbation(self, f: Tensor, kept: Tensor) -> Tensor:
        """The step r (U, fused, h, w) down the density of v, as long as epsilon at every position.

        In fp32: a gradient is brought to a length here, however small it was.

        Args:
            f: (U, fused, h, w).
            kept: (U, h, w) bool; r is 0 elsewhere.
        """
        whole = torch.autocast(f.device.type, enabled=False)
        with torch.enable_grad(), whole, auxiliary(self.net.neck):
            r = torch.zeros_like(f, dtype=torch.float32).requires_grad_()
            log_p: Tensor = self.density(rows(self.net.head(f.detach().float() + r)))
            # the sum, not the mean: only its direction counts
            (g,) = torch.autograd.grad((-log_p * kept.flatten()).sum(), r)
        return self.config.epsilon * F.normalize(g * kept[:, None], dim=1)

    def learn_density(self, v: Tensor, label: Tensor, key: Tensor, clock: Clock) -> Tensor:
        """One step of the flow on noisy features; returns its loss, detached.

        Args:
            v: (N, D), the teacher's.
            label: (N,), a class or UNLABELLED.
            key: (1,), of the draws.
            clock: the flow learns from the second epoch on.
        """
        if len(v) > SAMPLED:
            places = uniforms(derive(key, _SAMPLE), len(v))[:, 0].argsort(stable=True)[:SAMPLED]
            v, label = v[places], label[places]
        v = v + NOISE * normals(derive(key, _NOISE), v.numel()).view_as(v)
        weights = {name: w.detach().requires_grad_() for name, w in self.density.named_parameters()}
        with torch.enable_grad(), torch.autocast(v.device.type, enabled=False):
            nll: Tensor = -functional_call(self.density, weights, (v, label)).mean()
            gradients = torch.autograd.grad(nll, list(weights.values()))
        gradient = torch.cat([part.flatten() for part in gradients])
        gradient = gradient * (CLIP / gradient.norm().clamp_min(CLIP))
        began = clock.step >= first_epochs(1, clock.total)
        rate = RATE * LAST**clock.fraction
        self.adam.step(list(self.density.parameters()), gradient, rate, began)
        return nll.detach()


class SplitNorm(nn.Module):
    """Two batch norms in one place; the auxiliary one is for disturbed features.

    Args:
        norm: both begin as it is.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.main, self.auxiliary = norm, deepcopy(norm)
        self.disturbed = False

    def forward(self, x: Tensor) -> Tensor:
        """Normalised x, of the same shape."""
        normalised: Tensor = self.auxiliary(x) if self.disturbed else self.main(x)
        return normalised


def split_norms(net: nn.Module) -> None:
    """Put a `SplitNorm` in place of every batch norm within."""
    for name, module in net.named_children():
        if isinstance(module, nn.BatchNorm2d):
            net.add_module(name, SplitNorm(module))
        else:
            split_norms(module)


@contextmanager
def auxiliary(net: nn.Module) -> Iterator[None]:
    """Within it, the split norms of `net` take what they are given for disturbed."""
    norms = [module for module in net.modules() if isinstance(module, SplitNorm)]
    for norm in norms:
        norm.disturbed = True
    try:
        yield
    finally:
        for norm in norms:
            norm.disturbed = False


class Adam(nn.Module):
    """Adam whose moments are buffers, so that a checkpoint of the method has them.

    Args:
        count: of numbers that learn.
    """

    mean: Tensor
    square: Tensor
    steps: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("square", torch.zeros(count))
        self.register_buffer("steps", torch.zeros(()))

    @torch.no_grad()
    def step(
        self,
        weights: list[nn.Parameter],
        gradient: Tensor,
        rate: float | Tensor,
        on: bool | Tensor = True,
    ) -> None:
        """Change the weights in place.

        Args:
            weights: of `count` numbers together.
            gradient: (count,), of all of them in turn.
            rate: of learning.
            on: where it is false, nothing changes; no step may have been done before.
        """
        gradient = gradient * on
        self.steps.add_(on)
        self.mean.lerp_(gradient, 1 - BETAS[0])
        self.square.lerp_(gradient.square(), 1 - BETAS[1])
        t = self.steps.clamp_min(1)
        mean, square = self.mean / (1 - BETAS[0] ** t), self.square / (1 - BETAS[1] ** t)
        change = rate * mean / (square.sqrt() + EPSILON)
        for weight, part in zip(
            weights, change.split([weight.numel() for weight in weights]), strict=True
        ):
            weight.sub_(part.view_as(weight))


def normals(key: Tensor, count: int) -> Tensor:
    """`count` numbers (count,) of the standard normal distribution (Box and Muller)."""
    radius, turn = uniforms(key, 2 * ((count + 1) // 2))[:, 0].chunk(2)
    radius, turn = (-2 * torch.log1p(-radius)).sqrt(), 2 * math.pi * turn
    return torch.cat((radius * turn.cos(), radius * turn.sin()))[:count]
