"""Statistics on the device, equal to those of the CPU; run on the CPU where there is no other."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from special_cases import CASES
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from benchmark import metrics_gpu
from benchmark.metrics import COLUMNS, measure
from benchmark.metrics_gpu import measure_on_device

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def assert_equal_to_cpu(pred: np.ndarray, mask: np.ndarray) -> None:
    ours = measure_on_device(torch.tensor(pred).to(DEVICE), torch.tensor(mask).to(DEVICE))
    expected = measure(pred, mask, threads=1)
    assert tuple(ours) == COLUMNS
    for name in COLUMNS:
        assert ours[name].dtype == expected[name].dtype
        np.testing.assert_allclose(ours[name], expected[name], rtol=0, atol=1e-6, err_msg=name)


@st.composite
def batches(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 20), st.integers(1, 20)))
    pred, mask = draw(arrays(np.bool_, shape)), draw(arrays(np.bool_, shape))
    if draw(st.booleans()):
        pred[0] = False
    if draw(st.booleans()):
        mask[-1] = False
    return pred, mask


@settings(max_examples=100, deadline=None)
@given(batches(), st.sampled_from([1, 30, 1000, 2**26]))
def test_equals_the_cpu_whatever_is_taken_at_a_time(batch, pairs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics_gpu, "PAIRS_A_TURN", pairs)
        assert_equal_to_cpu(*batch)


def test_equals_the_cpu_where_definitions_part():
    assert_equal_to_cpu(
        np.stack([case.pred for case in CASES.values()]),
        np.stack([case.mask for case in CASES.values()]),
    )


def test_distances_are_exact_up_to_the_largest_diagonal():
    pred, mask = np.zeros((2, 1, 1, 4096), bool)
    pred[0, 0, 0] = mask[0, 0, -1] = True
    with pytest.raises(ValueError, match=r"1 x 4096 px.*metrics\.measure"):
        measure_on_device(torch.tensor(pred), torch.tensor(mask))
    assert_equal_to_cpu(pred[..., :-1], mask[..., 1:])


@pytest.mark.parametrize(
    ("pred", "mask", "words"),
    [
        (torch.zeros(1, 8, 8), torch.zeros(1, 8, 8) > 0, "pred is torch.float32.*threshold"),
        (torch.zeros(1, 8, 8) > 0, torch.zeros(1, 8, 9) > 0, r"\(1, 8, 9\).*same"),
        (torch.zeros(8, 8) > 0, torch.zeros(8, 8) > 0, r"\(8, 8\).*\(N, H, W\)"),
        (torch.zeros(0, 8, 8) > 0, torch.zeros(0, 8, 8) > 0, r"\(0, 8, 8\).*no side 0"),
    ],
)
def test_what_is_no_mask_is_refused(pred, mask, words):
    with pytest.raises(ValueError, match=words):
        measure_on_device(pred, mask)


def checkerboards(images: int, size: int) -> np.ndarray:
    """Every other pixel: as much surface as a mask can have."""
    odd = np.indices((size, size)).sum(0) % 2 == 1
    return np.stack([odd, ~odd] * (images // 2))


def calls(pred: np.ndarray, mask: np.ndarray) -> list[FunctionEvent]:
    """Every call that torch makes, with its name and the memory it takes, on the CPU."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        measure_on_device(torch.tensor(pred), torch.tensor(mask))
    return list(watched.events())


def largest(seen: list[FunctionEvent]) -> int:
    """Bytes of the largest tensor that was made."""
    return max(call.self_cpu_memory_usage for call in seen)


def test_memory_is_bounded_where_all_is_surface(monkeypatch):
    pairs = 2**18
    monkeypatch.setattr(metrics_gpu, "PAIRS_A_TURN", pairs)
    pred = checkerboards(6, 48)
    assert_equal_to_cpu(pred, ~pred)
    assert largest(calls(pred, ~pred)) <= 8 * pairs


def test_memory_is_bounded_where_one_surface_is_tiny(monkeypatch):
    """The pairs are few; the lists of surface pixels are what takes memory."""
    pairs = 2**14
    monkeypatch.setattr(metrics_gpu, "PAIRS_A_TURN", pairs)
    pred = checkerboards(12, 48)
    mask = np.zeros_like(pred)
    mask[:, 5, 7] = True
    assert_equal_to_cpu(pred, mask)
    assert largest(calls(pred, mask)) <= max(8 * pairs, 4 * pred.nbytes)


def test_one_large_image_does_not_lengthen_the_lists_of_others(monkeypatch):
    """Lists of one turn are padded to the longest of them."""
    monkeypatch.setattr(metrics_gpu, "PAIRS_A_TURN", 2**20)
    mask = np.zeros((64, 48, 48), bool)
    mask[:, 20:24, 20:24] = True
    mask[17] = checkerboards(2, 48)[0]
    assert largest(calls(mask, mask)) < 8 * 1152**2 * 1.01


def test_the_host_waits_for_the_device_for_two_tables_only():
    """Reading a number, and lists whose length depends on values, would make it wait each time."""
    pred = np.stack([case.pred for case in CASES.values()])
    names = {call.name for call in calls(pred, pred[::-1].copy())}
    waiting = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal")
    assert not names & {f"aten::{name}" for name in waiting}
    assert "aten::nonzero_static" in names
