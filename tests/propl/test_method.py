"""ProPL's rules: which loss teaches what, the pseudo-label's formula, the variants."""

import pytest
import torch

from benchmark.losses import bce_dice
from benchmark.method import Batch, Clock, Setup
from benchmark.protocol import Protocol
from dataset_builders.errors import UsageError
from dataset_builders.tasks import TASKS
from propl.method import ProPL

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


def test_dropout_is_on_the_deepest_map_only():
    method = make()
    v = [torch.ones(1, 8, 4, 4) for _ in range(4)]
    disturbed = method.disturb(v, torch.tensor([1]))
    assert all(torch.equal(a, b) for a, b in zip(disturbed[:3], v[:3], strict=True))
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
    method = make(calibration=False)
    logits = torch.randn(2, 1, 32, 32)
    calls = []

    def decode(v, text):
        calls.append(len(v[-1]))
        return logits

    monkeypatch.setattr(method.net.decoder_s, "forward", decode)
    target = method.pseudo_label(*NOTHING)
    assert torch.allclose(target, logits.sigmoid())
    assert calls == [2]


def test_prediction_is_decoder_p_s():
    method = make().eval()
    images, tasks = torch.rand(2, 3, 32, 32), torch.tensor([0, 7])
    before = method.predict(images, tasks)
    for parameter in method.net.decoder_s.parameters():
        parameter.data.zero_()
    assert torch.equal(method.predict(images, tasks), before)
    assert before.shape == (2, 1, 32, 32)
    assert 0 <= before.min() <= before.max() <= 1


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


@pytest.mark.parametrize("wrong", [{"perturbations": 0}, {"dropout": 1.0}])
def test_settings_refuse_nonsense(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        ProPL.Config(**wrong)


def test_bce_dice_of_a_perfect_and_an_inverted_prediction():
    target = torch.zeros(1, 1, 8, 8)
    target[..., :4] = 1
    logits = (target * 2 - 1) * 20
    assert bce_dice(logits, target).item() == pytest.approx(0, abs=1e-4)
    # overlap 0 of 32 + 32 pixels with smoothing 1: dice 1 - 1/65; cross-entropy 20
    assert bce_dice(-logits, target).item() == pytest.approx(20 + 1 - 1 / 65, rel=1e-4)
