"""U2PL (Wang et al., CVPR 2022, arXiv:2203.03884): unreliable pixels are negatives of a contrast.

As Haochen-Wang409/U2PL at ab3d2be, except for which features are negatives: the paper's rule, since
that code's leaves hardly any (`--variant released`).
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.networks.segnet import CLASSES, SegNet, enlarge
from baselines.semi import SemiSupervised, first_epochs, rows, thin
from benchmark.augment import standardise
from benchmark.ema import Ema
from benchmark.fidelity import Fidelity
from benchmark.keys import derive, stable_key, uniforms
from benchmark.losses import cross_entropy
from benchmark.method import Batch, Clock, Setup
from benchmark.pseudo import evaluating, kept_shares, masked_ce, pseudo, quantile
from benchmark.views.boxes import paste
from dataset_builders.errors import UsageError

DECAY = 0.99  # of the teacher
UNSURE = 0.2  # share of pixels with the highest entropy that is unreliable at first; 0 at the end
LEAST = 0.3  # probability of its class that a pixel needs to be an anchor
ANCHORS, NEGATIVES = 256, 50  # a class, and an anchor
TEMPERATURE = 0.5
# of the representation; U-Nets are narrower
FEATURES = {"deeplabv3plus": 256, "unet": 64}
QUEUES = (50_000, 30_000)  # negatives that are remembered, of background and foreground
_CONTRAST = stable_key("u2pl/contrast")


class U2PL(SemiSupervised):
    """Pixels are sorted by the teacher's entropy: labels, or negatives of the class it is not."""

    training_only = (
        "net.",
        "project.",
        "teacher_project.",
        "queues.",
    )
    variants: ClassVar = {"paper": {}, "released": {"agreeing": True, "weight": 1.0}}
    fidelity = Fidelity(
        repository="Haochen-Wang409/U2PL at ab3d2be",
        licence="Apache-2.0",
        library="network from segmentation-models-pytorch on timm's encoder; the step is ours",
        theirs="DeepLabv3+ on ResNet-101 at output stride 8, and a representation head of 256",
        pretraining="ImageNet encoder",
        recipe="SGD 1e-3 (head 1e-2), wd 1e-4, poly 0.9, 16 + 16 images, 80 epochs; no jitter",
        deviations=(
            (
                "negatives follow the paper; in the released code one of a class must also have "
                "that class for a label, which leaves the pixels on which two passes of the "
                "teacher disagree (--variant released)"
            ),
            (
                "ranks: r_l = 1 and r_h = 2, the authors' advice for two classes; 3 and 20 there. "
                "The contrast has weight 0.1, as the paper; the code's default is 1 (released)"
            ),
            (
                "an epoch of labels alone is 1/80 of the training, 200 steps at least and a tenth "
                "at most; batch norm sees the unlabelled images in it too, and the teacher is the "
                "student"
            ),
            "the box's donor is the image before in the batch, there the one after",
            "weak views are the protocol's rotation and scaling, without crops",
            "the representation has 64 dimensions in the U-Net, 256 in DeepLabv3+",
            "queues lie on the device and in checkpoints: 80,000 features, 82 MB of 256 dimensions",
        ),
    )

    @dataclass(frozen=True)
    class Config(SemiSupervised.Config):
        """Settings of U2PL."""

        weight: float = 0.1  # lambda_c, of the contrast
        r_l: int = 1  # a class ranked above it is likely: a labelled pixel's hard mistake
        r_h: int = 2  # one ranked below it would be too easy a negative for an unlabelled pixel
        agreeing: bool = False  # released: a negative's own label must be the class it is not

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.r_l <= self.r_h <= CLASSES:
                raise UsageError(
                    f"r_l = {self.r_l}, r_h = {self.r_h}: they are ranks of {CLASSES} classes, "
                    "so 0 <= r_l <= r_h <= 2; the paper's advice for two is 1 and 2"
                )

    config: Config

    def __init__(self, config: Config, setup: Setup) -> None:
        super().__init__(config, setup)
        features = FEATURES[config.network]
        self.project = representation(self.net, features)
        self.teacher = Ema(self.net, DECAY, "own")
        self.teacher_project = Ema(self.project, DECAY, "own")
        self.queues = nn.ModuleList(FeatureQueue(size, features) for size in QUEUES)

    @property
    def evaluated(self) -> SegNet:
        return cast(SegNet, self.teacher.net)

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        img_x, y_x = self.weak_x(batch)
        img_u = self.weak_u(batch)
        with torch.no_grad(), evaluating(self.teacher):
            u = pseudo(self.evaluated(standardise(img_u)))
        box = self.half_boxes_u(batch)
        img_u, u = paste(img_u, img_u.roll(1, 0), box), u.paste(u.roll(), box)

        images = standardise(torch.cat((img_x, img_u)))
        small, r = see(self.net, self.project, images)
        with torch.no_grad():  # in training mode: the teacher's batch norm learns from this pass
            small_t, r_t = see(self.evaluated, self.teacher_project.net, images)
        pred_x, pred_u = enlarge(small).split([len(img_x), len(img_u)])
        entropy = pseudo(enlarge(small_t[len(img_x) :])).entropy

        alpha = UNSURE * (1 - clock.fraction)
        kept = entropy < quantile(entropy, 1 - alpha)
        sure = entropy <= quantile(entropy, alpha)
        truth = torch.ones_like(y_x, dtype=torch.bool)
        pixels = Pixels(
            r=rows(r),
            r_t=rows(r_t),
            q=rows(small_t).softmax(dim=1),
            label=thin(torch.cat((y_x, u.label))).flatten(),
            labelled=thin(torch.cat((truth, torch.zeros_like(kept)))).flatten(),
            reliable=thin(torch.cat((truth, sure))).flatten(),
            unreliable=thin(torch.cat((~truth, ~kept))).flatten(),
        )
        started = clock.step >= first_epochs(1, clock.total)
        weight = started * self.config.weight
        return {
            "loss_x": cross_entropy(pred_x.float(), y_x),
            "loss_u": started * masked_ce(pred_u, u.label, kept, over="kept_scaled"),
            "contrast": weight * self.contrast(pixels, batch.key_u[:1], started),
            **kept_shares(kept, u.label),
        }

    def after_step(self, clock: Clock) -> None:
        start = first_epochs(1, clock.total)
        self.teacher.update(self.net, clock.step, start)
        self.teacher_project.update(self.project, clock.step, start)

    def contrast(self, pixels: "Pixels", key: Tensor, started: bool | Tensor) -> Tensor:
        """Anchors are drawn to the mean of their class, and away from what is not of it.

        0 where a class is missing in the batch; a class counts 0 that has no anchor or no negative.

        Args:
            pixels: of the batch.
            key: (1,), of the draws.
            started: whether negatives are remembered yet.
        """
        total = torch.zeros((), device=key.device)
        complete = torch.ones((), device=key.device, dtype=torch.bool)
        for c, queue in enumerate(cast(Iterable[FeatureQueue], self.queues)):
            queue.push(pixels.r_t, self.negatives(pixels, c) & started)
            members = pixels.reliable & (pixels.label == c)
            positive = (pixels.r_t * members[:, None]).sum(dim=0) / members.sum().clamp_min(1)
            candidates = members & (pixels.q[:, c] > LEAST)
            drawn = uniforms(derive(derive(key, _CONTRAST), c), ANCHORS * (1 + NEGATIVES))[:, 0]
            places, others = drawn.split([ANCHORS, ANCHORS * NEGATIVES])
            anchors = pixels.r[nth(candidates, (places * candidates.sum()).long())]
            negatives = queue.draw(others).unflatten(0, (ANCHORS, NEGATIVES))
            usable = candidates.any() & (queue.filled > 0)
            complete = complete & members.any()
            total = total + usable * info_nce(anchors, positive, negatives)
        return complete * total / CLASSES

    def negatives(self, pixels: "Pixels", c: int) -> Tensor:
        """Which pixels (N,) become negatives of class c."""
        rank = (pixels.q > pixels.q[:, c : c + 1]).sum(dim=1)  # of c, 0 is the likeliest
        mistaken = pixels.labelled & (pixels.label != c) & (rank < self.config.r_l)
        unsure = pixels.unreliable & (self.config.r_l <= rank) & (rank < self.config.r_h)
        if self.config.agreeing:
            return (mistaken | unsure) & (pixels.label == c)
        return mistaken | unsure


