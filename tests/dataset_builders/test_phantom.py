import sys
import time
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from phantom_archives import IMAGES, SIZE, Archives
from scipy import ndimage

from dataset_builders import phantom
from dataset_builders import phantom_anatomy as anatomy
from dataset_builders.sources import SOURCES


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> Archives:
    return Archives.drawn(tmp_path_factory.mktemp("phantom"))


def tree(root: Path) -> Mapping[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


# every builder recognises its source


@pytest.mark.parametrize("name", SOURCES)
def test_every_item_can_be_read_by_the_builder_of_the_real_files(archives, name):
    count = dict.fromkeys(SOURCES[name].expected, 0)
    for item, sample in archives.read(name):
        count[item.task] += 1
        assert 0.002 < sample.mask.mean() < 0.7, item.id
        assert sample.image[sample.mask].std() > 1, item.id
    for task, found in count.items():
        assert 0.9 * IMAGES <= found <= 1.1 * IMAGES, task


@pytest.mark.parametrize("name", SOURCES)
def test_groups_can_be_split_three_to_one(archives, name):
    groups = [item.group for item in archives.index(name).items]
    assert len(set(groups)) >= 3
    assert max(map(groups.count, groups)) <= len(groups) / 2


def test_every_way_into_the_finder_is_used(archives):
    for name in SOURCES:
        archives.finder.find(SOURCES[name])
    used = {name: [path.name for path in found] for name, found in archives.finder.archives.items()}
    assert used["busi"] == ["Dataset_BUSI.zip"]
    assert used["hc18"] == ["training_set.zip"]
    assert used["mmotu"] == ["mmotu.tar.gz"]
    assert used["tn3k"] == used["tg3k"] == ["Thyroid Dataset.zip"]
    assert used["camus"] == used["hmc_qu"] == used["udiat"] == []


@pytest.mark.parametrize("name", SOURCES)
def test_every_organ_stands_out_from_its_surroundings(archives, name):
    contrast: dict[str, list[float]] = {}
    for item, sample in archives.read(name):
        grey = sample.image if sample.image.ndim == 2 else sample.image.mean(axis=2)
        ring = ndimage.binary_dilation(sample.mask, iterations=4) & ~sample.mask
        rim = sample.mask & ~ndimage.binary_erosion(sample.mask, iterations=4)
        difference = abs(float(grey[rim].mean()) - float(grey[ring].mean()))
        contrast.setdefault(item.task, []).append(difference)
    for task, differences in contrast.items():
        assert np.median(differences) > 15, task


def test_no_grey_level_separates_the_organ(archives):
    """Neither below nor above any one threshold, else a network has nothing to learn."""
    pixels: dict[str, list[np.ndarray]] = {}
    for name in SOURCES:
        for item, sample in archives.read(name):
            grey = sample.image if sample.image.ndim == 2 else sample.image.mean(axis=2)
            grey = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 2)  # without the speckle
            pixels.setdefault(item.task, []).append(np.stack([grey.ravel(), sample.mask.ravel()]))
    for task, parts in pixels.items():
        grey, mask = np.concatenate(parts, axis=1)
        inside, outside = (np.histogram(grey[mask == v], 256, (0, 256))[0] for v in (1, 0))
        for hit, miss in ((inside, outside), (inside[::-1], outside[::-1])):
            found, wrong = hit.cumsum(), miss.cumsum()
            dice = 2 * found / (found + wrong + inside.sum())
            assert dice.max() < 0.75, task


# equal arguments, equal bytes


def test_the_seed_decides_every_byte(archives, tmp_path):
    made = (archives.raw / phantom.NOTICE).stat().st_mtime
    time.sleep(max(0, made + 2.1 - time.time()))  # a zip counts time in steps of two seconds
    phantom.write(tmp_path / "again", images=IMAGES, size=SIZE)
    assert tree(tmp_path / "again") == tree(archives.raw)


