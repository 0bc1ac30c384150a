"""A step done one operation after another, and the same step recorded."""

import gc
import weakref
from contextlib import contextmanager, nullcontext

import pytest
import torch
import toy_method
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from toy_method import REFERENCE, STEPS, Toy, make_batches, make_method, make_protocol, training

from baselines.unet import UNet
from benchmark.execution import Execution
from benchmark.guard import TrainingError
from benchmark.method import Clock
from benchmark.step import WARM_UP, Recording, Stepper, rate_at
from benchmark.train import make_optimizer
from propl.method import ProPL

METHODS = (Toy, UNet, ProPL)
GRAPH = Execution(graph=True)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")


def tensors(tree) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


class Tape(TorchDispatchMode):
    """A CUDA graph on a processor: operations are kept with the tensors they touched, not values.

    As with a real one, Python runs once, recording changes nothing, and a replay writes to the
    same memory. `state` gives the tensors that recording must leave as they are.
    """

    made: list["Tape"] = []  # noqa: RUF012

    def __init__(self, state):
        super().__init__()
        self.state = state
        self.calls = []
        self.replays = 0
        self.made.append(self)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        # aliases: shapes are those of now, whatever is done to the tensors later
        kept = tree_map_only(torch.Tensor, torch.Tensor.detach, (args, kwargs or {}))
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, *kept, [made.detach() for made in tensors(result)]))
        return result

    @contextmanager
    def recording(self):
        before, generator = [(kept, kept.clone()) for kept in self.state()], torch.get_rng_state()
        try:
            with self:
                yield
        finally:
            with torch.no_grad():
                for kept, value in before:
                    kept.copy_(value)
            torch.set_rng_state(generator)

    @torch.no_grad()
    def replay(self):
        self.replays += 1
        for func, args, kwargs, results in self.calls:
            again = tensors(func(*args, **kwargs))
            for old, new in zip(results, again, strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class Stream:
    """Of no device; work on it is done at once."""

    def wait_stream(self, other):
        pass


@pytest.fixture
def tape(monkeypatch):
    """In place of CUDA: `training` records steps on tapes, and returns what it did."""
    kept = {}
    monkeypatch.setattr(Tape, "made", [])

    def state():
        method, optimizer = kept["method"], kept["optimizer"]
        return [*method.state_dict().values(), *tensors(list(optimizer.state.values()))]

    def made(method, protocol):
        kept.update(method=method, optimizer=make_optimizer(method, protocol))
        return kept["optimizer"]

    monkeypatch.setattr("toy_method.make_optimizer", made)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: Tape(state))
    monkeypatch.setattr(torch.cuda, "graph", lambda tape, stream: tape.recording())
    return Tape.made


def same_weights(one, other) -> bool:
    return all(
        torch.equal(a, b)
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(
    ("kind", "optimizer"), [(Toy, "sgd"), (Toy, "adamw"), (UNet, "sgd"), (ProPL, "adamw")]
)
def test_recorded_steps_are_the_steps(tape, kind, optimizer):
    losses, method, _ = training(kind, optimizer=optimizer)
    recorded, other, done = training(kind, GRAPH, optimizer=optimizer)
    assert recorded == losses
    assert same_weights(method, other)
    assert done == GRAPH
    (graph,) = tape
    assert graph.replays == STEPS - WARM_UP


def test_a_recording_that_goes_on_is_the_same(tape):
    plain = {"optimizer": "sgd", "momentum": 0.0}  # an optimiser without a state to restore
    losses, method, _ = training(Toy, **plain)
    first, half, _ = training(Toy, GRAPH, stop=5, **plain)
    generator = torch.get_rng_state()
    rest, whole, _ = training(Toy, GRAPH, start=5, method=half, generator=generator, **plain)
    assert first + rest == losses
    assert same_weights(method, whole)


def test_a_number_read_on_the_host_is_recorded_once_and_for_all(tape, monkeypatch):
    """The tape is as strict as a graph: without that the tests above would prove nothing."""
    real = Toy.losses

    def losses(self, batch, clock):
        return real(self, batch, Clock(int(clock.step), clock.total))

    monkeypatch.setattr(Toy, "losses", losses)
    assert training(Toy)[0] != training(Toy, GRAPH)[0]


def test_a_method_that_cannot_be_recorded_is_not(tape, monkeypatch):
    monkeypatch.setattr(Toy, "capturable", False)
    assert training(Toy, GRAPH)[2] == Execution()
    assert not tape


def test_without_memory_for_a_graph_steps_are_done_plainly(tape, monkeypatch, caplog):
    @contextmanager
    def too_large(graph, stream):
        with graph.recording():
            yield
            raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch.cuda, "graph", too_large)
    losses, method, _ = training(Toy)
    plain, other, done = training(Toy, GRAPH)
    assert plain == losses
    assert same_weights(method, other)
    assert done == Execution()
    assert caplog.messages == ["steps are not recorded as a graph: CUDA out of memory."]


