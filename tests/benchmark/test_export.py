"""The exported graph against `usbench predict`, and what stands in its file."""

import re

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import typer
from typer.testing import CliRunner

from baselines.unet import UNet
from benchmark import export
from benchmark.commands.export import export as commands
from benchmark.evaluate import stretch
from benchmark.method import Setup
from benchmark.pictures.frames import in_colour
from benchmark.predict import load_model
from benchmark.protocol import PRESETS
from benchmark.weights import save_weights
from propl.method import ProPL

SHAPES = [
    (97, 131), (64, 64), (128, 128), (192, 64), (96, 128), (471, 562), (768, 1024), (50, 40),
    (63, 500), (300, 30), (5, 3),
]  # fmt: skip
ORIGIN = {"method": "unet", "split": "1_4", "dataset": "0123abcd"}

app = typer.Typer()
app.add_typer(commands, name="export")


def usbench(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, re.sub(r"\s+", " ", done.output)


def write_weights(path, kind, tasks, encoder):
    """Of an untrained network, whose probabilities lie on both sides of one half."""
    protocol = PRESETS["smoke"].with_(weights="none", text="random", encoder=encoder)
    torch.manual_seed(0)
    save_weights(path, kind(kind.Config(), Setup(tasks, protocol, 3)), ORIGIN)


LITE = "tf_efficientnet_lite0"
CASES = {
    "unet-colour": (UNet, ("OT",), "OT", "test_resnet"),
    "unet": (UNet, ("BC",), "BC", LITE),
    "propl": (ProPL, ("BC", "FH"), "FH", LITE),
}


@pytest.fixture(
    scope="module",
    params=["unet-colour", *(pytest.param(n, marks=pytest.mark.slow) for n in list(CASES)[1:])],
)
def exported(request, tmp_path_factory):
    """Task, its weights, and the file that `usbench export onnx` made of them."""
    kind, tasks, task, encoder = CASES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    weights, out = folder / "weights.safetensors", folder / "model.onnx"
    write_weights(weights, kind, tasks, encoder)
    code, said = usbench("export", "onnx", "--task", task, "--checkpoint", weights, "--out", out)
    assert (code, said) == (0, f"model: {out} ")
    return task, weights, out


def picture(height, width, channels):
    rng = np.random.default_rng(height)
    noise = cv2.GaussianBlur(rng.random((height, width, channels)), (0, 0), 4)
    pixels = np.rint((noise - noise.min()) / np.ptp(noise) * 255).astype(np.uint8)
    return pixels.reshape(height, width, channels)


def test_pictures_of_any_size_get_the_mask_of_predict(exported):
    task, weights, out = exported
    model = load_model(weights, task, torch.device("cpu"))
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    channels = session.get_inputs()[0].shape[2]
    assert channels == (3 if task == "OT" else 1)
    foreground = []
    for shape in SHAPES:
        image = picture(*shape, channels)
        mask, probability = session.run(["mask", "probability"], {"image": image})
        pixels = in_colour(image if channels == 3 else image[:, :, 0], colour=channels == 3)
        right = stretch(model.probabilities([pixels])[0], shape)
        assert (mask.dtype, probability.dtype) == (np.uint8, np.float32)
        np.testing.assert_allclose(probability, right, atol=1e-4, err_msg=str(shape))
        other = (mask > 0) != (right > 0.5)
        assert (np.abs(right[other] - 0.5) < 1e-4).all()
        assert other.sum() <= 5
        assert set(np.unique(mask)) <= {0, 1}
        foreground.append(mask.mean())
    assert max(foreground) > 0
    if len(model.method.setup.tasks) > 1:  # the graph knows which task it is for
        other_task = load_model(weights, "BC", torch.device("cpu"))
        elsewhere = stretch(other_task.probabilities([pixels])[0], shape)
        assert np.abs(probability - elsewhere).max() > 1e-3


def test_the_file_says_what_it_is(exported):
    task, _, out = exported
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert model.ir_version == 8
    sides = [dim.dim_param for dim in model.graph.input[0].type.tensor_type.shape.dim[:2]]
    assert sides == ["height", "width"]
    for entry in model.graph.output:
        assert [dim.dim_param for dim in entry.type.tensor_type.shape.dim] == sides
    notes = {entry.key: entry.value for entry in model.metadata_props}
    assert notes["task"].startswith(f"{task}: ")
    assert notes["run"] == "unet/1_4/seed3"
    assert notes["usbench dataset"] == "0123abcd"
    source = "MMOTU" if task == "OT" else "BUSI"
    assert source in notes["licences of the images it learned from"]
    assert str(export.__file__.rpartition("/")[0]).encode() not in out.read_bytes()
    assert b"site-packages" not in out.read_bytes()


@pytest.fixture
def small(tmp_path):
    write_weights(tmp_path / "w.safetensors", UNet, ("BC",), "test_resnet")
    return tmp_path / "w.safetensors"


def test_a_graph_that_is_another_function_is_not_written(small, tmp_path, monkeypatch):
    def brightness(graph, channels):
        image = onnx.helper.make_tensor_value_info("image", 2, ["height", "width", channels])
        outputs = [
            onnx.helper.make_tensor_value_info("mask", 2, ["height", "width"]),
            onnx.helper.make_tensor_value_info("probability", 1, ["height", "width"]),
        ]
        nodes = [
            onnx.helper.make_node("Squeeze", ["image", "axis"], ["mask"]),
            onnx.helper.make_node("Cast", ["mask"], ["probability"], to=1),
        ]
        axis = onnx.helper.make_tensor("axis", 7, [1], [2])
        made = onnx.helper.make_graph(nodes, "brightness", [image], outputs, [axis])
        return onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 18)])

    monkeypatch.setattr(export, "_traced", brightness)
    code, said = usbench(
        "export", "onnx", "--task", "BC", "--checkpoint", small, "--out", tmp_path / "m.onnx"
    )
    assert code == 2
    assert "the exported graph differs from UNet by" in said
    assert "nothing was written" in said
    assert [path.name for path in tmp_path.iterdir()] == [small.name]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "FH", "--checkpoint", "{small}"], "no model for task FH; it serves: BC"),
        (["--task", "BC"], "name the model by one of --run and --checkpoint"),
        (["--task", "BC", "--checkpoint", "none"], "none holds no trained weights"),
    ],
)
def test_bad_usage(small, tmp_path, words, message):
    words = [word.format(small=small) for word in words]
    code, said = usbench("export", "onnx", *words, "--out", tmp_path / "m.onnx")
    assert code == 2
    assert message in said
    assert not (tmp_path / "m.onnx").exists()


def test_a_file_is_not_overwritten_unasked(small, tmp_path):
    out = tmp_path / "m.onnx"
    out.write_text("mine")
    code, said = usbench("export", "onnx", "--task", "BC", "--checkpoint", small, "--out", out)
    assert code == 2
    assert f"{out} is there already; name another, or add --overwrite" in said
    assert out.read_text() == "mine"


def test_missing_packages_are_named(small, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "PACKAGES", ("onnx", "no_such_package"))
    code, said = usbench(
        "export", "onnx", "--task", "BC", "--checkpoint", small, "--out", tmp_path / "m.onnx"
    )
    assert code == 2
    assert "no_such_package not installed; pip install 'usbench[export]'" in said
