"""HD95 by length of outline, against the library that defines it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from special_cases import CASES

from benchmark.deepmind import LENGTHS, hd95_of_pngs, robust_hausdorff
from benchmark.masks import pack

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def theirs():
    """The library's robust Hausdorff distance of a prediction and a mask."""
    library = pytest.importorskip("surface_distance", reason="surface-distance is not installed")

    def distance(pred: np.ndarray, mask: np.ndarray, percent: float = 95) -> float:
        surfaces = library.compute_surface_distances(mask, pred, (1.0, 1.0))
        return library.compute_robust_hausdorff(surfaces, percent)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "Inf", np.inf, raising=False)  # the library is older than NumPy 2
        yield distance


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    masks = arrays(np.bool_, draw(st.tuples(st.integers(1, 12), st.integers(1, 12))))
    return draw(masks), draw(masks)


@settings(max_examples=150, deadline=None)
@given(pairs(), st.sampled_from([0, 50, 90, 95, 100]))
def test_equals_the_library_on_any_masks(theirs, pair, percent):
    assert robust_hausdorff(*pair, percent) == theirs(*pair, percent)


def test_lengths_are_those_of_the_library():
    tables = pytest.importorskip(
        "surface_distance.lookup_tables", reason="surface-distance is not installed"
    )
    theirs = tables.create_table_neighbour_code_to_contour_length((1.0, 1.0))
    np.testing.assert_allclose(LENGTHS, theirs, rtol=1e-15)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_equals_the_library_where_definitions_part(theirs, case):
    assert robust_hausdorff(case.pred, case.mask) == theirs(case.pred, case.mask)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_gives_the_known_values(case):
    assert robust_hausdorff(case.pred, case.mask) == pytest.approx(case.weighted, abs=0.005)
    pngs = pack(case.pred), pack(case.mask)
    assert hd95_of_pngs(*pngs) == robust_hausdorff(case.pred, case.mask)


def test_an_empty_mask_is_infinitely_far_and_has_no_score():
    empty, full = np.zeros((5, 6), bool), np.ones((5, 6), bool)
    for pair in ((empty, empty), (empty, full), (full, empty)):
        assert robust_hausdorff(*pair) == np.inf
        assert np.isnan(hd95_of_pngs(*map(pack, pair)))


def test_a_percentile_is_of_length_not_of_elements():
    """The outline of 1 x 9 pixels has 20 elements; its four corners weigh less than the rest."""
    line, point = np.zeros((2, 3, 30), bool)
    line[1, 1:10] = point[1, 1] = True
    # From the line: distances 0 four times, then twice each of 1 to 8, the last two being corners.
    total = 4 * np.sqrt(0.5) + 16
    share = (total - 2 * np.sqrt(0.5)) / total
    below, above = 100 * (share - 1e-6), 100 * (share + 1e-6)
    assert (robust_hausdorff(line, point, below), robust_hausdorff(line, point, above)) == (7, 8)
