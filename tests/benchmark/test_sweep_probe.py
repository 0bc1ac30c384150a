"""A probe: what the clock is asked for, real trainings in small, and what is kept of it."""

import json
import sys
from dataclasses import fields, replace
from subprocess import DEVNULL, Popen

import pytest
import torch
from small_runs import small_run

from benchmark import weights
from benchmark.files import WriteError
from benchmark.resolve import resolve
from benchmark.run import run
from benchmark.sweep import probe as probe_module
from benchmark.sweep import probes as probes_module
from benchmark.sweep.embedded import Slot
from benchmark.sweep.jobs import Job
from benchmark.sweep.probe import Clock, Probe, largest_part, probe
from benchmark.sweep.probes import ProbeError, Probes, conditions, measure

ONE = Probe(**{f.name: 1.0 for f in fields(Probe) if f.name != "steps_s"}, steps_s=(1.0, 3.0))
CPU = torch.device("cpu")


@pytest.fixture
def time_is(monkeypatch):
    """Sets the clock."""
    now = [0.0]
    monkeypatch.setattr(probe_module.time, "perf_counter", lambda: now[0])

    def set_to(seconds):
        now[0] = seconds

    return set_to


def test_the_clock_tells_first_steps_from_steady_ones(time_is):
    clock = Clock(CPU)
    time_is(2)
    clock.training("FH", 0, 8, 4, 1)
    time_is(3)
    clock.stage(0, 2)
    for step, now in enumerate((10, 11, 12, 19), 1):  # the last took long: the median is 1
        time_is(now)
        clock.step(step, {})
    clock.stage(1, 2)
    for step, now in enumerate((49, 51, 53, 55), 5):
        time_is(now)
        clock.step(step, {})
    assert clock.until_steady == 2 + 7
    assert (clock.steady(0), clock.steady(1)) == (1, 2)
    assert (clock.first(0), clock.first(1)) == (6, 28)
    assert clock.trained == clock.looked == 55
    time_is(57)
    clock.validated(8, 0.5)
    time_is(60)
    clock.advance(4)
    assert (clock.looked, clock.tested) == (57, 60)


def test_the_clock_stops_a_training_where_it_was_told():
    clock = Clock(CPU, stop=2)
    clock.training("FH", 0, 8, 4, 1)
    clock.stage(0, 1)
    stopped = []
    for step in (1, 2):
        clock.step(step, {})
        stopped.append(clock.stopped)
    assert stopped == [False, True]


def small_plan(small_data, tmp_path, method="unet", **changes):
    return resolve(small_run(small_data, tmp_path / "results", method, **changes))


def test_a_probe_is_of_what_a_run_does(small_data, tmp_path):
    plan = small_plan(small_data, tmp_path, tasks=("FH",))
    found = probe(plan, tmp_path / "probe", start_s=5.0)
    times = [getattr(found, f.name) for f in fields(Probe) if f.name.endswith("_s")]
    assert all(min(t) > 0 if isinstance(t, tuple) else t >= 0 for t in times)
    assert (found.start_s, len(found.steps_s), found.begin_s, found.look_s < 0.1) == (5, 1, 0, True)
    assert found.cold_s > 0
    record = run(plan.request)
    written = weights.path_of(plan.request.results, plan.name, "FH")
    # what it learned from is in the header, with the same length but for the number of steps
    assert found.weights_bytes == pytest.approx(written.stat().st_size, abs=64)
    rows = sum(file.stat().st_size for file in record.parent.glob("*.parquet"))
    kept = found.row_bytes * plan.dataset.images["FH"][1]
    assert kept == pytest.approx(rows, rel=0.5)  # one file there, two here
    moments = 2  # of AdamW, beside each weight
    assert found.checkpoint_bytes > moments * found.weights_bytes
    assert found.memory_mb > 100


@pytest.mark.parametrize(
    ("seconds", "of_run", "least", "most"),
    # a step takes some milliseconds: many fill a second, but not more than the run has
    [(0.0, "1000", 8, 8), (1.0, "1000", 9, 1000), (1000.0, "12", 12, 12), (1000.0, "4", 8, 8)],
)
def test_a_probe_has_steps_for_some_seconds(
    small_data, tmp_path, monkeypatch, seconds, of_run, least, most
):
    asked = []

    def train_part(plan, *others):
        asked.append(plan.protocol.steps)
        return real(plan, *others)

    real = probe_module.train_part
    monkeypatch.setattr(probe_module, "train_part", train_part)
    monkeypatch.setattr(probe_module, "SECONDS", seconds)
    changes = {**small_run(small_data, tmp_path).overrides, "steps": of_run}
    probe(small_plan(small_data, tmp_path, tasks=("FH",), overrides=changes), tmp_path / "probe")
    cold, warm = asked
    assert cold == 8
    assert least <= warm <= most


def test_a_probe_goes_through_all_stages(small_data, tmp_path):
    plan = small_plan(small_data, tmp_path, "stpp", tasks=("FH",))
    found = probe(plan, tmp_path / "probe")
    assert len(found.steps_s) == 3
    assert found.begin_s > 0


def test_images_kept_aside_are_looked_at(small_data, tmp_path):
    changes = {**small_run(small_data, tmp_path).overrides, "validation": "0.4", "steps": "500"}
    plan = small_plan(small_data, tmp_path, tasks=("FH",), overrides=changes)
    assert probe(plan, tmp_path / "probe").look_s > 0


