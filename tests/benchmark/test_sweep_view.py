"""What is shown of a sweep, and how long it is said to take."""

import os
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmark.sweep import view as view_module
from benchmark.sweep.queue import DONE, FAILED, RUNNING, WAITING, Entry, Queue, Task
from benchmark.sweep.remaining import Remaining
from benchmark.sweep.view import View, counts, last_lines, why
from benchmark.sweep.worker import log_of

LONG = "propl/1_4/seed0+prompting=none,uplc=false"


def entry(name="unet/1_4/seed0", state=RUNNING, seconds=0.0, began=0.0, ended=0.0, **changes):
    made = Entry(name, "{}", seconds, state, "", 1, 0.0, began, ended, 0, 0.0, 0.0, "")
    return replace(made, **changes)


def remaining(*steps):
    """What is said after the jobs stood like this, one after the other."""
    made = Remaining()
    for entries in steps:
        made.see(entries)
    return made


def test_a_run_is_judged_by_its_own_progress():
    seen = [[entry(heard=100, share=0.1)], [entry(heard=160, share=0.4)]]
    assert remaining(*seen).run(seen[-1][0]) == pytest.approx(120)


def test_a_resumed_run_is_not_taken_for_a_fast_one():
    """It began at 90 %, and has done 1 % in a minute."""
    seen = [[entry(began=0, heard=5, share=0.9)], [entry(began=0, heard=65, share=0.91)]]
    assert remaining(*seen).run(seen[-1][0]) == pytest.approx(540)
    again = entry(began=70, heard=75, share=0.91)  # another lease, of which nothing is known
    assert remaining(*seen, [again]).run(again) is None


def test_a_prediction_counts_as_far_as_runs_bear_it_out():
    done = [entry("a", DONE, 100, 0, taken) for taken in (200, 210, 20)]  # one was resumed
    run = entry("b", RUNNING, 50)
    assert remaining([run]).run(run) == 50
    assert remaining([*done, run]).run(run) == 100
    half = replace(run, heard=9.0, share=0.5)
    assert remaining([*done, half]).run(half) == 50
    later = replace(half, heard=19.0, share=0.75)  # its own progress says more by now
    assert remaining([*done, half], [*done, later]).run(later) == pytest.approx(10)


def test_time_left_of_a_sweep():
    runs = [entry("a", RUNNING, 100), entry("b", RUNNING, 30)]
    waiting = [entry(str(number), WAITING, 40) for number in range(3)]
    assert remaining(runs).sweep([*runs, *waiting]) == 140  # 30 + 40 + 40, and 100 + 40
    assert remaining(runs).sweep(runs) == 100
    assert remaining().sweep([]) == 0


def test_what_is_not_known_is_not_said():
    run, waiting, done = entry("a"), entry("b", WAITING), entry("c", DONE, 0, 0, 60)
    assert remaining().sweep([run]) is None
    assert remaining().sweep([entry("a", RUNNING, 50), waiting]) is None
    assert remaining([done]).sweep([done, waiting]) is None  # how many at a time?
    assert remaining([done]).sweep([done, run, waiting]) == 120


@given(
    st.lists(st.floats(1, 1e5), min_size=1, max_size=8),
    st.lists(st.floats(1, 1e5), max_size=30),
)
def test_a_sweep_takes_no_less_than_its_bound_and_less_than_twice_that(running, waiting):
    entries = [entry(str(n), RUNNING, seconds) for n, seconds in enumerate(running)]
    entries += [entry(f"w{n}", WAITING, seconds) for n, seconds in enumerate(waiting)]
    all_ = running + waiting
    bound = max(sum(all_) / len(running), *all_)
    assert bound * 0.999 <= remaining().sweep(entries) <= 2 * bound


