"""Losses to gradients: in halves, in bf16, compiled, all against the plain way."""

import shutil

import pytest
import torch
from torch import nn
from toy_method import REFERENCE, Toy, make_batches, make_method, make_protocol, training

from baselines.unet import UNet
from benchmark.backward import ForwardBackward
from benchmark.execution import Execution
from benchmark.guard import TrainingError
from benchmark.losses import bce_dice, soft_dice
from benchmark.method import Clock, plain_backward
from propl.method import ProPL

CLOCK = Clock(3, 8)
HALVES, BF16 = Execution(micro_batches=2), Execution(precision="bf16")


def make(norm=lambda width: nn.GroupNorm(2, width), **changes):
    """A toy in training without torch's own random numbers, whose draws depend on the order."""
    method = make_method(Toy, make_protocol(**changes), norm=norm).train()
    method.noise = 0.0
    return method, make_batches(Toy, method.setup.protocol.batch).at(3)


def gradients(method) -> list[torch.Tensor]:
    return [weight.grad.clone() for weight in method.parameters() if weight.requires_grad]


def short_of_memory(method, images: int):
    """The losses of a device whose memory ends at so many labelled images."""

    def losses(batch, clock):
        if len(batch.img_x) > images:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return method.losses(batch, clock)

    return losses


def test_the_reference_is_the_plain_way():
    method, batch = make()
    terms = plain_backward(method.losses, batch, CLOCK)
    plain = gradients(method)
    method.zero_grad()
    again = ForwardBackward(method, REFERENCE)(method.losses, batch, CLOCK)
    assert again == terms
    assert all(map(torch.equal, gradients(method), plain))
    assert not any(term.requires_grad for term in again.values())


@pytest.mark.parametrize("norm", [lambda width: nn.GroupNorm(2, width), nn.InstanceNorm2d])
@pytest.mark.parametrize("parts", [2, 4])
def test_parts_have_the_gradient_of_the_whole(norm, parts):
    method, batch = make(norm)
    terms = plain_backward(method.losses, batch, CLOCK)
    whole = gradients(method)
    method.zero_grad()
    in_parts = ForwardBackward(method, Execution(micro_batches=parts))
    torch.testing.assert_close(in_parts(method.losses, batch, CLOCK), terms, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradients(method), whole, rtol=1e-6, atol=1e-6)


def test_parts_have_equally_many_images_of_either_kind():
    _, batch = make()
    first, second = batch.split(2)
    assert torch.equal(first.key_x, batch.key_x[:2])
    assert torch.equal(second.img_u, batch.img_u[2:])
    assert [len(part.task_x) for part in (first, second)] == [2, 2]


def test_a_batch_too_large_for_the_memory_is_done_in_halves_from_then_on(caplog):
    method, batch = make()
    losses = short_of_memory(method, 2)
    ForwardBackward(method, HALVES)(method.losses, batch, CLOCK)
    halves = gradients(method)
    method.zero_grad()
    backward = ForwardBackward(method, REFERENCE)
    for _ in range(2):
        method.zero_grad()
        backward(losses, batch, CLOCK)
        assert all(map(torch.equal, gradients(method), halves))
    assert backward.execution == HALVES
    (message,) = caplog.messages
    assert message.startswith("from here on a batch is done in two parts: CUDA out of memory.")


def test_nothing_is_left_of_a_pass_that_failed_midway():
    method, batch = make()
    ForwardBackward(method, HALVES)(method.losses, batch, CLOCK)
    halves = gradients(method)
    method.zero_grad()
    failed = []

    def losses(batch, clock):
        terms = method.losses(batch, clock)
        if not failed:
            failed.append(True)
            sum(terms.values()).backward()
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return terms

    ForwardBackward(method, REFERENCE)(losses, batch, CLOCK)
    assert all(map(torch.equal, gradients(method), halves))


