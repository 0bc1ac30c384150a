"""CLIP-driven universal model (Liu et al., ICCV 2023, arXiv:2301.00785), in two dimensions.

Its prompt names an ultrasound image where the paper's names a computerized tomography; what the
benchmark's paper used is not stated. 7,165,281 parameters on the released U-Net (25,547,931 on Swin
UNETR, `--set backbone=swin_unetr`), from scratch: released weights are for three dimensions.
`--encoder NAME` puts a U-Net on that encoder in its place.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from baselines.networks.backbone import Backbone, EncoderBackbone
from baselines.networks.clip_um import CLIPUniversal, UNetBackbone
from baselines.networks.swin_unetr import SwinUNETRBackbone
from baselines.networks.text import WIDTHS, sentence_features
from baselines.universal import Universal
from benchmark.fidelity import Fidelity
from benchmark.method import Method
from benchmark.settings import choose
from dataset_builders.tasks import TASKS

BACKBONES: dict[str, type[Backbone]] = {"unet": UNetBackbone, "swin_unetr": SwinUNETRBackbone}


class CLIPUM(Universal):
    """Filters made for each image from the text embedding of its task."""

    encoder = ""
    text_encoder = "clip"
    weights: ClassVar = ("none", "imagenet", "packaged")
    fidelity = Fidelity(
        repository="ljwztc/CLIP-Driven-Universal-Model at 43c1239",
        licence="CC BY-NC-ND 4.0",
        library=(
            "all ours; Swin UNETR from MONAI; with --encoder a U-Net of segmentation-models-pytorch"
        ),
        theirs="7,165,281 on the U-Net, 25,547,931 on Swin UNETR (two dimensions, eight classes)",
        pretraining="none in two dimensions; CLIP ViT-B/32 for the text",
        recipe="AdamW 1e-4, warm-up and cosine, 2,000 epochs, BCE + Dice over labelled classes",
        deviations=(
            "two dimensions",
            "the prompt names an ultrasound image",
            (
                "batch norm as usual; the released U-Net takes batch statistics at test time too, "
                "so that an image's prediction depends on its neighbours"
            ),
            "only the output of an image's own task is made: the others have no label",
        ),
    )

    @dataclass(frozen=True)
    class Config(Method.Config):
        """Settings of CLIP-UM."""

        backbone: str = "unet"  # or "swin_unetr"; without effect where --encoder is given

        def __post_init__(self) -> None:
            choose("backbone", self.backbone, BACKBONES)

    config: Config

    def network(self) -> nn.Module:
        setup = self.setup
        name = setup.protocol.encoder
        backbone = (
            EncoderBackbone(name, setup.weights) if name else BACKBONES[self.config.backbone]()
        )
        encoder = setup.protocol.text or self.text_encoder
        prompts = [f"An ultrasound image of a {TASKS[code].name}" for code in setup.tasks]
        if setup.blank:
            text = torch.zeros(len(prompts), WIDTHS[encoder])
        else:
            text = sentence_features(prompts, encoder, setup.seed)
        return CLIPUniversal(text, backbone)
