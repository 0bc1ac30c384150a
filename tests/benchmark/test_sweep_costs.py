"""From a probe to a run: every piece as often as the run does it."""

from dataclasses import fields, replace

import pytest
from small_runs import small_run

from benchmark.dataset import load
from benchmark.part import train_part
from benchmark.progress import Progress
from benchmark.resolve import resolve
from benchmark.sweep.costs import cost_of, length_of, predicted
from benchmark.sweep.embedded import Slot
from benchmark.sweep.jobs import Job
from benchmark.sweep.probe import Probe
from benchmark.sweep.probes import Probes, conditions
from benchmark.validation import Validation, carve

NAMES = [field.name for field in fields(Probe) if field.name != "steps_s"]
NOTHING = Probe(**dict.fromkeys(NAMES, 0.0), steps_s=(0.0,))
SLOTS = [Slot(threads=1)]


class EnoughError(Exception):
    pass


class Told(Progress):
    """Ends a training before its first step."""

    def __init__(self):
        self.stopped = False

    def training(self, part, start, total, batch, parameters):
        self.total = total
        raise EnoughError


def plan_of(small_data, tmp_path, method="unet", split="1_4", changes=None, **request):
    asked = small_run(small_data, tmp_path / "results", method, split=split, **request)
    return resolve(replace(asked, overrides={**asked.overrides, **(changes or {})}))


@pytest.mark.parametrize(
    ("method", "split", "changes"),
    [
        ("unet", "1_4", {}),
        ("unet", "1_8", {"steps": "0", "epochs": "3", "batch": "2"}),
        ("fixmatch", "1_4", {"steps": "0", "epochs": "3"}),
        ("stpp", "1_4", {"steps": "0", "epochs": "2"}),
        ("dodnet", "1_4", {"steps": "0", "epochs": "5"}),
        ("propl", "1_4", {}),
        ("propl", "1_4", {"steps": "0", "epochs": "3", "validation": "0.4"}),
        ("dodnet", "1_4", {"steps": "0", "epochs": "3", "batch": "2", "validation": "0.4"}),
    ],
)
def test_steps_are_those_of_the_training(small_data, tmp_path, method, split, changes):
    plan = plan_of(small_data, tmp_path, method, split, changes)
    part, tasks = next(iter(plan.parts.items()))
    told = Told()
    with pytest.raises(EnoughError):
        train_part(plan, part, tasks, tmp_path, told)
    assert length_of(plan, tasks).total == told.total


@pytest.mark.parametrize("every", [0.05, 0.3, 1.0])
def test_looks_are_those_of_the_training(small_data, tmp_path, every):
    changes = {"steps": "11", "validation": "0.4", "validation_every": str(every)}
    plan = plan_of(small_data, tmp_path, "dodnet", changes=changes)
    images = [load(plan.dataset, task, "train", 32) for task in plan.tasks]
    labels = [plan.dataset.labelled(task, "1_4") for task in plan.tasks]
    length = length_of(plan, plan.tasks)
    watched = Validation(carve(images, labels, 0.4).held, plan.protocol, 22, plan.device)
    assert length.looks == sum(watched.due(step) for step in range(1, length.total + 1))


def seconds(plan, **pieces):
    return cost_of(plan, replace(NOTHING, **pieces)).again


def test_every_piece_counts_as_often_as_it_is_done(small_data, tmp_path):
    plan = plan_of(small_data, tmp_path, "stpp")
    train, test = (sum(plan.dataset.images[task][n] for task in plan.tasks) for n in (0, 1))
    labels = sum(plan.dataset.labelled(task, "1_4") for task in plan.tasks)
    assert seconds(plan, ready_s=1.0) == 2  # a part is a task
    assert seconds(plan, first_s=1.0) == 2 * 3  # stages
    assert seconds(plan, steps_s=(1.0, 2.0, 4.0)) == 2 * 4 * 7
    assert seconds(plan, begin_s=1.0) == pytest.approx(train - labels)
    assert seconds(plan, image_s=1.0) == test
    assert seconds(plan, close_s=1.0) == 2
    assert seconds(plan, look_s=1.0) == 0
    assert cost_of(plan, NOTHING).steps == 2 * 3 * 4


def test_a_method_of_one_stage_labels_nothing(small_data, tmp_path):
    assert seconds(plan_of(small_data, tmp_path, "fixmatch"), begin_s=1.0) == 0


def test_a_universal_method_has_one_part(small_data, tmp_path):
    plan = plan_of(small_data, tmp_path, "dodnet", changes={"validation": "0.4"})
    assert seconds(plan, ready_s=1.0) == seconds(plan, close_s=1.0) == 1
    assert seconds(plan, steps_s=(1.0,)) == 2 * 4
    assert seconds(plan, look_s=1.0) == 8  # each of 8 steps is more than a twentieth


def test_a_checkpoint_a_minute_of_training(small_data, tmp_path):
    plan = plan_of(small_data, tmp_path)  # two parts of 4 steps
    assert seconds(plan, checkpoint_s=1.0, steps_s=(14.0,)) == 2 * 56
    assert seconds(plan, checkpoint_s=1.0, steps_s=(31.0,)) == 2 * (124 + 2)


def test_what_a_process_takes_once_counts_for_the_first_run(small_data, tmp_path):
    cost = cost_of(plan_of(small_data, tmp_path), replace(NOTHING, cold_s=5.0, ready_s=1.0))
    assert (cost.seconds, cost.again) == (7, 2)


def test_bytes_that_stay_and_that_go(small_data, tmp_path):
    probe = replace(NOTHING, weights_bytes=3e6, row_bytes=1e3, checkpoint_bytes=9e6)
    plan = plan_of(small_data, tmp_path)
    tests = sum(plan.dataset.images[task][1] for task in plan.tasks)
    cost = cost_of(plan, probe)
    assert cost.disk_mb == pytest.approx(2 * 3 + tests / 1e3)
    assert cost.checkpoint_mb == 9
    without = replace(plan, request=replace(plan.request, keep_weights=False))
    assert cost_of(without, probe).disk_mb == pytest.approx(tests / 1e3)


def test_predicted_reads_what_was_measured_and_leaves_out_the_rest(small_data, tmp_path):
    results = tmp_path / "results"
    request = small_run(small_data, results)
    more = replace(request, split="1_8", overrides={**request.overrides, "steps": "40"})
    other = replace(request, method="pspnet")
    jobs = [Job(resolve(r).name, r) for r in (request, more, other)]
    assert predicted(jobs, results, SLOTS) == {}
    probe = replace(NOTHING, steps_s=(1.0,), cold_s=3.0)
    Probes(results).put(conditions(resolve(request), SLOTS), probe)
    assert predicted(jobs, results, SLOTS) == {"unet/1_4/seed0": 11, "unet/1_8/seed0": 83}
    assert predicted(jobs, results, [*SLOTS, *SLOTS]) == {}
    assert predicted(jobs, results, [Slot(threads=2)]) == {}
