"""What the seven semi-supervised methods share, and the labelled-only method that they must beat.

All have one network, its first weights, weak views, number of steps and checkpoint rule in common
with `SemiSupervised` itself, so that a gain is the method's.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from baselines.networks.segnet import DeepLabSegNet, SegNet, UNetSegNet
from benchmark.augment import normalise, weak
from benchmark.method import Batch, Clock, Method, Setup
from benchmark.settings import choose

NETWORKS = ("deeplabv3plus", "unet")


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
        return {"loss_x": F.cross_entropy(self.net(normalise(img_x)).float(), y_x)}

    def weak_x(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Weak views (B, C, H, W) in [0, 1] of the labelled images, and labels (B, H, W) int64."""
        images, masks = weak(batch.img_x, batch.mask_x, batch.key_x, self.setup.protocol)
        return images, masks[:, 0].long()

    def weak_u(self, batch: Batch) -> Tensor:
        """Weak views (U, C, H, W) in [0, 1] of the unlabelled images."""
        return weak(batch.img_u, None, batch.key_u, self.setup.protocol)[0]

    def predict(self, images: Tensor, tasks: Tensor) -> Tensor:
        logits: Tensor = self.evaluated(normalise(images))
        return logits.float().softmax(dim=1)[:, 1:]

    @property
    def evaluated(self) -> SegNet:
        """The network that counts: a teacher, where there is one."""
        return self.net
