"""DDFP: the step down a density, the flow's own optimiser, two batch norms in one place."""

from copy import deepcopy

import pytest
import torch
from semi_nets import batch, gradients, tiny
from torch import nn

from baselines.ddfp import DDFP, NOISE, Adam, SplitNorm, auxiliary, normals, split_norms
from baselines.networks.flow import UNLABELLED
from baselines.semi import SemiSupervised, rows
from benchmark.augment import standardise, strong
from benchmark.ema import Ema
from benchmark.method import Clock
from benchmark.pseudo import pseudo
from benchmark.views.boxes import paste

LATE = Clock(50, 100)  # first epochs end at 10 and 20


def sure(method):
    """The same with a teacher that is sure of itself here and there."""
    method.net.classify.weight.data *= 20
    method.teacher.net.classify.weight.data *= 20
    return method


def features(method, seed=0):
    """f (4, 16, 8, 8), and which positions have a label."""
    f = method.net.fuse(method.net.encode(standardise(batch(seed=seed).img_u))).detach()
    generator = torch.Generator().manual_seed(seed)
    return f, torch.rand(4, 8, 8, generator=generator) < 0.5


def log_p(method, f, kept):
    """Sum of log p where a label is, by the auxiliary batch norm."""
    with torch.no_grad(), auxiliary(method.net.neck):
        return (method.density(rows(method.net.head(f))) * kept.flatten()).sum().item()


def test_a_small_step_lowers_the_density():
    method = tiny(DDFP, norm=nn.BatchNorm2d, epsilon=1e-2)
    f, kept = features(method)
    r = method.perturbation(f, kept)
    before = log_p(method, f, kept)
    assert log_p(method, f + r, kept) < before - 1e-2
    assert log_p(method, f - r, kept) > before + 1e-2


def test_every_labelled_position_moves_by_epsilon_and_no_other_at_all():
    method = tiny(DDFP, norm=nn.BatchNorm2d, epsilon=3.0)
    f, kept = features(method)
    length = method.perturbation(f, kept).norm(dim=1)
    assert (length[~kept] == 0).all()
    torch.testing.assert_close(length[kept], torch.full_like(length[kept], 3.0))


def test_the_step_is_fp32_under_autocast():
    method = tiny(DDFP, norm=nn.BatchNorm2d)
    f, kept = features(method)
    expected = method.perturbation(f, kept)
    with torch.autocast("cpu", torch.bfloat16):
        r = method.perturbation(f, kept)
    assert r.dtype == torch.float32
    torch.testing.assert_close(r, expected, rtol=0, atol=1e-6)


def test_without_a_label_nothing_moves():
    method = tiny(DDFP)
    f, kept = features(method)
    assert (method.perturbation(f, torch.zeros_like(kept)) == 0).all()


def test_with_a_threshold_that_none_passes_only_the_labelled_gradient_is_left():
    method, labelled = tiny(DDFP, tau=1.01), tiny(SemiSupervised)
    terms = method.losses(batch(), LATE)
    assert terms["loss_u"].item() == terms["loss_r"].item() == terms["kept"].item() == 0
    ours = gradients(method, terms)
    theirs = gradients(labelled, labelled.losses(batch(), LATE))
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-7)


def test_every_parameter_learns_once_some_pixel_is_confident():
    method = tiny(DDFP, norm=nn.BatchNorm2d, tau=0.5)
    reached = gradients(method, method.losses(batch(), LATE))
    learning = {name for name, w in method.named_parameters() if w.requires_grad}
    assert reached.keys() == learning
    assert all(gradient.abs().sum() > 0 for gradient in reached.values())
    assert not any(name.startswith(("teacher", "density")) for name in learning)


def test_batch_norms_see_what_they_are_for():
    method = tiny(DDFP, norm=nn.BatchNorm2d)
    student, teacher = method.net.neck[1], method.teacher.net.neck[1]
    assert torch.equal(student.main.weight, student.auxiliary.weight)
    method.losses(batch(), LATE)
    # the clean pass; that of the gradient and that of the disturbed features
    assert student.main.num_batches_tracked.item() == 1
    assert student.auxiliary.num_batches_tracked.item() == 2
    assert teacher.main.num_batches_tracked.item() == 1
    assert teacher.auxiliary.num_batches_tracked.item() == 0
    own = teacher.main.running_mean.clone()
    method.after_step(LATE)
    assert torch.equal(teacher.main.running_mean, own)
    assert not torch.equal(own, student.main.running_mean)


def test_split_norms_begin_equal_and_are_told_apart():
    nested = nn.Sequential(nn.Sequential(nn.BatchNorm2d(3)), nn.ReLU())
    split_norms(nested)
    norm = nested[0][0]
    assert isinstance(norm, SplitNorm)
    norm.auxiliary.bias.data += 1
    x = torch.randn(4, 3, 5, 5)
    clean = norm(x)
    with auxiliary(nested):
        disturbed = norm(x)
    torch.testing.assert_close(disturbed, clean + 1)
    assert torch.equal(norm(x), clean)


@pytest.mark.parametrize(("step", "moves"), [(5, False), (15, False), (25, True)])
def test_phases(step, moves):
    """Labels alone, then unlabelled images, then disturbed ones."""
    still, method = sure(tiny(DDFP, epsilon=0.0)), sure(tiny(DDFP))
    before = deepcopy(method.density.state_dict())
    clock = Clock(step, 100)
    terms, reference = method.losses(batch(), clock), still.losses(batch(), clock)
    assert terms["kept"] > 0
    assert (terms["loss_u"] > 0).item() == (step >= 10)
    assert (terms["loss_r"] != reference["loss_r"]).item() == moves
    learned = any(not torch.equal(w, before[n]) for n, w in method.density.state_dict().items())
    assert learned == (step >= 10)
    assert method.adam.steps.item() == (step >= 10)


