"""ProPL's rules: which loss teaches what, the pseudo-label's formula, the variants."""

from dataclasses import asdict, replace

import pytest
import torch

from benchmark.augment import normalise
from benchmark.losses import bce_dice
from benchmark.method import Batch, Clock, Setup
from benchmark.protocol import Protocol
from benchmark.settings import today
from dataset_builders.errors import UsageError
from dataset_builders.tasks import TASKS
from propl import method as method_module
from propl.method import NOISES, ProPL
from propl.network import PROMPTINGS

PROTOCOL = Protocol(
    size=32, batch=4, steps=2, encoder="test_efficientnet", weights="none", text="random"
)
SETUP = Setup(tuple(TASKS), PROTOCOL, seed=0)


def make(**settings) -> ProPL:
    torch.manual_seed(0)
    return ProPL(ProPL.Config(**settings), SETUP)


def make_batch(seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    image, tasks = torch.rand(4, 3, 32, 32, generator=g), torch.arange(4)
    mask = (torch.rand(2, 1, 32, 32, generator=g) > 0.5).float()
    return Batch(image[:2], mask, tasks[:2], tasks[:2], image[2:], tasks[2:], tasks[2:])


CLOCK = Clock(0, 2)
# features, text and keys of two images, for a decoder that does not look at them
NOTHING = [torch.zeros(2, 1, 1, 1)] * 4, torch.zeros(2, 24, 64), torch.arange(2)


def gradients(method: ProPL, term: str) -> dict[str, float]:
    """Largest gradient of one loss term in each part of the network."""
    method.zero_grad()
    method.losses(make_batch(), CLOCK)[term].backward()
    parts = {"encoder": 0.0, "decoder_s": 0.0, "decoder_p": 0.0}
    for name, parameter in method.net.named_parameters():
        if parameter.grad is not None:
            part = name.split(".")[0]
            parts[part] = max(parts[part], parameter.grad.abs().max().item())
    return parts


def test_masks_teach_encoder_and_decoder_s_only():
    parts = gradients(make(), "loss_x")
    assert parts["encoder"] > 0
    assert parts["decoder_s"] > 0
    assert parts["decoder_p"] == 0


def test_pseudo_labels_teach_encoder_and_decoder_p_only():
    parts = gradients(make(), "loss_u")
    assert parts["encoder"] > 0
    assert parts["decoder_s"] == 0
    assert parts["decoder_p"] > 0


def test_alpha_and_the_text_adapters_learn():
    method = make()
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1)
    before = {n: p.detach().clone() for n, p in method.named_parameters()}
    method.train()
    method.update(make_batch(), CLOCK, optimizer)
    for name, parameter in method.named_parameters():
        if "alpha" in name or "adapter" in name:
            assert not torch.equal(parameter, before[name]), name


@pytest.mark.parametrize("noise", NOISES)
def test_noise_is_on_the_deepest_map_only(noise):
    v = [torch.ones(1, 8, 4, 4) for _ in range(4)]
    disturbed = make(noise=noise).disturb(v, torch.tensor([1]))
    assert all(torch.equal(a, b) for a, b in zip(disturbed[:3], v[:3], strict=True))
    assert not torch.equal(disturbed[3], v[3])


def test_dropout_takes_three_of_ten_elements():
    v = [torch.ones(1, 8, 4, 4) for _ in range(4)]
    disturbed = make().disturb(v, torch.tensor([1]))
    values = set(disturbed[3].unique().tolist())
    assert len(values) == 2
    assert 0.0 in values
    assert max(values) == pytest.approx(1 / 0.7)


@pytest.mark.parametrize(
    ("settings", "formula"),
    [
        ({}, lambda mu, gamma: torch.exp(-gamma) * mu),
        ({"power": 2.0}, lambda mu, gamma: torch.exp(-(gamma**2)) * mu),
        (
            {"power": 2.0, "hard": True},
            lambda mu, gamma: (torch.exp(-(gamma**2)) * mu > 0.5).float(),
        ),
    ],
)
def test_the_pseudo_label_is_equations_4_and_5(settings, formula, monkeypatch):
    method = make(perturbations=3, **settings)
    logits = torch.randn(3, 2, 1, 32, 32)
    monkeypatch.setattr(method.net.decoder_s, "forward", lambda v, text: logits.flatten(0, 1))
    target = method.pseudo_label(*NOTHING)
    probs = logits.sigmoid()
    mu = probs.mean(0)
    gamma = ((probs - mu) ** 2).sum(0) / 3
    assert torch.allclose(target, formula(mu, gamma))


def test_without_calibration_one_disturbed_pass_is_the_target(monkeypatch):
    method = make(uplc=False)
    logits = torch.randn(2, 1, 32, 32)
    calls = []

    def decode(v, text):
        calls.append(len(v[-1]))
        return logits

    monkeypatch.setattr(method.net.decoder_s, "forward", decode)
    target = method.pseudo_label(*NOTHING)
    assert torch.allclose(target, logits.sigmoid())
    assert calls == [2]


