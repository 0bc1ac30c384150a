"""Methods of several stages: what begins anew, what each sees, and what a checkpoint keeps."""

import re
from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from small_runs import assert_same, interrupt_at, small_run
from torch.nn import functional as F
from toy_method import (
    REFERENCE,
    STEPS,
    Toy,
    make_batches,
    make_method,
    make_protocol,
    training,
)

from benchmark import checkpoint, record
from benchmark.augment import normalise, weak
from benchmark.bench.images import RANDOM, resident_batches
from benchmark.bench.sides import Ours, PlainLoop
from benchmark.checkpoint import Standing
from benchmark.execution import Execution
from benchmark.method import Batch
from benchmark.methods import METHODS, Entry
from benchmark.resolve import Request, resolve
from benchmark.run import run
from benchmark.step import Stepper, rate_at
from benchmark.train import Interrupted, make_optimizer, train

STAGES = 3
ALL = STAGES * STEPS


class Staged(Toy):
    """Learns what its student said of half of the images, then of the other half too."""

    stages = STAGES

    def begin(self, stage, unlabelled):
        assert not torch.is_grad_enabled()
        if stage == 0:
            return
        chosen = torch.arange(len(unlabelled)) % 2 < stage
        news = (chosen ^ (unlabelled.chosen if stage > 1 else False)).nonzero()[:, 0]
        self.eval()
        for places, images, tasks in unlabelled.batches(news, 5):
            unlabelled.label(places, self.predict(images.float() / 255, tasks)[:, 0] > 0.5)
        unlabelled.choose(chosen)
        with torch.random.fork_rng():
            torch.manual_seed(stage)
            for weight in self.student.parameters():
                weight.copy_(torch.randn_like(weight) / 9)

    def losses(self, batch, clock):
        terms = super().losses(batch, clock)
        if clock.stage:
            img_u, mask_u = weak(batch.img_u, batch.pseudo_u, batch.key_u, self.setup.protocol)
            pred_u = F.dropout(self.student(normalise(img_u)), self.noise)
            terms["pseudo"] = F.binary_cross_entropy_with_logits(pred_u, mask_u)
        return terms


def test_every_stage_is_a_training_of_its_own(monkeypatch):
    """Full length, the whole schedule, a clock from 0, and an optimiser without moments."""
    begun, clocks, rates, moments = [], [], [], []
    update = Staged.update

    def updated(self, batch, clock, optimizer, backward):
        assert self.training
        clocks.append((int(clock.step), clock.total, clock.stage))
        rates.append(float(optimizer.param_groups[0]["lr"]))
        moments.append(len(optimizer.state))
        return update(self, batch, clock, optimizer, backward)

    monkeypatch.setattr(Staged, "begin", lambda self, stage, _: begun.append((stage, len(clocks))))
    monkeypatch.setattr(Staged, "update", updated)
    losses, _, _ = training(Staged, total=STEPS)
    assert len(losses) == ALL
    assert begun == [(stage, stage * STEPS) for stage in range(STAGES)]
    assert clocks == [(step, STEPS, stage) for stage in range(STAGES) for step in range(STEPS)]
    schedule = [rate_at(make_protocol(), step, STEPS) for step in range(STEPS)]
    assert rates == pytest.approx(schedule * STAGES)
    learning = len(list(make_method(Toy, make_protocol()).student.parameters()))
    assert moments == [0, *[learning] * (STEPS - 1)] * STAGES


def test_stages_see_other_images_and_views():
    batches, method = make_batches(Staged), make_method(Staged, make_protocol())
    optimizer = make_optimizer(method, make_protocol())
    keys = set()
    for stage in range(STAGES):
        step_by = Stepper(method, batches, optimizer, make_protocol(), STEPS, REFERENCE, stage)
        method.losses = lambda batch, clock: (
            keys.update(batch.key_x.tolist()) or Toy.losses(method, batch, clock)
        )
        for step in range(STEPS):
            step_by(step)
    assert len(keys) == ALL * 4


def test_only_chosen_images_are_dealt_out_with_the_labels_they_were_given():
    batches = make_batches(Toy)
    pool, size = batches.pool, 32
    assert len(pool) == 12
    places = torch.tensor([7, 1, 4])
    masks = torch.rand(3, size, size) > 0.5
    chosen = torch.zeros(12, dtype=torch.bool)
    chosen[places] = True
    batches.at(0)  # an order of all of them is kept
    pool.label(places, masks)
    pool.choose(chosen)
    expected = {12 + place: mask for place, mask in zip(places.tolist(), masks, strict=True)}
    seen = set()
    for step in range(10):
        rows, batch = batches.indices(step)[1], batches.at(step)
        seen.update(rows.tolist())
        assert torch.equal(batch.img_u, batches.images.pixels[rows])
        assert batch.pseudo_u.dtype == torch.uint8
        for row, mask in zip(rows.tolist(), batch.pseudo_u[:, 0], strict=True):
            assert torch.equal(mask.bool(), expected[row])
    assert seen == set(expected)
    assert [len(part) for part, _, _ in pool.batches(torch.arange(5), 2)] == [2, 2, 1]
    (part, images, tasks), *_ = pool.batches(places, 8)
    assert part.tolist() == [7, 1, 4]
    assert torch.equal(images, batches.images.pixels[12 + places])
    assert torch.equal(tasks, batches.images.tasks[12 + places])
    pool.choose(torch.ones(12, dtype=torch.bool))
    assert len({int(row) for step in range(3) for row in batches.indices(3 + step)[1]}) == 12


