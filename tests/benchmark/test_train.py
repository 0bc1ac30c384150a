"""The loop: what it promises to whoever watches, saves and goes on."""

import math
import re

import pytest
import torch
from torch.optim import SGD, AdamW
from toy_method import CPU, STEPS, Toy, make_batches, make_method, make_protocol, training

from benchmark.execution import Execution
from benchmark.guard import Finite, TrainingError
from benchmark.method import Clock
from benchmark.train import Interrupted, make_optimizer, train


def by_hand(protocol, kind) -> list[dict[str, float]]:
    """What one would write without this package, and torch's plainest optimiser."""
    method = make_method(Toy, protocol).train()
    batches = make_batches(Toy)
    weights = [weight for weight in method.parameters() if weight.requires_grad]
    optimizer = kind(weights, lr=protocol.rate, weight_decay=protocol.decay, foreach=False)
    torch.manual_seed(1)
    losses = []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = protocol.rate * (1 - step / STEPS) ** protocol.power
            group["momentum"] = protocol.momentum
        clock = Clock(step, STEPS)
        optimizer.zero_grad()
        terms = method.losses(batches.at(step), clock)
        sum(terms.values()).backward()
        optimizer.step()
        method.after_step(clock)
        losses.append({name: term.item() for name, term in terms.items()})
    return losses


@pytest.mark.parametrize(("name", "kind"), [("sgd", SGD), ("adamw", AdamW)])
def test_it_does_what_a_plain_loop_does(name, kind):
    protocol = make_protocol(optimizer=name, rate=0.05, power=2.0)
    losses, _, _ = training(Toy, optimizer=name, rate=0.05, power=2.0)
    for terms, plain in zip(losses, by_hand(protocol, kind), strict=True):
        assert list(terms.values()) == pytest.approx(list(plain.values()), rel=1e-5)


def test_only_what_learns_is_given_to_the_optimiser():
    method = make_method(Toy, make_protocol())
    (group,) = make_optimizer(method, make_protocol()).param_groups
    assert group["params"] == list(method.student.parameters())
    assert group["fused"]


def test_the_same_again_is_the_same():
    first, second = (training(Toy, Execution(deterministic=again)) for again in (False, True))
    assert first[0] == second[0]
    weights = (run[1].state_dict().values() for run in (first, second))
    assert all(map(torch.equal, *weights))


def test_weights_stay_in_place():
    """A recorded step would not see others."""
    method = make_method(Toy, make_protocol())
    places = [weight.data_ptr() for weight in method.parameters()]
    training(Toy, method=method)
    assert [weight.data_ptr() for weight in method.parameters()] == places


def run(guard=None, watch=lambda step, terms: False, method=None, execution=None):
    protocol = make_protocol()
    method = method or make_method(Toy, protocol)
    return train(
        method, make_batches(Toy), make_optimizer(method, protocol), protocol, STEPS,
        execution=execution or Execution(), watch=watch, guard=guard,
    )  # fmt: skip


def test_whoever_watches_sees_every_step_and_may_stop():
    seen = []

    def watch(step, terms):
        seen.append(step)
        return step == 5

    with pytest.raises(Interrupted, match="stopped after 5 steps"):
        run(watch=watch)
    assert seen == [1, 2, 3, 4, 5]


class Breaking(Toy):
    """Has a loss that is no number from step 4 on."""

    broken_at = 4
    way = staticmethod(lambda term: term * math.nan)

    def losses(self, batch, clock):
        terms = super().losses(batch, clock)
        if clock.step + 1 >= self.broken_at:
            terms["agree"] = self.way(terms["agree"])
        return terms


def test_a_loss_that_is_no_number_stops_the_training_at_once(tmp_path):
    saved = tmp_path / "all.checkpoint"
    seen = []

    def watch(step, terms):
        saved.touch()
        seen.append(step)
        return False

    rate = 1e-3 * (1 - 3 / STEPS) ** 0.9
    message = f"'agree' is nan at step 4 (learning rate {rate:.3g}); training stopped, the last "
    with pytest.raises(TrainingError, match=re.escape(message)):
        run(Finite(CPU, saved), watch, make_method(Breaking, make_protocol()))
    assert seen == [1, 2, 3]  # so nothing of step 4 was saved


def test_a_loss_that_is_no_number_is_found_before_a_save_on_a_gpu_too():
    guard, seen = Finite(torch.device("cuda")), []

    def watch(step, terms):
        seen.append(step)
        if step == 6:
            guard.check()
        return False

    with pytest.raises(TrainingError, match="'agree' is nan at step 4 "):
        run(guard, watch, make_method(Breaking, make_protocol()))
    assert seen == [1, 2, 3, 4, 5, 6]


class LastGradient(Breaking):
    """Every loss is a number, but the gradient of the last is none."""

    broken_at = STEPS
    way = staticmethod(lambda term: term + (0 * term).sqrt())


def test_weights_that_the_last_step_breaks_are_found():
    with pytest.raises(
        TrainingError, match=rf"weight 'student\..*' is not finite after step {STEPS}"
    ):
        run(method=make_method(LastGradient, make_protocol()))


class Large(Toy):
    """Too large for the memory from step 4 on."""

    def losses(self, batch, clock):
        if clock.step >= 3 and len(batch.img_x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return super().losses(batch, clock)


def test_a_lack_of_memory_is_told_to_whoever_writes_the_record():
    assert run(method=make_method(Large, make_protocol())) == Execution(micro_batches=2)


def test_a_lack_of_memory_elsewhere_is_one_clear_error(monkeypatch):
    def after_step(self, clock):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(Toy, "after_step", after_step)
    with pytest.raises(TrainingError, match="Tried to allocate 2 GiB; try a smaller batch"):
        run()
