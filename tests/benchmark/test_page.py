import base64
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from fake_records import IMAGES, make_ablation, make_record, save_run
from page_records import blob, entry_of, save_with_masks

from benchmark.dataset import DatasetError, open_dataset
from benchmark.gallery import EACH, outline, picks, thumbnail
from benchmark.methods import METHODS
from benchmark.page import duration, facts, hint, write
from benchmark.profiles import PROFILES
from benchmark.record import DatasetEntry, RecordError
from benchmark.tables import Cell, TableError
from dataset_builders.errors import UsageError
from dataset_builders.images import encode_png
from dataset_builders.tasks import TASKS

ROOT = Path(__file__).parents[2]


class Page(HTMLParser):
    """The tables' rows, as text, and every element."""

    VOID = ("meta", "link", "img", "input", "br")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.rows: list[list[str]] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(self.source)
        assert self.open == []  # every element was closed, in turn

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] in (["td"], ["th"]) or self.open[-2:] == ["th", "span"]:
            self.rows[-1][-1] += data.strip()

    def starting(self, title: str) -> list[list[str]]:
        return [row for row in self.rows if row[:1] == [title]]

    @property
    def gallery(self):
        (text,) = re.findall(r'id="data">(.*?)</script>', self.source)
        return json.loads(text)


@pytest.fixture
def results(tmp_path):
    """ProPL with two seeds and U-Net at 1/4, ProPL without PuD at 1/16."""
    save_run(tmp_path, make_record(), 0.8)
    save_run(tmp_path, make_record(seed=1), 0.9)
    save_run(tmp_path, make_record("unet", weights="none"), 0.6)
    save_run(tmp_path, make_ablation(pud=False, uplc=True, split="1_16"), 0.5)
    return tmp_path


@pytest.fixture(scope="module")
def seen(small_data, tmp_path_factory):
    """Runs of U-Net and ProPL on a data set, with masks in their rows."""
    results = tmp_path_factory.mktemp("seen")
    for method in ("unet", "propl"):
        save_with_masks(results, method=method, dataset=open_dataset(small_data))
    return results


@pytest.fixture(scope="module")
def seen_page(seen, small_data):
    """Their page, with images."""
    return Page(write(seen, seen / "page.html", small_data))


def test_every_cell_of_the_tables_is_there(results, tmp_path):
    page = Page(write(results, tmp_path / "page.html"))
    dice, iou, hd95 = page.starting("ProPL")[:3]  # of Table 3, which stands first
    assert dice[1::2] == ["85.00"] * 9
    assert dice[2] == "77.18"  # the paper's, beside ours
    assert iou[1].startswith("74.2")  # the mean of 80/120 and 90/110
    assert hd95[1:] == ["5.00"] * 9  # without the paper's
    assert len(page.starting("PSPNet")[0]) == 1 + 2 * 9
    assert set(page.starting("PSPNet")[0][1::2]) == {"—"}
    titles = re.findall(r"<h3>Table (\d)", page.source)
    assert titles == ["3", "4", "6"]
    assert sum(row == ["single-task supervised"] for row in page.rows) == 3  # a block per metric
    unrun = re.findall(r'class="unrun">\s*<th scope="row">([^<]*)', page.source)
    # 19 of 21 in Table 3; 3 of 4 in Table 4, where PuD was left out; 3 of 4 in Table 6; 3 metrics
    assert len(unrun) == 3 * (19 + 3 + 3)
    assert "PSPNet" in unrun
    assert "U-Net" not in unrun


def test_says_what_was_run_and_what_the_marks_mean(results, tmp_path):
    source = Page(write(results, tmp_path / "page.html")).source
    assert "4 runs of 2 methods" in source
    assert "Preset paper: 224×224 px" in source
    assert "profile paper" in source
    assert "0123456789ab" in source
    assert "resnet34, none ‡" in source
    assert "‡ not the method&#39;s own encoder" in source
    other = Page(write(results, tmp_path / "other.html", profile="medpy")).source
    assert "profile medpy" in other
    data = DatasetEntry("ab" * 32, ("BC",), dict.fromkeys(["BC", "FH"], (30, 10)))
    save_run(tmp_path / "partial", make_record("unet", dataset=data), 0.5)
    partial = Page(write(tmp_path / "partial", tmp_path / "partial.html"))
    assert partial.rows[0][1:6:2] == ["BC†", "FH", "LA"]
    assert "† fewer than 800 images a task" in partial.source
    assert "1 run of 1 method," in partial.source


