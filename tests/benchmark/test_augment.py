"""Views: repeatable, independent of neighbours, image and mask together, never waited for."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms.v2 import Normalize

from benchmark.augment import normalise, standardise, strong, weak, weak_input
from benchmark.data import Batches, Resident
from benchmark.keys import beta, derive, stable_key, step_keys, uniform
from benchmark.protocol import Protocol
from benchmark.views import compiled
from benchmark.views.boxes import boxes, centred_boxes, cutout, half_boxes, paste
from benchmark.views.intensity import blend

PROTOCOL = Protocol(rotation=40, scale_low=0.8, scale_high=1.4, flip=0.3)
STILL = Protocol(rotation=0, scale_low=1.0, scale_high=1.0)


def keys(n: int, seed: int = 0, step: int = 0) -> torch.Tensor:
    samples = torch.tensor([stable_key(f"sample {i}") for i in range(n)])
    return step_keys(samples, seed, step)


def disc(n: int = 4, size: int = 64) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    inside = ((x - 40) ** 2 + (y - 25) ** 2 < 150).float()
    return inside[None, None].repeat(n, 1, 1, 1)


def stored(n: int, channels: int = 1, size: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(channels)
    drawn = torch.randint(0, 256, (n, channels, size, size), generator=generator)
    return drawn.to(torch.uint8)


VIEWS = {
    "weak": lambda images, of: weak(images, images[:, :1] // 128, of, PROTOCOL),
    "weak of floats": lambda images, of: weak(images / 255, None, of, PROTOCOL)[:1],
    "strong": lambda images, of: (strong(images / 255, of),),
    "cutout": lambda images, of: cutout(images / 255, of),
    "boxes": lambda images, of: (boxes(of, images.shape[-1]),),
    "half boxes": lambda images, of: (half_boxes(of, images.shape[-1]),),
    "centred boxes": lambda images, of: (centred_boxes(of, images.shape[-1], 1 - beta(of, 4, 4)),),
    "normalise": lambda images, of: (normalise(images),),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("view", VIEWS)
@given(st.integers(0, 2**40), st.integers(0, 10**6), st.permutations(range(5)))
@settings(max_examples=8)
def test_a_view_depends_on_image_and_key_alone(view, channels, seed, step, order):
    images, own = stored(5, channels), keys(5, seed, step)
    together = VIEWS[view](images, own)
    for places in (order, order[:1], order[2:4]):
        for whole, part in zip(together, VIEWS[view](images[places], own[places]), strict=True):
            torch.testing.assert_close(part, whole[places], atol=1e-6, rtol=0)


@pytest.mark.parametrize("view", [name for name in VIEWS if name != "normalise"])
def test_other_keys_give_other_views(view):
    images = stored(5)
    one, same, other = (VIEWS[view](images, keys(5, seed))[0] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_weak_is_what_it_always_was():
    """Stored, floating, with and without masks: the view that `F.affine_grid` makes."""
    images = F.avg_pool2d(stored(6, 1, 130).float(), 3, stride=2, padding=1).to(torch.uint8)
    masks, own = images // 110, keys(6)
    protocol = Protocol(rotation=40, scale_low=0.8, scale_high=1.4, view_share=0.7)
    angle = uniform(own, 0, -math.radians(40), math.radians(40))
    scale = uniform(own, 1, 0.8, 1.4)
    still = uniform(own, 2) >= 0.7
    assert still.any()
    angle, scale = torch.where(still, 0.0, angle), torch.where(still, 1.0, scale)
    cos, sin = angle.cos() / scale, angle.sin() / scale
    zero = torch.zeros(6)
    matrix = torch.stack((cos, -sin, zero, sin, cos, zero), dim=1).view(-1, 2, 3)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    expected = F.grid_sample(images / 255, grid, align_corners=False)
    expected_masks = F.grid_sample(masks.float(), grid, mode="nearest", align_corners=False)
    for given_images, given_masks in ((images, masks), (images / 255, masks.float())):
        view, view_masks = weak(given_images, given_masks, own, protocol)
        torch.testing.assert_close(view, expected, atol=1e-5, rtol=0)
        assert (view_masks != expected_masks).float().mean() < 1e-3
        alone, none = weak(given_images, None, own, protocol)
        assert torch.equal(alone, view)
        assert none.numel() == 0


def test_no_rotation_and_scale_one_is_the_image_itself():
    images = torch.rand(3, 1, 32, 32)
    view, mask = weak(images, (images > 0.5).float(), keys(3), STILL)
    assert torch.allclose(view, images, atol=1e-5)
    assert torch.equal(mask, (images > 0.5).float())


def test_the_mask_moves_with_its_image():
    image = disc()
    for given_image in (image, (image * 255).to(torch.uint8)):
        view, mask = weak(given_image, image, keys(4), PROTOCOL)
        overlap = ((view > 0.5) & (mask > 0.5)).sum() / ((view > 0.5) | (mask > 0.5)).sum()
        assert overlap > 0.97
        assert set(mask.unique().tolist()) == {0.0, 1.0}
        assert not torch.equal(view[0], view[1])


@pytest.mark.parametrize("scale", [0.8, 1.25])
def test_a_scale_above_one_enlarges(scale):
    protocol = Protocol(rotation=0, scale_low=scale, scale_high=scale)
    image = torch.zeros(1, 1, 64, 64)
    image[..., 24:40, 24:40] = 1
    view, _ = weak(image, image, keys(1), protocol)
    assert view.sum().item() == pytest.approx(256 * scale**2, rel=0.05)


def test_rotation_is_of_the_stated_angle_about_the_centre():
    protocol = Protocol(rotation=30, scale_low=1, scale_high=1)
    image = disc(64)
    view, _ = weak(image, image, keys(64), protocol)
    place = torch.arange(64.0) - 31.5
    mass = view.sum(dim=(1, 2, 3))
    x, y = (
        (view * place).sum(dim=(1, 2, 3)) / mass,
        (view * place[:, None]).sum(dim=(1, 2, 3)) / mass,
    )
    turned = torch.rad2deg(torch.atan2(y, x)) - math.degrees(math.atan2(25 - 31.5, 40 - 31.5))
    assert turned.abs().max() < 31
    assert turned.max() > 20
    assert turned.min() < -20
    assert torch.allclose(torch.hypot(x, y), torch.full_like(x, math.hypot(6.5, 8.5)), atol=0.2)


def test_the_share_of_images_left_as_they_are():
    images = torch.rand(400, 1, 8, 8)
    view, _ = weak(images, None, keys(400), PROTOCOL.with_(view_share=0.1, flip=0.0))
    moved = (view - images).abs().amax(dim=(1, 2, 3)) > 1e-3
    assert 0.05 < moved.float().mean() < 0.16


def test_a_share_of_images_is_mirrored_with_their_masks():
    images = stored(400, 3, 8)
    masks = images[:, :1] // 128
    view, view_masks = weak(images, masks, keys(400), STILL.with_(flip=0.25))
    mirrored = (view - images.flip(-1) / 255).abs().amax(dim=(1, 2, 3)) < 1e-6
    straight = (view - images / 255).abs().amax(dim=(1, 2, 3)) < 1e-6
    assert (mirrored ^ straight).all()
    assert 0.18 < mirrored.float().mean() < 0.32
    assert torch.equal(view_masks[mirrored], masks.flip(-1).float()[mirrored])
    assert torch.equal(view_masks[straight], masks.float()[straight])
    assert torch.equal(weak(images, None, keys(400), STILL.with_(flip=0.25))[0], view)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_strong_view_changes_the_shares_that_its_papers_state(channels):
    # a bright edge on dark: jitter moves its levels, a blur its neighbours, grey its colours
    images = torch.full((600, channels, 16, 16), 0.2)
    images[:, :1, :, 8:] = 0.6
    view = strong(images, keys(600))
    assert view.shape == images.shape
    assert 0 <= view.min() <= view.max() <= 1 + 1e-6
    levels = (view[..., 0] - images[..., 0]).abs().amax((1, 2)) > 1e-3
    blurred = (view[..., 8] - view[..., 15]).abs().amax((1, 2)) > 1e-3
    if channels == 1:
        assert 0.75 < levels.float().mean() < 0.85
    assert 0.38 < blurred.float().mean() < 0.55  # sigmas near 0.1 px change nothing
    uncoloured = (view[:, :1] - view).abs().amax((1, 2, 3)) < 1e-6
    assert channels == 1 or 0.15 < uncoloured.float().mean() < 0.25


def test_a_second_strong_view_is_another():
    images = stored(8) / 255
    second = strong(images, derive(keys(8), stable_key("second")))
    assert not torch.equal(strong(images, keys(8)), second)


@pytest.mark.parametrize("loops", [True, False])
def test_normalised_images_have_zero_mean_and_unit_deviation(loops, monkeypatch):
    monkeypatch.setattr(compiled, "COMPILED", loops)
    images = torch.rand(3, 1, 16, 16) * 0.3 + 0.2
    images[2] = 0.5  # constant
    out = normalise(images)
    assert out.shape == (3, 3, 16, 16)
    assert out[:2].mean(dim=(2, 3)).abs().max() < 1e-5
    assert (out[:2].std(dim=(2, 3), correction=0) - 1).abs().max() < 1e-4
    assert out[2].abs().max() < 1e-3


@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_normalised_images_are_those_of_float64(channels, loops, monkeypatch):
    monkeypatch.setattr(compiled, "COMPILED", loops)
    images = stored(4, channels, 64) // 8 + 128  # little contrast
    exact = images.double()
    expected = (exact - exact.mean((2, 3), keepdim=True)) / exact.std(
        (2, 3), keepdim=True, correction=0
    )
    out = normalise(images)
    torch.testing.assert_close(out, expected.expand(-1, 3, -1, -1).float(), atol=1e-5, rtol=0)
    assert torch.equal(normalise(images / 255), out)


@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_networks_weak_input_is_the_normalised_weak_view(channels, masked, loops, monkeypatch):
    monkeypatch.setattr(compiled, "COMPILED", loops)
    images = stored(5, channels, 33)
    masks = (stored(5, 1, 33) > 128).to(torch.uint8) if masked else None
    for flip, off in ((0.0, 0.0), (0.5, 1e-5)):  # mirrored, columns are added in another order
        protocol = Protocol(flip=flip)
        view, moved = weak(images, masks, keys(5), protocol)
        seen, moved_too = weak_input(images, masks, keys(5), protocol)
        torch.testing.assert_close(seen, normalise(view), rtol=0, atol=off)
        assert torch.equal(moved_too, moved)
        assert seen.shape == (5, 3, 33, 33)


@pytest.mark.parametrize("channels", [1, 3])
def test_standardised_images_are_torchvisions(channels):
    images = stored(2, channels).float() / 255
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = Normalize(mean, deviation)(images.expand(-1, 3, -1, -1))
    torch.testing.assert_close(standardise(images), expected)
    assert torch.equal(standardise(stored(2, channels)), standardise(images))


def test_a_strong_view_of_grey_shows_its_brightness_only_where_it_is_standardised():
    """`normalise` undoes it, so that most strong views would be the weak one."""
    images = 0.25 + stored(64).float() / 1020  # in [0.25, 0.5]: jitter cuts nothing off
    changed = blend(images, 0.0, torch.full((64,), 1.3))
    torch.testing.assert_close(normalise(changed), normalise(images), rtol=0, atol=1e-4)
    assert (standardise(changed) - standardise(images)).abs().mean() > 0.3


def test_an_image_that_learns_gets_its_gradient():
    images = torch.rand(2, 1, 16, 16, requires_grad=True)
    (normalise(images) ** 3).sum().backward()
    assert images.grad.abs().sum() > 0


def test_an_exported_model_holds_tensor_operations_only():
    class Network(torch.nn.Module):
        def forward(self, images):
            return normalise(images)

    program = torch.export.export(Network(), (torch.rand(2, 1, 16, 16),))
    assert "usbench" not in program.graph_module.code


def test_views_are_compiled_as_one_graph():
    def views(images, samples, step):
        own = step_keys(samples, 0, step)
        image, masks = weak(images, images[:, :1] // 128, own, PROTOCOL)
        mixed = paste(strong(image, own), image, boxes(own, 16))
        return normalise(mixed), masks

    given = stored(2, channels=3), torch.arange(2), torch.tensor(3)
    compiled = torch.compile(views, fullgraph=True, backend="aot_eager")(*given)
    for one, other in zip(compiled, views(*given), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


class WaitError(AssertionError):
    """Something went from the device to the processor or back."""


class Unhurried(TorchDispatchMode):
    """Refuses copies between devices: the host would wait, and a graph could not be recorded."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        devices = {t.device for t in (*args, out) if isinstance(t, torch.Tensor) and t.ndim}
        if len(devices) > 1:
            raise WaitError(f"{function} on {devices}")
        return out


