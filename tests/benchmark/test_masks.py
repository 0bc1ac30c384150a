import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmark.masks import pack, unpack
from dataset_builders.errors import UsageError

masks = arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@given(masks)
def test_a_mask_comes_back_as_it_was(mask):
    unpacked = unpack(pack(mask))
    assert unpacked.dtype == np.bool_
    np.testing.assert_array_equal(unpacked, mask)


def test_a_mask_is_a_png_of_one_bit_a_pixel():
    mask = np.zeros((224, 200), bool)
    mask[60:160, 50:150] = True
    png = pack(mask)
    assert struct.unpack(">4s4sIIBB", png[:26][8:]) == (
        b"\0\0\0\r", b"IHDR", 200, 224, 1, 0,
    )  # fmt: skip
    assert len(png) < 1000


@pytest.mark.parametrize("damaged", [b"", b"no image", pack(np.eye(9) > 0)[:20]])
def test_what_is_no_png_is_refused(damaged):
    with pytest.raises(UsageError, match=f"{len(damaged)} bytes is no PNG.*make it again"):
        unpack(damaged)