def test_the_largest_part_is_probed(small_data, tmp_path):
    plan = small_plan(small_data, tmp_path)
    sizes = {"FH": (9, 2), "OT": (10, 1)}
    own = replace(plan, dataset=replace(plan.dataset, images=sizes))
    assert largest_part(own) == ("OT", ("OT",))
    universal = small_plan(small_data, tmp_path, "dodnet")
    assert largest_part(universal) == ("all", ("FH", "OT"))


def test_probes_of_several_slots_are_put_together():
    other = replace(ONE, ready_s=3.0, steps_s=(3.0, 5.0), memory_mb=9.0)
    both = Probe.together([ONE, other])
    assert (both.ready_s, both.close_s, both.steps_s, both.memory_mb) == (2, 1, (2, 4), 9)


def test_a_probe_is_kept_under_all_that_decides_speed(small_data, tmp_path):
    plan, slots = small_plan(small_data, tmp_path), [Slot(threads=1)]
    Probes(tmp_path).put(conditions(plan, slots), ONE)
    known = Probes(tmp_path)
    assert known.get(conditions(plan, slots)) == ONE
    for split in ("1_8", "1_16"):
        assert known.get(conditions(small_plan(small_data, tmp_path, split=split), slots)) == ONE
    longer = replace(plan, protocol=plan.protocol.with_(steps=70, epochs=2))
    assert known.get(conditions(longer, slots)) == ONE
    others = [
        (replace(plan, protocol=plan.protocol.with_(size=64)), slots),
        (replace(plan, execution=replace(plan.execution, precision="bf16")), slots),
        (small_plan(small_data, tmp_path, "pspnet"), slots),
        (replace(plan, tasks=("FH",)), slots),
        (replace(plan, dataset=replace(plan.dataset, content_sha256="0")), slots),
        (plan, [Slot(threads=2)]),
        (plan, slots * 2),
    ]
    assert [known.get(conditions(*other)) for other in others] == [None] * len(others)


def test_a_new_probe_takes_the_place_of_the_old_one(tmp_path):
    probes = Probes(tmp_path)
    for own in (ONE, replace(ONE, ready_s=2.0)):
        probes.put({"method": "unet"}, own)
    probes.put({"method": "propl"}, ONE)
    assert len(json.loads((tmp_path / "probes.json").read_text())["probes"]) == 2
    assert Probes(tmp_path).get({"method": "unet"}).ready_s == 2


def test_fewer_slots_are_told_from_more(tmp_path):
    """Towards its end a sweep has fewer runs; the probe with the fewest that suffice counts."""
    probes = Probes(tmp_path)
    for slots in (8, 2, 4):
        probes.put({"method": "unet", "slots": slots}, replace(ONE, ready_s=float(slots)))
    found = [probes.get({"method": "unet", "slots": slots}) for slots in (1, 2, 3, 8, 9)]
    assert [probe and probe.ready_s for probe in found] == [2, 2, 4, 8, None]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 0, "probes": []}', '{"format": 1}'])
def test_a_file_that_cannot_be_read_counts_as_none(tmp_path, text):
    (tmp_path / "probes.json").write_text(text)
    assert Probes(tmp_path).get({"method": "unet"}) is None
    Probes(tmp_path).put({"method": "unet"}, ONE)
    assert Probes(tmp_path).get({"method": "unet"}) == ONE


def test_the_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
    Probes(tmp_path).put({"method": "unet"}, ONE)
    before = (tmp_path / "probes.json").read_bytes()
    monkeypatch.setattr("os.fsync", lambda file: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(WriteError, match="full"):
        Probes(tmp_path).put({"method": "propl"}, ONE)
    assert (tmp_path / "probes.json").read_bytes() == before


@pytest.fixture
def child(monkeypatch, tmp_path):
    """Has `measure` start little programs in the place of probes; returns a job."""

    def use(*programs):
        waiting = list(programs)

        def start(job, slot, folder):
            folder.mkdir()
            with (folder / "log").open("wb") as log:
                words = [sys.executable, "-c", waiting.pop(0), str(folder)]
                return Popen(words, stdin=DEVNULL, stdout=log, stderr=log)

        monkeypatch.setattr(probes_module, "_start", start)
        return Job("unet/1_4/seed0", small_run(tmp_path, tmp_path / "results"))

    return use


ANSWER = "import json, sys; open(sys.argv[1] + '/probe.json', 'w').write({!r})"


def answer(**changes):
    values = {f.name: getattr(replace(ONE, **changes), f.name) for f in fields(Probe)}
    return ANSWER.format(json.dumps(values))


def test_all_slots_are_probed_and_nothing_is_left(child, tmp_path):
    job = child(answer(), answer(ready_s=3.0))
    assert measure(job, [Slot(), Slot()]).ready_s == 2
    assert list((tmp_path / "results").iterdir()) == []


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise SystemExit('unet: no weights here')", "unet: no weights here"),
        ("raise ValueError('odd')", "ValueError: odd"),
        ("import os; os.kill(os.getpid(), 9)", "its process ended with -9"),
    ],
)
def test_why_a_probe_failed(child, tmp_path, program, reason):
    job = child(answer(), program)
    with pytest.raises(ProbeError, match=reason):
        measure(job, [Slot(), Slot()])
    assert list((tmp_path / "results").iterdir()) == []
