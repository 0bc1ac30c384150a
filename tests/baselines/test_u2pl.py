"""U2PL: which pixels are labels, which are negatives, and what is done without waiting."""

from collections import deque

import pytest
import torch
from semi_nets import batch, gradients, tiny
from torch import nn
from torch.nn import functional as F

from baselines.semi import SemiSupervised, first_epochs, rows, thin
from baselines.u2pl import NEGATIVES, U2PL, FeatureQueue, Pixels, info_nce, nth
from benchmark.augment import standardise
from benchmark.method import Clock
from benchmark.pseudo import pseudo
from benchmark.views.boxes import paste
from dataset_builders.errors import UsageError

LATE = Clock(50, 100)  # labels alone until step 10


def pixels_of(label, q, labelled, unreliable=None):
    """Pixels of these labels and probabilities of foreground; a class is a direction of 256."""
    label, labelled = torch.tensor(label), torch.tensor(labelled, dtype=torch.bool)
    q = torch.tensor(q)
    unreliable = ~labelled if unreliable is None else torch.tensor(unreliable, dtype=torch.bool)
    r = F.one_hot(label, 256).float()
    q = torch.stack((1 - q, q), dim=1)
    return Pixels(r, r.clone(), q, label, labelled, labelled | ~unreliable, unreliable)


def spy(method):
    """What the contrast is given."""
    seen = []
    whole = method.contrast
    method.contrast = lambda pixels, *rest: (seen.append(pixels), whole(pixels, *rest))[1]
    return seen


def filled(method):
    return [queue.filled.item() for queue in method.queues]


def test_both_queues_fill_on_a_batch_with_both_classes():
    method = tiny(U2PL)
    seen = spy(method)
    method.losses(batch(), LATE)
    assert min(filled(method)) > 0
    assert filled(method) == [method.negatives(seen[0], c).sum().item() for c in (0, 1)]


def test_the_released_rule_leaves_them_empty_when_the_teachers_passes_agree():
    paper, released = tiny(U2PL), tiny(U2PL, variant="released")
    assert released.config.weight == 1
    assert paper.config.weight == 0.1
    pixels = pixels_of([0, 1, 1, 0, 0, 1], [0.1, 0.9, 0.2, 0.8, 0.4, 0.6], [1, 1, 1, 1, 0, 0])
    counts = [[m.negatives(pixels, c).sum().item() for c in (0, 1)] for m in (paper, released)]
    assert counts == [[2, 2], [0, 0]]
    # a pixel that the other pass of the teacher called foreground
    disagreed = pixels_of([0, 1, 1], [0.1, 0.9, 0.4], [1, 1, 0])
    assert released.negatives(disagreed, 1).tolist() == [False, False, True]
    assert paper.negatives(disagreed, 0).tolist() == [False, False, False]


def test_negatives_are_mistakes_where_labelled_and_the_second_class_where_unsure():
    pixels = pixels_of(
        label=[0, 0, 1, 1, 0, 1, 0],
        q=[0.2, 0.7, 0.9, 0.3, 0.4, 0.8, 0.1],
        labelled=[1, 1, 1, 1, 0, 0, 0],
        unreliable=[0, 0, 0, 0, 1, 1, 0],
    )
    method = tiny(U2PL)
    foreground = [False, True, False, False, True, False, False]
    background = [False, False, False, True, False, True, False]
    assert method.negatives(pixels, 1).tolist() == foreground
    assert method.negatives(pixels, 0).tolist() == background


@pytest.mark.parametrize(("step", "kept"), [(0, 0.8), (50, 0.9), (100, 1.0)])
def test_percentiles_follow_the_clock(step, kept):
    method = tiny(U2PL)
    seen = spy(method)
    terms = method.losses(batch(), Clock(step, 100))
    assert terms["kept"].item() == pytest.approx(kept, abs=0.01)  # entropies near log 2 are equal
    unlabelled = ~seen[0].labelled
    few = seen[0].unreliable[unlabelled].float().mean().item()
    sure = seen[0].reliable[unlabelled].float().mean().item()
    assert few == pytest.approx(1 - kept, abs=0.06)  # of 256 positions at stride 4
    assert sure == pytest.approx(1 - kept, abs=0.1)
    assert seen[0].reliable[seen[0].labelled].all()
    assert not seen[0].unreliable[seen[0].labelled].any()
    assert terms["kept"] < 1  # the largest entropy never counts


