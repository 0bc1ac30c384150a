"""A trained method as one ONNX file that takes a picture of any size and gives a mask of that size.

    image         uint8 (height, width, C): C is 1, grey, or 3, RGB where the task is in colour
    mask          uint8 (height, width): 0 or 1
    probability   float32 (height, width): of the foreground; the mask is where it is above 0.5

Resizing before and after the network, as `usbench predict` does it, is part of the graph, and so is
what a universal method must know of the task. Made by torch's exporter over `torch.export`.
"""

import importlib.util
import json
import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark import tensors
from benchmark.evaluate import THRESHOLD, stretch
from benchmark.files import replacing
from benchmark.predict import Model, load_model
from benchmark.resizing import resize_area, resize_linear
from dataset_builders.errors import UsageError
from dataset_builders.sources import SOURCES
from dataset_builders.tasks import TASKS

OPSET, FILE_VERSION = 18, 8  # both of ONNX 1.13, of January 2023: onnxruntime 1.14 and later
TOLERANCE = 1e-4  # of the probability, between the graph and `usbench predict`
TRIALS = ((97, 131), (700, 450), (48, 40))  # height and width in px of pictures to try
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


class ExportError(UsageError):
    """A method that cannot be exported, or a package that is missing for it."""


class Graph(nn.Module):
    """From a picture to its mask, for one task.

    Args:
        model: on the CPU.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.method = model.method
        self.size = model.method.setup.protocol.size
        self.task: Tensor
        self.register_buffer("task", torch.tensor([model.index]))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(H, W, C) uint8 -> mask (H, W) uint8 and probability (H, W) float32."""
        height, width, _ = image.shape
        pixels = resize_area(image.permute(2, 0, 1), self.size)
        probs = self.method.predict(pixels[None].float() / 255, self.task)[0, 0]
        native = resize_linear(probs, height, width)
        return (native > THRESHOLD).to(torch.uint8), native


def export_onnx(weights: Path, task: str, out: Path) -> None:
    """Write a model as ONNX, once a trial has shown that the file gives what the method gives.

    Args:
        weights: of a trained method; what they say of themselves goes into the file's metadata.
        task: that the method serves.
        out: file to write; replaced if it is there.

    Raises:
        TrainedError: no weights of ours.
        TaskError: they do not serve the task.
        ExportError: a package is missing, or the graph is not the method's function.
        WriteError: the disk is full.
    """
    _require_packages()
    import onnx

    model = load_model(weights, task, torch.device("cpu"))
    graph = Graph(model).eval()
    channels = 3 if TASKS[task].colour else 1
    proto = _traced(graph, channels)
    _leave_out_places(proto)
    proto.ir_version = FILE_VERSION  # what newer ones add are notes on nodes, removed above
    proto.producer_name, proto.producer_version = "usbench", version("usbench")
    onnx.helper.set_model_props(proto, _described(model, channels) | _origin(weights))
    onnx.checker.check_model(proto, full_check=True)
    data = proto.SerializeToString()
    _compare(data, model, channels)
    with replacing(out, len(data)) as file:
        file.write(data)


def _require_packages() -> None:
    """Refuse early.

    Raises:
        ExportError: a package of the extra `export` is missing.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(
            f"{', '.join(missing)} not installed; pip install 'usbench[export]' brings what an "
            "export needs"
        )


def _traced(graph: Graph, channels: int) -> Any:  # noqa: ANN401 - an onnx.ModelProto
    for name in ("onnxscript", "onnx_ir"):  # they tell what they could not fold
        logging.getLogger(name).setLevel(logging.ERROR)
    sides = {0: torch.export.Dim("height"), 1: torch.export.Dim("width")}
    image = torch.zeros(*TRIALS[0], channels, dtype=torch.uint8)
    try:
        program = torch.onnx.export(
            graph,
            (image,),
            dynamo=True,
            dynamic_shapes={"image": sides},
            input_names=["image"],
            output_names=["mask", "probability"],
            opset_version=OPSET,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise ExportError(
            f"{type(graph.method).__name__} has an operation that cannot be exported ({reason}): "
            "nothing was written; use it through `usbench predict`"
        ) from error
    assert program is not None
    return program.model_proto


def _leave_out_places(proto: Any) -> None:  # noqa: ANN401 - an onnx.ModelProto
    """Remove what the exporter notes of every node: source lines, with this machine's paths."""
    graph = proto.graph
    parts = (graph.node, graph.input, graph.output, graph.value_info, graph.initializer)
    for part in parts:
        for entry in part:
            del entry.metadata_props[:]
            entry.doc_string = ""
    del graph.metadata_props[:]


def _described(model: Model, channels: int) -> dict[str, str]:
    """What a user of the file must know."""
    learned = dict.fromkeys(
        name for code in model.method.setup.tasks for name in TASKS[code].sources
    )
    cards = [SOURCES[name].card for name in learned]
    return {
        "task": f"{model.task}: {TASKS[model.task].name}",
        "image": f"uint8 (height, width, {channels}), {'RGB' if channels == 3 else 'grey'}",
        "mask": f"uint8 (height, width), 1 where the probability is above {THRESHOLD}",
        "licences of the images it learned from": "; ".join(
            f"{card.title}: {card.licence}" for card in cards
        ),
    }


def _origin(weights: Path) -> dict[str, str]:
    """The run, and all that the weights say of how they came about."""
    _, values = tensors.read(weights)
    run = {"run": "{method}/{split}/seed{seed}".format(**values)} if "method" in values else {}
    return run | {
        f"usbench {name}": value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
    }


def _compare(data: bytes, model: Model, channels: int) -> None:
    """Run the file beside `usbench predict` on noise of several sizes.

    Raises:
        ExportError: they differ.
    """
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own kinds have no common name
        raise ExportError(
            f"onnxruntime cannot load the exported graph ({error}): nothing was written"
        ) from error
    rng = np.random.default_rng(0)
    for shape in TRIALS:
        image = rng.integers(0, 256, (*shape, channels), np.uint8)
        _, found = session.run(None, {"image": image})
        pixels = image if channels == 3 else image[:, :, 0]
        right = stretch(model.probabilities([pixels])[0], shape)
        apart = float(np.abs(found - right).max())
        if not apart <= TOLERANCE:  # NaN too
            raise ExportError(
                f"the exported graph differs from {type(model.method).__name__} by {apart:.2g} of "
                f"the probability on {shape[1]}x{shape[0]} px, at most {TOLERANCE} is right: "
                "nothing was written; use it through `usbench predict`"
            )
