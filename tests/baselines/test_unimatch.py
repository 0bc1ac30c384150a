"""UniMatch: two strong views and dropped channels; its second version."""

from contextlib import nullcontext
from dataclasses import fields

import pytest
import torch
from semi_nets import SIZE, TinyNet, batch, gradients, tiny
from torch import nn
from torch.nn import functional as F

from baselines.semi import SemiSupervised
from baselines.unimatch import UniMatch, channel_dropout, complementary_dropout, strong_view
from benchmark.augment import standardise
from benchmark.keys import step_keys
from benchmark.method import Batch, Clock
from benchmark.pseudo import masked_ce, pseudo, squared_dice

CLOCK = Clock(5, 100)
VARIANTS = ("paper", "natural", "v2")


def keys(count: int) -> torch.Tensor:
    return step_keys(torch.arange(count), 0, 0)


def assert_same(ours, theirs, factor):
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], factor * theirs[name], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("variant", VARIANTS)
def test_with_a_threshold_that_none_passes_half_the_labelled_gradient_is_left(variant):
    method, labelled = tiny(UniMatch, variant=variant, tau=1.01), tiny(SemiSupervised)
    terms = method.losses(batch(), CLOCK)
    assert terms["loss_u"].item() == 0
    assert terms["kept"].item() == 0
    theirs = labelled.losses(batch(), CLOCK)
    if variant == "paper":
        img_x, y_x = labelled.weak_x(batch())
        dice = squared_dice(labelled.net(standardise(img_x)), y_x)
        theirs = {"loss_x": (theirs["loss_x"] + dice) / 2}
    assert_same(gradients(method, terms), gradients(labelled, theirs), 0.5)


class Seen:
    """What the unlabelled loss of a method was asked."""

    def __init__(self, method):
        self.calls = []
        self.values = []
        self._loss = method.loss_u
        method.loss_u = self

    def __call__(self, logits, u):
        self.calls.append((logits.detach(), u))
        self.values.append(self._loss(logits, u))
        return self.values[-1]


def sure(variant: str = "paper", **config) -> UniMatch:
    """A method whose network is sure of either class here and there."""
    method = tiny(UniMatch, variant=variant, tau=0.6, **config)
    for net in [method.net] + ([method.teacher.net] if method.teacher else []):
        net.classify.weight.data *= 20
        net.classify.bias.data += torch.tensor([0.0, 2.3])
    return method


@pytest.mark.parametrize("variant", ["paper", "natural"])
def test_the_terms_of_the_unlabelled_loss(variant):
    method, given = sure(variant), batch()
    seen = Seen(method)
    terms = method.losses(given, CLOCK)
    (pred_s1, u_s1), (_, u_s2), (pred_fp, u_fp) = seen.calls
    with torch.no_grad():
        img_w = method.weak_u(given)
        u = pseudo(method.net(standardise(img_w)))
        img_s, box = strong_view(img_w, given.key_u)
        torch.testing.assert_close(pred_s1, method.net(standardise(img_s)))
        maps = method.net.encode(standardise(torch.cat((method.weak_x(given)[0], img_w))))
        dropped = channel_dropout(maps, torch.cat((given.key_x, given.key_u)))
        logits = method.net.decode(method.net.fuse(dropped))
        torch.testing.assert_close(pred_fp, logits[4:])
    assert torch.equal(u_s1.label, u.paste(u.roll(), box).label)
    assert not torch.equal(u_s1.label, u.label)
    assert not torch.equal(u_s2.label, u_s1.label)
    assert torch.equal(u_fp.label, u.label)  # nothing was pasted into that image
    torch.testing.assert_close(u_fp.conf, u.conf)
    assert 0 < u.label.sum() < u.label.numel()
    s1, s2, fp = seen.values
    torch.testing.assert_close(terms["loss_u"], s1 / 8 + s2 / 8 + fp / 4)
    for logits, labels, value in zip(*zip(*seen.calls, strict=True), seen.values, strict=True):
        kept = labels.conf >= 0.6
        assert 0 < kept.sum() < kept.numel()
        if variant == "paper":
            expected = squared_dice(logits, labels.label, kept)
        else:
            expected = masked_ce(logits, labels.label, kept, over="all")
        torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_two_strong_views_differ(variant):
    method = sure(variant)
    seen = []
    encode = TinyNet.encode
    method.net.encode = lambda images: seen.append(images) or encode(method.net, images)
    method.losses(batch(unlabelled=16), CLOCK)
    first, second = seen[-1].chunk(2)
    # but for those that neither view changes
    assert ((first - second).abs().amax((1, 2, 3)) > 0.01).sum() >= 12


def test_a_strong_view_and_its_box_hold_the_image_before():
    number = torch.arange(6.0).view(-1, 1, 1, 1).expand(-1, 1, SIZE, SIZE) / 10
    seen, box = strong_view(number, keys(6))
    for i in range(6):
        inside = seen[i][box[i]]
        assert len(inside.unique()) <= 1  # one level: that of the image before
    assert 0 < box.any((1, 2, 3)).sum() < 6