def test_facts_name_all_that_occurs():
    data = DatasetEntry("ab" * 32, ("BC", "TN"), {})
    records = [make_record(), make_record("unet", seed=3, preset="mini", dataset=data)]
    found = facts(records, PROFILES["mm"])
    assert found["Protocol"] == ("preset mini, not the paper's, 64×64 px; preset paper, 224×224 px")
    assert found["Data set"] == "0123456789ab; abababababab, partial in BC, TN"
    assert found["Seeds"] == "0; 3"
    assert found["Weights"] == "resnet34 imagenet; tf_efficientnet_lite0 packaged"
    assert found["Scores"].startswith("profile mm: as the profile native")
    assert found["Device"] == "cpu (x86_64)"


def test_hover_tells_paper_interval_seeds_and_duplicates():
    cell = Cell({0: 80.0, 2: 82.0}, 77.18, low=79.5, high=82.5, clean=80.25)
    assert hint(cell) == (
        "paper 77.18; 95 % interval 79.50 to 82.50; seeds 0, 2, standard deviation 1.41; "
        "without duplicates 80.25"
    )
    assert hint(Cell({}, None)) == ""


def test_intervals_and_bold_are_printed(results, tmp_path, monkeypatch):
    from benchmark import page as module

    def with_intervals(*args, **kwargs):
        for filled in original(*args, **kwargs):
            for block in filled.cells.values():
                for cells in block.values():
                    for column, cell in cells.items():
                        if cell.mean is not None:
                            cells[column] = replace(cell, low=1.25, high=9.75, best=True)
            yield filled

    original = module.fill_tables
    monkeypatch.setattr(module, "fill_tables", lambda *a, **k: list(with_intervals(*a, **k)))
    page = Page(write(results, tmp_path / "page.html"))
    assert '<small class="interval">1.25–9.75</small>' in page.source
    bold = sum(tag == "td" and at.get("class") == "best" for tag, at in page.elements)
    assert bold == (2 + 1 + 1) * 3 * 9  # rows that were run, metrics, columns


def test_needs_no_network(seen_page):
    for tag, attributes in seen_page.elements:
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
    assert "default-src 'none'" in seen_page.source
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", seen_page.source)


def test_what_a_record_says_is_text_never_markup(tmp_path):
    evil = "</script><script>alert(1)</script>"
    run = make_record("unet", machine={"device": evil, "<b>": "&"}, commit=evil)
    save_with_masks(tmp_path, run, name=evil)
    page = Page(write(tmp_path, tmp_path / "page.html"))
    assert "<script>alert" not in page.source
    assert "<b>" not in page.source
    assert page.gallery["images"][0]["id"] == f"BC/{evil}23"
    assert sum(tag == "script" for tag, _ in page.elements) == 2


def test_the_same_records_give_the_same_bytes(seen, seen_page, small_data, tmp_path):
    again = write(seen, tmp_path / "new" / "again.html", small_data)
    assert again.read_text(encoding="utf-8") == seen_page.source
    assert list(again.parent.iterdir()) == [again]


def test_picks_worst_median_and_best_once():
    assert picks(9, 1) == {0: "worst", 4: "median", 8: "best"}
    assert picks(200, 2) == {
        **dict.fromkeys((0, 1), "worst"),
        **dict.fromkeys((99, 100), "median"),
        **dict.fromkeys((198, 199), "best"),
    }
    assert picks(3, 2) == {0: "worst", 1: "worst", 2: "best"}
    assert picks(1, 2) == {0: "worst"}
    assert picks(0, 2) == {}


def test_gallery_shows_the_worst_median_and_best_of_each_task(seen, seen_page):
    gallery = seen_page.gallery
    assert [run["method"] for run in gallery["runs"]] == ["U-Net", "ProPL"]
    assert {run["labelled"] for run in gallery["runs"]} == {"1/4"}
    of_task = [
        card
        for card in gallery["cards"]
        if card["run"] == 1 and gallery["images"][card["image"]]["task"] == "FH"
    ]
    rows = pd.read_parquet(seen / "runs/propl/1_4/seed0.parquet").query("task == 'FH'")
    dice = np.sort(2 * rows.tp / (2 * rows.tp + rows.fp + rows.fn))
    shown = [card["dice"] for card in of_task]
    assert [card["place"] for card in of_task] == sorted(
        (card["place"] for card in of_task), key=["worst", "median", "best"].index
    )
    assert shown[:EACH] == pytest.approx(dice[:EACH], abs=1e-4)
    assert shown[-EACH:] == pytest.approx(dice[-EACH:], abs=1e-4)
    assert len(of_task) == min(len(rows), 3 * EACH)


