"""How far a run is: what other threads of its process are told while it goes on."""

import pytest
import torch
from small_runs import interrupt_at, small_run

from benchmark import progress as progress_module
from benchmark.part import train_part
from benchmark.progress import Progress, Standing, standing
from benchmark.run import run
from benchmark.train import Interrupted

STEPS, BATCH, TESTS = 10, 8, 30


class Clock:
    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(progress_module.time, "monotonic", lambda: self.now)


def share():
    return standing().share


def test_a_run_of_two_parts_from_nothing_to_its_end(monkeypatch):
    clock = Clock(monkeypatch)
    assert standing() is None
    with Progress("unet/1_4/seed0 on cpu", {"FH": TESTS, "OT": TESTS}) as told:
        assert standing() == Standing(0.0, 0.0)
        told.training("FH", 0, STEPS, BATCH, 5)
        clock.now += 4
        told.step(5, {"loss": torch.ones(())})
        # 30 test images cost as much as 10 that are trained on, of which there are 80
        assert share() == pytest.approx(40 / 90 / 2)
        assert standing().images_per_s == pytest.approx(10)
        told.step(STEPS, {"loss": torch.ones(())})
        told.evaluating("FH", TESTS)
        told.advance(15)
        assert share() == pytest.approx(85 / 90 / 2)
        told.advance(15)
        told.done()
        assert share() == pytest.approx(1 / 2)
        told.training("OT", 0, STEPS, BATCH, 5)
        assert standing() == Standing(1 / 2, 0.0)
        told.step(STEPS, {})
        told.evaluating("OT", TESTS)
        told.advance(TESTS)
        told.done()
        assert share() == pytest.approx(1)
    assert standing() is None


def test_what_was_done_before_counts_for_the_share_and_not_for_the_speed(monkeypatch):
    clock = Clock(monkeypatch)
    with Progress("", {"FH": TESTS, "OT": TESTS}) as told:
        told.done()
        told.training("OT", 5, STEPS, BATCH, 5)
        assert share() == pytest.approx((1 + 40 / 90) / 2)
        clock.now += 2
        told.step(6, {})
        assert standing().images_per_s == pytest.approx(4)


def test_the_device_is_not_asked_for_it(monkeypatch):
    """Reading a loss waits for the device; the speed comes without."""
    clock = Clock(monkeypatch)
    read = []

    class Term:
        def item(self):
            read.append(clock.now)
            return 0.0

    with Progress("", {"FH": TESTS}) as told:
        told.training("FH", 0, 1000, BATCH, 5)
        for step in range(1, 500):
            clock.now += 0.1
            told.step(step, {"loss": Term()})
            assert standing().images_per_s == pytest.approx(80)
    assert len(read) <= 50 / progress_module.REFRESH_SECONDS


@pytest.mark.parametrize(("method", "parts"), [("unet", 2), ("propl", 1)])
def test_a_run_tells_its_parts_and_goes_on_from_where_it_was(
    small_data, tmp_path, monkeypatch, method, parts
):
    seen = []

    def watched(*args, **kwargs):
        seen.append(standing().share)
        try:
            train_part(*args, **kwargs)
        finally:
            seen.append(standing().share)

    monkeypatch.setattr("benchmark.run.train_part", watched)
    asked = small_run(small_data, tmp_path, method, resume=True)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        with pytest.raises(Interrupted):
            run(asked)
    assert standing() is None
    begun, stopped = seen
    assert begun == 0
    assert 0.1 / parts < stopped < 0.9 / parts
    seen.clear()
    run(asked)
    assert seen[1::2] == pytest.approx([(part + 1) / parts for part in range(parts)])
    assert standing() is None
