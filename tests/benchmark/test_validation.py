"""Images kept aside to watch a training: which they are, and that the training does not notice."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, reject
from hypothesis import strategies as st
from toy_method import CPU, REFERENCE, SIZE, STEPS, Toy, make_batches, make_method, make_protocol

from benchmark.dataset import Images
from benchmark.metrics import measure
from benchmark.profiles import PROFILES
from benchmark.train import make_optimizer, train
from benchmark.validation import Validation, carve
from dataset_builders.errors import UsageError


def made(task: str, groups: list[str], size: int = 2) -> Images:
    """Images whose pixels tell their place."""
    pixels = np.arange(len(groups), dtype=np.uint8)[:, None, None, None].repeat(size, 2)
    pixels = pixels.repeat(size, 3)
    masks = (pixels[:, 0] % 2).astype(np.uint8)
    return Images(task, [f"{task}/{place}" for place in range(len(groups))], groups, pixels, masks)


letters = st.sampled_from("abcdefgh")


@st.composite
def tasks(draw: st.DrawFn) -> tuple[list[Images], list[int]]:
    """One to three tasks of at least two groups among the labelled images of each."""
    images, labels = [], []
    for task in draw(st.sampled_from([["BC"], ["LA", "LV"], ["FH", "LA", "MD"]])):
        labelled = draw(
            st.lists(letters, min_size=2, max_size=12).filter(lambda found: len(set(found)) > 1)
        )
        images.append(made(task, labelled + draw(st.lists(letters, max_size=12))))
        labels.append(len(labelled))
    return images, labels


@given(tasks(), st.floats(0.01, 0.99))
def test_whole_groups_are_kept_aside_and_nothing_else_is_lost(found, share):
    images, labels = found
    try:
        carved = carve(images, labels, share)
    except UsageError:
        assert len(images) > 1  # another task may keep all groups of this one aside
        reject()
    aside = {group for held in carved.held for group in held.groups}
    for whole, count, left, label, held in zip(
        images, labels, carved.training, carved.labels, carved.held, strict=True
    ):
        assert whole.task == left.task == held.task
        assert 1 <= label < count
        assert held.ids
        assert not aside & set(left.groups)
        everything = list(zip(whole.ids, whole.groups, strict=True))
        assert left.ids == [name for name, group in everything if group not in aside]
        assert held.ids == [name for name, group in everything[:count] if group in aside]
        assert left.ids[:label] == [name for name in left.ids if name in whole.ids[:count]]
        for part in (left, held):
            places = [int(name.split("/")[1]) for name in part.ids]
            np.testing.assert_array_equal(part.pixels[:, 0, 0, 0], places)
            np.testing.assert_array_equal(part.masks, whole.masks[places])


@pytest.mark.parametrize(
    ("share", "aside"), [(0.01, 1), (0.2, 2), (0.25, 2), (0.5, 5), (0.74, 7), (0.99, 9)]
)
def test_the_share_is_one_of_groups(share, aside):
    images = made("FH", [group for group in "abcdefghij" for _ in range(3)])
    held = carve([images], [30], share).held[0]
    assert len(set(held.groups)) == aside
    assert len(held.ids) == 3 * aside


def test_names_alone_decide_and_a_larger_share_holds_the_smaller():
    groups = list("abcdefghij")
    chosen = [set(carve([made("FH", groups)], [10], n / 10).held[0].groups) for n in range(1, 10)]
    assert all(few < more for few, more in pairwise(chosen))
    other = carve([made("OT", groups[::-1])], [10], 0.3).held[0].groups
    assert set(other) == chosen[2]


def test_a_patient_kept_aside_in_one_task_is_not_learned_from_in_another():
    apex, ventricle = made("LA", list("abcdef")), made("LV", list("cbaxyz"))
    carved = carve([apex, ventricle], [6, 6], 0.4)
    aside = {group for held in carved.held for group in held.groups}
    assert aside & set("abc")
    assert not aside & {group for left in carved.training for group in left.groups}
    alone = {
        group for images in (apex, ventricle) for group in carve([images], [6], 0.4).held[0].groups
    }
    assert aside == alone


def test_nothing_is_kept_aside_unasked():
    images = [made("FH", ["a", "a"])]
    carved = carve(images, [1], 0.0)
    assert carved.training[0] is images[0]
    assert (carved.labels, carved.held) == ([1], [])
    assert not any(watching([]).due(step) for step in range(STEPS + 1))


def test_a_task_that_cannot_be_divided_is_named():
    with pytest.raises(
        UsageError, match=r"validation = 0.2.*task TG are of one group, v1;.*larger"
    ):
        carve([made("FH", ["a", "b"]), made("TG", ["v1", "v1", "v2"])], [2, 2], 0.2)
    with pytest.raises(UsageError, match=r"leaves task LV without a labelled image: other tasks"):
        carve([made("LA", list("abcdefgh")), made("LV", ["a", "b"])], [8, 2], 0.9)


class Dicing(Toy):
    """Draws random numbers where it should not, and remembers how it was called."""

    def predict(self, images, tasks):
        self.seen = (self.training, torch.is_grad_enabled(), tasks.unique().tolist())
        torch.rand(7)
        return super().predict(images, tasks) + 0.2 * tasks.view(-1, 1, 1, 1)


def held(count: int = 5) -> list[Images]:
    """Noise; in the last image of each task there is nothing."""
    images = []
    for seed, task in enumerate(("FH", "LA")):
        rng = np.random.default_rng(seed)
        pixels = rng.integers(0, 256, (count, 1, SIZE, SIZE), np.uint8)
        masks = (rng.random((count, SIZE, SIZE)) < 0.4).astype(np.uint8)
        masks[-1] = 0
        ids = [f"{task}/{place}" for place in range(count)]
        images.append(Images(task, ids, ids, pixels, masks))
    return images


def watching(images: list[Images], total: int = STEPS, **changes) -> Validation:
    return Validation(images, make_protocol(**changes), total, CPU)


def test_scores_are_those_of_the_headline_profile():
    method, images = make_method(Dicing, make_protocol()), held()
    for part in images:
        part.pixels[-1] = 0  # as are its pixels: of such an image the network makes one value
    validation = watching(images, evaluation_batch=2)
    mean = validation.score(method, 3)
    expected = []
    for task, part in enumerate(images):
        with torch.no_grad():
            pixels = torch.tensor(part.pixels).float() / 255
            probs = method.predict(pixels, torch.full((len(pixels),), task))
        rows = pd.DataFrame(measure(probs[:, 0].numpy() > 0.5, part.masks))
        expected.append(PROFILES["paper"].per_image(rows).dice.mean())
    assert [score[:2] for score in validation.curve] == [(3, "FH"), (3, "LA")]
    np.testing.assert_allclose([score.dice for score in validation.curve], expected, rtol=1e-12)
    assert mean == pytest.approx(np.mean(expected))
    assert 0 < min(expected) < max(expected) < 1


def test_nothing_found_where_nothing_is_counts_as_right():
    method, images = make_method(Toy, make_protocol()), held(1)[:1]
    for sign, dice in ((-1e3, 1.0), (1e3, 0.0)):
        torch.nn.init.constant_(method.student[-1].bias, sign)
        assert watching(images).score(method, 1) == dice


@pytest.mark.parametrize("mode", [True, False])
def test_the_method_and_random_numbers_are_left_as_they_were(mode):
    method = make_method(Dicing, make_protocol()).train(mode)
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    state = torch.get_rng_state()
    watching(held()).score(method, 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert method.training is method.student[0].training is mode
    assert method.seen == (False, False, [1])
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.state_dict().items())


def test_a_watched_training_ends_with_the_same_bits():
    ends = []
    for every in (0, 3):
        protocol = make_protocol()
        method = make_method(Dicing, protocol)
        torch.manual_seed(1)
        validation = watching(held())

        def watch(step, terms, every=every, method=method, validation=validation):
            if every and step % every == 0:
                validation.score(method, step)
            return False

        optimizer = make_optimizer(method, protocol)
        train(
            method,
            make_batches(Dicing),
            optimizer,
            protocol,
            STEPS,
            execution=REFERENCE,
            watch=watch,
        )
        ends.append(method.state_dict())
    assert [score.step for score in validation.curve] == [3, 3, 6, 6]
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_scores_on_a_gpu_are_the_same_and_leave_its_random_numbers_alone():
    method = make_method(Dicing, make_protocol())
    expected = watching(held()).score(method, 1)
    cuda = torch.device("cuda")
    state = torch.cuda.get_rng_state()
    validation = Validation(held(), make_protocol(), STEPS, cuda)
    assert validation.score(method.to(cuda), 1) == pytest.approx(expected, abs=0.01)
    assert torch.equal(torch.cuda.get_rng_state(), state)


@pytest.mark.parametrize(
    ("every", "total", "steps"),
    [
        (0.25, 8, [2, 4, 6, 8]),
        (0.3, 10, [3, 6, 9, 10]),
        (0.05, 8, list(range(1, 9))),
        (1.0, 8, [8]),
    ],
)
def test_it_is_due_now_and_then_and_at_the_end(every, total, steps):
    validation = watching(held(1), total, validation_every=every)
    assert [step for step in range(1, total + 1) if validation.due(step)] == steps


def test_the_curve_survives_a_checkpoint():
    validation, resumed = watching(held()), watching(held())
    assert validation.best is None
    assert validation.state() == {"curve": [], "best": None}
    method = make_method(Toy, make_protocol())
    means = [validation.score(method, step) for step in (1, 2)]
    assert means[0] == means[1]
    torch.nn.init.constant_(method.student[-1].bias, 1e3)
    means.append(validation.score(method, 3))
    step = [1, 1, 3][int(np.argmax(means))]
    assert validation.best == (step, pytest.approx(max(means)))
    state = json.loads(json.dumps(validation.state()))
    resumed.load_state(state)
    assert resumed.curve == validation.curve
    assert resumed.best == validation.best
    resumed.load_state({})
    assert resumed.curve == []


@pytest.mark.parametrize(
    "changes", [{"validation": 1.0}, {"validation": -0.1}, {"validation_every": 0}]
)
def test_shares_that_cannot_be_are_refused(changes):
    with pytest.raises(UsageError, match=f"{next(iter(changes))} = .* must be"):
        make_protocol(**changes)
