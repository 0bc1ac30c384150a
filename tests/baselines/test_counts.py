"""Parameters of every network as published: one output, three input channels, 224x224."""

import pytest
import torch

from baselines.clip_um import CLIPUM
from baselines.deeplabv3plus import DeepLabV3Plus
from baselines.dodnet import DoDNet
from baselines.h2former import H2Former
from baselines.hiformer import HiFormer
from baselines.mamba_unet import MambaUNet
from baselines.networks.clip_um import UNetBackbone
from baselines.networks.drn import DRN
from baselines.networks.h2former import H2Former as H2FormerNetwork
from baselines.networks.mamba_unet import VSSBlock
from baselines.networks.swin_unet import SwinUNet as SwinUNetNetwork
from baselines.networks.swin_unetr import SwinUNETRBackbone
from baselines.networks.unet_classic import ClassicUNet, NestedUNet
from baselines.pspnet import PSPNet
from baselines.segformer import SegFormer
from baselines.swin_unet import SwinUNet
from baselines.swin_unetr import SwinUNETR
from baselines.unet import UNet
from baselines.unetpp import UNetPlusPlus
from baselines.univ_full import UnivFull
from benchmark.method import Method, Setup
from benchmark.protocol import Protocol
from dataset_builders.tasks import TASKS


def parameters(module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def make(kind: type[Method], encoder: str = "", **config) -> Method:
    protocol = Protocol(weights="none", text="random", encoder=encoder)
    tasks = tuple(TASKS) if kind.universal else ("BC",)
    # shapes are enough, and cost nothing; but some of smp and MONAI compute as they are built
    reads_values = kind in (SegFormer, SwinUNETR) or config.get("backbone") == "swin_unetr"
    with torch.device("cpu" if reads_values else "meta"):
        return kind(kind.Config(**config), Setup(tasks, protocol, 0))


@pytest.mark.parametrize(
    ("kind", "encoder", "config", "count"),
    [
        (UNet, "", {}, 32_521_105),
        (UNet, "resnet34.a1_in1k", {}, 24_436_369),
        (UNet, "resnet18.a1_in1k", {}, 14_328_209),
        (UNet, "", {"classic": True}, 31_043_521),
        (PSPNet, "", {}, 46_582_337),
        (DeepLabV3Plus, "", {}, 26_677_585),
        (DeepLabV3Plus, "resnet34.a1_in1k", {}, 22_437_457),
        (DeepLabV3Plus, "resnet101.a1_in1k", {}, 45_669_713),
        (DeepLabV3Plus, "xception65", {}, 41_036_865),
        (UNetPlusPlus, "", {}, 48_985_745),
        (UNetPlusPlus, "resnet34.a1_in1k", {}, 26_078_609),
        (UNetPlusPlus, "", {"classic": True}, 9_163_329),
        (SegFormer, "", {"size": "b0"}, 3_714_401),
        (SegFormer, "", {"size": "b1"}, 13_677_505),
        (SegFormer, "", {}, 27_347_393),
        pytest.param(SegFormer, "", {"size": "b3"}, 47_223_233, marks=pytest.mark.slow),
        pytest.param(SegFormer, "", {"size": "b4"}, 63_993_793, marks=pytest.mark.slow),
        pytest.param(SegFormer, "", {"size": "b5"}, 84_594_113, marks=pytest.mark.slow),
        (SwinUNet, "", {}, 27_168_132),
        (SwinUNETR, "", {}, 25_139_275),
        (SwinUNETR, "", {"features": 24}, 6_302_875),
        (HiFormer, "", {"size": "s"}, 23_253_195),
        (HiFormer, "", {}, 25_510_955),
        (HiFormer, "", {"size": "l"}, 29_518_059),
        (HiFormer, "", {"dead": True}, 25_510_955),
        (H2Former, "", {}, 33_678_656),
        (H2Former, "", {"scrambled": True}, 33_678_656),
        (MambaUNet, "", {}, 19_121_376),
        (DoDNet, "", {}, 5_954_761),
        (UnivFull, "", {}, 15_954_624),
    ],
)
def test_a_method_has_the_parameters_of_its_card(kind, encoder, config, count):
    assert parameters(make(kind, encoder, **config)) == count


def test_clip_um_has_the_parameters_of_its_card():
    # the card counts with CLIP's text width of 512, from which one linear layer leads
    text = (512 - 64) * 256
    assert parameters(make(CLIPUM)) + text == 7_165_281
    assert parameters(make(CLIPUM, backbone="swin_unetr")) + text == 25_547_931


def test_parts_have_the_parameters_of_their_cards():
    assert parameters(SwinUNETRBackbone()) == 25_139_226
    with torch.device("meta"):
        swin = SwinUNetNetwork(224, "", "none")
        assert parameters(swin.embed) == 4_896
        assert parameters(swin.down) + parameters(swin.merge) == 20_406_954
        assert parameters(swin.up) + parameters(swin.expand) == 6_219_066
        assert parameters(swin.join) == 387_744
        assert parameters(swin.to_pixels) == 147_648
        assert parameters(UNetBackbone()) == 6_822_464
        assert parameters(DRN("none")) == 15_880_752
        assert parameters(ClassicUNet(32)) == 7_765_985
        assert parameters(NestedUNet(64)) == 36_629_633
        h2former = H2FormerNetwork("resnet34.tv_in1k", 224, "none", scrambled=False)
        assert parameters(h2former.swin) == 8_424_564
        blocks = [parameters(VSSBlock(width, 0.0)) for width in (96, 192, 384, 768)]
        assert blocks == [105_408, 339_840, 1_195_776, 4_455_936]
