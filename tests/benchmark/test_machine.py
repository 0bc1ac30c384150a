"""How torch is told to calculate, and that it forgets it again."""

import os

import pytest
import torch

from benchmark.execution import Execution
from benchmark.machine import arithmetic

CPU = torch.device("cpu")
VARIABLE = "CUBLAS_WORKSPACE_CONFIG"


def switches() -> dict[str, object]:
    cudnn = torch.backends.cudnn
    return {
        "tf32": cudnn.allow_tf32,
        "matmul": torch.get_float32_matmul_precision(),
        "deterministic": (cudnn.deterministic, torch.are_deterministic_algorithms_enabled()),
        "benchmark": cudnn.benchmark,
        "cublas": os.environ.get(VARIABLE),
    }


def test_fp32_is_what_torch_makes_of_it_by_default():
    """Convolutions in TF32, matrix products not: what the paper's code will have run with."""
    before = switches()
    with arithmetic(Execution(tf32=True), CPU):
        assert switches() == {**before, "benchmark": True}
        assert before["tf32"]
        assert before["matmul"] == "highest"
    assert switches() == before


def test_the_reference_rounds_no_convolution_to_tf32():
    with arithmetic(Execution(), CPU):
        assert not switches()["tf32"]


@pytest.mark.parametrize("mine", [None, ":16:8"])
def test_deterministic_sets_every_switch_and_restores_it(monkeypatch, mine):
    monkeypatch.delenv(VARIABLE, raising=False)
    if mine:
        monkeypatch.setenv(VARIABLE, mine)
    before = switches()
    with pytest.raises(KeyError), arithmetic(Execution(deterministic=True), CPU):  # noqa: PT012
        within = switches()
        raise KeyError
    assert within["deterministic"] == (True, True)
    assert not within["benchmark"]
    assert within["cublas"] == (mine or ":4096:8")
    assert switches() == before
