"""The step bench: what it counts, what it charges to whom, and that one failure stops nothing."""

import json
import re
from types import SimpleNamespace

import pytest
import torch
import typer
from torch import nn
from torch.nn import functional as F
from typer.testing import CliRunner

from baselines.unet import UNet
from benchmark.augment import weak_input
from benchmark.bench import phases as phases_module
from benchmark.bench import rates, suite
from benchmark.bench.count import count, kernels
from benchmark.bench.images import RANDOM, resident_batches
from benchmark.bench.phases import BACKWARD, FORWARD, INPUT, PHASES, Stopwatch, input_alone, phases
from benchmark.bench.sides import Ours, PlainLoop, take_turns
from benchmark.commands.bench import bench
from benchmark.methods import METHODS, Entry
from benchmark.resolve import Request, resolve
from benchmark.step import Recording

CPU = torch.device("cpu")
TINY = {"weights": "none", "encoder": "test_efficientnet", "size": "32", "batch": "2"}
SETTINGS = [word for name, value in TINY.items() for word in ("--set", f"protocol.{name}={value}")]
SMOKE = ["--preset", "smoke", *SETTINGS, "--steps", "2"]


class Broken(UNet):
    """Fails when it is built."""

    def network(self) -> nn.Module:
        raise RuntimeError("no such layer")


def usbench_bench(*words: object):
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(bench)
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module", autouse=True)
def _small_probes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rates, "SIDE", {"cpu": 64})
        patch.setattr(rates, "COPIED_BYTES", {"cpu": 2**20})
        yield


@pytest.fixture(scope="module")
def plan():
    overrides = {**TINY, "optimizer": "sgd", "steps": "10"}
    return resolve(Request(method="unet", split="1_4", preset="smoke", overrides=overrides), RANDOM)


@pytest.fixture(scope="module")
def ours(plan):
    return Ours(plan, resident_batches(plan))


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """A method that works between two that do not; and a folder that is not there."""
    out = tmp_path_factory.mktemp("bench") / "new" / "bench.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, "broken", Entry("Broken", "", "", f"{__name__}:Broken"))
        patch.setitem(METHODS, "later", Entry("Later", "", ""))
        patch.setenv("COLUMNS", "80")
        methods = [word for name in ("broken", "unet", "later") for word in ("--method", name)]
        done = usbench_bench(*methods, *SMOKE, "--out", out)
    return done, json.loads(out.read_text())


def test_numbers_fit_together(outcome):
    _, report = outcome
    assert report["data"] == "random"
    assert report["commit"]
    assert report["machine"]["device"].startswith("cpu")
    assert min(report["rates"]["matrix_tflop_per_s"].values()) > 0
    unet = report["methods"]["unet"]
    ours, plain = unet["ours"], unet["plain"]
    assert unet["speedup"] == plain["ms_per_step"] / ours["ms_per_step"]
    assert unet["cpu_speedup"] == plain["cpu_ms_per_step"] / ours["cpu_ms_per_step"]
    assert ours["images_per_s"] == pytest.approx(2 / ours["ms_per_step"] * 1e3)
    assert 0 < ours["ms_per_step_least"] <= ours["ms_per_step"] <= ours["ms_per_step_most"]
    assert tuple(unet["phases_ms"]) == PHASES
    assert min(unet["phases_ms"].values()) > 0
    assert unet["input_share"] == unet["phases_ms"][INPUT] / sum(unet["phases_ms"].values())
    assert unet["steps"] == 2
    assert unet["execution"]["channels_last"]
    assert unet["protocol"]["weights"] == "none"
    seconds, rate = ours["cpu_ms_per_step"] / 1e3, report["rates"]["matrix_tflop_per_s"]["fp32"]
    share = unet["gflop_per_step"] / 1e3 / seconds / rate
    assert (unet["matrix_unit"], unet["matrix_share"]) == ("fp32", pytest.approx(share))
    assert unet["kernels_per_step"] is None


def test_a_failing_method_is_reported_and_stops_no_other(outcome):
    done, report = outcome
    assert done.exit_code == 1
    assert list(report["methods"]) == ["unet"]
    reason = report["failed"]["broken"]
    assert re.fullmatch(r"RuntimeError: no such layer \(tests/.*/test_bench_step.py:\d+\)", reason)
    assert "not implemented yet" in report["failed"]["later"]
    printed = re.sub(r"\s+", " ", done.output)
    assert "broken failed: RuntimeError: no such layer" in printed
    assert "later failed: Later is not implemented yet" in printed