def test_the_true_masks_of_unlabelled_images_are_not_there():
    plan = resolve(Request("fixmatch", "1_4", preset="smoke", tasks=("FH",)), RANDOM)
    batches = resident_batches(plan)
    assert not batches.images.masks[batches.images.unlabelled].any()
    assert batches.images.masks[batches.images.labelled].any()
    assert not batches.at(0).pseudo_u.any()


def test_parts_of_a_batch_keep_their_labels():
    batches = make_batches(Toy)
    batches.pool.label(torch.arange(12), torch.arange(12 * 1024).view(12, 32, 32) % 3 == 0)
    batch = batches.at(0)
    parts = batch.split(2)
    assert torch.equal(torch.cat([part.pseudo_u for part in parts]), batch.pseudo_u)
    nothing = torch.empty(0)
    plain = Batch(batch.img_x, batch.mask_x, batch.task_x, batch.key_x, nothing, nothing, nothing)
    assert len(plain.split(2)[1].img_x) == 2


def interrupted(path, stop: int | None):
    """Go on from the checkpoint, if there is one; save after step `stop` and forget everything."""
    protocol = make_protocol()
    torch.manual_seed(1)
    method, batches = make_method(Staged, protocol), make_batches(Staged)
    batches.images.masks[batches.images.unlabelled] = 0
    optimizer = make_optimizer(method, protocol)
    standing = Standing()
    if path.is_file():
        standing = checkpoint.restore(path, {}, method, optimizer, batches.pool)
    losses = []

    def watch(step, terms):
        losses.append({name: term.item() for name, term in terms.items()})
        if step == stop:
            checkpoint.save(path, Standing(step), {}, method, optimizer, batches.pool)
        return step == stop

    with suppress(Interrupted):
        train(
            method, batches, optimizer, protocol, STEPS,
            execution=REFERENCE, start=standing.step, watch=watch,
        )  # fmt: skip
    return losses, method.state_dict(), batches.pool.state()


def test_stopped_after_any_step_and_gone_on_the_end_is_the_same(tmp_path):
    losses, weights, labels = interrupted(tmp_path / "none", None)
    assert len(losses) == ALL
    assert labels["masks"].any()
    for stop in (2, STEPS - 1, STEPS, STEPS + 1, 2 * STEPS, 2 * STEPS + 3):
        path = tmp_path / str(stop)
        first = interrupted(path, stop)[0]
        rest, other_weights, other_labels = interrupted(path, None)
        assert first + rest == losses, stop
        for one, other in ((weights, other_weights), (labels, other_labels)):
            assert all(torch.equal(one[name], other[name]) for name in one), stop


def test_a_checkpoint_without_labels_is_refused(tmp_path):
    method, batches = make_method(Staged, make_protocol()), make_batches(Staged)
    optimizer = make_optimizer(method, make_protocol())
    checkpoint.save(tmp_path / "all", Standing(1), {}, method, optimizer)
    with pytest.raises(checkpoint.CheckpointError, match="does not fit the method as it is now"):
        checkpoint.restore(tmp_path / "all", {}, method, optimizer, batches.pool)


def test_beginning_is_done_in_the_precision_of_the_steps(monkeypatch):
    seen = []
    monkeypatch.setattr(
        Staged, "begin", lambda self, stage, _: seen.append(torch.is_autocast_enabled("cpu"))
    )
    training(Staged)
    training(Staged, Execution("bf16"), stop=1)
    assert seen == [False] * STAGES + [True]


def test_speed_is_that_of_the_last_stage(monkeypatch):
    """Both sides do the same kind of step, and neither makes labels first."""
    seen = []
    losses = Staged.losses

    def spied(self, batch, clock):
        seen.append(clock.stage)
        return losses(self, batch, clock)

    monkeypatch.setattr(Staged, "losses", spied)
    monkeypatch.setattr(Staged, "encoder", "", raising=False)
    monkeypatch.setitem(METHODS, "staged", Entry("Staged", "", "", f"{__name__}:Staged"))
    overrides = {"size": "32", "batch": "4", "optimizer": "sgd", "weights": "none"}
    plan = resolve(Request("staged", "1_4", preset="smoke", overrides=overrides), RANDOM)
    batches = resident_batches(plan)
    Ours(plan, batches)
    PlainLoop(plan, batches)
    assert set(seen) == {STAGES - 1}
    assert len(seen) >= 2


@pytest.fixture(scope="module")
def whole(small_data, tmp_path_factory):
    """The record of a run of three stages that nothing stopped."""
    results = tmp_path_factory.mktemp("whole")
    return run(small_run(small_data, results, "stpp", tasks=("FH",)))


def test_a_record_counts_the_steps_of_all_stages(whole):
    assert record.load(whole).tasks["FH"].steps == 3 * 4


@pytest.mark.parametrize("step", [4, 5, 8])
def test_a_run_stopped_in_any_stage_goes_on_to_the_same_record(
    small_data, tmp_path, monkeypatch, capsys, step, whole
):
    """In a stage, at its end, and after the first step of the next."""
    asked = small_run(small_data, tmp_path, "stpp", tasks=("FH",))
    with monkeypatch.context() as patch:
        interrupt_at(patch, step)
        with pytest.raises(Interrupted, match=f"stopped after {step} steps"):
            run(asked)
    capsys.readouterr()
    assert_same(run(replace(asked, resume=True)), whole)
    told = re.findall(r"FH stage (\d)/3", capsys.readouterr().err)
    assert told == [str(stage + 1) for stage in range(3) if stage * 4 >= step]
    name = "weights/stpp/1_4/seed0/FH.safetensors"
    assert (tmp_path / name).read_bytes() == (whole.parents[3] / name).read_bytes()