def test_a_source_is_the_same_alone_as_among_others_and_another_with_another_seed(
    archives, tmp_path
):
    phantom.write(tmp_path / "alone", images=IMAGES, size=SIZE, sources=["udiat"])
    phantom.write(tmp_path / "other", images=IMAGES, size=SIZE, sources=["udiat"], seed=1)
    assert tree(tmp_path / "alone/udiat") == tree(archives.raw / "udiat")
    first = "original/000001.png"
    assert tree(tmp_path / "other/udiat")[first] != tree(tmp_path / "alone/udiat")[first]


# what a scanner adds


def test_speckle_is_rayleigh_compounded_of_two_looks_and_wider_than_deep():
    view = anatomy.linear(256, 256)
    field = anatomy.speckle(np.random.default_rng(0), view)
    power = 10 ** (field / 10)
    assert power.mean() == pytest.approx(1, abs=0.02)
    assert power.std() == pytest.approx(1 / np.sqrt(2), abs=0.05)  # 1 for a single look
    across, down = (
        np.corrcoef(power[:, 2:].ravel(), power[:, :-2].ravel())[0, 1],
        np.corrcoef(power[2:].ravel(), power[:-2].ravel())[0, 1],
    )
    assert across > 0.5 > down


def test_shadows_follow_the_beams():
    view = anatomy.linear(64, 48)
    mask = np.zeros((48, 64), bool)
    mask[10:20, 30:40] = True
    shadow = np.zeros_like(mask)
    shadow[20:, 30:40] = True
    assert np.array_equal(anatomy.behind(view, mask), shadow)
    fan = anatomy.sector(64, 48, half_angle=0.7, apex=0, near=0)
    mask = anatomy.ellipse(fan.x, fan.y, 0.3, 0.6, 0.1, 0.1) < 1
    behind = anatomy.behind(fan, mask)
    assert np.argwhere(behind)[:, 1].mean() > np.argwhere(mask)[:, 1].mean()  # outwards
    assert fan.inside[behind].all()


def test_a_heart_is_itself_in_every_frame():
    view = anatomy.phased_array(120, 100)
    rest, squeezed = (
        anatomy.heart(
            np.random.default_rng(3), np.random.default_rng(4), view, phase, right_heart=True
        )[1]
        for phase in (0.0, 1.0)
    )
    assert (squeezed == 1).sum() < 0.75 * (rest == 1).sum()  # the cavity empties
    assert (squeezed == 3).sum() > 0.8 * (rest == 3).sum()
    assert abs(np.argwhere(rest == 1)[:, 1].mean() - np.argwhere(squeezed == 1)[:, 1].mean()) < 2


# bad input


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"sources": ["ddsm"]}, "no source.*ddsm.*busi"),
        ({"ddti_form": "636"}, "637 or original"),
        ({"images": 3}, "16 to 600"),
        ({"size": 10}, "64 px"),
    ],
)
def test_nonsense_is_refused_before_anything_is_written(tmp_path, arguments, says):
    with pytest.raises(ValueError, match=says):
        phantom.write(tmp_path / "raw", **arguments)
    assert not (tmp_path / "raw").exists()


def test_real_files_are_never_overwritten(tmp_path):
    (tmp_path / "Dataset_BUSI.zip").write_text("real")
    with pytest.raises(FileExistsError, match="choose another folder"):
        phantom.write(tmp_path, images=IMAGES, size=64, sources=["busi"])
    assert tree(tmp_path) == {"Dataset_BUSI.zip": b"real"}


def test_command_line(tmp_path, monkeypatch, capsys):
    arguments = ["phantom", str(tmp_path), "--sources", "udiat", "--images", "16", "--size", "64"]
    monkeypatch.setattr(sys, "argv", arguments)
    phantom.main()
    assert {path.name for path in tmp_path.iterdir()} == {"udiat", phantom.NOTICE}
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}: synthetic udiat",
        f"next: usbench build-data --raw {tmp_path} --allow-missing",
    ]
    with pytest.raises(SystemExit):
        phantom.main()
    assert "exists; choose another folder" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["phantom", "--help"])
    with pytest.raises(SystemExit):
        phantom.main()
    said = capsys.readouterr().out
    assert "usage: python -m dataset_builders.phantom" in said
    assert "Command line" not in said
