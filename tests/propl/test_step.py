"""A step of ours is a step of the released arithmetic: same losses, same gradients, less work."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import nn

from baselines.networks import text
from benchmark.augment import normalise, weak
from benchmark.method import Batch, Clock, Setup
from benchmark.protocol import Protocol
from benchmark.settings import field_names
from dataset_builders.tasks import TASKS
from propl import method as method_module
from propl import plain as plain_module
from propl.method import NOISES, ProPL
from propl.plain import PlainProPL

CLOCK = Clock(0, 2)
ENCODERS = ["test_convnext", "test_efficientnet"]  # without and with batch statistics
PROTOCOL = Protocol(size=32, batch=6, weights="none", text="random")


def make(kind: type[ProPL], encoder: str, **settings) -> ProPL:
    torch.manual_seed(0)
    setup = Setup(tuple(TASKS), replace(PROTOCOL, encoder=encoder), seed=0)
    return kind(ProPL.Config(**settings), setup).train()


def make_batch(device: str = "cpu") -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(6, 1, 32, 32, generator=generator)
    masks = (torch.rand(3, 1, 32, 32, generator=generator) > 0.5).float()
    tasks, keys = torch.arange(6), torch.arange(6) * 12345
    columns = (images[:3], masks, tasks[:3], keys[:3], images[3:], tasks[3:], keys[3:])
    return Batch(*(column.to(device) for column in columns))


RELEASED = {k: v for k, v in ProPL.variants["released"].items() if k in field_names(ProPL.Config())}
OTHERS = [
    {"prompting": "none", "uplc": False},
    {"prompting": "clip_um"},
    {"prompting": "dodnet", "perturbations": 3},
    {"noise": "gaussian"},
]


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("settings", [{}, RELEASED, *OTHERS], ids=str)
def test_losses_and_gradients_are_those_of_n_plus_2_full_forwards(settings, encoder, monkeypatch):
    def exact(*given):  # views are made in float32
        return tuple(part.double() for part in weak(*given))

    def exact_input(*given):
        view, masks = exact(*given)
        return normalise(view), masks

    monkeypatch.setattr(plain_module, "weak", exact)
    monkeypatch.setattr(method_module, "weak_input", exact_input)
    ours, plain = (make(kind, encoder, **settings).double() for kind in (ProPL, PlainProPL))
    ours_terms, plain_terms = (side.losses(make_batch(), CLOCK) for side in (ours, plain))
    for name, term in plain_terms.items():
        assert ours_terms[name].item() == pytest.approx(term.item(), rel=1e-10), name
    for terms in (ours_terms, plain_terms):
        sum(terms.values()).backward()
    learnt = 0
    for (name, a), b in zip(ours.named_parameters(), plain.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        if b.grad is not None:
            assert torch.allclose(a.grad, b.grad, rtol=1e-6, atol=1e-12), name
            learnt += int(b.grad.abs().max() > 1e-9)
    assert learnt > 50


@pytest.mark.parametrize(("encoder", "encodings"), [(ENCODERS[0], 1), (ENCODERS[1], 2)])
def test_a_step_does_no_more_than_it_must(encoder, encodings, monkeypatch):
    method = make(ProPL, encoder, perturbations=3)
    monkeypatch.setattr(text, "_bert", lambda name: pytest.fail("the text is read anew"))
    calls: Counter[str] = Counter()
    for name in ("encoder", "decoder_s", "decoder_p"):
        part = getattr(method.net, name)
        part.register_forward_hook(lambda *_, name=name: calls.update([name]))
    method.update(make_batch(), CLOCK, torch.optim.SGD(method.parameters(), lr=0.1))
    # decoder S on the labelled images and on all passes together
    assert calls == {"encoder": encodings, "decoder_s": 2, "decoder_p": 1}
    statistics = {
        name: module.num_batches_tracked.item()
        for name, module in method.net.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    for name, expected in (("decoder_s", 1 + 3), ("decoder_p", 1)):
        assert {n for key, n in statistics.items() if key.startswith(name)} == {expected}


@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [(torch.optim.SGD, {}), (torch.optim.AdamW, {}), *((torch.optim.SGD, own) for own in OTHERS)],
)
def test_a_step_reads_no_value_from_the_device(optimizer, settings):
    """Values of the meta device cannot be read: who asks for one, or for their number, fails."""
    method = make(ProPL, ENCODERS[0], **settings).to("meta")
    terms = method.update(make_batch("meta"), CLOCK, optimizer(method.parameters(), lr=0.1))
    assert set(terms) == {"loss_x", "loss_u"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_step_never_waits_for_the_gpu():
    method, batch = make(ProPL, ENCODERS[0]).cuda(), make_batch("cuda")
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1, momentum=0.9)
    method.update(batch, CLOCK, optimizer)  # libraries may wait when they are first used
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        method.update(batch, CLOCK, optimizer)
    finally:
        torch.cuda.set_sync_debug_mode(before)


@pytest.mark.parametrize("noise", NOISES)
def test_same_keys_same_step_whatever_the_generator(noise):
    losses = []
    for seed in (1, 2):
        method = make(ProPL, ENCODERS[0], noise=noise)
        torch.manual_seed(seed)
        losses.append({k: v.item() for k, v in method.losses(make_batch(), CLOCK).items()})
    assert losses[0] == losses[1]