@pytest.mark.parametrize("prompting", PROMPTINGS)
def test_images_of_two_tasks_in_one_batch_give_what_they_give_alone(prompting):
    method = make(prompting=prompting).double().eval()
    images, tasks = torch.rand(2, 3, 32, 32).double(), torch.tensor([2, 5])
    together = method.predict(images, tasks)
    for i in range(2):
        alone = method.predict(images[i : i + 1], tasks[i : i + 1])
        assert torch.allclose(together[i], alone[0], atol=1e-10)
    exchanged = method.predict(images, tasks.flip(0))
    told = (together - exchanged).abs().amax(dim=(1, 2, 3)) > 1e-6
    assert told.tolist() == [prompting != "none"] * 2


@pytest.mark.parametrize("prompting", ["clip_um", "dodnet"])
def test_what_makes_the_filters_learns(prompting):
    method = make(prompting=prompting).train()
    method.update(make_batch(), CLOCK, torch.optim.SGD(method.parameters(), lr=0.1))
    for name, parameter in method.net.named_parameters():
        if name.startswith("decoder"):
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_one_hot_prompting_needs_no_text_encoder(monkeypatch):
    monkeypatch.setattr(method_module, "text_features", lambda *a, **k: pytest.fail("it is read"))
    make(prompting="dodnet")


@pytest.mark.parametrize("prompting", PROMPTINGS)
def test_trained_weights_need_none_and_hold_no_tensor_twice(prompting):
    method = make(prompting=prompting)
    config = ProPL.Config(prompting=prompting)
    blank = ProPL(config, replace(SETUP, blank=True))
    blank.load_state_dict(method.state_dict())
    places = [value.data_ptr() for value in method.state_dict().values()]
    assert len(places) == len(set(places))
    images, tasks = torch.rand(2, 3, 32, 32), torch.tensor([0, 7])
    assert torch.equal(blank.eval().predict(images, tasks), method.eval().predict(images, tasks))


@pytest.mark.parametrize(
    ("settings", "other"), [({}, "decoder_s"), ({"decoder": "s"}, "decoder_p")]
)
def test_prediction_is_decoder_p_s_or_that_of_the_decoder_asked_for(settings, other):
    method = make(**settings).eval()
    images, tasks = torch.rand(2, 3, 32, 32), torch.tensor([0, 7])
    before = method.predict(images, tasks)
    for parameter in getattr(method.net, other).parameters():
        parameter.data.zero_()
    assert torch.equal(method.predict(images, tasks), before)
    assert before.shape == (2, 1, 32, 32)
    assert 0 <= before.min() <= before.max() <= 1
    with torch.no_grad():
        v = method.net.encoder(normalise(images))
        predicts = getattr(method.net, "decoder_" + method.config.decoder)
        again = predicts(v, method.net.prompt(tasks)).sigmoid()
    torch.testing.assert_close(again, before)


def test_the_unlabelled_loss_weighs_six_times():
    """Released script; the paper does not say."""
    losses = []
    for weight in (6.0, 1.0):
        torch.manual_seed(3)
        method = make(weight=weight)
        losses.append(method.losses(make_batch(), CLOCK)["loss_u"].item())
    assert losses[0] == pytest.approx(6 * losses[1], rel=1e-4)


@pytest.mark.parametrize("variant", ProPL.variants)
def test_every_variant_names_settings_that_exist(variant):
    known = {**vars(ProPL.Config()), **vars(Protocol())}
    assert set(ProPL.variants[variant]) <= set(known)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"perturbations": 0}, {"dropout": 1.0}, {"sigma": -1.0}),
        *({"prompting": "clip"}, {"prompting": "false"}, {"noise": "uniform"}),
    ],
    ids=str,
)
def test_settings_refuse_nonsense(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        ProPL.Config(**wrong)


def test_settings_of_older_records_are_todays():
    """They had other names and values, and lacked those that have come since."""
    older = {"perturbations": 2, "dropout": 0.3, "weight": 6.0, "power": 1.0, "hard": False}
    assert today(older | {"prompting": True, "calibration": True}) == asdict(ProPL.Config())
    ablation = today(older | {"prompting": False, "calibration": False})
    assert ProPL.Config(**ablation) == ProPL.Config(prompting="none", uplc=False)
    for config in (ProPL.Config(), ProPL.Config(prompting="dodnet", noise="gaussian", sigma=0.1)):
        assert today(asdict(config)) == asdict(config)
    for added in ("noise", "sigma", "decoder"):
        without = {k: v for k, v in asdict(ProPL.Config()).items() if k != added}
        assert today(without) == asdict(ProPL.Config())


def test_bce_dice_of_a_perfect_and_an_inverted_prediction():
    target = torch.zeros(1, 1, 8, 8)
    target[..., :4] = 1
    logits = (target * 2 - 1) * 20
    assert bce_dice(logits, target).item() == pytest.approx(0, abs=1e-4)
    # overlap 0 of 32 + 32 pixels with smoothing 1: dice 1 - 1/65; cross-entropy 20
    assert bce_dice(-logits, target).item() == pytest.approx(20 + 1 - 1 / 65, rel=1e-4)
