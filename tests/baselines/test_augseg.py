"""AugSeg: confidence of images, CutMix with labelled help, a teacher that is always as tested."""

from contextlib import nullcontext
from dataclasses import fields

import pytest
import torch
from semi_nets import SIZE, assert_labelled_alone, batch, gradients, tiny
from torch import nn
from torch.nn import functional as F

from baselines.augseg import AugSeg, adaptive_cutmix, confidence, joined
from baselines.semi import SemiSupervised, first_epochs
from benchmark.augment import standardise
from benchmark.keys import step_keys
from benchmark.method import Batch, Clock
from benchmark.pseudo import Pseudo, pseudo
from benchmark.views.pool import random_intensities

CLOCK = Clock(5, 100)


def keys(count: int, step: int = 0) -> torch.Tensor:
    return step_keys(torch.arange(count), 0, step)


def test_with_a_threshold_that_none_passes_the_labelled_gradient_is_left():
    assert_labelled_alone(tiny(AugSeg, tau=1.01), tiny(SemiSupervised), share=1)


def test_an_image_is_trusted_from_not_at_all_to_wholly():
    logits = torch.zeros(3, 2, 4, 4)
    logits[1, 0] = 200
    logits[2, 1, :2] = 200
    k = confidence(pseudo(logits))
    torch.testing.assert_close(k, torch.tensor([0.0, 1.0, 0.5]), atol=1e-6, rtol=0)
    p = torch.tensor([0.9, 0.1])
    expected = 0.9 * (1 + (p * p.log2()).sum())  # with two classes entropy is in bits
    between = confidence(pseudo(p.log().view(1, 2, 1, 1)))
    torch.testing.assert_close(between[0], expected, atol=1e-6, rtol=0)


def numbered(count: int, first: int) -> torch.Tensor:
    """Images whose pixels name them, joined with a label and a confidence that follow from it."""
    number = (first + torch.arange(float(count))).view(-1, 1, 1).expand(-1, SIZE, SIZE)
    return joined(number[:, None], (number % 2).long(), number / 100)


def mixed(k: float, count: int = 8, step: int = 0) -> torch.Tensor:
    trust = torch.full((count,), k)
    return adaptive_cutmix(numbered(count, 0), numbered(count, 20), trust, keys(count, step))


@pytest.mark.parametrize("k", [0.0, 0.5, 1.0])
def test_image_label_and_confidence_stay_together(k):
    owner, label, conf = mixed(k).unbind(1)
    assert torch.equal(label, owner % 2)
    assert torch.equal(conf, owner / 100)


def test_a_box_comes_from_one_image_and_within_it_a_labelled_one():
    sources = [image.unique().tolist() for image in mixed(0.0)[:, 0]]
    own = torch.arange(8).tolist()
    donors = [{int(n) for n in of if n < 20} - {i} for i, of in zip(own, sources, strict=True)]
    labelled = [{int(n) for n in of if n >= 20} for of in sources]
    assert all(len(of) <= 1 for of in donors + labelled)
    assert sum(len(of) for of in donors) > 4
    assert sum(len(of) for of in labelled) > 2
    # both boxes follow one order: labelled image pi(j) is in the copy of image j = pi(i)
    order = {i: of.pop() for i, of in zip(own, donors, strict=True) if of}
    for i, of in zip(own, labelled, strict=True):
        if i in order and of and order[i] in order:
            assert of == {20 + order[order[i]]}


def test_images_of_little_confidence_are_helped():
    def helped(k: float) -> float:
        """Mean share of labelled pixels."""
        return sum((mixed(k, step=n)[:, 0] >= 20).float().mean().item() for n in range(60)) / 60

    assert helped(1.0) == 0
    assert helped(0.0) > 0.05
    assert helped(0.75) == pytest.approx(helped(0.0) / 4, rel=0.3)


def test_boxes_have_the_areas_of_their_distributions():
    """About a half, and a fifth of that half, less what is cut at the border."""
    foreign = torch.stack(
        [(mixed(1.0, step=n)[:, 0] != torch.arange(8.0).view(-1, 1, 1)).float() for n in range(60)]
    )
    assert 0.25 < foreign.mean() < 0.5
    areas = foreign.mean((2, 3))
    assert areas.amax(1).std() > 0.05  # drawn anew for each batch