@pytest.mark.parametrize("variant", ["paper", "natural"])
def test_passes_and_what_they_teach_batch_norm(variant):
    """One of the donor as at test time, and two; the decoder also sees the dropped copies."""
    method = tiny(UniMatch, norm=nn.BatchNorm2d, variant=variant)
    encoded, decoded = [], []
    method.net.fine.register_forward_hook(lambda net, given, out: encoded.append(len(out)))
    method.net.classify.register_forward_hook(lambda net, given, out: decoded.append(len(out)))
    method.losses(batch(), CLOCK)
    assert encoded == [4, 8, 8]
    assert decoded == [4, 16, 8]
    assert method.net.neck[1].num_batches_tracked.item() == 2


def test_dropout_takes_whole_channels_at_its_rate():
    maps = [torch.rand(40, 64, 5, 5) + 1, torch.rand(40, 32, 3, 3) + 1]
    dropped = channel_dropout(maps, keys(40))
    gone = []
    for clean, part in zip(maps, dropped, strict=True):
        factor = part / clean
        torch.testing.assert_close(factor, factor[:, :, :1, :1].expand_as(factor))
        values = factor[:, :, 0, 0]
        assert ((values == 0) | (values == 2)).all()
        gone.append(values == 0)
        assert gone[-1].float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert gone[0].unique(dim=0).shape[0] == 40  # each image has its own
    assert not torch.equal(gone[0][:, :32], gone[1])  # and each map
    alone = channel_dropout([of[7:8] for of in maps], keys(40)[7:8])
    assert all(torch.equal(a[0], b[7]) for a, b in zip(alone, dropped, strict=True))
    assert not torch.equal(channel_dropout(maps, keys(40) + 1)[0], dropped[0])


def test_complementary_dropout_shares_the_channels_out():
    maps = [torch.rand(80, 64, 5, 5) + 1, torch.rand(80, 32, 3, 3) + 1]
    whole = []
    for clean, part in zip(maps, complementary_dropout(maps, keys(40)), strict=True):
        factor = (part / clean)[:, :, 0, 0]
        torch.testing.assert_close(part, clean * factor[:, :, None, None])
        first, second = factor.chunk(2)
        assert torch.equal(first + second, torch.full_like(first, 2))
        whole.append((first == 1).all(1))
        dropping = first[~whole[-1]]
        assert ((dropping == 0) | (dropping == 2)).all()
        assert (dropping == 0).float().mean().item() == pytest.approx(0.5, abs=0.05)
        assert len(dropping.unique(dim=0)) == len(dropping)
    assert 10 < whole[0].sum() < 30
    assert torch.equal(*whole)  # an image is left alone in all its maps or in none


@pytest.mark.parametrize("dice", [False, True])
def test_the_second_version_learns_from_its_teacher(dice):
    method, given = sure("v2", dice=dice), batch()
    method.teacher.net.classify.bias.data += 1  # another opinion than the student's
    seen = Seen(method)
    terms = method.losses(given, CLOCK)
    (pred_s1, u_s1), _ = seen.calls
    with torch.no_grad():
        img_w = method.weak_u(given)
        u = pseudo(method.teacher.net(standardise(img_w)))
        img_s, box = strong_view(img_w, given.key_u)
        maps = [torch.cat((of, of)) for of in method.net.encode(standardise(img_s))]
        f = method.net.fuse(complementary_dropout(maps, given.key_u))
    torch.testing.assert_close(pred_s1, method.net.decode(f)[:4])
    assert torch.equal(u_s1.label, u.paste(u.roll(), box).label)
    torch.testing.assert_close(terms["loss_u"], sum(seen.values) / 4)
    img_x, y_x = method.weak_x(given)
    expected = F.cross_entropy(method.net(standardise(img_x)), y_x)
    if dice:
        expected = (expected + squared_dice(method.net(standardise(img_x)), y_x)) / 2
    torch.testing.assert_close(terms["loss_x"], expected / 2)


def test_the_second_versions_teacher_is_an_average_and_predicts():
    method = tiny(UniMatch, norm=nn.BatchNorm2d, variant="v2", tau=0.5)
    before = {name: value.clone() for name, value in method.teacher.state_dict().items()}
    named = gradients(method, method.losses(batch(), CLOCK))
    assert not any(name.startswith("teacher") for name in named)
    for name, value in method.teacher.state_dict().items():
        assert torch.equal(value, before[name]), name
    teacher, student = method.teacher.net.neck[1], method.net.neck[1]
    for net, value in ((teacher, 3.0), (student, 2.0)):
        net.weight.data.fill_(value)
        net.running_var.fill_(value)
    method.after_step(Clock(10_000, 20_000))
    assert teacher.weight[0].item() == pytest.approx(2.996)
    assert torch.equal(teacher.running_var, teacher.weight)
    assert method.evaluated is method.teacher.net
    assert tiny(UniMatch).evaluated is not None
    assert tiny(UniMatch).teacher is None


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_reads_no_value_on_the_host(variant, monkeypatch):
    """On a device without values that would be an error; it knows no autocast either."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    method = tiny(UniMatch, variant=variant).to("meta")
    given = Batch(*(getattr(batch(), field.name).to("meta") for field in fields(Batch)))
    clock = Clock(torch.tensor(5, device="meta"), 100)
    terms = method.losses(given, clock)
    sum(terms.values()).backward()
    method.after_step(clock)
    assert set(terms) == {"loss_x", "loss_u", "kept", "kept_foreground"}
