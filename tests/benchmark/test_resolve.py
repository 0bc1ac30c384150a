"""With which encoder and weights a method begins: the preset's where it can, or an error."""

from dataclasses import replace

import pytest

from benchmark.resolve import Request, RunError, resolve
from dataset_builders.errors import UsageError


def began(small_data, method, preset="mini", **overrides):
    request = Request(method, "1_4", preset=preset, overrides=overrides, data=small_data)
    protocol = resolve(request).protocol
    return protocol.encoder, protocol.weights


@pytest.mark.parametrize(
    ("method", "preset", "expected"),
    [
        ("unet", "mini", ("tf_efficientnet_lite0", "packaged")),
        ("dodnet", "mini", ("tf_efficientnet_lite0", "packaged")),
        ("segformer", "mini", ("", "none")),
        ("mamba_unet", "mini", ("", "none")),
        ("unet", "paper", ("", "imagenet")),
        ("segformer", "paper", ("", "imagenet")),
        ("swin_unetr", "paper", ("", "none")),
        ("dodnet", "paper", ("", "none")),  # its own network has no ImageNet weights
    ],
)
def test_a_preset_means_wherever_it_can_be(small_data, method, preset, expected):
    assert began(small_data, method, preset) == expected


def test_a_method_s_name_may_stand_before_its_settings(small_data):
    overrides = {"propl.prompting": "dodnet", "propl.perturbations": "3", "rate": "0.5"}
    request = Request("propl", "1_4", preset="mini", overrides=overrides, data=small_data)
    plan = resolve(request)
    assert plan.tag == "perturbations=3,prompting=dodnet"
    assert (plan.config.prompting, plan.config.perturbations) == ("dodnet", 3)
    assert plan.protocol.rate == 0.5
    assert plan.settings == resolve(replace(request, overrides=plain(overrides))).settings
    with pytest.raises(UsageError, match=r"propl\.prompting=dodnet: 'propl' is not the method"):
        resolve(replace(request, method="unet"))


@pytest.mark.parametrize(
    ("method", "name", "own", "shared"),
    [
        ("segformer", "size", "b0", "64"),
        ("unimatch", "decay", "0.5", "0.25"),
        ("propl", "power", "2.0", "0.5"),
    ],
)
def test_what_method_and_protocol_both_have_needs_the_owner_s_name(
    small_data, method, name, own, shared
):
    overrides = {f"{method}.{name}": own, f"protocol.{name}": shared}
    request = Request(method, "1_4", preset="mini", overrides=overrides, data=small_data)
    plan = resolve(request)
    assert str(getattr(plan.config, name)) == own
    assert str(getattr(plan.protocol, name)) == shared
    assert plan.tag == f"{name}={own}"
    with pytest.raises(UsageError, match=f"{method}.{name}={shared} or protocol.{name}={shared}"):
        resolve(replace(request, overrides={name: shared}))


def plain(overrides):
    return {name.rpartition(".")[2]: value for name, value in overrides.items()}


def test_what_is_asked_for_and_can_be_is_done(small_data):
    assert began(small_data, "segformer", weights="imagenet") == ("", "imagenet")
    assert began(small_data, "dodnet", "paper", encoder="resnet50.a1_in1k", weights="imagenet") == (
        "resnet50.a1_in1k",
        "imagenet",
    )


@pytest.mark.parametrize(
    ("method", "overrides", "words"),
    [
        ("segformer", {"encoder": "resnet50"}, r"SegFormer cannot be exchanged; leave --encoder"),
        ("segformer", {"weights": "packaged"}, r"no weights 'packaged'.* from: imagenet, none"),
        ("mamba_unet", {"weights": "imagenet"}, r"no weights 'imagenet'.* from: none$"),
    ],
)
def test_what_cannot_be_is_refused(small_data, method, overrides, words):
    with pytest.raises(RunError, match=words):
        began(small_data, method, **overrides)


@pytest.mark.parametrize(
    ("method", "overrides"),
    [
        ("unet", {"classic": "true"}),
        ("unetpp", {"classic": "true"}),
        ("fixmatch", {"network": "unet"}),
    ],
)
def test_a_setting_may_choose_a_network_from_scratch(small_data, method, overrides):
    plan = resolve(Request(method, "1_4", preset="mini", overrides=overrides, data=small_data))
    assert (plan.encoder, plan.protocol.weights) == ("", "none")
    assert resolve(Request(method, "1_4", data=small_data)).encoder == "resnet50.a1_in1k"
    with pytest.raises(RunError, match=r"with these settings cannot be exchanged"):
        began(small_data, method, encoder="resnet50", **overrides)
    with pytest.raises(RunError, match=r"can begin from: none$"):
        began(small_data, method, weights="imagenet", **overrides)


def test_an_own_network_names_the_way_to_pretrained_weights(small_data):
    with pytest.raises(RunError, match=r"from: none, or with --encoder NAME"):
        began(small_data, "dodnet", "paper", weights="imagenet")
