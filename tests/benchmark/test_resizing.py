"""Both ways of resizing against OpenCV, and against a float64 integral that shares no code."""

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.dataset import square
from benchmark.resizing import resize_area, resize_linear

SIZE = 32
# twice as large, whole ratios, odd ratios, one side or both sides smaller
SHAPES = [
    (SIZE, SIZE), (2 * SIZE, 2 * SIZE), (2 * SIZE, SIZE), (6 * SIZE, 6 * SIZE), (96, 160),
    (471, 562), (100, 33), (SIZE // 2, SIZE // 2), (20, 25), (31, 31), (31, 500), (300, 7), (1, 1),
    (20, 416),  # to 96: shares that round to 1
]  # fmt: skip


def noise(height, width, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, channels), np.uint8)


def area(image, size=SIZE):
    return resize_area(torch.from_numpy(image).permute(2, 0, 1), size).numpy()


@pytest.mark.parametrize("shape", SHAPES, ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize("size", [SIZE, 96])
def test_the_data_set_s_resizing_is_met(shape, size):
    image = noise(*shape)
    found, right = area(image, size), square(image, size)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, right)


@settings(max_examples=40)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 99))
def test_any_shape_is_met_but_for_rounding(height, width, seed):
    image = noise(height, width, 1, seed)
    apart = np.abs(area(image).astype(int) - square(image[:, :, 0], SIZE))
    assert apart.max() <= 1
    assert apart.sum() <= 3


class Area(torch.nn.Module):
    def forward(self, image):
        return resize_area(image, SIZE)


@pytest.fixture(scope="module")
def session():
    """`resize_area` as onnxruntime does it."""
    sides = {"image": {1: torch.export.Dim("height"), 2: torch.export.Dim("width")}}
    image = torch.zeros(1, 40, 50, dtype=torch.uint8)
    program = torch.onnx.export(
        Area().eval(), (image,), dynamo=True, dynamic_shapes=sides, input_names=["image"],
        opset_version=18, verbose=False,
    )  # fmt: skip
    return onnxruntime.InferenceSession(program.model_proto.SerializeToString())


# of these, means of many pixels lie halfway between two grey levels
TIES = [(2 * SIZE, 89), (48, 64), (2 * SIZE, 156), (640, 72), (448, 104)]


@pytest.mark.parametrize("shape", [*SHAPES, *TIES], ids="{0[0]}x{0[1]}".format)
def test_exported_not_a_pixel_is_another(session, shape):
    for seed in range(3):
        image = noise(*shape, 1, seed)[:, :, 0]
        (found,) = session.run(None, {"image": image[None]})
        np.testing.assert_array_equal(found, square(image, SIZE))


def test_an_area_average_is_the_integral():
    image = noise(70, 45, 1)
    fine = image[:, :, 0].repeat(SIZE, 0).repeat(SIZE, 1).astype(np.float64)
    means = fine.reshape(SIZE, 70, SIZE, 45).mean(axis=(1, 3))
    np.testing.assert_array_equal(area(image)[0], np.rint(means))


@pytest.mark.parametrize("shape", [*SHAPES, (7, 1500)], ids="{0[0]}x{0[1]}".format)
def test_a_probability_is_stretched_as_opencv_does_it(shape):
    probs = np.random.default_rng(0).random((SIZE, SIZE), np.float32)
    right = cv2.resize(probs, shape[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(resize_linear(torch.from_numpy(probs), *shape), right, atol=3e-7)
