"""ST++: which images count as stable, what each stage learns from, and what the log says."""

import pytest
import torch
from semi_nets import SIZE, TinyNet, batch, gradients, tiny
from torch import nn
from torch.nn import functional as F

from baselines import stpp
from baselines.semi import SemiSupervised
from baselines.stpp import SCALES, STPP, augmented, mean_iou
from benchmark.augment import standardise, strong, weak
from benchmark.data import Batches, Resident, unpack_masks
from benchmark.execution import Execution
from benchmark.keys import stable_key
from benchmark.method import Batch, Clock
from benchmark.train import make_optimizer, train
from benchmark.views.boxes import cutout
from dataset_builders.errors import UsageError

STEPS = 6


def labelled_batch() -> Batch:
    """Its unlabelled images were labelled where they are dark."""
    plain = batch()
    columns = {name: getattr(plain, name) for name in plain.__slots__}
    return Batch(**columns | {"pseudo_u": (plain.img_u < 0.5).to(torch.uint8)})


def pool(images: torch.Tensor, labelled: int = 2) -> Batches:
    """Images (N, 1, S, S) uint8, the first ones with a label."""
    count, side = len(images), images.shape[-1]
    resident = Resident(
        pixels=images,
        masks=torch.zeros((count, side**2 // 8), dtype=torch.uint8),
        tasks=torch.zeros(count, dtype=torch.long),
        keys=torch.tensor([stable_key(str(n)) for n in range(count)]),
        labelled=torch.arange(labelled),
        unlabelled=torch.arange(labelled, count),
    )
    return Batches(resident, 8, 0, unlabelled=True)


def labels_of(batches: Batches) -> torch.Tensor:
    """(N, S, S) of the unlabelled images."""
    images = batches.images
    return unpack_masks(images.masks[images.unlabelled], images.pixels.shape[-1])[:, 0]


class Says(nn.Module):
    """Sees the target where an image, as `number_of` has it, says so."""

    def __init__(self, masks: torch.Tensor) -> None:
        super().__init__()
        self.masks = masks  # (N, S, S)

    def forward(self, images):
        numbers = images[:, 0, 0, 0].long()
        seen = self.masks[numbers].float()
        return torch.stack((0.5 - seen, seen - 0.5), 1)


def numbered(count: int, side: int = 16) -> torch.Tensor:
    return torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, side, side)


@pytest.fixture
def by_number(monkeypatch):
    """Networks are told an image's number instead of its normalised pixels."""
    monkeypatch.setattr(stpp, "standardise", lambda images: images)
    monkeypatch.setattr(stpp, "as_unit", lambda images: images.float())


def masks(*filled: int, side: int = 16) -> torch.Tensor:
    """A mask for each number: so many of its rows are the target."""
    rows = torch.arange(side)[:, None].expand(side, side)
    return torch.stack([rows < count for count in filled])


def test_two_empty_predictions_agree_perfectly():
    """The released rule: the background, the only class present, is the same."""
    empty, full = masks(0, 16)
    one, other = torch.stack((empty, empty, full)), torch.stack((empty, full, full))
    assert mean_iou(one, other).tolist() == [1, 0, 1]
    assert mean_iou(one, other, of_empty=0.0).tolist() == [0, 0, 1]


def test_mean_iou_is_that_of_both_classes():
    (four,), (eight,) = masks(4), masks(8)
    foreground, background = 4 / 8, 8 / 12
    expected = pytest.approx((foreground + background) / 2)
    assert mean_iou(four[None], eight[None]).tolist() == [expected]
    assert mean_iou(eight[None], four[None]).tolist() == [expected]


#              empty  stable  turned late  turned early  always another, but for one
FIRST, SECOND, LAST = masks(0, 4, 12, 12, 3, 8), masks(0, 4, 12, 4, 9, 8), masks(0, 4, 4, 4, 6, 8)


def ranked(by_number, **config) -> tuple[STPP, list[bool]]:
    method, batches = tiny(STPP, **config), pool(numbered(6), labelled=0)
    method.copies, method.net = nn.ModuleList((Says(FIRST), Says(SECOND))), Says(LAST)
    return method, method.reliable(batches.pool).tolist()


def test_the_stable_half_is_reliable(by_number):
    method, chosen = ranked(by_number)
    assert chosen == [True, True, False, False, False, True]
    assert method.empty.item() == pytest.approx(1 / 6)


def test_empty_predictions_can_be_made_the_last(by_number):
    _, chosen = ranked(by_number, empty_is_unreliable=True)
    assert chosen == [False, True, False, True, False, True]


def test_every_copy_is_compared_with_the_last(by_number, monkeypatch):
    """Image 0 is stable from the first copy to the last but not between; image 1 only at last."""
    a, b = masks(4, 8), masks(12, 8)
    method = tiny(STPP)
    method.copies, method.net = nn.ModuleList((Says(a), Says(b))), Says(masks(4, 12))
    pairs = []
    real = stpp.mean_iou
    monkeypatch.setattr(stpp, "mean_iou", lambda *args: pairs.append(args[:2]) or real(*args))
    method.reliable(pool(numbered(2), labelled=0).pool)
    last = masks(4, 12)
    assert len(pairs) == 2
    for (one, other), early in zip(pairs, (a, b), strict=True):
        assert torch.equal(one, early)
        assert torch.equal(other, last)


def test_stages_label_one_half_each_and_keep_what_was_said_before(by_number, monkeypatch):
    monkeypatch.setattr(STPP, "network", lambda self: TinyNet())
    monkeypatch.setattr(nn.Module, "load_state_dict", lambda self, state: None)
    monkeypatch.setattr(stpp, "augmented", lambda net, images, scales: net(images))
    method, batches = tiny(STPP), pool(numbered(6), labelled=0)
    method.copies, method.net = nn.ModuleList((Says(FIRST), Says(SECOND))), Says(LAST)
    reliable = torch.tensor([1, 1, 0, 0, 0, 1]).bool()

    method.begin(0, batches.pool)
    assert batches.pool.chosen.all()
    method.begin(1, batches.pool)
    assert torch.equal(batches.pool.chosen, reliable)
    expected = LAST * reliable[:, None, None]
    assert torch.equal(labels_of(batches).bool(), expected)
    assert {int(n) for step in range(4) for n in batches.indices(step)[1]} == {0, 1, 5}

    later = masks(1, 2, 3, 4, 5, 6)
    method.net = Says(later)
    method.begin(2, batches.pool)
    assert batches.pool.chosen.all()
    expected = torch.where(reliable[:, None, None], LAST, later)
    assert torch.equal(labels_of(batches).bool(), expected)


class Shape(nn.Module):
    """Remembers the sizes it was given; sees the target in the left half."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = []

    def forward(self, images):
        assert not self.training
        self.seen.append(tuple(images.shape[-2:]))
        return torch.cat((-images[:, :1], images[:, :1]), 1)


@pytest.mark.parametrize(
    ("size", "sides"), [(64, (32, 48, 64, 96, 128)), (224, (112, 160, 224, 336, 448))]
)
def test_labels_of_the_paper_are_made_at_five_scales_and_mirrored(size, sides):
    net = Shape()
    left = torch.where(torch.arange(size) < size // 2, 1.0, -1.0).expand(1, 3, size, size)
    probs = augmented(net, left, SCALES)
    assert net.seen == [(side, side) for side in sides for _ in range(2)]
    assert torch.allclose(probs.sum(1), torch.tensor(10.0))
    # mirrored views are turned back: all ten agree but at the edge
    right = torch.sigmoid(torch.tensor(2.0)) * 10
    assert torch.allclose(probs[0, 1, :, 0], right)
    assert torch.allclose(probs[0, 0, :, -1], right)
    assert net.training


def test_labels_are_made_at_the_scales_that_training_shows():
    method = tiny(STPP)
    protocol = method.setup.protocol
    assert method.scales == (protocol.scale_low, 1.0, protocol.scale_high) == (0.95, 1.0, 1.2)
    assert tiny(STPP, scales="paper").scales == SCALES
    with pytest.raises(UsageError, match="unknown scales 'five'"):
        STPP.Config(scales="five")
    with pytest.raises(UsageError, match="unknown network"):
        STPP.Config(network="five")


def test_the_first_stage_is_the_labelled_only_method():
    ours, plain = (tiny(kind) for kind in (STPP, SemiSupervised))
    clock = Clock(0, STEPS)
    mine, theirs = (gradients(m, m.losses(batch(), clock)) for m in (ours, plain))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("stage", [1, 2])
def test_the_terms_add_up_to_one_mean_over_all_pixels_that_count(stage):
    method, of_step = tiny(STPP), labelled_batch()
    terms = method.losses(of_step, Clock(0, STEPS, stage))
    assert list(terms) == ["loss_x", "loss_u", "kept", "kept_foreground", "empty"]

    protocol = method.setup.protocol
    img_x, y_x = weak(of_step.img_x, of_step.mask_x, of_step.key_x, protocol)
    img_u, y_u = weak(of_step.img_u, of_step.pseudo_u, of_step.key_u, protocol)
    img_u, box = cutout(strong(img_u, of_step.key_u), of_step.key_u)
    assert 0 < box.float().mean() < 0.4
    target = torch.cat((y_x, y_u.masked_fill(box, 255)))[:, 0].long()
    logits = method.net(standardise(torch.cat((img_x, img_u))))
    expected = F.cross_entropy(logits, target, ignore_index=255)
    assert (terms["loss_x"] + terms["loss_u"]).item() == pytest.approx(expected.item(), rel=1e-5)
    assert terms["kept"].item() == pytest.approx(1 - box.float().mean().item())
    foreground = y_u[~box].mean().item()
    assert terms["kept_foreground"].item() == pytest.approx(foreground)


def test_labels_move_with_their_images(monkeypatch):
    """In one pass over the mixed batch, labelled images first."""
    monkeypatch.setattr(stpp, "strong", lambda images, keys: images)
    monkeypatch.setattr(stpp, "standardise", lambda images: images.expand(-1, 3, -1, -1))
    method, of_step, seen, targets = tiny(STPP), labelled_batch(), [], []
    net, ce = method.net.forward, F.cross_entropy
    method.net.forward = lambda img: seen.append(img) or net(img)
    monkeypatch.setattr(
        F, "cross_entropy", lambda *args, **kw: targets.append(args[1]) or ce(*args, **kw)
    )
    kept = ~cutout(of_step.img_u, of_step.key_u)[1][:, 0]
    method.losses(of_step, Clock(0, STEPS, 1))
    ((img_x, img_u),) = (img.split(4) for img in seen)
    y_x, y_u = targets
    kept &= img_u[:, 0] > 0.05  # what a rotation brings in is black
    assert ((img_x[:, 0] > 0.5) == y_x).float().mean() > 0.85
    assert ((img_u[:, 0] < 0.5) == y_u)[kept].float().mean() > 0.9
    unmoved = of_step.pseudo_u[:, 0]
    assert ((img_u[:, 0] < 0.5) == unmoved)[kept].float().mean() < 0.85


def test_nothing_is_learned_where_a_box_was_cut_out():
    method, of_step = tiny(STPP), labelled_batch()
    clock = Clock(0, STEPS, 1)
    plain = gradients(method, method.losses(of_step, clock))
    real_weak = stpp.weak
    box = cutout(of_step.img_u, of_step.key_u)[1]

    def lying(images, masks, keys, protocol):
        images, masks = real_weak(images, masks, keys, protocol)
        return images, torch.where(box, 1 - masks, masks)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stpp, "weak", lying)
        other = gradients(method, method.losses(of_step, clock))
    assert box.any()
    assert all(torch.equal(plain[name], other[name]) for name in plain)


def snapshot(net: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in net.state_dict().values()]


def same(one, other) -> bool:
    return all(map(torch.equal, one, other))


def trained() -> tuple[STPP, Batches, dict[int, list[torch.Tensor]], dict[int, list[torch.Tensor]]]:
    """After all stages; the network's weights before each stage, and after every step."""
    method = tiny(STPP, norm=nn.BatchNorm2d)
    protocol = method.setup.protocol.with_(batch=8, rate=0.1)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (14, 1, SIZE, SIZE), generator=generator).to(torch.uint8)
    batches = pool(images, labelled=4)
    batches.images.masks[:4] = 0xF0
    begun, after = {}, {}
    begin = type(method).begin

    def begins(stage, unlabelled):
        begin(method, stage, unlabelled)
        begun[stage] = snapshot(method.net)

    def watch(step, terms):
        after[step] = snapshot(method.net)
        assert all(term.isfinite() for term in terms.values())
        return False

    method.begin = begins
    places = [weight.data_ptr() for weight in method.parameters()]
    train(
        method, batches, make_optimizer(method, protocol), protocol, STEPS,
        execution=Execution(), watch=watch,
    )  # fmt: skip
    assert [weight.data_ptr() for weight in method.parameters()] == places
    return method, batches, begun, after


def test_three_trainings_each_with_fresh_weights():
    method, batches, begun, after = trained()
    assert sorted(after) == list(range(1, 3 * STEPS + 1))
    first, second = (snapshot(copy) for copy in method.copies)
    assert same(first, after[STEPS // 3])
    assert same(second, after[2 * STEPS // 3])
    assert not any(p.requires_grad for p in method.copies.parameters())
    for stage in (1, 2):
        assert not same(begun[stage], after[stage * STEPS])
        statistics = TinyNet(nn.BatchNorm2d).neck[1].running_mean  # zeros: nothing was seen yet
        fresh = dict(zip(method.net.state_dict(), begun[stage], strict=True))
        assert torch.equal(fresh["neck.1.running_mean"], statistics)
    assert not same(begun[1], begun[2])
    assert batches.pool.chosen.all()
    assert same(snapshot(method.evaluated), after[3 * STEPS])
