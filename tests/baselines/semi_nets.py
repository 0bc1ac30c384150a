"""Tiny networks, batches and methods that the tests of semi-supervised methods share."""

import torch
from torch import nn

from baselines.networks.segnet import CLASSES, SegNet
from benchmark.keys import step_keys
from benchmark.method import Batch, Clock, Setup
from benchmark.protocol import Protocol

SIZE = 32


class TinyNet(SegNet):
    """Strides 4 and 8, 8 channels; without batch norm, so that images do not talk.

    Args:
        norm: of the head; batch norm where its statistics are tested.
    """

    fused, width = 16, 8

    def __init__(self, norm: type[nn.Module] = nn.Identity) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.ReLU())
        self.coarse = nn.Sequential(nn.Conv2d(8, 8, 2, stride=2), nn.ReLU())
        head = nn.Conv2d(16, 8, 3, padding=1)
        self.neck = nn.Sequential(head, norm(8) if norm is not nn.Identity else norm(), nn.ReLU())
        self.classify = nn.Conv2d(8, CLASSES, 1)

    def encode(self, images):
        fine = self.fine(images)
        return [fine, self.coarse(fine)]

    def fuse(self, maps):
        fine, coarse = maps
        return torch.cat((fine, nn.functional.interpolate(coarse, scale_factor=2)), dim=1)


def tiny(kind, norm=nn.Identity, variant="paper", steps=0, **config):
    """A method of this kind on `TinyNet`."""
    torch.manual_seed(0)
    own = {k: v for k, v in kind.variants[variant].items() if k in kind.Config.__dataclass_fields__}

    class Tiny(kind):
        def network(self):
            return TinyNet(norm)

    protocol = Protocol(size=SIZE, weights="none", steps=steps)
    return Tiny(kind.Config(**{**own, **config}), Setup(("BC",), protocol, 0)).train()


def batch(labelled=4, unlabelled=4, seed=0, step=0, size=SIZE):
    """Smooth random images; the mask is where they are bright."""
    generator = torch.Generator().manual_seed(seed)
    count = labelled + unlabelled
    noise = torch.rand(count, 1, size + 8, size + 8, generator=generator)
    images = nn.functional.avg_pool2d(noise, 9, 1)
    images = (images - images.amin()) / (images.amax() - images.amin())
    masks = (images > 0.5).float()
    keys = step_keys(torch.arange(count), seed, step)
    tasks = torch.zeros(count, dtype=torch.long)
    x, u = slice(labelled), slice(labelled, count)
    return Batch(images[x], masks[x], tasks[x], keys[x], images[u], tasks[u], keys[u])


def assert_labelled_alone(method, reference, share):
    """With no pixel kept, the gradient is `share` of the labelled-only method's."""
    clock = Clock(5, 100)
    terms = method.losses(batch(), clock)
    assert terms["loss_u"].item() == 0
    assert terms["kept"].item() == 0
    ours = gradients(method, terms)
    theirs = gradients(reference, reference.losses(batch(), clock))
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name] / share, theirs[name], rtol=1e-4, atol=1e-7)


def gradients(method, terms):
    """Gradient of the sum of the terms by every parameter that has one."""
    method.zero_grad(set_to_none=True)
    torch.stack(list(terms.values())).sum().backward()
    return {n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}


def drawn_square():
    label = torch.zeros(1, 8, 8, dtype=torch.long)
    label[0, 2:6, 2:6] = 1
    return label


def maps(seed=0, count=2, channels=6, side=5):
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(seed))
