"""Random numbers: uniform, unrelated, pinned, and the same in every form of the question."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.keys import beta, derive, stable_key, step_keys, uniform, uniforms


def keys(n: int, seed: int = 0, step: int = 0) -> torch.Tensor:
    samples = torch.tensor([stable_key(f"sample {i}") for i in range(n)])
    return step_keys(samples, seed, step)


def test_numbers_are_uniform_and_uncorrelated():
    of_others = uniforms(derive(keys(20_000), stable_key("other")), 2)
    drawn = torch.cat((uniforms(keys(20_000), 3), of_others))
    assert drawn.min() >= 0
    assert drawn.max() < 1
    for row in drawn:
        counts = torch.histc(row, bins=20, min=0, max=1)
        assert ((counts - 1000) ** 2 / 1000).sum() < 45  # chi-squared, 19 degrees: p = 0.0007
    assert torch.corrcoef(drawn).fill_diagonal_(0).abs().max() < 0.03


def test_steps_seeds_and_samples_all_change_the_number():
    base = uniform(keys(50), 0)
    assert not torch.isclose(base, uniform(keys(50, step=1), 0)).all()
    assert len(torch.unique(base)) == 50
    several = torch.stack(
        [uniform(keys(50, seed, step), 0) for seed in range(3) for step in range(3)]
    )
    assert len(torch.unique(several)) == 450


class Recorded(TorchDispatchMode):
    """While it lasts numbers are made by torch's operations, not by NumPy."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


@given(st.integers(0, 2**31), st.integers(0, 2**31), st.integers(1, 5))
def test_numbers_of_numpy_are_those_of_torch(seed, step, count):
    def drawn():
        own = keys(7, seed, step)
        return own, derive(own, stable_key("other")), uniforms(own.view(7, 1), count)

    by_numpy = drawn()
    with Recorded():
        by_torch = drawn()
    for one, other in zip(by_numpy, by_torch, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def test_the_numbers_are_pinned():
    """A change of the hash would change every run."""
    assert stable_key("BC/busi/benign (1)") == 1_138_340_257_704_216_178
    assert keys(2, seed=3, step=7).tolist() == [3386072857336024106, 8207486603153078144]
    assert uniform(keys(2, seed=3, step=7), 1).tolist() == [0.3734285235404968, 0.9375296831130981]


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_a_step_may_be_a_tensor(seed, step):
    samples = torch.tensor([stable_key("a"), stable_key("b")])
    assert torch.equal(step_keys(samples, seed, torch.tensor(step)), step_keys(samples, seed, step))


@given(st.integers(1, 9))
def test_many_draws_at_once_are_the_same_draws(count):
    of_all = keys(6).view(2, 3)
    together = uniforms(of_all, count)
    assert torch.equal(together, torch.stack([uniform(of_all, n) for n in range(count)]))


def test_a_range_is_scaled():
    assert torch.equal(uniform(keys(9), 2, -3, 5), -3 + 8 * uniform(keys(9), 2))


def test_beta_has_its_distribution():
    for alpha, other in ((8, 2), (4, 4), (1, 3)):
        drawn = beta(keys(5_000), alpha, other).double().numpy()
        assert stats.kstest(drawn, stats.beta(alpha, other).cdf).pvalue > 0.01
        assert np.all((drawn > 0) & (drawn < 1))