def test_no_gradient_reaches_the_teacher_and_all_of_the_student_learns():
    method = tiny(U2PL)
    reached = gradients(method, method.losses(batch(), LATE))
    learning = {name for name, w in method.named_parameters() if w.requires_grad}
    assert reached.keys() == learning
    assert not any(name.startswith("teacher") for name in learning)
    assert all(gradient.abs().sum() > 0 for gradient in reached.values())
    alone = tiny(U2PL)
    contrast = gradients(alone, {"contrast": alone.losses(batch(), LATE)["contrast"]})
    assert contrast["project.1.weight"].abs().sum() > 0
    assert contrast["net.fine.0.weight"].abs().sum() > 0
    assert "net.classify.weight" not in contrast


def test_one_pass_of_each_net_moves_its_batch_norm():
    method = tiny(U2PL, norm=nn.BatchNorm2d)
    student, teacher = method.net.neck[1], method.teacher.net.neck[1]
    projected = method.teacher_project.net[0][1]
    method.losses(batch(), LATE)
    for norm in (student, teacher, projected, method.project[0][1]):
        assert norm.num_batches_tracked.item() == 1  # the pass for labels was an evaluation
    own = teacher.running_mean.clone()
    student.running_mean += 1
    method.after_step(LATE)
    assert torch.equal(teacher.running_mean, own)
    assert method.teacher.net.training


def test_labels_alone_at_first():
    method, labelled = tiny(U2PL), tiny(SemiSupervised)
    terms = method.losses(batch(), Clock(9, 100))
    assert terms["loss_u"].item() == terms["contrast"].item() == 0
    assert filled(method) == [0, 0]
    ours = gradients(method, terms)
    theirs = gradients(labelled, labelled.losses(batch(), Clock(9, 100)))
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-7)
    method.net.classify.bias.data += 1
    method.after_step(Clock(9, 100))
    assert torch.equal(method.teacher.net.classify.bias, method.net.classify.bias)
    assert (method.losses(batch(), Clock(10, 100))["loss_u"] > 0).item()


def test_phases_are_epochs_of_80_but_neither_too_short_nor_too_long():
    assert first_epochs(1, 80_000) == 1000
    assert first_epochs(2, 10_000) == 400
    assert first_epochs(1, 60) == 6


def test_the_unlabelled_loss_counts_reliable_pixels_and_is_scaled_up():
    method, given = tiny(U2PL), batch()
    terms = method.losses(given, LATE)
    with torch.no_grad():
        img_u, box = method.weak_u(given), method.half_boxes_u(given)
        u = pseudo(method.teacher.net(standardise(img_u)))
        label = u.paste(u.roll(), box).label
        images = standardise(paste(img_u, img_u.roll(1, 0), box))
        entropy = pseudo(method.teacher.net(images)).entropy
        kept = entropy < entropy.quantile(0.9)
        ce = F.cross_entropy(method.net(images), label, reduction="none")
    torch.testing.assert_close(terms["loss_u"], ce[kept].mean() / kept.float().mean())


def test_a_batch_is_mixed_as_a_whole_in_half_of_the_steps():
    method = tiny(U2PL)
    shares = [method.half_boxes_u(batch(step=s)).float().mean((1, 2, 3)) for s in range(40)]
    mixed = [share.max().item() > 0 for share in shares]
    assert 10 < sum(mixed) < 30
    for share, is_mixed in zip(shares, mixed, strict=True):
        assert share.min().item() == pytest.approx(0.5 if is_mixed else 0, abs=0.05)


def test_contrast_is_drawn_within_a_class_and_from_its_queue():
    """With one direction a class, draws do not matter and the loss is known."""
    method, key = tiny(U2PL), torch.tensor([5])
    # foreground's negatives are background that was taken for foreground, and the reverse
    pixels = pixels_of([0, 0, 1, 1], [0.2, 0.6, 0.9, 0.35], [1, 1, 1, 1])
    expected = torch.tensor(1 + NEGATIVES * torch.exp(torch.tensor(-2.0)).item()).log()
    torch.testing.assert_close(method.contrast(pixels, key, started=True), expected)
    # anchors need 0.3 of their class: the fourth pixel has not, and may point anywhere
    pixels.q[3, 1] = 0.25
    pixels.r[3] = -1
    torch.testing.assert_close(method.contrast(pixels, key, started=True), expected)