class Pixels(NamedTuple):
    """All N pixels of a batch at stride 4, as the contrast sees them."""

    r: Tensor  # (N, D), the student's representation
    r_t: Tensor  # (N, D), the teacher's
    q: Tensor  # (N, C), the teacher's probabilities
    label: Tensor  # (N,), true or the teacher's
    labelled: Tensor  # (N,) bool, whether it is true
    reliable: Tensor  # (N,) bool: labelled, or of low entropy
    unreliable: Tensor  # (N,) bool: not labelled, and of high entropy


class FeatureQueue(nn.Module):
    """The last features that were pushed, first in, first out; never a wait for the device.

    Args:
        size: most that are kept.
        width: D.
    """

    kept: Tensor
    filled: Tensor
    _next: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(size, width))
        self.register_buffer("filled", torch.tensor(0))
        self.register_buffer("_next", torch.tensor(0))

    @torch.no_grad()
    def push(self, features: Tensor, which: Tensor) -> None:
        """Remember some of the features (N, D): those `which` (N,) bool says, the latest if many.

        As many rows are written every time, to be independent of how many that are: the others
        get what they have.
        """
        size, count = len(self.kept), which.sum()
        order = torch.arange(min(len(features), size), device=features.device)
        entered = count.clamp_max(len(order))
        slots = (self._next + order) % size
        new = features[nth(which, order + count - entered)].to(self.kept.dtype)
        old = self.kept[slots]
        self.kept.index_copy_(0, slots, torch.where((order < entered)[:, None], new, old))
        self._next.copy_((self._next + entered) % size)
        self.filled.copy_((self.filled + entered).clamp_max(size))

    def draw(self, fractions: Tensor) -> Tensor:
        """Features (M, D) at these fractions (M,) in [0, 1) of what is filled."""
        return self.kept[(fractions * self.filled).long()]