def on_fake_gpu(work) -> None:
    """Run work(device) without one: shapes only, and any value that is asked for is an error."""
    with FakeTensorMode(), Unhurried():
        work(torch.device("cuda"))


@pytest.mark.parametrize(
    "waits",
    [
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: x.cpu(),
        lambda x: x + torch.ones(4).to(x.device),
    ],
)
def test_the_test_below_notices_what_waits(waits):
    with pytest.raises(Exception, match=r"_local_scalar_dense|nonzero|_to_copy"):
        on_fake_gpu(lambda device: waits(torch.zeros(4, device=device)))


@pytest.mark.parametrize("channels", [1, 3])
def test_no_step_waits_for_the_device(channels):
    def work(device):
        numbers = torch.zeros(9, dtype=torch.int64, device=device)
        images = Resident(
            pixels=torch.zeros(9, channels, 32, 32, dtype=torch.uint8, device=device),
            masks=torch.zeros(9, 128, dtype=torch.uint8, device=device),
            tasks=numbers,
            keys=numbers,
            labelled=torch.arange(3),
            unlabelled=torch.arange(3, 9),
        )
        batches = Batches(images, 8, seed=0, unlabelled=True)
        batch = batches.gather(numbers[:4], numbers[:4], numbers[0])
        weak(batch.img_x, batch.mask_x, batch.key_x, PROTOCOL)
        image, _ = weak(batch.img_u, None, batch.key_u, PROTOCOL)
        view = strong(image, batch.key_u)
        for box in (
            boxes(batch.key_u, 32),
            half_boxes(batch.key_u, 32),
            centred_boxes(batch.key_u, 32, 1 - beta(batch.key_u[:1], 8, 2)),
        ):
            view = paste(view, view.roll(1, 0), box)
        assert normalise(cutout(view, batch.key_u)[0]).shape == (4, 3, 32, 32)

    on_fake_gpu(work)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA GPU")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("view", VIEWS)
def test_a_gpu_makes_the_same_view(view, count, channels):
    images = F.avg_pool2d(stored(count, channels, 130).float(), 3, stride=2, padding=1)
    images = images.to(torch.uint8)
    here = VIEWS[view](images, keys(count))
    there = VIEWS[view](images.cuda(), keys(count).cuda())
    for one, other in zip(here, there, strict=True):
        differ = (one.float() - other.cpu().float()).abs() > 1e-5
        # masks and boxes have edges, and places on them that are rounded to either side
        assert differ.float().mean() < (1e-3 if set(one.unique().tolist()) <= {0, 1} else 1e-9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA GPU")
def test_a_recorded_graph_makes_the_views_of_every_step():
    images = stored(8, 1, 32).cuda()
    numbers = torch.arange(8, device="cuda")
    step = torch.zeros((), dtype=torch.int64, device="cuda")

    def work(step):
        own = step_keys(numbers, 0, step)
        image, _ = weak(images, None, own, PROTOCOL)
        return paste(strong(image, own), image, boxes(own, 32))

    work(step)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        recorded = work(step)
    for number in (3, 4):
        step.fill_(number)
        graph.replay()
        assert torch.equal(recorded, work(torch.tensor(number, device="cuda")))
