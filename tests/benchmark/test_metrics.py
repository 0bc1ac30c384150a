import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from medpy.metric import binary as medpy
from scipy.ndimage import binary_erosion, gaussian_filter
from special_cases import CASES

from benchmark.distances import QUANTILES, _quantile, compiled, measure_pairs, plain
from benchmark.metrics import COLUMNS, IMAGES_A_TURN, MAX_SIDE, measure

KINDS = ["empty", "pixel", "speckle", "blob", "complement of a blob", "border", "full"]
DIRECTED = ["hd50", "hd95", "hd100", "asd"]


def draw_mask(kind: str, shape: tuple[int, int], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, bool)
    if kind == "pixel":
        mask[rng.integers(shape[0]), rng.integers(shape[1])] = True
    elif kind == "speckle":
        mask = rng.random(shape) < 0.2
    elif kind in ("blob", "complement of a blob"):  # islands and holes, some touch the border
        mask = gaussian_filter(rng.standard_normal(shape), 3, mode="constant") > 0.04
        mask ^= kind != "blob"
    elif kind == "border":
        mask[0] = mask[:, -1] = True
    elif kind == "full":
        mask[:] = True
    mask[0, 0] |= kind != "empty" and not mask.any()
    return mask


# Widths to both sides of 8 and 64 pixels, the words that the compiled form packs.
sides = st.integers(1, 70) | st.sampled_from([7, 8, 9, 63, 64, 65, 127, 128, 129])
shapes = st.tuples(sides, sides)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def pairs(draw: st.DrawFn, kinds: list[str] = KINDS) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(shapes)
    pred, mask = (draw_mask(draw(st.sampled_from(kinds)), shape, draw(seeds)) for _ in range(2))
    return pred, mask


