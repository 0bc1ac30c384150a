"""When runs end: the queue's own rule, no slot idle for long, tables complete when they can be."""

import heapq
import os
from itertools import accumulate, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.methods import METHODS
from benchmark.sweep.queue import Queue, Task
from benchmark.sweep.schedule import (
    Run,
    bound,
    complete_after,
    in_order,
    longest_first,
    makespan,
    simulate,
    table_by_table,
)

SPLITS = ("1_16", "1_8", "1_4")
# Milliseconds of a step at 224 px and 16 images on one GPU, and steps in thousands in 1/16, 1/8 and
# 1/4, all tasks of a single-task method together: estimates for networks of the paper's size.
SUPERVISED, SEMI = (4.8, 8.0, 16.0), (57.6, 52.8, 46.4)
UNIVERSAL, UNIVERSAL_SEMI = (3.8, 7.6, 15.0), (56.4, 52.6, 45.0)
PAPER = {
    "unet": (5.0, SUPERVISED),
    "pspnet": (3.5, SUPERVISED),
    "deeplabv3plus": (7.4, SUPERVISED),
    "unetpp": (11.2, SUPERVISED),
    "segformer": (10.4, SUPERVISED),
    "swin_unet": (21.8, SUPERVISED),
    "swin_unetr": (12.8, SUPERVISED),
    "hiformer": (21.8, SUPERVISED),
    "h2former": (21.8, SUPERVISED),
    "mamba_unet": (11.2, SUPERVISED),
    "fixmatch": (17.3, SEMI),
    "u2pl": (22.2, SEMI),
    "stpp": (18.5, SEMI),
    "unimatch": (32.1, SEMI),
    "augseg": (19.7, SEMI),
    "ddfp": (24.7, SEMI),
    "csc_pa": (22.2, SEMI),
    "dodnet": (10.0, UNIVERSAL),
    "clip_um": (10.0, UNIVERSAL),
    "univ_full": (13.0, UNIVERSAL_SEMI),
    "propl": (53.8, UNIVERSAL_SEMI),
}
SLOTS = st.integers(1, 16)


def of(name, seconds, again=None):
    return Run(name, seconds, seconds if again is None else again)


def paper_runs():
    return [
        of(f"{method}/{split}/seed0", ms * thousands)
        for method, (ms, steps) in PAPER.items()
        for split, thousands in zip(SPLITS, steps, strict=True)
    ]


@st.composite
def some_runs(draw):
    methods = st.sampled_from(["unet", "propl", "stpp"])
    drawn = draw(st.lists(st.tuples(methods, st.integers(1, 60)), min_size=1, max_size=12))
    return [of(f"{method}/1_4/seed{n}", float(s)) for n, (method, s) in enumerate(drawn)]


def names(runs):
    return [run.name for run in runs]


@given(SLOTS)
@settings(max_examples=16)
def test_the_papers_runs_keep_all_slots_busy(slots):
    runs = paper_runs()
    assert set(PAPER) == set(METHODS)
    assert makespan(simulate(longest_first(runs), slots)) <= 1.1 * bound(runs, slots)


def test_one_method_is_served_in_turn_on_the_way():
    timed = simulate(longest_first(paper_runs()), 4)
    in_slot = {slot: [t.run.method for t in timed if t.slot == slot] for slot in range(4)}
    pairs = [pair for methods in in_slot.values() for pair in pairwise(methods)]
    assert sum(one == other for one, other in pairs) > len(pairs) / 4


@pytest.fixture
def queue(tmp_path):
    made = Queue(tmp_path / "sweep.sqlite")
    yield made
    made.close()


