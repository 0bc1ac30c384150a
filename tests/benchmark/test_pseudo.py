"""Pseudo-labels, and losses over a part of the pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import DiceLoss
from torch import nn
from torch.nn import functional as F

from benchmark.pseudo import (
    below_percentile,
    evaluating,
    kept_shares,
    masked_ce,
    pseudo,
    quantile,
    squared_dice,
)
from benchmark.views.boxes import boxes, paste

OVER = ("all", "kept", "kept_scaled")


def scores(seed: int = 0, batch: int = 3, size: int = 8) -> torch.Tensor:
    return 3 * torch.randn(batch, 2, size, size, generator=torch.Generator().manual_seed(seed))


def some(seed: int, share: float) -> torch.Tensor:
    return torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(seed)) < share


def test_a_label_is_the_likeliest_class_with_its_probability():
    u = pseudo(torch.tensor([2.0, 0.0]).view(1, 2, 1, 1))
    assert u.label.item() == 0
    assert u.conf.item() == pytest.approx(0.880797)
    assert u.entropy.item() == pytest.approx(0.365334)  # -p log p - q log q


def test_entropy_is_largest_where_classes_are_equal_and_0_where_one_is_sure():
    u = pseudo(torch.tensor([[0.0, 0.0], [200.0, 0.0]])[:, :, None, None])
    assert u.entropy.flatten().tolist() == pytest.approx([np.log(2), 0])


def test_no_gradient_leads_back_to_what_gave_the_label():
    logits = scores().requires_grad_()
    u = pseudo(logits)
    assert not u.conf.requires_grad
    assert not u.entropy.requires_grad


def test_pasted_labels_go_where_the_image_goes():
    """Constant images whose labels, confidence and entropy name them: all must stay together."""
    number = torch.arange(4.0)
    images = number.view(4, 1, 1, 1).expand(4, 1, 16, 16)
    logits = torch.stack((images[:, 0], -images[:, 0]), dim=1) * torch.tensor(
        [1.0, -1.0, 1.0, -1.0]
    ).view(4, 1, 1, 1)
    box = boxes(torch.arange(4), 16, share=1.0)
    u, mixed = pseudo(logits), paste(images, images.roll(1, 0), box)
    pasted = u.paste(u.roll(), box)
    owner = mixed[:, 0].long()  # which image every pixel now comes from
    assert (owner != number.view(4, 1, 1)).any()
    for part in ("label", "conf", "entropy"):
        own = getattr(u, part)[:, 0, 0]
        assert torch.equal(getattr(pasted, part), own[owner])


@pytest.mark.parametrize("over", OVER)
def test_nothing_kept_is_a_loss_of_0_with_gradients_of_0(over):
    logits = scores().requires_grad_()
    loss = masked_ce(logits, torch.zeros(3, 8, 8, dtype=torch.long), some(0, 0.0), over)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@given(share=st.floats(0.05, 1), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_losses_differ_by_what_they_divide_by(share, seed):
    logits, kept = scores(seed), some(seed, share)
    label = some(seed + 1, 0.5).long()
    count = kept.sum().clamp_min(1)
    ignored = torch.where(kept, label, 255)
    mean = F.cross_entropy(logits, ignored, ignore_index=255, reduction="sum") / count
    every, only, scaled = (masked_ce(logits, label, kept, over) for over in OVER)
    torch.testing.assert_close(only, mean)
    torch.testing.assert_close(every, mean * count / kept.numel())
    torch.testing.assert_close(scaled, mean * kept.numel() / count)


def test_squared_dice_is_monais():
    logits, label = scores(), some(1, 0.3).long()
    theirs = DiceLoss(
        softmax=True,
        to_onehot_y=True,
        squared_pred=True,
        batch=True,
        smooth_nr=1e-5,
        smooth_dr=1e-5,
    )
    torch.testing.assert_close(squared_dice(logits, label), theirs(logits, label[:, None]))


def test_squared_dice_sees_only_what_is_kept():
    logits, label, kept = scores(), some(1, 0.3).long(), some(2, 0.5)
    other = torch.where(kept[:, None], logits, scores(9))
    assert torch.equal(squared_dice(logits, label, kept), squared_dice(other, label, kept))
    assert squared_dice(logits, label, some(0, 0.0)).item() == 0


def test_of_two_classes_background_alone_leaves_half_the_dice_loss():
    """Where every confident pixel is background the loss sits at 1/2 and learns no foreground."""
    sure = torch.tensor([50.0, -50.0]).view(1, 2, 1, 1).expand(1, 2, 8, 8)
    nothing = torch.zeros(1, 8, 8, dtype=torch.long)
    empty = squared_dice(sure, nothing)
    assert empty.item() == pytest.approx(0, abs=1e-6)  # smoothing: an absent class is no error
    assert squared_dice(sure, 1 - nothing).item() == pytest.approx(1, abs=1e-4)


@given(share=st.floats(0, 1), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_quantile_is_numpys(share, seed):
    values = scores(seed)
    expected = np.quantile(values.numpy().astype(float), share)
    assert quantile(values, share).item() == pytest.approx(expected, abs=1e-5)
    on_device = torch.tensor(share, dtype=torch.float64)  # float32 would round the share itself
    assert quantile(values, on_device).item() == pytest.approx(expected, abs=1e-5)


def test_percentiles_keep_their_share():
    entropy = torch.rand(4, 25, 25, generator=torch.Generator().manual_seed(0))
    assert below_percentile(entropy, 0.8).float().mean().item() == pytest.approx(0.8, abs=1e-3)
    assert not below_percentile(entropy, 0.0).any()
    assert below_percentile(entropy, 1.0).sum().item() == entropy.numel() - 1


def test_shares_count_kept_pixels_and_foreground_among_them():
    kept = torch.tensor([[[True, True, False, True]]])
    label = torch.tensor([[[1, 0, 1, 0]]])
    shares = kept_shares(kept, label)
    assert shares["kept"].item() == 0.75
    assert shares["kept_foreground"].item() == pytest.approx(1 / 3)
    assert kept_shares(kept & False, label)["kept_foreground"].item() == 0


def test_evaluating_leaves_batch_statistics_and_the_mode_as_they_were():
    net = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.5)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with evaluating(net):
        assert not net[1].training
        net(scores())
    assert net.training
    assert net[1].training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_labelling_forgets_the_weights_in_half_precision():
    """Kept ones are stale here; in older torch, if kept under `no_grad`, without gradient."""
    net, images = nn.Conv2d(2, 2, 1, bias=False), scores()
    with torch.autocast("cpu", torch.bfloat16):
        net(images)
        with torch.no_grad(), evaluating(net):
            net(images)
        with torch.no_grad():
            net.weight.zero_()
        assert not net(images).any()
