"""The one table of methods, in the order the paper prints them. Imports no torch.

A method is named here as text, "module:Class", and loaded when a run starts.
"""

from dataclasses import dataclass

SINGLE_SUPERVISED = "single-task supervised"
SINGLE_SEMI = "single-task semi-supervised"
UNIVERSAL_SUPERVISED = "universal supervised"
UNIVERSAL_SEMI = "universal semi-supervised"


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the paper's tables; `target` is None until the method is written."""

    title: str  # as the paper prints it
    category: str
    reference: str  # arXiv id or doi
    target: str | None = None  # "module:Class"


METHODS = {
    "unet": Entry("U-Net", SINGLE_SUPERVISED, "arXiv:1505.04597", "baselines.unet:UNet"),
    "pspnet": Entry("PSPNet", SINGLE_SUPERVISED, "arXiv:1612.01105", "baselines.pspnet:PSPNet"),
    "deeplabv3plus": Entry(
        "DeepLabv3+", SINGLE_SUPERVISED, "arXiv:1802.02611", "baselines.deeplabv3plus:DeepLabV3Plus"
    ),
    "unetpp": Entry(
        "UNet++", SINGLE_SUPERVISED, "arXiv:1807.10165", "baselines.unetpp:UNetPlusPlus"
    ),
    "segformer": Entry(
        "SegFormer", SINGLE_SUPERVISED, "arXiv:2105.15203", "baselines.segformer:SegFormer"
    ),
    "swin_unet": Entry(
        "Swin-Unet", SINGLE_SUPERVISED, "arXiv:2105.05537", "baselines.swin_unet:SwinUNet"
    ),
    "swin_unetr": Entry(
        "Swin UNETR", SINGLE_SUPERVISED, "arXiv:2201.01266", "baselines.swin_unetr:SwinUNETR"
    ),
    "hiformer": Entry(
        "HiFormer", SINGLE_SUPERVISED, "arXiv:2207.08518", "baselines.hiformer:HiFormer"
    ),
    "h2former": Entry(
        "H2Former", SINGLE_SUPERVISED, "doi:10.1109/TMI.2023.3264513", "baselines.h2former:H2Former"
    ),
    "mamba_unet": Entry(
        "Mamba-UNet", SINGLE_SUPERVISED, "arXiv:2402.05079", "baselines.mamba_unet:MambaUNet"
    ),
    "fixmatch": Entry("FixMatch", SINGLE_SEMI, "arXiv:2001.07685", "baselines.fixmatch:FixMatch"),
    "u2pl": Entry("U2PL", SINGLE_SEMI, "arXiv:2203.03884", "baselines.u2pl:U2PL"),
    "stpp": Entry("ST++", SINGLE_SEMI, "arXiv:2106.05095", "baselines.stpp:STPP"),
    "unimatch": Entry("UniMatch", SINGLE_SEMI, "arXiv:2208.09910", "baselines.unimatch:UniMatch"),
    "augseg": Entry("AugSeg", SINGLE_SEMI, "arXiv:2212.04976", "baselines.augseg:AugSeg"),
    "ddfp": Entry("DDFP", SINGLE_SEMI, "arXiv:2403.06462", "baselines.ddfp:DDFP"),
    "csc_pa": Entry("CSC-PA", SINGLE_SEMI, "CVPR 2025", "baselines.csc_pa:CSCPA"),
    "dodnet": Entry("DoDNet", UNIVERSAL_SUPERVISED, "arXiv:2011.10217", "baselines.dodnet:DoDNet"),
    "clip_um": Entry(
        "CLIP-UM", UNIVERSAL_SUPERVISED, "arXiv:2301.00785", "baselines.clip_um:CLIPUM"
    ),
    "univ_full": Entry(
        "Univ-full", UNIVERSAL_SEMI, "arXiv:1811.10323", "baselines.univ_full:UnivFull"
    ),
    "propl": Entry("ProPL", UNIVERSAL_SEMI, "arXiv:2511.15057", "propl.method:ProPL"),
}