def row(pred: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    return {name: values[0] for name, values in measure(pred[None], mask[None]).items()}


def surface(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask & ~binary_erosion(mask))


def by_definition(pred: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    surface_pred, surface_mask = surface(pred), surface(mask)
    between = np.sqrt(((surface_pred[:, None] - surface_mask[None]) ** 2).sum(-1))
    from_pred, from_mask = between.min(1), between.min(0)
    found = {
        "height_px": pred.shape[0],
        "width_px": pred.shape[1],
        "tp": np.sum(pred & mask),
        "fp": np.sum(pred & ~mask),
        "fn": np.sum(~pred & mask),
        "tn": np.sum(~pred & ~mask),
        "surface_pred": len(surface_pred),
        "surface_mask": len(surface_mask),
        "hd95_pooled_px": np.percentile(np.concatenate([from_pred, from_mask]), 95),
    }
    for way, directed in (("pred_to_mask", from_pred), ("mask_to_pred", from_mask)):
        found |= {f"hd{q}_{way}_px": np.percentile(directed, q) for q in (50, 95, 100)}
        found[f"asd_{way}_px"] = np.mean(directed)
    return found


@settings(max_examples=60, deadline=None)
@given(pairs(KINDS[1:]))
def test_columns_follow_their_definitions(pair):
    measured, expected = row(*pair), by_definition(*pair)
    assert tuple(measured) == COLUMNS
    assert set(expected) == set(COLUMNS)
    for name in COLUMNS:
        assert measured[name] == pytest.approx(expected[name], rel=1e-12), name


@settings(max_examples=60, deadline=None)
@given(pairs(KINDS[1:]))
def test_equals_medpy(pair):
    stored = row(*pair)
    assert stored["hd95_pooled_px"] == medpy.hd95(*pair)
    assert max(stored["hd100_pred_to_mask_px"], stored["hd100_mask_to_pred_px"]) == medpy.hd(*pair)
    assert stored["asd_pred_to_mask_px"] == pytest.approx(medpy.asd(*pair), rel=1e-12)
    surfaces = stored["surface_pred"], stored["surface_mask"]
    averages = stored["asd_pred_to_mask_px"], stored["asd_mask_to_pred_px"]
    assert np.average(averages, weights=surfaces) == pytest.approx(medpy.assd(*pair), rel=1e-12)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_equals_monai():
    import torch
    from monai.metrics import compute_hausdorff_distance

    for shape in ((224, 224), (90, 131)):
        pred = np.stack([draw_mask(kind, shape, 1) for kind in KINDS[1:]])
        mask = np.stack([draw_mask("blob", shape, seed) for seed in range(len(pred))])
        stored = measure(pred, mask)
        monai = [
            compute_hausdorff_distance(
                torch.from_numpy(a[:, None]).float(),
                torch.from_numpy(b[:, None]).float(),
                include_background=True,
                percentile=95,
                directed=True,
            )[:, 0]
            for a, b in ((pred, mask), (mask, pred))
        ]
        np.testing.assert_allclose(stored["hd95_pred_to_mask_px"], monai[0], atol=1e-3)
        np.testing.assert_allclose(stored["hd95_mask_to_pred_px"], monai[1], atol=1e-3)


@settings(max_examples=150, deadline=None)
@given(pairs())
def test_both_forms_are_equal_to_the_last_bit(pair):
    pred, mask = (masks[None] for masks in pair)
    for ours, theirs in zip(compiled(pred, mask), plain(pred, mask), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_quantiles_round_as_numpy():
    rng = np.random.default_rng(0)
    for _ in range(1500):
        squared = rng.integers(0, 3000, rng.integers(1, 400)).astype(np.int32)
        for q in QUANTILES:
            assert _quantile(squared, q) == np.quantile(np.sqrt(squared), q)


@settings(max_examples=60, deadline=None)
@given(pairs())
def test_swapped_arguments_swap_directions(pair):
    there, back = row(*pair), row(*pair[::-1])
    swap = {"fp": "fn", "fn": "fp", "surface_pred": "surface_mask", "surface_mask": "surface_pred"}
    for name in DIRECTED:
        ways = f"{name}_pred_to_mask_px", f"{name}_mask_to_pred_px"
        swap |= {ways[0]: ways[1], ways[1]: ways[0]}
    for name in COLUMNS:
        np.testing.assert_equal(there[name], back[swap.get(name, name)], err_msg=name)


@settings(max_examples=60, deadline=None)
@given(pairs(), st.integers(0, 70), st.integers(0, 70))
def test_distances_do_not_depend_on_place_or_axis(pair, down, right):
    pred, mask = (np.pad(masks, 1) for masks in pair)
    here = row(pred, mask)
    moved = row(*(np.pad(masks, ((down, 3), (right, 5))) for masks in (pred, mask)))
    turned = row(pred.T, mask.T)
    for name in COLUMNS:
        if name not in ("height_px", "width_px", "tn"):
            np.testing.assert_equal(here[name], moved[name], err_msg=name)
            # The mean adds in raster order, which rounds otherwise down than across.
            np.testing.assert_allclose(turned[name], here[name], rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_where_definitions_part(case):
    stored = row(case.pred, case.mask)
    larger, maximum = (
        max(stored[f"{name}_pred_to_mask_px"], stored[f"{name}_mask_to_pred_px"])
        for name in ("hd95", "hd100")
    )
    expected = (case.pooled, case.larger, case.maximum)
    assert (stored["hd95_pooled_px"], larger, maximum) == pytest.approx(expected, abs=0.005)


def test_empty_masks_have_counts_and_no_distances():
    blob, empty = draw_mask("blob", (20, 30), 0), draw_mask("empty", (20, 30), 0)
    for pred, mask in ((empty, empty), (blob, empty), (empty, blob)):
        stored = row(pred, mask)
        assert stored["fp"] == pred.sum()
        assert stored["fn"] == mask.sum()
        assert stored["tn"] == 600 - pred.sum() - mask.sum()
        assert all(np.isnan(stored[name]) for name in COLUMNS if name.startswith(("hd", "asd")))


def test_images_do_not_depend_on_their_batch_or_on_threads():
    n = 2 * IMAGES_A_TURN + 3
    pred = np.stack([draw_mask(KINDS[i % len(KINDS)], (33, 50), i) for i in range(n)])
    mask = np.stack([draw_mask("blob", (33, 50), n + i) for i in range(n)])
    alone = [row(p, m) for p, m in zip(pred, mask, strict=True)]
    for threads in (1, 4):
        stored = measure(pred, mask, threads)
        for name in COLUMNS:
            assert stored[name].dtype == (
                np.float64 if name.startswith(("hd", "asd")) else np.int64
            )
            np.testing.assert_array_equal(stored[name], [one[name] for one in alone])


def test_no_images_give_empty_columns():
    none = np.zeros((0, 8, 9), bool)
    assert {name: len(values) for name, values in measure(none, none).items()} == dict.fromkeys(
        COLUMNS, 0
    )


def test_any_nonzero_is_foreground_in_any_memory_layout():
    pred, mask = draw_mask("blob", (40, 30), 1), draw_mask("blob", (40, 30), 2)
    expected = row(pred, mask)
    assert row(pred.astype(np.uint8) * 255, np.asfortranarray(mask)) == expected


def test_no_overflow_at_the_largest_side():
    pred, mask = np.zeros((2, 1, MAX_SIDE), bool)
    pred[0, 0] = mask[0, -1] = True
    assert row(pred, mask)["hd95_pooled_px"] == MAX_SIDE - 1
    too_wide = np.zeros((1, 1, MAX_SIDE + 1), bool)
    with pytest.raises(ValueError, match="32769"):
        measure(too_wide, too_wide)


@pytest.mark.parametrize(
    ("pred", "mask", "words"),
    [
        (np.zeros((1, 8, 8), np.float32), np.zeros((1, 8, 8), bool), "pred is float32.*threshold"),
        (np.zeros((1, 8, 8), bool), np.zeros((1, 8, 8), np.int64), "mask is int64"),
        (np.zeros((1, 8, 8), bool), np.zeros((1, 8, 9), bool), r"\(1, 8, 9\).*same"),
        (np.zeros((8, 8), bool), np.zeros((8, 8), bool), r"\(8, 8\).*\(N, H, W\)"),
        (np.zeros((1, 0, 8), bool), np.zeros((1, 0, 8), bool), r"\(0, 8\).*1 to 32768"),
    ],
)
def test_what_is_no_mask_is_refused(pred, mask, words):
    with pytest.raises(ValueError, match=words):
        measure(pred, mask)


def run_python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_reports_load_neither_torch_nor_numba():
    loaded = "{'torch', 'numba'} & set(sys.modules)"
    assert run_python(f"import sys, benchmark.metrics, benchmark.profiles; print({loaded})") == (
        "set()"
    )


def test_works_without_numba():
    assert measure_pairs is compiled
    code = """
import sys
sys.modules["numba"] = None
import numpy as np
from benchmark import distances
from benchmark.metrics import measure
assert distances.measure_pairs is distances.plain
print(measure(np.eye(5, dtype=bool)[None], np.eye(5, k=1, dtype=bool)[None])["hd95_pooled_px"])
"""
    assert run_python(code) == str(
        measure(np.eye(5)[None] > 0, np.eye(5, k=1)[None] > 0)["hd95_pooled_px"]
    )