def test_after_another_failure_of_a_recording_the_process_is_not_to_be_used(tape, monkeypatch):
    @contextmanager
    def refused(graph, stream):
        with graph.recording():
            yield
            raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "graph", refused)
    monkeypatch.setattr(Recording, "broken", False)
    with pytest.raises(TrainingError, match=r"operation not permitted.*--no-graph"):
        training(Toy, GRAPH)
    assert Recording.broken


def test_a_stepper_and_its_recording_go_at_once(tape):
    """What they hold on a device must not wait for the garbage collector."""
    protocol = make_protocol()
    method = make_method(Toy, protocol)
    optimizer = toy_method.make_optimizer(method, protocol)  # the tape's, which keeps no stepper
    stepper = Stepper(method, make_batches(Toy), optimizer, protocol, STEPS, GRAPH)
    for step in range(STEPS):
        stepper(step)
    assert tape
    gone = weakref.ref(stepper)
    gc.disable()
    try:
        del stepper
        assert gone() is None
    finally:
        gc.enable()


@needs_gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", METHODS)
def test_on_a_gpu_recorded_steps_are_the_steps(kind, precision):
    gpu = torch.device("cuda")
    plain, recorded = (
        Execution(precision, tf32=True, deterministic=True, graph=graph) for graph in (False, True)
    )
    losses, method, _ = training(kind, plain, device=gpu)
    again, other, done = training(kind, recorded, device=gpu)
    assert again == losses
    assert same_weights(method, other)
    assert done == recorded


def test_the_rate_falls_from_step_to_step():
    protocol = make_protocol(rate=0.1, power=2.0)
    assert [rate_at(protocol, at, 4) for at in range(4)] == pytest.approx(
        [0.1, 0.05625, 0.025, 0.00625]
    )
    method = make_method(Toy, protocol)
    optimizer = make_optimizer(method, protocol)
    stepper = Stepper(method, make_batches(Toy), optimizer, protocol, 4, Execution())
    for at in range(4):
        stepper(at)
        assert optimizer.param_groups[0]["lr"].item() == pytest.approx(rate_at(protocol, at, 4))


def test_the_number_of_a_step_is_one_tensor(monkeypatch):
    """So that a step is not compiled or recorded anew for every number."""
    seen = []
    monkeypatch.setattr(Toy, "after_step", lambda self, clock: seen.append(clock.step))
    training(Toy, stop=2)
    assert seen[0] is seen[1]
    assert seen[0].item() == 1
    monkeypatch.setattr(Toy, "capturable", False)
    training(Toy, stop=2)
    assert seen[2:] == [0, 1]


META = torch.device("meta")  # tensors that have shapes but no values: reading one is an error


class NoCopies(TorchDispatchMode):
    """Refuses operations that take from one device and give to another."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        devices = {tensor.device.type for tensor in tensors((args, kwargs, result)) if tensor.ndim}
        assert len(devices) < 2, f"{func} copies"
        return result


@pytest.fixture
def without_values(monkeypatch):
    def made(kind) -> Stepper:
        protocol = make_protocol()
        method, batches = make_method(kind, protocol, META).train(), make_batches(kind, device=META)
        chosen = batches.indices(0)  # an order of the images is made on the host, once a pass
        monkeypatch.setattr(batches, "indices", lambda step: chosen)
        optimizer = make_optimizer(method, protocol)
        monkeypatch.setattr(optimizer, "step", lambda: None)  # not made for this device
        return Stepper(method, batches, optimizer, protocol, STEPS, REFERENCE)

    return made


@pytest.mark.parametrize("kind", METHODS)
def test_a_step_never_waits_for_the_device(without_values, kind):
    steps = without_values(kind)
    steps(0)
    with NoCopies():
        terms = steps(1)
    assert {term.device for term in terms.values()} == {META}


@pytest.mark.parametrize(
    ("reads", "message"),
    [
        (lambda values: float(values[0]), "item"),
        (lambda values: bool(values.sum() > 0), "item"),
        (lambda values: values[values > 0], "nonzero"),
        (lambda values: values.cpu(), "copy out"),
        (lambda values: values.add(torch.zeros(3).to(META)), "copies"),
    ],
    ids=["number", "branch", "mask", "copy", "constant"],
)
def test_a_step_that_waits_would_be_noticed(without_values, monkeypatch, reads, message):
    def after_step(self, clock):
        reads(clock.step.expand(3))

    monkeypatch.setattr(Toy, "after_step", after_step)
    steps = without_values(Toy)
    with pytest.raises((RuntimeError, AssertionError), match=message), NoCopies():
        steps(0)
