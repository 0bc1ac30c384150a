"""From what the user asked for to every setting in force. Nothing is written here."""

import importlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmark import machine
from benchmark.dataset import Dataset
from benchmark.execution import Execution, execution_on
from benchmark.hub_data import open_data
from benchmark.method import Method
from benchmark.methods import METHODS
from benchmark.protocol import PRESETS, SPLITS, Protocol
from benchmark.record import run_name
from benchmark.settings import addressed, choose, field_names, override
from dataset_builders.errors import UsageError

ROUNDING = ("precision", "tf32", "channels_last", "compile", "deterministic")  # of Execution


class RunError(UsageError):
    """The run cannot start: unknown names, or results that it would overwrite."""


@dataclass(frozen=True)
class Request:
    """What the user asked for; `resolve` turns it into settings."""

    method: str
    split: str
    seed: int = 0
    tasks: tuple[str, ...] = ()  # all tasks that have images
    preset: str = "paper"
    variant: str = "paper"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    data: Path = Path("data")  # or hf:ORG/NAME@REVISION
    results: Path = Path("results")
    device: str = "auto"
    precision: str | None = None  # None: what suits the device
    compile: bool | None = None
    graph: bool | None = None
    deterministic: bool = False
    resume: bool = False
    restart: bool = False
    keep_weights: bool = True


@dataclass(frozen=True)
class Plan:
    """A request with every name resolved and every setting in force."""

    request: Request
    kind: type[Method]
    config: Method.Config
    protocol: Protocol
    dataset: Dataset
    tasks: tuple[str, ...]
    tag: str
    device: torch.device
    execution: Execution

    @property
    def name(self) -> str:
        """Of the run: its record's place under `runs/`."""
        request = self.request
        return run_name(request.method, request.split, request.seed, self.tag)

    @property
    def encoder(self) -> str:
        """Timm's name of the one in the network, empty where it has none of timm's."""
        if self.kind.from_scratch(self.config):
            return ""
        return self.protocol.encoder or self.kind.encoder

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """Name of each training -> the tasks it serves."""
        if self.kind.universal:
            return {"all": self.tasks}
        return {task: (task,) for task in self.tasks}

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the outcome, of plain values: runs with equal settings are equal."""
        return {
            "method": self.request.method,
            "split": self.request.split,
            "seed": self.request.seed,
            "variant": self.request.variant,
            "preset": self.request.preset,
            "protocol": asdict(self.protocol),
            "config": asdict(self.config),
            "dataset": self.dataset.content_sha256,
            "execution": rounding(asdict(self.execution)),
        }

    @property
    def exact(self) -> dict[str, Any]:
        """The settings, and what else must stay for an interrupted run to end with the same bits.

        Two GPUs of other models, or another number of threads, still round differently.
        """
        return {
            **self.settings,
            "tasks": list(self.tasks),
            "device": self.device.type,
            "torch": str(torch.__version__),
        }


def rounding(execution: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an execution that decides how sums are rounded, and so the outcome.

    Not the graph, which replays the same kernels. Micro-batches round too, but nobody asks for
    them: where memory runs out, a training and its repetition come upon them by themselves.

    Args:
        execution: fields of `Execution`; those of older records lack some or all.
    """
    whole = {**asdict(Execution()), **execution}
    return {name: whole[name] for name in ROUNDING}


def method_class(target: str) -> type[Method]:
    """The class that `benchmark.methods` names as "module:Class"."""
    module, _, name = target.partition(":")
    kind: type[Method] = getattr(importlib.import_module(module), name)
    return kind


def resolve(request: Request, dataset: Dataset | None = None) -> Plan:
    """Look every name up and build every setting; nothing is written.

    Args:
        request: what the user asked for.
        dataset: if given, the one at `request.data` is not opened.

    Raises:
        ValueError: a name or a value that cannot be; the message lists what can.
    """
    entry = METHODS[choose("method", request.method, METHODS)]
    choose("split", request.split, SPLITS)
    choose("preset", request.preset, PRESETS)
    if request.seed < 0:
        raise RunError(f"seed = {request.seed} is not possible; it must be 0 or more")
    if entry.target is None:
        ready = ", ".join(name for name, other in METHODS.items() if other.target)
        raise RunError(f"{entry.title} is not implemented yet; there are: {ready}")
    kind = method_class(entry.target)
    choose(f"variant of {request.method}", request.variant, kind.variants)
    if kind.unlabelled and request.split == "full":
        raise RunError(
            f"{entry.title} learns from unlabelled images and split 'full' leaves none; "
            f"choose one of: {', '.join(name for name in SPLITS if name != 'full')}"
        )
    dataset = dataset or open_data(request.data)
    for task in request.tasks:
        choose("task", task, dataset.images)
    dataset.require_pictures(request.tasks or dataset.images)
    protocol, config = PRESETS[request.preset], kind.Config()
    mine = field_names(config)
    own, shared = addressed(request.overrides, request.method, mine, field_names(protocol))
    variant = kind.variants[request.variant]
    own = {**{name: value for name, value in variant.items() if name in mine}, **own}
    shared = {**{name: value for name, value in variant.items() if name not in mine}, **shared}
    config, protocol = override(config, own), override(protocol, shared)
    protocol = _beginning(kind, config, entry.title, protocol, shared)
    device = machine.pick_device(request.device)
    return Plan(
        request=request,
        kind=kind,
        config=config,
        protocol=protocol,
        dataset=dataset,
        tasks=request.tasks or tuple(dataset.images),
        tag=_tag(kind, config, request),
        device=device,
        execution=execution_on(
            device,
            precision=request.precision,
            compile_=request.compile,
            graph=request.graph,
            deterministic=request.deterministic,
            capturable=kind.capturable,
        ),
    )


def _beginning(
    kind: type[Method],
    config: Method.Config,
    title: str,
    protocol: Protocol,
    asked: Mapping[str, Any],
) -> Protocol:
    """The protocol with an encoder and weights that this method can have.

    A preset means "wherever it can be": a network that has no such weights begins from scratch,
    and its record says so. What was asked for by name is never exchanged for something else.

    Raises:
        RunError: the method cannot begin as was asked.
    """
    scratch = kind.from_scratch(config)
    if scratch or "packaged" not in kind.weights:
        if asked.get("encoder"):
            which = f"{title} with these settings" if scratch else title
            raise RunError(f"the encoder of {which} cannot be exchanged; leave --encoder out")
        protocol = protocol.with_(encoder="")
    if not protocol.text:
        protocol = protocol.with_(text=kind.text_encoder)
    own = scratch or not (kind.encoder or protocol.encoder)
    possible = ("none",) if own else kind.weights
    if protocol.weights in possible:
        return protocol
    if "weights" in asked:
        hint = (
            ""
            if scratch or possible == kind.weights
            else ", or with --encoder NAME from that encoder's"
        )
        raise RunError(
            f"{title} has no weights '{protocol.weights}'; it can begin from: "
            f"{', '.join(possible)}{hint}"
        )
    return protocol.with_(weights="none")


def _tag(kind: type[Method], config: Method.Config, request: Request) -> str:
    """What makes this run another than the method as its paper has it."""
    plain = kind.variants[request.variant]
    usual = override(kind.Config(), {k: v for k, v in plain.items() if k in field_names(config)})
    changed = {
        name: getattr(config, name)
        for name in field_names(config)
        if getattr(config, name) != getattr(usual, name)
    }
    variant = [request.variant] if request.variant != "paper" else []
    return ",".join(variant + [f"{name}={str(value).lower()}" for name, value in changed.items()])
