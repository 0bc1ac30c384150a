"""Loss terms on a processor; what each is made of is tested with the methods."""

import pytest
import torch
from torch.nn import functional as F

from benchmark.losses import cross_entropy


@pytest.mark.parametrize("deterministic", [False, True])
def test_cross_entropy_is_torchs_whether_or_not_it_must_be_deterministic(deterministic):
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 8, 8, generator=g, dtype=torch.float64, requires_grad=True)
    label = torch.randint(0, 3, (2, 8, 8), generator=g)
    expected = F.cross_entropy(logits, label)
    torch.use_deterministic_algorithms(deterministic)
    try:
        found = cross_entropy(logits, label)
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(found, expected)
    ours, theirs = (torch.autograd.grad(loss, logits)[0] for loss in (found, expected))
    torch.testing.assert_close(ours, theirs)
