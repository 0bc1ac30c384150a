"""CSC-PA: attention to prototypes, affinity of neighbours, masks, and two updates a step."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from semi_nets import TinyNet, batch, drawn_square, maps, tiny
from torch import nn
from torch.nn import functional as F

from baselines.csc_pa import CSCPA, GRID, affinity, squares
from baselines.networks.prototype_attention import (
    ITEMS,
)
from baselines.networks.segnet import enlarge
from benchmark.augment import standardise
from benchmark.keys import derive, stable_key, step_keys
from benchmark.method import Clock, Setup, plain_backward
from benchmark.protocol import Protocol
from benchmark.pseudo import pseudo
from dataset_builders.errors import UsageError

LATE = Clock(50, 100)
KEY = step_keys(torch.arange(1), 0, 0)


def optimiser(method, rate=0.01):
    return torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=rate)


def weights(method):
    return torch.cat([p.detach().flatten() for p in method.net.parameters()]).clone()


# networks


def test_an_image_alone_passes_the_plain_network():
    method = tiny(CSCPA)
    method.epa.store(torch.rand(ITEMS, 16))
    images = standardise(batch().img_x)
    alone = method(images)
    assert torch.equal(enlarge(alone.logits), method.net(images))
    assert torch.equal(alone.f, alone.f_out)
    foreground = method.net(images).softmax(1)[:, 1:]
    assert torch.equal(method.predict(batch().img_x, batch().task_x), foreground)


def test_a_pair_has_the_sum_of_f_and_both_attentions_before_the_head():
    method = tiny(CSCPA)
    method.epa.store(torch.rand(ITEMS, 16))
    x, u = standardise(batch().img_x), standardise(batch().img_u)
    both = method(x, u)
    f = method.net.fuse(method.net.encode(torch.cat((x, u))))
    torch.testing.assert_close(both.f, f)
    torch.testing.assert_close(both.f_out, f + method.fpa(f) + method.epa(f))
    torch.testing.assert_close(both.logits, method.net.classify(method.net.head(both.f_out)))
    assert (both.logits[:4] - method(x).logits).abs().max() > 0.01


def test_the_containers_map_learns_and_in_the_release_does_not():
    for variant in ("paper", "released"):
        method = tiny(CSCPA, variant=variant)
        with torch.no_grad():
            method.epa.store(torch.rand(ITEMS, 16))
            method.epa.store(torch.rand(ITEMS, 16))
        before = method.epa.mix.weight.detach().clone()
        method.update(batch(), LATE, optimiser(method, 1.0))
        assert torch.equal(before, method.epa.mix.weight) == (variant == "released")


# affinity


def test_affinity_is_the_share_of_foreground_among_similar_neighbours():
    f = maps(5, count=1)
    sigma = torch.where(maps(6, count=1)[:, 0] > 0, 1.0, -1.0)
    sigma[0, 1, 1] = 0  # a pixel that does not count
    found = affinity(sigma, f)
    for y in range(5):
        for x in range(5):
            total = foreground = 0.0
            for j in range(max(y - 1, 0), min(y + 2, 5)):
                for i in range(max(x - 1, 0), min(x + 2, 5)):
                    alike = F.cosine_similarity(f[0, :, y, x], f[0, :, j, i], dim=0).clamp_min(0)
                    if (j, i) != (y, x) and sigma[0, j, i] != 0:
                        total += alike.item()
                        foreground += alike.item() * (sigma[0, j, i].item() > 0)
            share = foreground / total if total else 0.5
            assert found[0, y, x].item() == pytest.approx(share, abs=1e-5)


def test_labels_weigh_all_neighbours_alike():
    sigma = 2.0 * drawn_square() - 1
    found = affinity(sigma)[0]
    assert found[3, 3] == 1
    assert found[0, 0] == 0
    assert found[2, 2] == 3 / 8
    assert found[1, 2] == 2 / 8
    assert (affinity(torch.zeros(1, 4, 4)) == 0.5).all()


def test_the_affinity_loss_has_a_gradient_and_in_the_release_has_none():
    for variant in ("paper", "released"):
        method = tiny(CSCPA, variant=variant)
        both = method(standardise(batch().img_x), standardise(batch().img_u))
        x, _ = both.split(4)
        loss = method.pal_x(x, (batch().mask_x[:, 0] > 0).long())
        assert loss.item() > 0
        assert loss.requires_grad == (variant == "paper")
        if variant == "paper":
            gradient = torch.autograd.grad(loss, method.net.fine[0].weight)[0]
            assert gradient.abs().max() > 1e-6


# masks


def of_confidence(foreground, uncertain):
    """Logits (1, 2, 64, 64) with foreground in some squares, and of it some uncertain."""
    score = torch.full((1, GRID, GRID), -4.0)
    score.view(-1)[foreground] = 4.0
    score.view(-1)[uncertain] = 0.5
    z = score.repeat_interleave(8, 1).repeat_interleave(8, 2)
    return torch.stack((-z, z), 1) / 2


def blanked(logits, clock, seed=0):
    blank = squares(logits, step_keys(torch.arange(1), seed, 0), clock)
    assert blank.shape == (1, 1, 64, 64)
    per_square = blank.float().unfold(2, 8, 8).unfold(3, 8, 8).flatten(4).mean(4).flatten()
    assert set(per_square.tolist()) <= {0.0, 1.0}
    return per_square.bool()


@pytest.mark.parametrize(("step", "protected"), [(0, 7), (50, 4), (99, 1)])
def test_the_most_uncertain_squares_stay_and_seven_tenths_of_the_others_go(step, protected):
    """0.7 * (1 - e/E) of the ten squares with foreground, rounded up."""
    foreground = list(range(20, 30))
    logits = of_confidence(foreground, foreground[:protected])
    went = torch.zeros(64)
    for seed in range(40):
        chosen = blanked(logits, Clock(step, 100), seed)
        assert chosen.sum() == math.ceil(0.7 * (64 - protected))
        went += chosen
    assert went[foreground[:protected]].sum() == 0
    others = [i for i in range(64) if i not in foreground[:protected]]
    assert went[others].min() > 0.4 * 40
    assert went[others].max() < 40


def test_images_without_foreground_lose_squares_too():
    assert blanked(of_confidence([], []), Clock(0, 100)).sum() == math.ceil(0.7 * 64)


# the step


def test_a_step_updates_twice_and_the_first_phase_once():
    for clock, updates in ((Clock(4, 100), 1), (Clock(5, 100), 2)):
        method = tiny(CSCPA)
        seen = [weights(method)]

        def backward(losses, batch, clock, seen=seen, method=method):
            terms = plain_backward(losses, batch, clock)
            seen.append(weights(method))
            return terms

        terms = method.update(batch(), clock, optimiser(method), backward)
        seen.append(weights(method))
        changes = sum(not torch.equal(a, b) for a, b in pairwise(seen))
        assert changes == updates
        assert len(seen) == updates + 2
        if updates == 2:
            assert terms.keys() >= {"loss_x", "loss_u", "loss_pal", "kept", "kept_foreground"}


def test_the_first_phase_knows_nothing_of_unlabelled_images_and_pairs_the_labelled():
    method = tiny(CSCPA)
    given = batch()
    other = replace(given, img_u=1 - given.img_u)
    early = Clock(0, 100)
    assert torch.equal(method.losses(given, early)["loss_x"], method.losses(other, early)["loss_x"])
    images, y_x = method.weak_x(given)
    first, second = standardise(images).split(2)
    logits = enlarge(method(first, second).logits)
    torch.testing.assert_close(method.losses(given, early)["loss_x"], F.cross_entropy(logits, y_x))


def test_edges_are_collected_from_the_last_step_of_the_first_phase_on():
    method = tiny(CSCPA)
    optimizer = optimiser(method)
    for step in range(5):
        assert not method.epa.fresh.any()
        method.update(batch(step=step), Clock(step, 100), optimizer)
    assert method.epa.fresh.any()
    assert not method.epa.container.any()
    fresh = method.epa.fresh.clone()
    method.update(batch(step=5), Clock(5, 100), optimizer)
    assert torch.equal(method.epa.container, fresh)
    assert not torch.equal(method.epa.fresh, fresh)


def test_the_masked_images_must_give_the_labels_of_the_whole_ones():
    """Of pixels below the 90th percentile of entropy in mid-training; mean times N / kept."""
    method, given = tiny(CSCPA), batch()
    method.whole(given, LATE)
    terms = method.masked(given, LATE)
    img_x, img_u = standardise(method.weak_x(given)[0]), standardise(method.weak_u(given))
    with torch.no_grad():
        _, u = method(img_x, img_u).split(4)
        said = pseudo(enlarge(u.logits))
        kept = said.entropy < said.entropy.flatten().quantile(0.9)
        blank = squares(enlarge(u.logits), derive(given.key_u, stable_key("csc_pa/mask")), LATE)
        _, m = method(img_x, img_u * ~blank).split(4)
        ce = F.cross_entropy(enlarge(m.logits), said.label, reduction="none")
    assert terms["kept"].item() == pytest.approx(0.9, abs=0.001)
    expected = ce[kept].mean() * kept.numel() / kept.sum()
    torch.testing.assert_close(terms["loss_u"].detach(), expected, rtol=1e-4, atol=1e-6)
    assert method.seen.u.logits.requires_grad is False


def test_batch_norm_of_the_head_counts_whole_images_by_the_plain_network():
    """Which is the one that predicts; attention gives f another mean."""
    method, given = tiny(CSCPA, norm=nn.BatchNorm2d), batch()
    images = torch.cat((method.weak_x(given)[0], method.weak_u(given)))
    with torch.no_grad():
        f = method.net.fuse(method.net.encode(standardise(images)))
        expected = 0.1 * method.net.neck[0](f).mean((0, 2, 3))
    method.whole(given, LATE)
    torch.testing.assert_close(method.net.neck[1].running_mean, expected)
    method.masked(given, LATE)
    torch.testing.assert_close(method.net.neck[1].running_mean, expected)
    assert method.net.neck[1].num_batches_tracked == 1


@pytest.mark.parametrize("foreground", [0, 1])
def test_images_of_one_class_and_without_edges_give_numbers(foreground):
    method = tiny(CSCPA)
    with torch.no_grad():
        method.net.classify.weight.zero_()
        method.net.classify.bias.copy_(torch.tensor([8.0, -8.0]) * (1 - 2 * foreground))
    given = batch()
    masks = torch.full_like(given.mask_x, foreground)
    given = replace(given, mask_x=masks)
    optimizer = optimiser(method)
    for clock in (Clock(4, 100), Clock(5, 100), Clock(6, 100)):
        terms = method.update(given, clock, optimizer)
        assert all(term.isfinite() for term in terms.values())
        gradients = [p.grad for p in method.parameters() if p.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_training_goes_on_from_its_state():
    method = tiny(CSCPA, norm=nn.BatchNorm2d)
    optimizer = optimiser(method)
    for step in range(4, 7):
        method.update(batch(step=step), Clock(step, 100), optimizer)
    other = tiny(CSCPA, norm=nn.BatchNorm2d)
    other.load_state_dict(method.state_dict())
    one, two = (
        m.update(batch(step=7), Clock(7, 100), o)
        for m, o in ((method, optimizer), (other, optimiser(other)))
    )
    assert all(torch.equal(one[name], two[name]) for name in one)
    states = method.state_dict(), other.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_batch_that_makes_no_pairs_is_refused():
    class Odd(CSCPA):
        def network(self):
            return TinyNet()

    with pytest.raises(UsageError, match=r"batch = 6; .* multiple of 4"):
        Odd(CSCPA.Config(), Setup(("BC",), Protocol(batch=6, weights="none"), 0))