def test_contrast_is_0_without_a_class_and_half_without_a_queue():
    key = torch.tensor([5])
    alone = pixels_of([1, 1, 1], [0.9, 0.2, 0.8], [1, 1, 1])
    alone.r.requires_grad_()
    contrast = tiny(U2PL).contrast(alone, key, started=True)
    contrast.backward()
    assert contrast.item() == 0
    assert (alone.r.grad == 0).all()
    both = pixels_of([0, 0, 1, 1], [0.2, 0.6, 0.9, 0.35], [1, 1, 1, 1])
    one = pixels_of([0, 0, 1, 1], [0.2, 0.6, 0.9, 0.8], [1, 1, 1, 1])  # no mistake for 0
    whole, half = (tiny(U2PL).contrast(pixels, key, started=True) for pixels in (both, one))
    torch.testing.assert_close(half, whole / 2)


def test_info_nce_is_minus_the_log_share_of_the_positive():
    torch.manual_seed(0)
    anchors, positive, negatives = torch.randn(3, 5), torch.randn(5), torch.randn(3, 4, 5)
    total = 0.0
    for anchor, others in zip(anchors, negatives, strict=True):
        hits = torch.stack([F.cosine_similarity(anchor, v, 0) for v in (positive, *others)]) / 0.5
        total -= hits.softmax(0)[0].log()
    torch.testing.assert_close(info_nce(anchors, positive, negatives), total / 3)


def test_a_queue_is_first_in_first_out():
    queue, reference = FeatureQueue(7, 1), deque(maxlen=7)
    generator = torch.Generator().manual_seed(0)
    value = 0
    for count in (3, 5, 12, 2, 0, 9, 4):
        which = torch.rand(count, generator=generator) < 0.6
        features = torch.arange(value, value + count, dtype=torch.float32)
        value += count
        if count:
            queue.push(features[:, None], which)
        reference.extend(features[which].tolist())
        held = queue.kept[: queue.filled, 0].sort().values.tolist()
        assert held == sorted(reference)
    everything = queue.draw(torch.linspace(0, 1 - 1e-6, 500))[:, 0].unique().tolist()
    assert everything == sorted(reference)


def test_a_queue_that_is_not_full_gives_only_what_it_has():
    queue = FeatureQueue(10, 2)
    queue.push(torch.ones(4, 2), torch.tensor([True, False, True, True]))
    assert queue.filled.item() == 3
    assert (queue.draw(torch.linspace(0, 0.999, 50)) == 1).all()


def test_queues_are_in_the_state():
    method = tiny(U2PL)
    method.losses(batch(), LATE)
    other = tiny(U2PL)
    other.load_state_dict(method.state_dict())
    assert filled(other) == filled(method) != [0, 0]
    given = batch(step=1)
    assert torch.equal(
        method.losses(given, LATE)["contrast"], other.losses(given, LATE)["contrast"]
    )


def test_the_clock_may_be_on_the_device():
    plain, recorded = tiny(U2PL), tiny(U2PL)
    terms = plain.losses(batch(), LATE)
    others = recorded.losses(batch(), Clock(torch.tensor(50), 100))
    for name, term in terms.items():
        torch.testing.assert_close(others[name], term)
    assert filled(plain) == filled(recorded)


def test_nth_finds_the_true_entries():
    mask = torch.tensor([False, True, True, False, True])
    assert nth(mask, torch.tensor([0, 1, 2, 2])).tolist() == [1, 2, 4, 4]


def test_thin_takes_the_pixels_that_coarse_ones_become():
    coarse = torch.rand(2, 1, 56, 56)
    fine = F.interpolate(coarse, scale_factor=4, mode="bilinear", align_corners=True)[:, 0]
    steep = torch.linspace(0, 1, 56).expand(2, 1, 56, 56)
    ramp = F.interpolate(steep, scale_factor=4, mode="bilinear", align_corners=True)[:, 0]
    assert (thin(ramp) - steep[:, 0]).abs().max() < 0.51 / 223
    assert thin(fine).shape == (2, 56, 56)
    assert rows(coarse).shape == (2 * 56 * 56, 1)


def test_ranks_must_be_ranks():
    with pytest.raises(UsageError, match="r_l = 3"):
        U2PL.Config(r_l=3, r_h=20)