@pytest.mark.parametrize(
    ("made", "execution", "message"),
    [
        ({"norm": nn.BatchNorm2d}, REFERENCE, r"another result: 2 layers of this method normalise"),
        ({"batch": 6}, REFERENCE, "3 labelled and 3 unlabelled images make no equal halves"),
        ({}, HALVES, "a batch is done in 2 parts already"),
    ],
    ids=["batch statistics", "odd", "twice"],
)
def test_where_halves_will_not_do_the_error_says_what_to_try(made, execution, message):
    method, batch = make(**made)
    with pytest.raises(
        TrainingError, match=f"^CUDA out of memory.*{message}.*--set batch="
    ) as error:
        ForwardBackward(method, execution)(short_of_memory(method, 0), batch, CLOCK)
    assert "--precision bf16" in str(error.value)


def test_batch_norm_that_only_predicts_does_not_mind_halves():
    method, batch = make(nn.BatchNorm2d)
    method.eval()
    backward = ForwardBackward(method, REFERENCE)
    backward(short_of_memory(method, 2), batch, CLOCK)
    assert backward.execution == HALVES


@pytest.mark.parametrize("kind", [Toy, UNet, ProPL])
def test_bf16_stays_within_two_per_cent_of_the_reference(kind):
    reference, rounded = (training(kind, way, total=20)[0] for way in (REFERENCE, BF16))
    assert reference != rounded
    for plain, other in zip(reference, rounded, strict=True):
        assert list(other.values()) == pytest.approx(list(plain.values()), rel=0.02)


def test_bf16_is_for_the_losses_alone():
    method, batch = make()
    seen = []

    def losses(batch, clock):
        logits = method.student(torch.ones(4, 3, 32, 32))
        logits.register_hook(lambda _: seen.append(torch.is_autocast_enabled("cpu")))
        seen.append((torch.is_autocast_enabled("cpu"), logits.dtype))
        return {"dice": soft_dice(logits, torch.ones(4, 1, 32, 32))}

    terms = ForwardBackward(method, BF16)(losses, batch, CLOCK)
    assert seen == [(True, torch.bfloat16), False]
    assert terms["dice"].dtype == torch.float32
    assert all(gradient.dtype == torch.float32 for gradient in gradients(method))


@pytest.mark.parametrize("loss", [soft_dice, bce_dice])
def test_losses_are_fp32_at_least(loss):
    """Sums over 224 x 224 pixels in bf16 would stop growing at some hundred."""
    logits = torch.full((1, 1, 224, 224), -1.0, dtype=torch.float64)
    target = torch.ones(1, 1, 224, 224)
    exact = loss(logits, target)
    assert exact.dtype == torch.float64
    rounded = loss(logits.bfloat16(), target.bfloat16())
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=1e-5)


def test_in_bf16_a_pass_without_gradient_takes_none_from_the_next():
    """Autocast keeps rounded weights; those made without a gradient must not be used again."""
    method, batch = make()

    def losses(batch, clock):
        images = torch.ones(4, 3, 32, 32)
        with torch.no_grad():
            method.student(images)
        return {"dice": soft_dice(method.student(images), torch.ones(4, 1, 32, 32))}

    ForwardBackward(method, BF16)(losses, batch, CLOCK)
    assert all(gradient.abs().sum() > 0 for gradient in gradients(method)[-2:])


def test_losses_are_compiled_once(monkeypatch):
    compiled = []

    def compile_(losses, **options):
        compiled.append(losses)
        return losses

    monkeypatch.setattr(torch, "compile", compile_)
    method, batch = make()
    backward = ForwardBackward(method, Execution(compile=True))
    for _ in range(2):
        backward(method.losses, batch, CLOCK)
    assert compiled == [method.losses]
    other = short_of_memory(method, 4)  # such as those of a second update
    backward(other, batch, CLOCK)
    assert compiled == [method.losses, other]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a compiler")
def test_compiled_losses_agree():
    """Over a whole training, with the numbers that dropout draws."""
    losses, method, _ = training(Toy)
    compiled, other, done = training(Toy, Execution(compile=True))
    assert done.compile
    for plain, terms in zip(losses, compiled, strict=True):
        assert list(terms.values()) == pytest.approx(list(plain.values()), rel=1e-5)
    torch.testing.assert_close(list(other.parameters()), list(method.parameters()))
