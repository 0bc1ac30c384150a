"""ProPL: prompt-guided pseudo-labelling (Chen et al., AAAI 2026, arXiv:2511.15057).

The paper's rule is the default; where it is silent, the released code (WUTCM-Lab/ProPL at
fea22d0) decides. `--variant released` follows that code where the two differ.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from baselines.networks.encoders import Encoder
from benchmark.augment import normalise, weak
from benchmark.losses import bce_dice
from benchmark.method import Batch, Clock, Method, Setup
from dataset_builders.errors import UsageError
from propl.network import ProPLNet
from propl.prompts import blank_features, text_features


class ProPL(Method):
    """One model for all tasks; uncertainty-driven pseudo-label calibration (UPLC)."""

    universal = True
    unlabelled = True
    # facebook/convnext-tiny-224 of the released code; timm's plain name has other weights
    encoder = "convnext_tiny.fb_in1k"
    variants: ClassVar = {
        "paper": {},
        "released": {
            "perturbations": 3,
            "power": 2.0,
            "hard": True,
            "text": "cxr-bert",
            "rotation": 0.0,
            "view_share": 0.1,
        },
    }

    @dataclass(frozen=True)
    class Config(Method.Config):
        """Settings of ProPL."""

        perturbations: int = 2  # N; figure 3 of the paper: best at 1/4 and 1/8
        dropout: float = 0.3  # on v4 before decoder S
        weight: float = 6.0  # of the unlabelled loss; not in the paper, released script
        power: float = 1.0  # of gamma in exp(-gamma ** power): equation 5; released: 2
        hard: bool = False  # released: the calibrated target is cut at 0.5
        prompting: bool = True  # PuD; false is the ablation of Tables 4-6
        calibration: bool = True  # UPLC; false: one disturbed pass, uncalibrated

        def __post_init__(self) -> None:
            if self.perturbations < 1:
                raise UsageError(f"perturbations = {self.perturbations}; it must be 1 or more")
            if not 0 <= self.dropout < 1:
                raise UsageError(f"dropout = {self.dropout}; it must lie in [0, 1)")

    config: Config

    def __init__(self, config: Config, setup: Setup) -> None:
        super().__init__(config, setup)
        protocol = setup.protocol
        read = blank_features if setup.blank else text_features
        text = read(setup.tasks, protocol.text, setup.seed)
        encoder = Encoder(protocol.encoder or self.encoder, setup.weights)
        self.net = ProPLNet(encoder, text, prompting=config.prompting)

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        protocol = self.setup.protocol
        img_x, mask_x = weak(batch.img_x, batch.mask_x, batch.key_x, protocol)
        img_u, _ = weak(batch.img_u, None, batch.key_u, protocol)
        # one pass for both: exact where the encoder normalises each image by itself (ConvNeXt)
        v = self.net.encoder(normalise(torch.cat((img_x, img_u))))
        v_x = [level[: len(img_x)] for level in v]
        v_u = [level[len(img_x) :] for level in v]
        t_x, t_u = self.net.text[batch.task_x], self.net.text[batch.task_u]

        pred_x = self.net.decoder_s(self.disturb(v_x), t_x)
        pseudo_u = self.pseudo_label(v_u, t_u)
        pred_u = self.net.decoder_p(v_u, t_u)
        return {
            "loss_x": bce_dice(pred_x, mask_x),
            "loss_u": self.config.weight * bce_dice(pred_u, pseudo_u),
        }

    @torch.no_grad()
    def pseudo_label(self, v_u: list[Tensor], t_u: Tensor) -> Tensor:
        """Mean of N disturbed predictions, damped where they disagree (equations 4 and 5).

        Returns:
            (U, 1, H, W) in [0, 1], without gradient.
        """
        passes = self.config.perturbations if self.config.calibration else 1
        probs = torch.stack(
            [self.net.decoder_s(self.disturb(v_u), t_u).sigmoid() for _ in range(passes)]
        )
        mu = probs.mean(dim=0)
        gamma = probs.var(dim=0, correction=0)  # of N, not N - 1; 0 for a single pass
        target = torch.exp(-(gamma**self.config.power)) * mu
        return (target > 0.5).to(target.dtype) if self.config.hard else target

    def disturb(self, v: list[Tensor]) -> list[Tensor]:
        """Dropout on the deepest map only."""
        return [*v[:-1], F.dropout(v[-1], self.config.dropout)]

    def predict(self, images: Tensor, tasks: Tensor) -> Tensor:
        """By decoder P, as the released code evaluates; the paper does not say."""
        v = self.net.encoder(normalise(images))
        logits: Tensor = self.net.decoder_p(v, self.net.text[tasks])
        return logits.sigmoid()