def test_the_loss_is_over_all_pixels_and_the_confident_ones_count():
    method, given = tiny(AugSeg, tau=0.6), batch()
    for net in (method.net, method.teacher.net):
        net.classify.weight.data *= 20  # sure of itself here and there
    terms = method.losses(given, CLOCK)
    with torch.no_grad():
        (img_x, y_x), img_w = method.weak_x(given), method.weak_u(given)
        u = pseudo(method.teacher.net(standardise(img_w)))
        strong = joined(random_intensities(img_w, given.key_u), u.label, u.conf)
        labelled = joined(img_x, y_x, torch.ones(4, SIZE, SIZE))
        seen = adaptive_cutmix(strong, labelled, confidence(u), given.key_u)
        log_probs = method.net(standardise(seen[:, :1])).log_softmax(1)
        own = -log_probs.gather(1, seen[:, 1:2].long())[:, 0]
        confident = seen[:, 2] >= 0.6
    assert 0 < confident.sum() < confident.numel()
    expected = own[confident].sum() / confident.numel()
    torch.testing.assert_close(terms["loss_u"], expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(terms["kept"], confident.float().mean())
    expected = F.cross_entropy(method.net(standardise(img_x)), y_x)
    torch.testing.assert_close(terms["loss_x"], expected)


def test_labelled_pixels_count_whatever_the_threshold():
    """No other pixel is wholly certain, so with a threshold of 1 only they are left."""
    method = tiny(AugSeg, tau=1.0)
    kept = [method.losses(batch(step=n), CLOCK)["kept"].item() for n in range(4)]
    assert 0 < max(kept) < 0.3
    sure = Pseudo(*(torch.ones(4, SIZE, SIZE) for _ in range(2)), torch.zeros(4, SIZE, SIZE))
    assert torch.equal(confidence(sure), torch.ones(4))


def test_the_teacher_is_taught_by_nothing_but_the_average():
    method = tiny(AugSeg, norm=nn.BatchNorm2d, tau=0.5)
    before = {name: value.clone() for name, value in method.teacher.state_dict().items()}
    named = gradients(method, method.losses(batch(), CLOCK))
    assert not any(name.startswith("teacher") for name in named)
    for name, value in method.teacher.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert method.net.neck[1].num_batches_tracked.item() == 1  # one pass of the student
    learning = [p for p in method.parameters() if p.requires_grad]
    assert len(learning) == len(list(method.net.parameters()))


def test_the_teacher_judges_with_its_running_statistics():
    method, given = tiny(AugSeg, norm=nn.BatchNorm2d), batch()
    seen = []
    method.teacher.net.register_forward_hook(lambda net, _, out: seen.append((net.training, out)))
    method.losses(given, CLOCK)
    ((training, logits),) = seen
    assert not training
    assert method.teacher.net.training  # as it was
    expected = method.teacher.eval().net(standardise(method.weak_u(given)))
    torch.testing.assert_close(logits, expected)
    assert not logits.requires_grad


@pytest.mark.parametrize("on_device", [False, True])
def test_the_teacher_is_a_copy_at_first_and_then_a_long_average(on_device):
    total = 8000
    first = first_epochs(1, total)

    def share_kept(step: int) -> float:
        method = tiny(AugSeg, norm=nn.BatchNorm2d)
        norm, own = method.teacher.net.neck[1], method.net.neck[1]
        for tensor in (norm.weight.data, norm.running_var):
            tensor.fill_(3)
        for tensor in (own.weight.data, own.running_var):
            tensor.fill_(2)
        method.after_step(Clock(torch.tensor(step) if on_device else step, total))
        assert torch.equal(norm.running_var, norm.weight)  # buffers are averaged as weights are
        return norm.weight[0].item() - 2

    assert [share_kept(step) for step in (0, 1, first - 1)] == [0, 0, 0]
    # the decay does not begin anew
    assert share_kept(first) == pytest.approx(1 - 1 / (first + 1), abs=1e-5)
    assert share_kept(total - 1) == pytest.approx(0.999, abs=1e-5)


def test_the_teacher_is_what_predicts():
    method = tiny(AugSeg).eval()
    images = batch().img_x
    with torch.no_grad():
        before = method.predict(images, torch.zeros(4))
        method.net.classify.weight.zero_()
        assert torch.equal(method.predict(images, torch.zeros(4)), before)
        method.teacher.net.classify.weight.zero_()
        assert not torch.equal(method.predict(images, torch.zeros(4)), before)


def test_a_step_reads_no_value_on_the_host(monkeypatch):
    """On a device without values that would be an error; it knows no autocast either."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    method = tiny(AugSeg).to("meta")
    given = Batch(*(getattr(batch(), field.name).to("meta") for field in fields(Batch)))
    clock = Clock(torch.tensor(5, device="meta"), 100)
    terms = method.losses(given, clock)
    sum(terms.values()).backward()
    method.after_step(clock)
    assert set(terms) == {"loss_x", "loss_u", "kept", "kept_foreground"}
