"""What suits a device, and what it cannot do."""

from dataclasses import asdict

import pytest
import torch

from benchmark import execution
from benchmark.execution import Execution, execution_on
from dataset_builders.errors import UsageError

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def capability(monkeypatch):
    """A GPU of a given compute capability, as far as questions about it go."""

    def of(*capability):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA T4")

    return of


def test_a_processor_gets_the_reference():
    assert execution_on(CPU) == Execution()


def test_a_gpu_gets_the_papers_numerics_and_a_graph():
    assert execution_on(GPU) == Execution(tf32=True, graph=True)
    assert not execution_on(GPU, capturable=False).graph
    assert not execution_on(GPU, graph=False).graph


def test_what_is_asked_for_is_what_is_done(capability):
    capability(8, 0)
    asked = execution_on(GPU, precision="bf16", graph=False, deterministic=True)
    assert asked == Execution(precision="bf16", tf32=True, deterministic=True)
    assert execution_on(CPU, precision="bf16").precision == "bf16"


@pytest.mark.parametrize(
    ("device", "asked", "message"),
    [
        (CPU, {"precision": "fp16"}, "unknown precision 'fp16'.*fp32, bf16"),
        (CPU, {"graph": True}, "--graph records steps of a CUDA GPU and this is cpu; leave it off"),
        (GPU, {"graph": True, "capturable": False}, "--graph: this method decides.*leave it off"),
        (GPU, {"precision": "bf16"}, "--precision bf16: NVIDIA T4 has no units.*--precision fp32"),
    ],
    ids=str,
)
def test_what_cannot_be_is_one_clear_error(capability, device, asked, message):
    capability(7, 5)
    with pytest.raises(UsageError, match=message):
        execution_on(device, **asked)


@pytest.mark.parametrize(
    ("device", "missing"),
    [(CPU, "a compiler (g++, not found on the PATH)"), (GPU, "a compiler (gcc or clang, not")],
    ids=str,
)
def test_compilation_needs_a_compiler(monkeypatch, device, missing):
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(execution.sys, "platform", "linux")
    monkeypatch.setattr(execution, "find_spec", lambda name: name)
    with monkeypatch.context() as patch:
        patch.setattr(execution.shutil, "which", lambda name: None)
        with pytest.raises(UsageError) as error:
            execution_on(device, compile_=True)
    assert str(error.value).startswith(f"--compile needs {missing}")
    assert str(error.value).endswith("install it, or leave --compile off")
    monkeypatch.setattr(execution.shutil, "which", lambda name: name)
    assert execution_on(device, compile_=True).compile
    monkeypatch.setattr(execution, "find_spec", lambda name: None)
    if device == GPU:
        with pytest.raises(UsageError, match="--compile needs the package 'triton'"):
            execution_on(device, compile_=True)


def test_no_part_of_a_batch_is_less_than_all_of_it():
    with pytest.raises(UsageError, match="micro_batches = 0; it must be 1 or more"):
        Execution(micro_batches=0)


def test_it_is_made_of_plain_values():
    assert all(type(value) in (str, bool, int) for value in asdict(Execution()).values())
