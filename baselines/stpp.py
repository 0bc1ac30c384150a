"""ST++ (Yang et al., CVPR 2022, arXiv:2106.05095): self-training in three trainings, no threshold.

As LiheYoung/ST-PlusPlus at f4e7a57:

    stage 0   the labelled images; copies of the network at a third and two thirds
    stage 1   and the half of the unlabelled ones of which the copies changed their mind least
    stage 2   and the other half, labelled by the network of stage 1

Every stage begins with fresh weights and learns hard labels of the network before it.
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.networks.segnet import SegNet
from baselines.semi import SemiSupervised
from benchmark.augment import as_unit, standardise, strong, weak
from benchmark.data import Unlabelled
from benchmark.fidelity import Fidelity
from benchmark.method import Batch, Clock, Setup
from benchmark.pseudo import evaluating, kept_shares
from benchmark.settings import choose
from benchmark.views.boxes import cutout

SCALES = (0.5, 0.75, 1.0, 1.5, 2.0)  # of the original, at which an image is looked at for labels
STRIDE = 16  # px: what the sides of an image must be a multiple of
AT_ONCE = 16  # images that are looked at together; not a setting, as rounding depends on it


class STPP(SemiSupervised):
    """Stable images first: no weight, no threshold, no teacher."""

    stages = 3
    capturable = False  # `after_step` copies the network in two steps of a stage, not in all
    training_only = ("copies.",)
    fidelity = Fidelity(
        repository="LiheYoung/ST-PlusPlus at f4e7a57",
        licence="MIT",
        library="network from segmentation-models-pytorch on timm's encoder; the stages are ours",
        theirs="DeepLabv3+ (also PSPNet, DeepLabv2) on ResNet-50 or ResNet-101, output stride 8",
        pretraining="ImageNet encoder",
        recipe="SGD 1e-3 (head 1e-2), wd 1e-4, poly 0.9, 16 images, 80 epochs a training",
        deviations=(
            (
                "each of the three trainings has the protocol's full number of steps, so a run "
                "takes three times the steps of the other methods"
            ),
            (
                "labels come from the last network of a training, not from the best one on "
                "validation images: the author calls that cleaner and about equal"
            ),
            (
                "8 labelled and 8 unlabelled images a step; the original shuffles one list in "
                "which the labelled ones are repeated to about as many"
            ),
            "stage 0 sees 8 labelled images a step, as the labelled-only method, not 16",
            (
                "output stride 16, no dropout before the classifier, and one learning rate for "
                "encoder and head: the network and optimiser of the other semi-supervised methods"
            ),
            "weak views are the protocol's rotation and scaling, without crops",
            (
                "labels are summed over the scales at which the protocol's views show images, not "
                "0.5 to 2: the original trains at just these scales, and a network that does not "
                "sees nothing at them. With 8 labelled images of a toy, 60 steps: Dice of the "
                "labels 84 instead of 43. `scales=paper` has the original's"
            ),
            "sides of scaled images are rounded to multiples of 16 px (1.2 of 224 is 272)",
            (
                "two empty predictions agree perfectly, as in the released code, so images in "
                "which nothing is found count as reliable; `empty_is_unreliable` makes them the "
                "last, and the log's `empty` says how many there are"
            ),
        ),
    )

    @dataclass(frozen=True)
    class Config(SemiSupervised.Config):
        """Settings of ST++."""

        empty_is_unreliable: bool = False  # ours: mean IoU of two empty predictions is 0, not 1
        scales: str = "trained"  # of test-time augmentation; ours, or "paper"

        def __post_init__(self) -> None:
            super().__post_init__()
            choose("scales", self.scales, ("trained", "paper"))

    config: Config

    def __init__(self, config: Config, setup: Setup) -> None:
        super().__init__(config, setup)
        self.copies = nn.ModuleList(deepcopy(self.net).requires_grad_(False) for _ in range(2))
        self.empty: Tensor
        self.register_buffer("empty", torch.zeros(()))  # share of images that all copies leave so

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        if clock.stage == 0:
            return super().losses(batch, clock)
        img_x, y_x = self.weak_x(batch)
        img_u, y_u = weak(batch.img_u, batch.pseudo_u, batch.key_u, self.setup.protocol)
        img_u, box = cutout(strong(img_u, batch.key_u), batch.key_u)
        label, kept = y_u[:, 0].long(), ~box[:, 0]

        pred_x, pred_u = self.net(standardise(torch.cat((img_x, img_u)))).split(
            [len(img_x), len(img_u)]
        )
        ce_x = F.cross_entropy(pred_x.float(), y_x, reduction="none")
        ce_u = F.cross_entropy(pred_u.float(), label, reduction="none")
        pixels = ce_x.numel() + kept.sum()  # one mean over both: the terms add up to it
        return {
            "loss_x": ce_x.sum() / pixels,
            "loss_u": (ce_u * kept).sum() / pixels,
            **kept_shares(kept, label),
            "empty": self.empty,
        }

    def after_step(self, clock: Clock) -> None:
        for third, copy in enumerate(self.copies, 1):
            if clock.stage == 0 and clock.step + 1 == third * clock.total // 3:
                copy.load_state_dict(self.net.state_dict())

    def begin(self, stage: int, unlabelled: Unlabelled) -> None:
        if stage == 0:
            return
        if stage == 1:
            reliable = self.reliable(unlabelled)
            self.label(unlabelled, reliable)
            unlabelled.choose(reliable)
        else:
            self.label(unlabelled, ~unlabelled.chosen)
            unlabelled.choose(torch.ones_like(unlabelled.chosen))
        self.net.load_state_dict(self.network().state_dict())  # in place

    def reliable(self, unlabelled: Unlabelled) -> Tensor:
        """The half (N,) bool of the images on which early copies agree best with the last one."""
        scores, empty = [], []
        for _, images, _ in unlabelled.batches(torch.arange(len(unlabelled)), AT_ONCE):
            img = standardise(as_unit(images))
            first, second, last = (found(net, img) for net in (*self.copies, self.net))
            of_empty = 0.0 if self.config.empty_is_unreliable else 1.0
            scores.append((mean_iou(first, last, of_empty) + mean_iou(second, last, of_empty)) / 2)
            empty.append(~(first | second | last).any((1, 2)))
        self.empty.copy_(torch.cat(empty).float().mean())
        order = torch.cat(scores).argsort(descending=True, stable=True).cpu()
        chosen = torch.zeros(len(order), dtype=torch.bool)
        chosen[order[: max(1, len(order) // 2)]] = True
        return chosen

    def label(self, unlabelled: Unlabelled, chosen: Tensor) -> None:
        """Labels of the network as it is for some images (N,) bool."""
        for places, images, _ in unlabelled.batches(chosen.nonzero()[:, 0], AT_ONCE):
            probs = augmented(self.net, standardise(as_unit(images)), self.scales)
            unlabelled.label(places, probs.argmax(1))

    @property
    def scales(self) -> tuple[float, ...]:
        """At which an image is looked at to be labelled."""
        protocol = self.setup.protocol
        own = protocol.scale_low, 1.0, protocol.scale_high
        return SCALES if self.config.scales == "paper" else own


def found(net: nn.Module, images: Tensor) -> Tensor:
    """Where a network at rest sees the target: (B, H, W) bool of normalised images."""
    with evaluating(net):
        labels: Tensor = net(images).argmax(1)
    return labels == 1


def mean_iou(one: Tensor, other: Tensor, of_empty: float = 1.0) -> Tensor:
    """Agreement of predictions (B, H, W) bool: mean IoU (B,) of the classes that either has.

    Args:
        one: predictions of some images.
        other: of the same images.
        of_empty: what two predictions without foreground get; they agree on the one class, 1.
    """
    overlap = torch.stack((one & other, ~one & ~other)).sum((2, 3)).double()
    union = torch.stack((one | other, ~one | ~other)).sum((2, 3))
    return torch.where(union[0] == 0, of_empty, (overlap / union).nanmean(0))


def augmented(net: SegNet, images: Tensor, scales: Iterable[float]) -> Tensor:
    """Sum of the probabilities (B, 2, H, W) at some scales, each also mirrored.

    Args:
        net: predicts at rest.
        images: (B, 3, H, W), normalised.
        scales: 1 is the size of the images.
    """
    size, total = images.shape[-2:], torch.zeros_like(images[:, :2])
    with evaluating(net):
        for scale in scales:
            sides = [max(1, round(scale * side / STRIDE)) * STRIDE for side in size]
            scaled = F.interpolate(images, sides, mode="bilinear", align_corners=True)
            probs = net(scaled).float().softmax(1)
            probs += net(scaled.flip(-1)).float().softmax(1).flip(-1)
            total += F.interpolate(probs, size, mode="bilinear", align_corners=True)
    return total