@pytest.fixture
def screen(monkeypatch):
    """Makes a view that draws on a terminal of some width; returns it and what is on it."""

    def made(queue, columns, total=9):
        console = Console(force_terminal=True, width=columns, height=24, color_system=None)
        monkeypatch.setattr(view_module, "Console", lambda stderr: console)
        view = View(queue, total, 0)

        def drawn(entries):
            view._remaining.see(entries)
            with console.capture() as captured:
                console.print(view._drawn(entries))
            return captured.get().splitlines()

        return view, drawn

    return made


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("runs", [2, 16])
def test_a_table_fits_the_terminal(tmp_path, screen, columns, runs):
    _, drawn = screen(tmp_path / "sweep.sqlite", columns)
    now = time.time()
    names = [LONG, "propl/1_4/uplc=false,prompting=none/seed0", "unet/1_16/seed12"]
    names += [f"mamba_unet/1_16/seed{number}+{'x' * 80}" for number in range(13)]
    entries = [
        entry(name, RUNNING, 1000, now - 36000, share=0.25, speed=1234.5) for name in names[:runs]
    ]
    lines = drawn([*entries, entry("z", WAITING, 1000)])
    assert lines[0] == f"0 of 9 done, {runs} running, 1 waiting; time left 29:10"
    assert len(lines) == 2 + runs
    assert max(map(len, lines)) <= columns
    for line, name in zip(lines[2:], names, strict=False):
        assert line.startswith(name if len(name) < 45 else name[:30])
        assert line.split()[1] == "25%"
        assert line.split()[-3:] == ["10:00:00", "12:30", "1234"]
        assert ("━" in line) == (columns == 120)


def test_names_and_logs_are_not_taken_for_markup(tmp_path, screen, capsys):
    name = "propl/1_4/seed0+x=[bold]y[/red]"
    _, drawn = screen(tmp_path / "sweep.sqlite", 80)
    assert drawn([entry(name)])[2].startswith(name)
    log = log_of(tmp_path / "sweep.sqlite", name)
    log.parent.mkdir(parents=True)
    log.write_text("\x1b[31m[/bold] [red]:smile:\x1b[0m\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(view_module, "Console", Console)
        view = View(tmp_path / "sweep.sqlite", 1, 0)
    view.show([entry(name, FAILED, 0, 1, 4, problem="[/x]")])
    told = capsys.readouterr().err.splitlines()
    assert told[:3] == [f"{name}: FAILED after 0:03", "    [/bold] [red]:smile:", "    [/x]"]


def test_why_a_run_failed(tmp_path):
    log = tmp_path / "log"
    failed = entry(state=FAILED, problem="no such encoder;\nchoose another")
    assert why(failed, log) == ["no such encoder;", "choose another"]
    log.write_text("".join(f"line {n}\n\n" for n in range(2000)) + "Error: no such encoder;\n")
    assert why(failed, log) == [
        "line 1996", "line 1997", "line 1998", "line 1999", "Error: no such encoder;",
        "choose another",
    ]  # fmt: skip
    killed = replace(failed, problem="its process was killed 5 times")
    assert why(killed, log)[-1] == "its process was killed 5 times"
    assert last_lines(tmp_path) == []


def test_lines_in_a_file(tmp_path, capsys, monkeypatch):
    """One whenever a job begins or ends, once, and now and then one on the whole."""
    clock = [1000.0]
    monkeypatch.setattr(view_module.time, "monotonic", lambda: clock[0])
    queue = Queue(tmp_path / "sweep.sqlite")
    queue.put(Task(f"unet/1_4/seed{seed}", "{}", 60.0) for seed in range(4))
    with View(queue.path, 6, 2) as view:
        view.show(queue.entries())
        queue.finish(queue.lease(os.getpid()).name, os.getpid())
        queue.fail(queue.lease(os.getpid()).name, os.getpid(), "line one\nline two")
        running = queue.lease(os.getpid())
        queue.beat(running.name, os.getpid(), 0.5, 10.0)
        for _ in range(3):
            view.show(queue.entries())
        told = capsys.readouterr().err.splitlines()
        for _ in range(3):
            clock[0] += view_module.LINE_SECONDS / 2 + 1
            view.show(queue.entries())
    assert told[0].startswith("unet/1_4/seed0: done after")
    assert told[1].startswith("unet/1_4/seed1: FAILED after")
    assert told[2:] == ["    line one", "    line two", "unet/1_4/seed2: begins"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("3 of 6 done, 1 running, 1 failed, 1 waiting; time left ")
    assert counts(queue.entries(), 6, 2) == "3 of 6 done, 1 running, 1 failed, 1 waiting"
