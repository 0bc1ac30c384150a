"""The nine sources drawn in small: each in its publisher's layout, names, modes and odd habits."""

import json
from collections import defaultdict
from collections.abc import Sequence
from itertools import cycle, islice, pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dataset_builders import phantom_anatomy as anatomy
from dataset_builders import phantom_files as files
from dataset_builders.grouping import clusters, table
from dataset_builders.phantom_anatomy import Image, Mask
from dataset_builders.phantom_files import Job

Outline = NDArray[np.int32]  # (N, 2) x and y of a polygon


def _rgb(grey: Image) -> Image:
    return np.repeat(grey[..., None], 3, axis=2)


def _white(mask: Mask) -> Image:
    """The mask as most publishers store it: 0 and 255."""
    return mask.astype(np.uint8) * 255


def busi(job: Job) -> None:
    """Masks with one bit a pixel, as RGBA and as RGB; up to three a picture; normal breasts."""
    malignant = job.images // 3
    counts = {"benign": job.images - malignant, "malignant": malignant, "normal": 2}
    lesions = {"benign (4)": 2, "benign (5)": 3, "malignant (1)": 2}
    for kind, count in counts.items():
        for name in (f"{kind} ({number})" for number in range(1, count + 1)):
            rng = job.rng(name)
            width, height = job.frame(rng)
            number = 0 if kind == "normal" else lesions.get(name, 1)
            grey, masks = anatomy.breast(rng, width, height, number, malignant=kind == "malignant")
            image = _rgb(grey)
            if name == "benign (2)":  # a doctor's mark in colour
                cv2.drawMarker(image, (width // 3, height // 3), (255, 255, 0), 0, width // 16)
            path = f"Dataset_BUSI_with_GT/{kind}/{name}"
            job.picture(f"{path}.png", image)
            for index, mask in enumerate(masks):
                file = f"{path}_mask{f'_{index}' if index else ''}.png"
                if (name, index) == ("benign (4)", 1):
                    opaque = np.full(mask.shape, 255, np.uint8)
                    job.picture(file, np.dstack([_rgb(_white(mask)), opaque]))
                else:
                    job.picture(file, _white(mask), cv2.IMWRITE_PNG_BILEVEL, 1)
            if not masks:
                job.picture(f"{path}_mask.png", np.zeros_like(image))


def udiat(job: Job) -> None:
    """Numbers with gaps, and a table of diagnoses."""
    rows: list[Sequence[str | int | None]] = [("Image", "Type", "Diagnosis")]
    for number in range(1, 2 * job.images, 2):
        rng = job.rng(number)
        malignant = bool(rng.random() < 0.33)
        image, (mask,) = anatomy.breast(rng, *job.frame(rng), malignant=malignant)
        job.picture(f"original/{number:06}.png", image)
        job.picture(f"GT/{number:06}.png", _white(mask))
        rows.append((number, "Malignant", "IDC") if malignant else (number, "Benign", "CYST"))
    job.write("DatasetB.xlsx", files.xlsx(rows))


def hc18(job: Job) -> None:
    """Unfilled outlines, one open at the image's edge; several pictures of an exam; two tables."""
    names = [
        f"{exam:03}_{'' if picture == 1 else picture}HC"
        for exam, pictures in zip(range(job.images), cycle((1, 2, 1, 3)), strict=False)
        for picture in range(1, pictures + 1)
    ][: job.images]
    training = "filename,pixel size(mm),head circumference (mm)\n"  # blanks as published
    for name in names:
        rng = job.rng(name)
        width, height = job.frame(rng, 0.65, 0.75)
        image, (cx, cy, a, b, angle) = anatomy.fetal_head(rng, width, height, cut=name == names[-1])
        image[: height // 2, : max(width // 80, 1)] = np.linspace(255, 0, height // 2)[:, None]
        image[-height // 8 :, -width // 5 :] = 0  # where the woman's name was
        outline = np.zeros_like(image)
        thickness = max(1, round(3 * width / 800))  # 3 px of the published 800
        cv2.ellipse(outline, ((cx, cy), (2 * a, 2 * b), angle), 255, thickness)
        job.picture(f"training_set/{name}.png", image)
        job.picture(f"training_set/{name}_Annotation.png", outline)
        millimetres = rng.uniform(60, 340)  # of circumference; Ramanujan's formula gives the pixels
        pixels = np.pi * (3 * (a + b) - np.sqrt((3 * a + b) * (a + 3 * b)))
        training += f"{name}.png,{millimetres / pixels:.12g},{millimetres:.2f}\n"
    test = "filename,pixel size(mm)\n"
    for number in range(2):
        rng = job.rng("test", number)
        image, _ = anatomy.fetal_head(rng, *job.frame(rng, 0.65, 0.75))
        job.picture(f"test_set/{number:03}_HC.png", image)
        test += f"{number:03}_HC.png,0.2\n"
    job.write("training_set_pixel_size_and_HC.csv", training)
    job.write("test_set_pixel_size.csv", test)


SAME_EXAM = (33, 68)  # two patients of CAMUS who are one


def camus(job: Job) -> None:
    """Two numbers of one exam, the first patient in the layout of 2019, the others as NIfTI."""
    others = (number for number in range(1, 501) if number not in SAME_EXAM)
    numbers = [*islice(others, job.images // 4 - 2), *SAME_EXAM]
    names = [f"patient{number:04}" for number in numbers]
    for patient, name in zip(numbers, names, strict=True):
        for view in ("2CH", "4CH"):
            stills = _apical(job, patient, view)
            if patient == 1:
                for phase, pixels in stills.items():
                    tall = np.repeat(pixels, 2, axis=0)
                    for file, data in files.metaimage(f"{name}_{view}_{phase}", tall).items():
                        job.write(f"training/{name}/{file}", data)
                continue
            films = {
                f"half_sequence{end}": np.stack([stills[f"ED{end}"], stills[f"ES{end}"]])
                for end in ("", "_gt")
            }
            for key, pixels in (stills | films).items():
                path = f"database_nifti/{name}/{name}_{view}_{key}.nii.gz"
                job.write(path, files.nifti(pixels.T))
            job.write(
                f"database_nifti/{name}/Info_{view}.cfg",
                "ED: 1\nES: 2\nNbFrame: 2\nSex: F\nAge: 56\nImageQuality: Good\nEF: 54\n"
                "FrameRate: 47.0\n",
            )
    third = len(names) // 3
    for part, members in (("testing", names[:third]), ("training", names[third:])):
        job.write(f"database_split/subgroup_{part}.txt", "".join(f"{name}\n" for name in members))


def _apical(job: Job, patient: int, view: str) -> dict[str, Image]:
    """Images and labels of end-diastole and end-systole, by the ending of their names."""
    exam = SAME_EXAM[0] if patient in SAME_EXAM else patient
    probe = anatomy.phased_array(*job.frame(job.rng("frame", exam, view), 0.72, 0.95))
    stills = {}
    for phase, contraction in (("ED", 0.0), ("ES", 1.0)):
        identical = (view, phase) == ("4CH", "ED")  # the one still that both numbers share
        stills[phase], stills[f"{phase}_gt"] = anatomy.heart(
            job.rng("exam", exam, view),
            job.rng("speckle", exam if identical else patient, view, phase),
            probe,
            contraction,
            right_heart=view == "4CH",
        )
    return stills


def hmc_qu(job: Job) -> None:
    """Clips with a mask per frame of one beat, and the sheet that says where the beat begins."""
    beat, tail = 5, 2  # frames with a mask, and frames after them
    blanks = cycle((" ", "", " N", " n"))  # as irregular as the published names
    clips = [
        f"ES000{number}{blank}_4CH_1"
        for number, blank in zip(range(1, job.images // beat + 2), blanks, strict=False)
    ]
    walls = "LV Wall Ground-truth Segmentation Masks"
    segments = ["SEG3", "SEG9", "SEG14", "SEG16", "SEG12", "SEG6"]
    rows: list[Sequence[str | int | None]] = [
        ["ECHO", "LABEL", *[None] * 5, "One cardiac-cycle frames", None, walls],
        [None, *segments, "Reference Frame", "End of Cycle", "Available: ü Not Available: û"],
    ]
    for index, clip in enumerate(clips):
        masked = clip != clips[-1]
        reference = 4 if index == 1 else 1
        frames, masks = _clip(job, clip, reference - 1 + beat + tail)
        job.write(f"HMC-QU/A4C/{clip}.avi", files.avi(frames))
        if masked:
            beats = np.stack(masks[reference - 1 : reference - 1 + beat]).astype(np.float32)
            path = f"LV Ground-truth Segmentation Masks/Mask_{clip}.mat"
            job.write(path, files.mat(predicted=beats))
        labels = ["MI" if index % 2 else "non-MI"] * len(segments)
        rows.append([clip, *labels, reference, reference - 1 + beat, "ü" if masked else "û"])
    blank: list[Sequence[str | int | None]] = [[None] * 10] * 3
    job.write("A4C.xlsx", files.xlsx(rows + blank, merged=("B1:G1", "H1:I1", "A1:A2")))


def _clip(job: Job, clip: str, length: int) -> tuple[list[Image], list[Mask]]:
    """A beating heart as a screen capture: RGB frames, and walls of 224x224 squeezed from them."""
    width, height = job.size, round(job.size * 422 / 636)
    margin = width // 6  # beside the sector
    probe = anatomy.phased_array(width - 2 * margin, height)
    tint = np.array([0.75, 1.0, 1.0] if job.rng("tint", clip).random() < 0.3 else [1.0, 1.0, 1.0])
    frames, masks = [], []
    for moment in range(length):
        contraction = float(np.square(np.sin(np.pi * moment / length)))
        speckle = job.rng("speckle", clip, moment)
        grey, labels = anatomy.heart(
            job.rng("exam", clip), speckle, probe, contraction, right_heart=True
        )
        frame = np.zeros((height, width, 3), np.uint8)
        frame[:, margin:-margin] = grey[..., None] * tint
        frame[4 : height // 3, -6:-3] = np.linspace(255, 0, height // 3 - 4)[:, None, None]
        beat = np.arange(width), np.full(width, height - 4) - 8 * (np.arange(width) % 40 == 20)
        cv2.polylines(frame, [np.stack(beat, axis=1).astype(np.int32)], False, (60, 220, 120))
        wall = cv2.copyMakeBorder(
            (labels == 2).astype(np.uint8), 0, 0, margin, margin, cv2.BORDER_CONSTANT
        )
        frames.append(frame)
        masks.append(cv2.resize(wall, (224, 224), interpolation=cv2.INTER_NEAREST) > 0)
    return frames, masks


COLOURS = (  # of the masks in annotations/N.PNG, in the order of the numbers in *_cls.txt
    (64, 0, 0),  # chocolate cyst
    (0, 64, 0),  # serous cystadenoma
    (0, 0, 64),  # teratoma
    (64, 0, 64),  # theca cell tumour
    (64, 64, 0),  # simple cyst
    (64, 64, 64),  # normal ovary
    (0, 128, 0),  # mucinous cystadenoma
    (0, 0, 128),  # high-grade serous cystadenocarcinoma
)


def mmotu(job: Job) -> None:
    """Three masks a picture, two of them 0 and 1; neighbouring numbers that are one picture."""
    pairs = table("mmotu_near_duplicates.csv")[: max(1, job.images // 20)]
    exams = clusters((row["id_a"], row["id_b"]) for row in pairs)
    single = (number for number in map(str, range(1, 1470)) if number not in exams)
    ids = sorted([*exams, *islice(single, job.images - len(exams))], key=int)
    lists: dict[str, list[str]] = {"train": [], "val": [], "train_cls": [], "val_cls": []}
    for index, number in enumerate(ids):
        rng = job.rng(exams.get(number, number))
        kind = int(rng.integers(len(COLOURS)))
        image, mask = anatomy.adnexal_mass(rng, *job.frame(rng))
        if exams.get(number, number) != number:  # a moment later
            image = np.roll(image, 1, axis=1)
        path = f"OTU_2d/annotations/{number}"
        job.picture(f"OTU_2d/images/{number}.JPG", image, cv2.IMWRITE_JPEG_QUALITY, 92)
        colour = np.array(COLOURS[kind], np.uint8)
        job.picture(f"{path}.PNG", np.where(mask[..., None], colour, np.uint8(0)))
        for ending in ("binary", "binary_binary"):
            job.picture(f"{path}_{ending}.PNG", mask.astype(np.uint8))
        part = "val" if index % 3 == 2 else "train"
        lists[part].append(number)
        lists[f"{part}_cls"].append(f"{number}.JPG  {kind}")
    for part, lines in lists.items():
        job.write(f"OTU_2d/{part}.txt", "".join(f"{line}\n" for line in lines))


def tn3k(job: Job) -> None:
    """Two series that both begin at 0000; masks blurred by JPEG; lists of five folds."""
    test = job.images // 5
    for part, count in (("trainval", job.images - test), ("test", test)):
        for number in range(count):
            rng = job.rng(part, number)
            probe = anatomy.linear(*job.frame(rng))
            side, nodules = rng.choice([-1, 1]), 2 if number % 8 == 7 else 1
            centre, zoom = side * rng.uniform(0.3, 0.5), rng.uniform(1.2, 1.6)
            image, _, masks = anatomy.neck(
                rng, rng, probe, centre=centre, zoom=zoom, nodules=nodules
            )
            path = f"Thyroid Dataset/tn3k/{part}"
            job.picture(f"{path}-image/{number:04}.jpg", image)
            job.picture(f"{path}-mask/{number:04}.jpg", _white(np.logical_or.reduce(masks)))
    trainval = range(job.images - test)
    for fold in range(5):
        members = {
            "val": [index for index in trainval if index % 5 == fold],
            "train": [index for index in trainval if index % 5 != fold],
        }
        name = f"Thyroid Dataset/tn3k/tn3k-trainval-fold{fold}.json"
        job.write(name, json.dumps(members))


def tg3k(job: Job) -> None:
    """Frames of fifteen videos, numbered through; burnt-in text that left specks in the masks."""
    runs = [int(row["first_index"]) for row in table("tg3k_video_runs.csv")]
    ids = sorted(runs[index % len(runs)] + index // len(runs) for index in range(job.images))
    for number in ids:
        first = max(first for first in runs if first <= number)
        video = job.rng("video", first)
        width, height = job.frame(video, 0.7, 0.8)
        centre = video.uniform(-0.5, 0.5) + 0.02 * (number - first)  # the probe glides
        image, gland, _ = anatomy.neck(
            video, job.rng(number), anatomy.linear(width, height), centre=centre
        )
        for left in (4, 9):  # two letters
            image[3:7, left : left + 3] = 255
            gland[3:7, left] = True
        job.picture(f"Thyroid Dataset/tg3k/thyroid-image/{number:04}.jpg", _rgb(image))
        job.picture(f"Thyroid Dataset/tg3k/thyroid-mask/{number:04}.jpg", _white(gland))
    members = {"train": ids[: -len(ids) // 10], "val": ids[-len(ids) // 10 :]}
    job.write("Thyroid Dataset/tg3k/tg3k-trainval.json", json.dumps(members))


def ddti_637(job: Job) -> None:
    """Screens cut in halves, renumbered, with masks; one picture under two numbers."""
    screens = _screens(job)
    outlined = set()
    for row in _ddti_rows(job):
        left, right = int(row["x_offset"]), int(row["x_offset"]) + int(row["width"])
        view = row["original_image"], left
        image, outlines = screens[row["original_image"]]
        mask = cv2.fillPoly(np.zeros_like(image), [outlines[left > 0]], 255)
        if view in outlined:  # by another hand, a little wider
            mask = cv2.dilate(mask, np.ones((3, 3), np.uint8))
        outlined.add(view)
        part = slice(_scaled(job, left), _scaled(job, right))
        job.picture(f"DDTI/1_or_data/image/{row['file_637']}", image[:, part])
        job.picture(f"DDTI/1_or_data/mask/{row['file_637']}", mask[:, part])


def ddti_original(job: Job) -> None:
    """Whole screens with outlines in XML; an arrow, an empty mark and one that breaks off."""
    screens = _screens(job)
    double = [name for name, (_, outlines) in screens.items() if len(outlines) == 2]
    with_arrow, without_mark, *_ = screens
    marks: dict[str, str] = defaultdict(str)
    for name, (image, outlines) in screens.items():
        shapes = [("freehand", outline) for outline in outlines]
        if name == with_arrow:
            shapes.append(("arrow", outlines[0][:2]))
        svg = json.dumps(
            [
                {
                    "points": [{"x": int(x), "y": int(y)} for x, y in points],
                    "annotation": {},
                    "regionType": kind,
                }
                for kind, points in shapes
            ]
        )
        svg = "" if name == without_mark else svg[:-60] if name == double[0] else svg
        case, number = Path(name).stem.split("_")
        marks[case] += f"<mark><image>{number}</image><svg>{svg}</svg></mark>"
        job.picture(f"thyroid/{name}", _rgb(image))
    empty = ("age", "sex", "composition", "echogenicity", "margins", "calcifications", "tirads")
    fields = "".join(f"<{field}></{field}>" for field in (*empty, "reportbacaf", "reporteco"))
    for case, mark in marks.items():
        job.write(f"thyroid/{case}.xml", f"<case><number>{case}</number>{fields}{mark}</case>")


def _ddti_rows(job: Job) -> list[dict[str, str]]:
    """Which of the 637 to draw: half of them whole screens, half the halves of others."""
    rows = sorted(
        table("ddti637_to_original.csv"), key=lambda row: (int(row["case"]), row["original_image"])
    )
    whole = [row for row in rows if row["width"] == "560"]
    halves = [row for row in rows if row["width"] != "560"]
    paired = job.images // 4 * 2
    return whole[: job.images - paired] + halves[:paired]


def _scaled(job: Job, x: int) -> int:
    """A column of the published 560, in pixels of this job."""
    return round(x * job.size / 560)


def _screens(job: Job) -> dict[str, tuple[Image, list[Outline]]]:
    """Original name -> screen and the outline of the nodule in each of its one or two views."""
    cuts = {
        row["original_image"]: sorted({0, int(row["x_offset"]) or int(row["width"]), 560})
        for row in _ddti_rows(job)
    }
    return {name: _screen(job, name, edges) for name, edges in cuts.items()}


def _screen(job: Job, name: str, cuts: Sequence[int]) -> tuple[Image, list[Outline]]:
    """A screen with a view between each two of the cuts, and the nodule in each."""
    height, margin = _scaled(job, 360), job.size // 32
    image = np.zeros((height, job.size), np.uint8)
    outlines = []
    for edges in pairwise(cuts):
        rng = job.rng(name, edges)
        left, right = (_scaled(job, edge) for edge in edges)
        probe = anatomy.linear(right - left - 2 * margin, height - 2 * margin)
        centre = rng.choice([-1, 1]) * rng.uniform(0.3, 0.5)
        zoom = max(1.2, float(probe.y.max()) / 1.4)  # half a screen is tall: fill it
        view, _, (nodule,) = anatomy.neck(rng, rng, probe, centre=centre, zoom=zoom, nodules=1)
        image[margin:-margin, left + margin : right - margin] = view
        contours, _ = cv2.findContours(
            nodule.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
        )
        outlines.append(max(contours, key=len)[:, 0] + np.array([left + margin, margin]))
    return image, outlines