def representation(net: SegNet, features: int) -> nn.Sequential:
    """A head on f like the classifier's, that ends in `features` channels."""
    neck = deepcopy(net.neck)
    for module in neck.modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            module.reset_parameters()
    return nn.Sequential(neck, nn.Conv2d(net.width, features, 1))


def see(net: SegNet, project: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, 2, h, w) and representations (B, D, h, w) at stride 4."""
    f = net.fuse(net.encode(images))
    return net.classify(net.head(f)), project(f)


def info_nce(anchors: Tensor, positive: Tensor, negatives: Tensor) -> Tensor:
    """Cross-entropy of picking the positive by cosine, mean over anchors.

    Args:
        anchors: (A, D).
        positive: (D,), the same for all.
        negatives: (A, M, D).
    """
    others = torch.cat((positive.expand(len(anchors), 1, -1), negatives), dim=1)
    cosine = F.cosine_similarity(anchors[:, None], others, dim=2)  # (A, 1 + M)
    return F.cross_entropy(cosine / TEMPERATURE, torch.zeros_like(cosine[:, 0], dtype=torch.long))


def nth(mask: Tensor, ranks: Tensor) -> Tensor:
    """Places (M,) of the true entries of mask (N,) that have these ranks (M,), counted from 0."""
    return torch.searchsorted(mask.cumsum(0), ranks + 1).clamp_max(len(mask) - 1)
