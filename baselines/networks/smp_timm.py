"""Decoders of segmentation-models-pytorch on any timm encoder, with weights of our own loading."""

from collections.abc import Callable
from typing import Any

from baselines.networks.encoders import create_features


def on_timm(decoder: Callable[..., Any], name: str, weights: str, **settings: object) -> Any:  # noqa: ANN401 - smp is untyped
    """One network of smp: (B, 3, H, W) -> logits (B, 1, H, W).

    Args:
        decoder: a class of `segmentation_models_pytorch`.
        name: timm's name of the encoder.
        weights: "imagenet", "packaged" or "none".
        settings: of the decoder.

    Raises:
        UsageError: timm does not know the name, or its weights cannot be had.
    """
    pretrained = create_features(name, weights)  # first: it knows what is wrong
    net = decoder(f"tu-{name}", encoder_weights=None, in_channels=3, classes=1, **settings)
    net.encoder.model.load_state_dict(pretrained.state_dict())
    return net
