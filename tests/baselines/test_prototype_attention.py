"""CSC-PA's attention to prototypes: of the foreground, and of its edges."""

import torch
from semi_nets import drawn_square, maps
from torch import nn
from torch.nn import functional as F

from baselines.networks.prototype_attention import (
    EPA,
    FPA,
    ITEMS,
    CrossAttention,
    correlation,
    edges,
)
from benchmark.keys import step_keys

KEY = step_keys(torch.arange(1), 0, 0)


def test_correlation_is_the_cosine_with_each_channels_weighted_mean():
    x = maps().flatten(2).requires_grad_()
    found = correlation(x)
    weighting = x.detach().softmax(2)
    expected = torch.stack(
        [
            torch.stack(
                [
                    F.cosine_similarity((x[b] * weighting[b, c]).sum(1)[:, None], x[b], dim=0)
                    for c in range(6)
                ]
            )
            for b in range(2)
        ]
    )
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad(m.square().sum(), x)[0] for m in (found, expected))
    torch.testing.assert_close(ours, theirs)


def test_attention_reads_keys_of_the_partner_and_values_of_its_own_unscaled():
    torch.manual_seed(0)
    attention = CrossAttention(6)
    a, b = maps(1).flatten(2), maps(2).flatten(2)
    found = attention(a, b)
    side_a, side_b = (
        F.batch_norm(m, None, None, training=True).relu().transpose(1, 2) for m in (a, b)
    )
    alike = attention.theta(side_a) @ attention.phi(side_b).transpose(1, 2)
    expected = side_a + attention.w(alike.softmax(2) @ attention.g(side_a))
    torch.testing.assert_close(found, expected.transpose(1, 2), atol=1e-5, rtol=1e-4)


def test_each_side_of_a_pair_has_its_own_attention():
    torch.manual_seed(0)
    fpa = FPA(6)
    f = maps(3, count=4)
    found = fpa(f).flatten(2)
    a, b = correlation(f.flatten(2)).chunk(2)
    torch.testing.assert_close(found[:2], fpa.first(a, b))
    torch.testing.assert_close(found[2:], fpa.second(b, a))
    assert (fpa.first(a, b) - fpa.second(a, b)).abs().max() > 1e-3


# edges and their container


def test_edges_of_a_square_are_the_pixels_on_both_sides_of_its_outline():
    expected = torch.zeros(1, 8, 8, dtype=torch.bool)
    expected[0, 1:7, 1:7] = True
    expected[0, 3:5, 3:5] = False
    assert torch.equal(edges(drawn_square()), expected)


def test_beyond_the_border_is_background():
    assert edges(torch.zeros(1, 5, 5, dtype=torch.long)).sum() == 0
    assert edges(torch.ones(1, 5, 5, dtype=torch.long)).sum() == 16


def test_edge_vectors_are_drawn_from_all_edge_pixels_and_from_no_other():
    number = torch.arange(2 * 8 * 8.0).view(2, 1, 8, 8)
    edge = torch.cat((edges(drawn_square()), torch.zeros(1, 8, 8, dtype=torch.bool)))
    edge[1, 7, 7] = True
    drawn = EPA(1).draw(number, edge, KEY)
    assert drawn.shape == (ITEMS, 1)
    assert set(drawn.flatten().tolist()) == set(number[:, 0][edge].tolist())


def test_without_edges_the_last_vectors_serve_again():
    epa, none = EPA(6), torch.zeros(2, 5, 5, dtype=torch.bool)
    assert epa.draw(maps(), none, KEY).abs().max() == 0
    assert epa(maps()).abs().max() == 0
    epa.store(torch.rand(ITEMS, 6))
    assert torch.equal(epa.draw(maps(), none, KEY), epa.fresh)


def test_the_container_mixes_old_and_new_edges_and_does_not_grow():
    torch.manual_seed(0)
    epa = EPA(6)
    nn.init.normal_(epa.mix.weight, std=3)
    first, second = torch.rand(ITEMS, 6), torch.rand(ITEMS, 6) + 1
    epa.store(first)
    assert torch.equal(epa.mixed(), first)
    epa.store(second)
    assert torch.equal(epa.container, first)
    assert first.mean() + 0.2 < epa.mixed().mean() < second.mean() - 0.2
    for _ in range(50):
        epa.store(second)
    assert epa.container.amin() >= second.amin() - 1e-4
    assert epa.container.amax() <= second.amax() + 1e-4


def test_edge_attention_is_one_in_the_mean_and_highest_where_f_is_like_the_prototype():
    epa = EPA(6)
    epa.store(torch.rand(ITEMS, 6))
    prototype = epa.fresh.mean(0)
    f = maps(4)
    f[0, :, 2, 3] = 3 * prototype
    attention = (epa(f) / prototype[:, None, None]).mean(1)  # (B, H, W)
    torch.testing.assert_close(attention.mean((1, 2)), torch.ones(2))
    assert attention[0].argmax() == 2 * 5 + 3


def test_released_edge_attention_sums_to_one_down_each_column():
    epa = EPA(6, released=True)
    epa.store(torch.rand(ITEMS, 6))
    attention = (epa(maps()) / epa.fresh.mean(0)[:, None, None]).mean(1)
    torch.testing.assert_close(attention.sum(1), torch.ones(2, 5))
