"""Univ-full (Kalluri et al., ICCV 2019, arXiv:1811.10323): entropy of pixels against labels.

"Full" has both entropy terms: over the labels of an image's own task, and over those of the others.
As tarun005/USSS_ICCV19 at d6a99ad, except that a step takes one mixed batch, as the protocol has
it, where the released code takes a batch of every data set in turn. Labels' embeddings are random
and frozen, the released default; the paper's come from a network trained before, reduced by PCA.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.networks.drn import DRN
from baselines.networks.drn import WIDTH as DRN_WIDTH
from baselines.networks.encoders import create_features
from baselines.networks.univ_full import LABELS
from baselines.networks.univ_full import UnivFull as Network
from benchmark.augment import normalise, stable_key, weak_input
from benchmark.fidelity import Fidelity
from benchmark.losses import cross_entropy
from benchmark.method import Batch, Clock, Method, Setup


class UnivFull(Method):
    """One encoder, a classifier for each task, an embedding of pixels for all."""

    universal = True
    unlabelled = True
    encoder = "drn_d_22"
    fidelity = Fidelity(
        repository="tarun005/USSS_ICCV19 at d6a99ad",
        licence="none stated",
        library="all ours; with --encoder timm's",
        theirs=(
            "15,991,488 with 36,864 frozen upsampling weights, 15,954,624 without (DRN-D-22, "
            "eight tasks, d = 128)"
        ),
        pretraining="ImageNet DRN-D-22",
        recipe="SGD 1e-3, poly 0.9 an epoch, batch 8, 200 epochs",
        deviations=(
            (
                "labels' embeddings are random, the released default; the paper takes class means "
                "of a network trained before"
            ),
            (
                "a step takes one mixed batch, as the protocol has it; the released code a batch "
                "of every data set in turn"
            ),
            (
                "the cross term is the mean over the other tasks: there are seven, the original "
                "has one"
            ),
            "every pixel has a label here, so there is no void label to drop",
        ),
    )

    @dataclass(frozen=True)
    class Config(Method.Config):
        """Settings of Univ-full."""

        alpha: float = 1.0  # of the entropy over the other tasks' labels
        beta: float = 1.0  # of the entropy over the task's own labels
        width: int = 128  # d of the embeddings; released default 100

    config: Config

    def __init__(self, config: Config, setup: Setup) -> None:
        super().__init__(config, setup)
        generator = torch.Generator().manual_seed(stable_key(f"labels/{setup.seed}"))
        embeddings = torch.randn(len(setup.tasks), LABELS, config.width, generator=generator)
        encoder, width = self._encoder()
        self.net = Network(encoder, width, len(setup.tasks), embeddings)

    def _encoder(self) -> tuple[nn.Module, int]:
        name = self.setup.protocol.encoder
        if not name:
            return DRN(self.setup.weights), DRN_WIDTH
        features = create_features(name, self.setup.weights, output_stride=8)
        return Last(features), features.feature_info.channels()[-1]

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        protocol = self.setup.protocol
        img_x, mask_x = weak_input(batch.img_x, batch.mask_x, batch.key_x, protocol)
        img_u, _ = weak_input(batch.img_u, None, batch.key_u, protocol)
        # two passes, as released: batch norm sees labelled and unlabelled images apart
        features = self.net.encoder(img_x)
        scores = self.net.classify(features, batch.task_x)  # (B, 2, H, W)
        similar = self.net.similarity(self.net.encoder(img_u))  # (U, K, 2, H, W)
        own = F.one_hot(batch.task_u, len(self.setup.tasks)).to(similar.dtype)  # (U, K)
        h = entropy(similar).mean(dim=(2, 3))  # (U, K)
        others = max(len(self.setup.tasks) - 1, 1)
        return {
            "loss_x": cross_entropy(scores, mask_x[:, 0].long()),
            "cross": self.config.alpha * ((h * (1 - own)).sum(dim=1) / others).mean(),
            "within": self.config.beta * (h * own).sum(dim=1).mean(),
        }

    def predict(self, images: Tensor, tasks: Tensor) -> Tensor:
        scores = self.net.classify(self.net.encoder(normalise(images)), tasks)
        return scores.softmax(dim=1)[:, 1:]


class Last(nn.Module):
    """The last map of a timm feature extractor."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C, H/8, W/8)."""
        last: Tensor = self.features(images)[-1]
        return last


def entropy(scores: Tensor) -> Tensor:
    """Entropy (U, K, H, W) of the softmax over the labels of scores (U, K, labels, H, W)."""
    log_probs = scores.log_softmax(dim=2)
    return -(log_probs.exp() * log_probs).sum(dim=2)
