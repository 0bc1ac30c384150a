"""What the seven semi-supervised methods share, and the labelled-only method that they must beat.

All have one network, its first weights, weak views, number of steps and checkpoint rule in common
with `SemiSupervised` itself, so that a gain is the method's.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.networks.segnet import DeepLabSegNet, SegNet, UNetSegNet
from benchmark.augment import standardise, weak
from benchmark.keys import derive, stable_key, uniform
from benchmark.losses import cross_entropy
from benchmark.method import Batch, Clock, Method, Setup
from benchmark.settings import choose
from benchmark.views.boxes import half_boxes

NETWORKS = ("deeplabv3plus", "unet")
RECIPE = 80  # epochs, in which U2PL, AugSeg and DDFP count their phases
STRIDE = 4  # of f, v and the logits before they are enlarged
_MIX = stable_key("boxes of a batch")


class SemiSupervised(Method):
    """Cross-entropy of two logits on weak views of the labelled images."""

    unlabelled = True
    encoder = "resnet50.a1_in1k"

    @dataclass(frozen=True)
    class Config(Method.Config):
        """Settings of all seven."""

        network: str = "deeplabv3plus"  # or "unet", from scratch

        def __post_init__(self) -> None:
            choose("network", self.network, NETWORKS)

    config: Config

    @classmethod
    def from_scratch(cls, config: Config) -> bool:
        return config.network == "unet"

    def __init__(self, config: Config, setup: Setup) -> None:
        super().__init__(config, setup)
        self.net = self.network()

    def network(self) -> SegNet:
        """One that has not learned yet."""
        if self.config.network == "unet":
            return UNetSegNet()
        return DeepLabSegNet(self.setup.protocol.encoder or self.encoder, self.setup.weights)

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        img_x, y_x = self.weak_x(batch)
        return {"loss_x": cross_entropy(self.net(standardise(img_x)).float(), y_x)}

    def weak_x(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Weak views (B, C, H, W) in [0, 1] of the labelled images, and labels (B, H, W) int64."""
        images, masks = weak(batch.img_x, batch.mask_x, batch.key_x, self.setup.protocol)
        return images, masks[:, 0].long()

    def weak_u(self, batch: Batch) -> Tensor:
        """Weak views (U, C, H, W) in [0, 1] of the unlabelled images."""
        return weak(batch.img_u, None, batch.key_u, self.setup.protocol)[0]

    def half_boxes_u(self, batch: Batch) -> Tensor:
        """Half of each unlabelled image (U, 1, S, S), in every other batch: U2PL and DDFP."""
        mixed = uniform(derive(batch.key_u[:1], _MIX), 0) < 0.5
        return half_boxes(batch.key_u, batch.img_u.shape[-1]) & mixed[:, None, None, None]

    def predict(self, images: Tensor, tasks: Tensor) -> Tensor:
        logits: Tensor = self.evaluated(standardise(images))
        return logits.float().softmax(dim=1)[:, 1:]

    @property
    def evaluated(self) -> nn.Module:
        """The network that counts: a teacher, where there is one."""
        return self.net


def first_epochs(count: int, total: int) -> int:
    """Steps that stand for the first `count` of a recipe's 80 epochs.

    A short training has 200 steps for each all the same, but never more than a tenth of itself.
    """
    return count * min(max(total // RECIPE, 200), total // 10)


def rows(maps: Tensor) -> Tensor:
    """(B, C, h, w) -> (B * h * w, C), in fp32."""
    return maps.float().movedim(1, -1).flatten(0, 2)


def thin(values: Tensor) -> Tensor:
    """(B, S, S) -> (B, S/4, S/4): the pixels on which those of stride 4 lie when enlarged."""
    size = values.shape[-1]
    places = torch.linspace(0, size - 1, size // STRIDE, device=values.device).round().long()
    return values[:, places][:, :, places]
