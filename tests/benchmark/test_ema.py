"""The teacher: how fast it follows, and what becomes of its buffers."""

import pytest
import torch
from torch import nn

from benchmark.ema import Ema

POLICIES = ("own", "average", "copy")


def student() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def set_all(net: nn.Module, value: float) -> nn.Module:
    """Every parameter and buffer of one value."""
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.fill_(value)
    return net


def followed(ema: Ema, step, start=0) -> float:
    """The share of the teacher that a step keeps."""
    set_all(ema.net, 1.0)
    ema.update(set_all(student(), 0.0), step, start)
    kept = {value for p in ema.net.parameters() for value in p.detach().flatten().tolist()}
    assert len(kept) == 1
    return kept.pop()


@pytest.mark.parametrize("start", [0, 7])
def test_the_decay_rises_to_its_limit(start):
    ema = Ema(student(), 0.9, "own")
    decays = [followed(ema, start + t, start) for t in range(15)]
    expected = [min(1 - 1 / (t + 1), 0.9) for t in range(15)]
    assert decays == pytest.approx(expected, abs=1e-6)
    assert decays[0] == 0
    assert decays[-1] == pytest.approx(0.9)


def test_until_its_start_it_is_a_copy():
    ema = Ema(student(), 0.99, "own")
    assert [followed(ema, step, 5) for step in range(6)] == [0] * 6
    assert followed(ema, 6, 5) == pytest.approx(0.5)


def test_a_mean_of_all_students_so_far_while_the_decay_rises():
    ema, values = Ema(student(), 0.99, "own"), [3.0, -1.0, 4.0, 1.5]
    for step, value in enumerate(values):
        ema.update(set_all(student(), value), step)
        mean = sum(values[: step + 1]) / (step + 1)
        for parameter in ema.net.parameters():
            torch.testing.assert_close(parameter, torch.full_like(parameter, mean))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("step", [0, 1, 40])
@pytest.mark.parametrize("start", [0, 3])
def test_a_step_on_the_device_is_the_same_step(policy, step, start):
    by_number, by_tensor = (Ema(set_all(student(), 1.0), 0.9, policy) for _ in range(2))
    by_number.update(student(), step, start)
    by_tensor.update(student(), torch.tensor(step), start)
    for one, other in zip(
        by_number.state_dict().values(), by_tensor.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)


def test_buffers_obey_the_policy():
    means, counts = {}, {}
    for policy in POLICIES:
        ema = Ema(set_all(student(), 1.0), 0.75, policy)
        ema.update(set_all(student(), 5.0), 100)
        norm = ema.net[1]
        assert norm.weight[0].item() == pytest.approx(2.0)  # weights follow in all of them
        means[policy] = norm.running_mean[0].item()
        counts[policy] = norm.num_batches_tracked.item()
    assert means == pytest.approx({"own": 1.0, "average": 2.0, "copy": 5.0})
    assert counts == {"own": 1, "average": 5, "copy": 5}  # a count is never averaged


def test_its_own_statistics_are_those_of_its_passes():
    ema = Ema(student(), 0.99, "own")
    ema.train()
    images = torch.randn(8, 3)
    ema.net(images)
    mean = 0.1 * ema.net[0](images).mean(0)
    ema.update(student(), 5)
    torch.testing.assert_close(ema.net[1].running_mean, mean.detach())


@pytest.mark.parametrize("policy", POLICIES)
def test_no_gradient_reaches_it_or_the_student(policy):
    learner = student()
    ema = Ema(learner, 0.9, policy)
    assert not any(p.requires_grad for p in ema.parameters())
    learner(torch.randn(4, 3)).sum().backward()
    ema.update(learner, 3)
    for slow, fast in zip(ema.net.parameters(), learner.parameters(), strict=True):
        assert slow.grad is None
        assert not slow.requires_grad
        assert fast.requires_grad
        assert slow.data_ptr() != fast.data_ptr()


def test_the_student_is_left_as_it_is():
    learner = student()
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    Ema(set_all(student(), 2.0), 0.9, "average").update(learner, 3)
    for name, value in learner.state_dict().items():
        assert torch.equal(value, before[name])


def test_all_of_it_is_in_a_checkpoint():
    ema = Ema(student(), 0.9, "own")
    assert set(ema.state_dict()) == {f"net.{name}" for name in student().state_dict()}