def test_the_table_fits_a_narrow_terminal(outcome):
    done, _ = outcome
    lines = done.stdout.splitlines()
    assert any("U-Net" in line for line in lines)
    assert max(map(len, lines)) <= 80
    assert "…" not in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--method, or take them all with --all"),
        (["--all", "--method", "unet"], "--method, or take them all with --all"),
        (["--method", "unte"], "did you mean 'unet'?"),
        (["--method", "unet", "--preset", "papr"], "did you mean 'paper'?"),
        (["--method", "unet", "--set", "sise=64"], "did you mean 'size'?"),
        (["--method", "unet", "--precision", "fp8"], "unknown precision 'fp8'"),
        (["--method", "unet", "--graph", "--device", "cpu"], "--graph"),
        (["--method", "unet", "--steps", "0"], "--steps"),
        (["--method", "unet", "--data", "nowhere"], "usbench build-data --out nowhere"),
        (["--method", "unet", "--preset", "smoke", "--out", "."], "--out . cannot be written"),
    ],
    ids=" ".join,
)
def test_nonsense_is_answered_before_anything_is_measured(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    done = usbench_bench(*words)
    assert done.exit_code == 2
    assert message in re.sub(r"[\s│]+", " ", done.output)
    assert "Traceback" not in done.output
    assert not list(tmp_path.iterdir())


def test_no_method_is_begun_when_the_budget_is_spent(monkeypatch, tmp_path):
    now = 0.0

    def takes_a_minute(plan, rates, steps):
        nonlocal now
        now += 60
        return plan.request.method

    monkeypatch.setattr(suite, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(suite, "measure", takes_a_minute)
    names = ("a", "b", "c")
    for name in names:
        monkeypatch.setitem(METHODS, name, METHODS["unet"])
    requests = {name: Request(method=name, split="1_4", overrides=TINY) for name in names}
    report = suite.bench(requests, budget_s=100, out=tmp_path / "bench.json")
    assert (list(report.methods), report.not_begun) == (["a", "b"], ("c",))
    written = json.loads((tmp_path / "bench.json").read_text())
    assert (written["not_begun"], written["seconds"]) == (["c"], 120)


def test_no_method_is_begun_after_a_recording_broke(monkeypatch):
    def breaks(plan, rates, steps):
        if plan.request.method == "b":
            Recording.broken = True
            raise RuntimeError("operation not permitted when stream is capturing")
        return plan.request.method

    monkeypatch.setattr(suite, "measure", breaks)
    monkeypatch.setattr(Recording, "broken", False)
    for name in "abc":
        monkeypatch.setitem(METHODS, name, METHODS["unet"])
    requests = {name: Request(method=name, split="1_4", overrides=TINY) for name in "abc"}
    report = suite.bench(requests)
    assert (list(report.methods), list(report.failed), report.not_begun) == (["a"], ["b"], ("c",))


def test_what_was_measured_is_written_before_the_next_begins(monkeypatch, tmp_path):
    out = tmp_path / "bench.json"

    def killed_at_b(plan, rates, steps):
        if plan.request.method == "b":
            raise KeyboardInterrupt
        return "measured"

    monkeypatch.setattr(suite, "measure", killed_at_b)
    for name in "ab":
        monkeypatch.setitem(METHODS, name, METHODS["unet"])
    requests = {name: Request(method=name, split="1_4", overrides=TINY) for name in "ab"}
    with pytest.raises(KeyboardInterrupt):
        suite.bench(requests, out=out)
    assert json.loads(out.read_text())["methods"] == {"a": "measured"}


def test_sides_take_turns():
    done = []

    def side(name):
        return SimpleNamespace(
            plan=SimpleNamespace(device=CPU, protocol=SimpleNamespace(batch=4)),
            steps=lambda count: done.append((name, count)),
            first_steps_s=1.0,
            peak_memory_mb=None,
        )

    timings = take_turns((side("a"), side("b")), 7)
    assert done == [(name, count) for count in (2, 2, 1, 1, 1) for name in "ab"]
    assert len(timings) == 2
    done.clear()
    take_turns((side("a"), side("b")), 2)
    assert done == [("a", 1), ("b", 1), ("a", 1), ("b", 1)]


def test_both_sides_learn_the_same_in_their_own_way(plan):
    batches = resident_batches(plan)
    ours, plain = Ours(plan, batches), PlainLoop(plan, batches)
    # after the one step that each has done; more would enlarge the rounding
    for mine, theirs in zip(ours.method.parameters(), plain.method.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=2e-6)
    for side in (ours, plain):
        side.steps(2)
    (group,), (of_ours,) = plain.optimizer.param_groups, ours.optimizer.param_groups
    assert (group["fused"], group["foreach"]) == (False, False)
    assert group["lr"] == pytest.approx(float(of_ours["lr"]))
    assert 0 < group["lr"] < plan.protocol.rate
    weights = [m.weight for m in plain.method.modules() if isinstance(m, nn.Conv2d)]
    assert all(weight.is_contiguous() for weight in weights)
    weights = [m.weight for m in ours.method.modules() if isinstance(m, nn.Conv2d)]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


def test_phases_exclude_what_is_within(monkeypatch):
    now = 0.0
    clock = SimpleNamespace(perf_counter=lambda: now)
    monkeypatch.setattr(phases_module, "time", clock)
    watch = Stopwatch(CPU)

    def passes(seconds):
        nonlocal now
        now += seconds

    view = watch.timed(INPUT, passes)
    with watch.phase(FORWARD):
        passes(1)
        view(10)
        passes(2)
        with watch.phase(BACKWARD):
            passes(100)
    passes(1000)
    assert (watch.seconds[FORWARD], watch.seconds[INPUT], watch.seconds[BACKWARD]) == (3, 10, 100)


def test_a_step_is_charged_to_its_phases_and_left_as_it_was(monkeypatch, ours):
    """The clock counts calls of what is timed: each phase holds its own."""
    import baselines.supervised as supervised

    original = supervised.weak_input
    seen = []
    real = Stopwatch.phase

    def noted(self, name):
        seen.append(name)
        return real(self, name)

    monkeypatch.setattr(Stopwatch, "phase", noted)
    seconds = phases(ours.steps, ours.batches, ours.optimizer, CPU)
    assert seen[0] == FORWARD
    assert set(seen) == set(PHASES)
    assert min(seconds.values()) > 0
    assert supervised.weak_input is original
    assert "gather" not in vars(ours.batches)


def test_input_alone_is_the_batch_and_its_views(plan):
    side = PlainLoop(plan, resident_batches(plan))
    again = input_alone(side.steps, side.batches)

    def by_hand():
        batch = side.batches.at(0)
        weak_input(batch.img_x, batch.mask_x, batch.key_x, plan.protocol)

    expected = count(by_hand)
    assert count(again) == expected
    assert expected.flop == 0
    assert expected.calls > count(lambda: side.batches.at(0)).calls


def test_counts_of_convolutions_and_attention():
    images = torch.randn(2, 8, 16, 16, requires_grad=True)
    depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
    forward = count(lambda: depthwise(images))
    flop = 2 * (2 * 8 * 16 * 16) * 9
    read_and_written = 4 * (2 * images.numel() + depthwise.weight.numel())
    assert (forward.calls, forward.flop, forward.bytes) == (1, flop, read_and_written)
    out = depthwise(images)
    assert count(lambda: out.backward(torch.ones_like(out))).flop == 2 * flop

    up = nn.ConvTranspose2d(8, 4, 2, 2, bias=False)
    out = up(images.detach())
    flop = 2 * (2 * 16 * 16) * 8 * 4 * 4
    # no gradient of the images is asked for
    assert count(lambda: out.backward(torch.ones_like(out))).flop == flop

    q = torch.randn(2, 4, 10, 16)
    assert count(lambda: F.scaled_dot_product_attention(q, q, q)).flop == 2 * 2 * 2 * 4 * 10**2 * 16


def test_views_and_allocations_are_no_calls_and_expanding_moves_nothing():
    x = torch.zeros(4, 1)
    assert count(lambda: torch.empty_like(x.view(-1)[1:].unsqueeze(0))).calls == 0
    added = count(lambda: x.expand(4, 1000) + 1)
    assert (added.calls, added.bytes) == (1, 4 * 4 + 4 * 4000)


def test_prediction_leaves_the_method_in_training(ours):
    from benchmark.bench.step import prediction_ms

    assert prediction_ms(ours) > 0
    assert ours.method.training


def test_kernels_are_counted_on_a_gpu():
    assert kernels(lambda: None, CPU) is None
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU here")
    gpu = torch.device("cuda")
    x = torch.ones(1024, device=gpu)
    one = kernels(lambda: x.add_(1), gpu)
    three = kernels(lambda: [x.add_(1) for _ in range(3)], gpu)
    assert (one.number, three.number) == (1, 3)
    assert 0 < one.ms < three.ms


def test_rates_leave_torchs_switch_as_it_was():
    torch.set_float32_matmul_precision("high")
    try:
        assert rates.matrix_rate(CPU, "fp32") > 0
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
