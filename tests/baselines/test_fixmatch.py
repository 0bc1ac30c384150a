"""FixMatch, and the labelled-only method that all semi-supervised ones are measured against."""

import pytest
import torch
from semi_nets import assert_labelled_alone, batch, gradients, tiny
from torch import nn

from baselines.fixmatch import FixMatch
from baselines.networks.segnet import DeepLabSegNet, UNetSegNet
from baselines.semi import SemiSupervised
from benchmark.augment import standardise, strong
from benchmark.method import Clock
from benchmark.pseudo import pseudo
from benchmark.views.boxes import boxes, paste

CLOCK = Clock(5, 100)


def test_with_a_threshold_that_none_passes_half_the_labelled_gradient_is_left():
    assert_labelled_alone(tiny(FixMatch, tau=1.01), tiny(SemiSupervised), share=1 / 2)


def test_labelled_only_is_the_common_reference():
    reference, labelled = tiny(SemiSupervised), tiny(FixMatch, variant="labelled")
    assert torch.equal(
        labelled.losses(batch(), CLOCK)["loss_x"], reference.losses(batch(), CLOCK)["loss_x"]
    )
    assert all(
        torch.equal(a, b)
        for a, b in zip(labelled.parameters(), reference.parameters(), strict=True)
    )


def test_the_loss_is_that_of_the_strong_view_against_the_mixed_weak_labels():
    """The step again, pixel by pixel, in the words of the paper."""
    method, given = tiny(FixMatch, tau=0.6), batch()
    method.net.classify.weight.data *= 20  # a network that is sure of itself here and there
    terms = method.losses(given, CLOCK)
    with torch.no_grad():
        img_w = method.weak_u(given)
        box = boxes(given.key_u, 32)
        img_s = strong(img_w, given.key_u)
        logits = method.net(standardise(paste(img_s, img_s.roll(1, 0), box)))
        probs = method.net(standardise(img_w)).softmax(1)
        log_probs = logits.log_softmax(1)
    total, kept = 0.0, 0
    for i in range(4):
        for y in range(32):
            for x in range(32):
                source = (i - 1) % 4 if box[i, 0, y, x] else i
                conf, label = probs[source, :, y, x].max(0)
                if conf >= 0.6:
                    total -= log_probs[i, label, y, x].item()
                    kept += 1
    assert 0 < kept < 4 * 32 * 32
    assert terms["kept"].item() == pytest.approx(kept / (4 * 32 * 32))
    assert terms["loss_u"].item() == pytest.approx(total / (4 * 32 * 32) / 2, rel=1e-3)


def test_low_confidence_is_ignored_and_not_background():
    """Confidence counts on both sides: p <= 1 - tau is a confident background."""
    u = pseudo(torch.tensor([[3.0, 0.0], [0.0, 3.0], [0.1, 0.0]])[:, :, None, None])
    assert (u.conf >= 0.95).flatten().tolist() == [True, True, False]
    assert u.label.flatten().tolist() == [0, 1, 0]


def test_the_donors_pass_leaves_batch_norm_alone_and_the_others_do_not():
    method = tiny(FixMatch, norm=nn.BatchNorm2d)
    method.losses(batch(), CLOCK)
    assert (
        method.net.neck[1].num_batches_tracked.item() == 2
    )  # [labelled, weak] and the strong view


def test_pseudo_labels_carry_no_gradient():
    method = tiny(FixMatch, tau=0.5)
    terms = method.losses(batch(), CLOCK)
    assert not terms["kept"].requires_grad
    alone = gradients(method, {"loss_u": terms["loss_u"]})
    logits = method.net(standardise(method.weak_u(batch())))
    assert logits.requires_grad
    assert all(gradient.isfinite().all() for gradient in alone.values())


@pytest.mark.parametrize(
    "net", [lambda: DeepLabSegNet("tf_efficientnet_lite0", "none"), lambda: UNetSegNet(8)]
)
def test_pieces_of_a_network_fit_together(net):
    net = net().eval()
    images = torch.rand(2, 3, 64, 64)
    f = net.fuse(net.encode(images))
    v = net.head(f)
    assert f.shape == (2, net.fused, 16, 16)
    assert v.shape == (2, net.width, 16, 16)
    assert net(images).shape == (2, 2, 64, 64)
    assert torch.equal(net(images), net.decode(f))


def test_deeplab_in_pieces_has_the_librarys_parameters():
    """26,677,585 with one logit; the second adds 257."""
    net = DeepLabSegNet("resnet50.a1_in1k", "none")
    assert sum(p.numel() for p in net.parameters()) == 26_677_585 + 257