def test_the_clock_may_be_on_the_device():
    plain, recorded = sure(tiny(DDFP)), sure(tiny(DDFP))
    terms = plain.losses(batch(), LATE)
    others = recorded.losses(batch(), Clock(torch.tensor(50), 100))
    for name, term in terms.items():
        torch.testing.assert_close(others[name], term)
    torch.testing.assert_close(recorded.density.state_dict(), plain.density.state_dict())


def test_the_unlabelled_terms_are_halves_of_means_over_confident_pixels():
    method, given = sure(tiny(DDFP, tau=0.9, epsilon=0.0)), batch()
    terms = method.losses(given, LATE)
    # undisturbed and without batch norm the two are one
    torch.testing.assert_close(terms["loss_u"], terms["loss_r"])
    with torch.no_grad():
        img_w, box = method.weak_u(given), method.half_boxes_u(given)
        img_s = strong(img_w, given.key_u)
        u = pseudo(method.teacher.net(standardise(img_w)))
        u = u.paste(u.roll(), box)
        pred = method.net(standardise(paste(img_s, img_s.roll(1, 0), box)))
        ce = nn.functional.cross_entropy(pred, u.label, reduction="none")
    assert 0.1 < terms["kept"] < 0.95
    torch.testing.assert_close(terms["loss_u"], 0.5 * ce[u.conf > 0.9].mean())


def test_the_flow_learns_labelled_positions_by_class_and_the_others_by_the_mixture():
    method = tiny(DDFP)
    density = deepcopy(method.density)
    v, key = torch.randn(40, 8), torch.tensor([7])
    label = torch.tensor([0, 1, UNLABELLED, UNLABELLED] * 10)
    noisy = []
    method.density.register_forward_pre_hook(lambda module, given: noisy.append(given[0]))
    nll = method.learn_density(v, label, key, LATE)
    torch.testing.assert_close(nll, -density(noisy[0], label).mean())
    assert (noisy[0] - v).std().item() == pytest.approx(NOISE, rel=0.2)
    assert -method.density(noisy[0], label).mean() < nll
    assert not nll.requires_grad


def test_positions_are_drawn_without_replacement(monkeypatch):
    monkeypatch.setattr("baselines.ddfp.SAMPLED", 30)
    monkeypatch.setattr("baselines.ddfp.NOISE", 0.0)
    method, seen = tiny(DDFP), []
    method.density.register_forward_pre_hook(lambda module, given: seen.append(given))
    v = torch.arange(100.0)[:, None].expand(100, 8) / 100
    method.learn_density(v, torch.arange(100) % 2, torch.tensor([7]), LATE)
    rows_, label = seen[0]
    places = (100 * rows_[:, 0]).round().long()
    assert len(places.unique()) == 30
    assert torch.equal(label, places % 2)
    assert places.max() > 60


def test_adam_is_torchs():
    torch.manual_seed(0)
    theirs = nn.Linear(3, 2)
    ours = deepcopy(theirs).requires_grad_(False)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=1e-2, betas=(0.5, 0.9))
    adam = Adam(8)
    adam.step(list(ours.parameters()), torch.randn(8), 1e-2, on=False)  # changes nothing
    for step in range(4):
        optimizer.param_groups[0]["lr"] = 1e-2 / (step + 1)
        gradient = torch.randn(8)
        parts = gradient.split([6, 2])
        for weight, part in zip(theirs.parameters(), parts, strict=True):
            weight.grad = part.view_as(weight)
        optimizer.step()
        adam.step(list(ours.parameters()), gradient, 1e-2 / (step + 1))
        torch.testing.assert_close(list(ours.parameters()), [w.data for w in theirs.parameters()])


def test_a_killed_training_goes_on_as_if_it_had_not_been():
    def run(method, optimizer, steps):
        for step in steps:
            clock = Clock(step, 100)
            method.update(batch(step=step), clock, optimizer)
            method.after_step(clock)

    def sgd(method):
        return torch.optim.SGD([w for w in method.parameters() if w.requires_grad], lr=0.01)

    whole, resumed = sure(tiny(DDFP, tau=0.6)), tiny(DDFP, tau=0.6)
    optimizer = sgd(whole)
    run(whole, optimizer, range(30, 33))
    resumed.load_state_dict(whole.state_dict())
    run(whole, optimizer, range(33, 35))
    run(resumed, sgd(resumed), range(33, 35))
    state = whole.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in resumed.state_dict().items())


def test_the_teacher_is_evaluated():
    method = tiny(DDFP)
    assert isinstance(method.teacher, Ema)
    method.net.classify.weight.data.zero_()
    images = batch().img_x
    probs = method.eval().predict(images, batch().task_x)
    expected = method.teacher.net(standardise(images)).softmax(1)[:, 1:]
    assert torch.equal(probs, expected)


def test_normals_are_normal_and_of_their_key():
    numbers = normals(torch.tensor([3]), 20_001)
    assert len(numbers) == 20_001
    assert torch.equal(numbers, normals(torch.tensor([3]), 20_001))
    share = torch.special.ndtr(numbers).sort().values
    uniform = torch.linspace(0, 1, len(share))
    assert (share - uniform).abs().max() < 0.012  # Kolmogorov and Smirnov, 1 %