@pytest.mark.parametrize("slots", [1, 2, 3, 7])
@pytest.mark.parametrize("order", ["longest", "tables"])
def test_runs_are_taken_as_the_queue_gives_them_out(queue, slots, order):
    """The queue itself, with its workers' time played through."""
    tables = {
        number: [run.name for run in paper_runs() if f"/{split}/" in run.name]
        for number, split in enumerate(SPLITS, 1)
    }
    runs = in_order(order, paper_runs(), tables)
    assert len({run.rank for run in runs}) == (3 if order == "tables" else 1)
    queue.put(Task(run.name, "{}", run.seconds, run.rank) for run in runs)
    seconds = {run.name: run.seconds for run in runs}
    free, taken = [(0.0, slot, "") for slot in range(slots)], []
    while free:
        now, slot, like = heapq.heappop(free)
        entry = queue.lease(os.getpid(), like)
        if entry is None:
            continue
        queue.finish(entry.name, os.getpid())
        ends = now + seconds[entry.name]
        taken.append((entry.name, slot, ends))
        heapq.heappush(free, (ends, slot, entry.name.partition("/")[0]))
    assert [(t.run.name, t.slot, t.ends) for t in simulate(runs, slots)] == taken


@given(some_runs(), SLOTS, st.floats(0, 9))
def test_every_run_once_and_one_at_a_time(runs, slots, start):
    timed = simulate(runs, slots, start)
    assert sorted(names(t.run for t in timed)) == sorted(names(runs))
    for slot in range(slots):
        own = [t for t in timed if t.slot == slot]
        assert all(before.ends == after.begins for before, after in pairwise(own))
        assert not own or own[0].begins == start
    assert makespan(timed) >= start + bound(runs, slots) * (1 - 1e-9)


def test_only_the_first_run_of_a_method_in_a_process_pays_for_it():
    runs = [of("unet/1_16/seed0", 10, 7), of("propl/1_4/seed0", 9, 5), of("unet/1_4/seed0", 9, 6)]
    timed = {t.run.name: t.ends - t.begins for t in simulate(runs, 1)}
    assert list(timed.values()) == [10, 6, 9]
    assert [t.ends for t in simulate(runs, 3)] == [10, 9, 9]


def test_longest_first():
    assert names(longest_first([of("a/1", 2), of("b/1", 9), of("c/1", 5)])) == ["b/1", "c/1", "a/1"]


@given(some_runs(), st.data())
def test_tables_one_after_another(runs, data):
    members = st.frozensets(st.sampled_from(names(runs)))
    tables = {number: data.draw(members) for number in (1, 2, 3)}
    ordered = table_by_table(runs, tables)
    assert sorted(names(ordered)) == sorted(names(runs))
    first = min(sum(r.seconds for r in runs if r.name in own) for own in tables.values())
    ends = dict(zip(names(ordered), accumulate(run.seconds for run in ordered), strict=True))
    done = [max((ends[name] for name in own), default=0) for own in tables.values()]
    assert min(done) == first  # nothing is done before the smallest table is


def test_a_table_of_which_most_is_done_comes_next():
    """Table 4 is the larger, but shares what Table 1 has done already."""
    runs = [of("u/1", 10), of("p/1", 30), of("p/1+x", 5), of("s/1", 20)]
    tables = {1: {"u/1", "p/1"}, 2: {"s/1", "u/1", "p/1+x"}, 4: {"p/1", "p/1+x"}}
    assert names(table_by_table(runs, tables)) == ["s/1", "u/1", "p/1+x", "p/1"]
    del tables[2]
    assert names(table_by_table(runs, tables)) == ["p/1", "p/1+x", "u/1", "s/1"]


def test_a_method_does_not_take_a_worker_to_another_table():
    runs = [of("u/1", 5), of("u/2", 9), of("p/1", 5), of("p/2", 8)]
    tables = {1: {"u/1", "p/1"}, 2: {"u/2", "p/2"}}
    timed = simulate(table_by_table(runs, tables), 1)
    assert complete_after(timed, tables[1]) == 10


def test_a_table_is_complete_with_its_last_run():
    timed = simulate([of("a/1", 9), of("b/1", 5), of("c/1", 3)], 2)
    assert complete_after(timed, {"b/1", "c/1"}) == 8
    assert complete_after(timed, {"done/before"}) == 0


def test_nothing_to_do():
    assert simulate([], 3) == []
    assert makespan([]) == 0