def test_thumbnails_come_only_with_the_data_set(seen, seen_page, small_data, tmp_path):
    gallery = seen_page.gallery
    for image in gallery["images"]:
        webp = base64.b64decode(gallery["thumbnails"][image["thumbnail"]])
        pixels = cv2.imdecode(np.frombuffer(webp, np.uint8), cv2.IMREAD_COLOR)
        assert 16 < max(pixels.shape) <= 128
        assert pixels.shape[1] / pixels.shape[0] == pytest.approx(
            image["size"][0] / image["size"][1], rel=0.05
        )
    used = {image["thumbnail"] for image in gallery["images"]}
    assert used == set(range(len(gallery["thumbnails"])))
    assert len(used) < len(gallery["images"])  # LA, LV and MD show the same frames of the heart
    assert "Not for publication" in seen_page.source
    out = tmp_path / "page.html"
    for page in (Page(write(seen, out)), Page(write(seen, out, small_data, images="none"))):
        assert page.gallery["thumbnails"] == []
        assert "size" not in page.gallery["images"][0]
        assert "Not for publication" not in page.source
        assert "image/webp;base64,U" not in page.source


def test_frames_that_two_tasks_share_are_stored_once():
    pixels = np.full((40, 60), 90, np.uint8)
    assert thumbnail(encode_png(pixels)) == thumbnail(encode_png(pixels))
    colour = np.zeros((300, 100, 3), np.uint8)
    colour[..., 0] = 250  # red
    webp = base64.b64decode(thumbnail(encode_png(colour)))
    small = cv2.imdecode(np.frombuffer(webp, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert small.shape == (128, 43, 3)
    assert small[..., 0].mean() > 200 > 40 > small[..., 2].mean()


def test_an_outline_is_the_border_of_the_mask():
    mask = np.zeros((20, 30), bool)
    mask[5:10, 3:23] = True
    assert outline(mask) == "M3 5l0 4 19 0 0-4z"
    assert outline(np.zeros((8, 8), bool)) == ""
    dot = np.zeros((8, 8), bool)
    dot[2, 3] = True
    assert outline(dot) == "M3 2z"
    assert outline(blob(64, 20) & ~blob(64, 8)).count("M") == 2  # a ring has two borders


def test_runs_without_masks_are_named_and_the_rest_is_shown(results, tmp_path):
    page = Page(write(results, tmp_path / "page.html"))
    assert 'id="data"' not in page.source
    assert "Without pictures: U-Net (1/4), ProPL (1/4), ProPL -PuD (1/16)." in page.source


def test_another_data_set_than_the_runs_is_refused(results, small_data, tmp_path):
    with pytest.raises(DatasetError, match=r"unet/1_4/seed0 was run on data set 0123456789ab"):
        write(results, tmp_path / "page.html", small_data)
    with pytest.raises(DatasetError, match="holds no data set"):
        write(results, tmp_path / "page.html", tmp_path)
    assert not (tmp_path / "page.html").exists()


def test_a_run_of_images_that_are_not_there_is_refused(small_data, tmp_path):
    dataset = open_dataset(small_data)
    run = make_record("unet", dataset=entry_of(dataset))
    save_with_masks(tmp_path, run, name="lost")
    with pytest.raises(DatasetError, match=r"image BC/lost.* is not in it; build"):
        write(tmp_path, tmp_path / "page.html", small_data)


def test_bad_requests_leave_no_page(results, tmp_path):
    with pytest.raises(UsageError, match="unknown images 'all'; choose one of: thumbnails, none"):
        write(results, tmp_path / "page.html", images="all")
    with pytest.raises(UsageError, match="name it with --data"):
        write(results, tmp_path / "page.html", images="thumbnails")
    with pytest.raises(UsageError, match="is a folder"):
        write(results, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"page.html cannot be written \(.*\); name another file"):
        write(results, tmp_path / "file" / "page.html")
    with pytest.raises(UsageError, match="unknown profile"):
        write(results, tmp_path / "page.html", profile="papers")
    with pytest.raises(TableError, match="usbench run"):
        write(tmp_path / "empty", tmp_path / "page.html")
    (results / "runs/unet/1_4/seed0.parquet").unlink()
    with pytest.raises(RecordError, match="missing"):
        write(results, tmp_path / "page.html")
    assert not list(tmp_path.glob("page*"))


def test_what_cannot_be_read_can_be_left_out(results, tmp_path):
    record = results / "runs/unet/1_4/seed0.json"
    record.write_text("{}")
    with pytest.raises(RecordError):
        write(results, tmp_path / "page.html")
    page = Page(write(results, tmp_path / "page.html", keep_going=True))
    assert "3 runs of 1 method," in page.source
    assert "Left out:" in page.source
    data = DatasetEntry("ab" * 32, (), dict.fromkeys(TASKS, (600, 200)))
    save_run(tmp_path / "mixed", make_record("unet"), 0.5)
    save_run(tmp_path / "mixed", make_record("pspnet", dataset=data), 0.5)
    with pytest.raises(TableError, match=r"no table can be made: .*content_sha256"):
        write(tmp_path / "mixed", tmp_path / "mixed.html", keep_going=True)


def test_figures_are_drawings_only(results, tmp_path):
    (results / "figures").mkdir()
    drawing = '<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0"/></svg>'
    (results / "figures" / "few_labels.svg").write_text(drawing)
    (results / "figures" / "hard.svg").write_text(drawing.replace("path", "image"))
    page = Page(write(results, tmp_path / "page.html"))
    (figure,) = (at for tag, at in page.elements if tag == "img")
    assert figure["alt"] == "few labels"
    encoded = figure["src"].removeprefix("data:image/svg+xml;base64,")
    assert base64.b64decode(encoded).decode() == drawing
    assert 'href="#figures"' in page.source


def test_records_say_everything(results, tmp_path):
    save_run(results, make_record("unet", "full", 7, commit="abc-dirty"), 0.5)  # in no table
    page = Page(write(results, tmp_path / "page.html"))
    assert page.source.count("<details>") == 5
    for said in ("unet/full/seed7", "abc-dirty", "rotation</i> 15.0", "cpu (x86_64)"):
        assert said in page.source
    assert ["BC", "150", "450", str(IMAGES), "100", "1", "10"] in page.rows


def test_the_one_training_of_a_universal_method_is_counted_once():
    entry = next(iter(make_record().tasks.values()))
    tasks = dict.fromkeys(("BC", "FH"), replace(entry, seconds=1800))
    assert duration(replace(make_record(), tasks=tasks)) == "30 min"
    assert duration(replace(make_record("unet"), tasks=tasks)) == "60 min"
    tasks["FH"] = replace(entry, seconds=9000)
    assert duration(replace(make_record("unet"), tasks=tasks)) == "3.0 h"


def test_sources_are_cited_with_their_licences(results, tmp_path):
    source = Page(write(results, tmp_path / "page.html")).source
    assert "doi:10.1016/j.dib.2019.104863" in source
    assert "Licence: CC-BY-NC-SA-4.0" in source
    assert "arXiv:2511.15057" in source
    data = DatasetEntry("ab" * 32, (), {"FH": (600, 200)})
    save_run(tmp_path / "one", make_record("unet", tasks=("FH",), dataset=data), 0.5)
    one = Page(write(tmp_path / "one", tmp_path / "one.html")).source
    assert "HC18" not in one or "van den Heuvel" in one
    assert "Al-Dhabyani" not in one


@pytest.mark.slow
def test_a_page_of_all_methods_stays_below_ten_megabytes(small_data, tmp_path):
    dataset = open_dataset(small_data)
    for split in ("1_16", "1_8", "1_4"):
        for method in METHODS:
            run = make_record(method, split, dataset=entry_of(dataset))
            save_with_masks(tmp_path, run, dataset, size=224)
    out = write(tmp_path, tmp_path / "page.html", small_data)
    assert out.stat().st_size < 10_000_000


def test_starts_without_torch_and_numba():
    script = "import sys, benchmark.page; print({'torch', 'numba'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
