"""Figures as files: which are made, the same bytes every time, what is left out and said."""

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import pytest
from fake_records import make_ablation, make_record, save_run
from figure_records import save_three

from benchmark.dataset import open_dataset
from benchmark.figures import hard, make_all, style
from benchmark.figures.records import LeftOutError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def masked(small_data, tmp_path_factory):
    return save_three(tmp_path_factory.mktemp("masked"), open_dataset(small_data))


@pytest.fixture(scope="module")
def made(masked, small_data, tmp_path_factory):
    """Two folders of the same figures, what was written, and what was said."""
    folders, paths, said = [tmp_path_factory.mktemp(name) for name in ("one", "two")], [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "DPI", 50)  # nothing that is tested here depends on these two
        patch.setattr(hard, "EACH", 2)
        for place, out in enumerate(folders):
            # the second time as if a user had a style of their own
            with mpl.rc_context({"font.size": 31, "axes.facecolor": "red"} if place else {}):
                paths.append(make_all(masked, small_data, out, say=said.append))
    return folders, paths, said


@pytest.fixture
def numbers(tmp_path):
    """Records that allow all figures without images but for that of costs."""
    for n, split in ((2, "1_4"), (3, "1_4"), (2, "1_8")):
        tag = "" if n == 2 else f"perturbations={n}"
        save_run(tmp_path, make_record(split=split, tag=tag, config={"perturbations": n}), 0.7)
    save_run(tmp_path, make_ablation(pud=False, uplc=True), 0.5)
    return tmp_path


def test_every_figure_that_the_records_allow_is_written(made):
    (out, _), (paths, _), said = made
    names = ["cost_1_4", "images/qualitative_1_4", "images/worst_1_4", "images/disputed_1_4"]
    expected = [f"{name}.{ending}" for name in names for ending in ("svg", "png")]
    assert [str(path.relative_to(out)) for path in paths] == expected
    assert {path for path in out.rglob("*") if path.is_file()} == {
        *paths,
        out / "images" / ".gitignore",
    }
    assert [line.split(":")[0] for line in said[:3]] == [
        *("left out prompting", "left out perturbations", "left out label_efficiency")
    ]
    assert len(said) == 6  # the same again for the second folder


def test_equal_records_give_equal_bytes_whatever_the_users_style(made):
    for one, two in zip(*made[1], strict=True):
        assert one.read_bytes() == two.read_bytes(), one


def test_figures_with_images_are_hidden_from_git(made, tmp_path):
    shutil.copytree(made[0][0], tmp_path / "out")
    subprocess.run(["git", "init", "-q", tmp_path / "out"], check=True)
    command = ["git", "-C", tmp_path / "out", "status", "--porcelain", "--untracked-files=all"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert shown.split() == ["??", "cost_1_4.png", "??", "cost_1_4.svg"]


def test_figures_of_numbers_alone_need_no_data_set(numbers, tmp_path):
    said = []
    paths = make_all(numbers, None, tmp_path / "out", say=said.append)
    assert [path.name for path in paths[::2]] == [
        *("prompting.svg", "perturbations.svg", "label_efficiency.svg")
    ]
    assert not (tmp_path / "out" / "images").exists()
    assert any("images/worst_1_4" in line and "--data" in line for line in said)
    svg = paths[0].read_text()
    assert "<dc:date>" not in svg
    assert "Matplotlib" not in svg  # whose version would be there


def test_what_is_left_out_is_said_and_that_older_files_stay(numbers, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "prompting.svg").touch()
    for path in numbers.glob("runs/propl/*/*prompting*.json"):
        path.write_text("{}")
    said = []
    make_all(numbers, None, out, say=said.append)
    assert said[0].startswith("left out a run: ")
    assert "seed0+prompting=none.json" in said[0]
    assert said[1].startswith("left out prompting (older files stay): no run of ProPL without")


def test_no_runs_is_an_error_that_says_how_to_make_one(tmp_path):
    with pytest.raises(LeftOutError, match="usbench run"):
        make_all(tmp_path, None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_data_set_leaves_out_images_alone(masked, tmp_path):
    said = []
    paths = make_all(masked, tmp_path, tmp_path / "out", say=said.append)
    assert {path.stem for path in paths} == {"cost_1_4"}
    assert any("images/qualitative_1_4" in line and "build-data" in line for line in said)


@pytest.mark.parametrize("text", ["WMQ@% and some words more, ", "ill, til, fill; "])
def test_the_footer_fits_the_page(text, tmp_path):
    figure = style.styled(style.new_figure)(1.0, "Title", text * 20)
    _, png = style.save(figure, tmp_path / "figure")
    inked = np.flatnonzero((cv2.imread(str(png), cv2.IMREAD_GRAYSCALE) < 200).any(axis=0))
    width, margin = style.WIDTH * style.DPI, style.MARGIN * style.DPI
    assert margin - 1 <= inked[0]
    assert 0.85 * width < inked[-1] <= width - 0.5 * margin


def test_drawing_loads_neither_torch_nor_a_window(masked, tmp_path):
    code = (
        "import sys, pathlib, benchmark.figures as f; before = 'matplotlib' in sys.modules; "
        f"f.make_all(pathlib.Path({str(masked)!r}), None, pathlib.Path({str(tmp_path / 'o')!r}), "
        "say=str); "
        "print(before, [m for m in ('torch', 'matplotlib.pyplot', 'tkinter') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False []"


def test_the_picture_of_the_tasks_is_made_by_the_module(small_data, tmp_path):
    out = tmp_path / "new" / "tasks.png"
    command = [sys.executable, "-m", "benchmark.figures", str(small_data), str(out)]
    subprocess.run(command, cwd=ROOT, check=True)
    assert cv2.imread(str(out)).shape == (682, 1210, 3)
    assert list(out.parent.iterdir()) == [out]
    usage = subprocess.run(command[:4], cwd=ROOT, capture_output=True, text=True)
    assert usage.returncode == 1
    assert "DATA OUT.png" in usage.stderr
