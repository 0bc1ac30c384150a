"""What is kept of each test image: counts and surface distances, from which any score follows.

Scores are made of these by `profiles`, later and without the masks.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

# The surface of a mask is its foreground pixels that have a background pixel, or the border,
# above, below, left or right of them. A directed distance runs from a surface pixel's centre to
# the nearest surface pixel of the other mask; quantiles are linearly interpolated.
# Distances are NaN where the prediction, the mask, or both are empty.
COLUMNS = (
    "height_px",  # of the grid that was measured
    "width_px",
    "tp",  # pixels: foreground in prediction and mask
    "fp",  # in the prediction alone
    "fn",  # in the mask alone
    "tn",  # in neither
    "surface_pred",  # pixels of the prediction's surface
    "surface_mask",  # pixels of the mask's surface
    "hd50_pred_to_mask_px",  # median of the distances from the prediction's surface
    "hd95_pred_to_mask_px",  # their 95th percentile
    "hd100_pred_to_mask_px",  # their maximum
    "asd_pred_to_mask_px",  # their mean: average surface distance
    "hd50_mask_to_pred_px",  # the same four from the mask's surface
    "hd95_mask_to_pred_px",
    "hd100_mask_to_pred_px",
    "asd_mask_to_pred_px",
    "hd95_pooled_px",  # 95th percentile of both directions' distances in one heap (MedPy)
)

NATIVE = "native_"  # before the name of a statistic measured at the image's own size
NATIVE_COLUMNS = tuple(NATIVE + name for name in COLUMNS)

MAX_SIDE = 32_768  # px; squared distances of larger images would overflow int32
IMAGES_A_TURN = 32  # about 1 ms of a thread's work at 224 x 224


def measure(
    pred: npt.NDArray[np.bool_ | np.uint8],
    mask: npt.NDArray[np.bool_ | np.uint8],
    threads: int | None = None,
) -> dict[str, npt.NDArray[np.int64 | np.float64]]:
    """Statistics of N predictions against their masks.

    Threads share the images, not numba's parallel loops: the pool that numba brings itself must
    not be entered from two threads at once, and an evaluation may run beside another.

    Args:
        pred: (N, H, W), anything but 0 is foreground.
        mask: the same shape.
        threads: workers; None leaves it to the number of cores.

    Returns:
        One array (N,) for each of `COLUMNS`: counts int64, distances float64 in px of this grid.

    Raises:
        ValueError: the arrays are no masks of one shape.
    """
    _check(pred, mask)
    # Here, not above: numba takes half a second, and those who read records need only COLUMNS.
    from benchmark.distances import measure_pairs

    p, m = pred.astype(np.bool_, copy=False), mask.astype(np.bool_, copy=False)
    n, height, width = p.shape
    turns = [slice(start, start + IMAGES_A_TURN) for start in range(0, n or 1, IMAGES_A_TURN)]
    if threads == 1:  # in this thread: to start another takes as long as four pairs of 224 x 224
        parts = [measure_pairs(p[turn], m[turn]) for turn in turns]
    else:
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(lambda turn: measure_pairs(p[turn], m[turn]), turns))
    tp, fp, fn, *surfaces = np.concatenate([counts for counts, _ in parts]).T
    distances = np.concatenate([distances for _, distances in parts]).T
    tn = height * width - tp - fp - fn
    grid = (np.full(n, height, np.int64), np.full(n, width, np.int64))
    return dict(zip(COLUMNS, (*grid, tp, fp, fn, tn, *surfaces, *distances), strict=True))


def _check(pred: npt.NDArray[np.generic], mask: npt.NDArray[np.generic]) -> None:
    for name, array in (("pred", pred), ("mask", mask)):
        if array.dtype not in (np.bool_, np.uint8):
            raise ValueError(
                f"{name} is {array.dtype}, must be bool or uint8: threshold probabilities first"
            )
    if pred.shape != mask.shape or pred.ndim != 3:
        raise ValueError(
            f"pred is {pred.shape}, mask {mask.shape}; both must be the same (N, H, W)"
        )
    if not all(1 <= side <= MAX_SIDE for side in pred.shape[1:]):
        raise ValueError(f"masks are {pred.shape[1:]}, each side must be 1 to {MAX_SIDE} px")
