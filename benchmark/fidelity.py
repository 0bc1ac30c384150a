"""A card per method: what it follows, what is ours, and where it departs, with the reasons."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.method import Method
    from benchmark.methods import Entry


@dataclass(frozen=True, slots=True)
class Fidelity:
    """What a method's file knows of its original; parameters of ours are counted, not stated."""

    repository: str  # and the commit that was read
    licence: str  # of that code; none of it is here
    library: str  # what comes from a library, and what is written here
    theirs: str  # parameters as published, or as counted in the original
    pretraining: str  # as the method's users begin
    recipe: str  # of the original; the protocol's own is shared by all methods
    deviations: tuple[str, ...]  # what differs here, and why


def cards() -> str:
    """The cards of all methods that are here, as Markdown; parameters are counted by building."""
    from benchmark.methods import METHODS
    from benchmark.resolve import method_class

    parts = [
        "# What each method follows, and where it departs\n\n"
        "Written by `usbench list methods --cards`. Parameters are those that learn, with the\n"
        "paper's settings, one output and three input channels at 224x224, counted by building\n"
        "the network; the shared optimiser, schedule and views are in `benchmark/protocol.py`.\n"
    ]
    for name, entry in METHODS.items():
        if entry.target is not None:
            kind = method_class(entry.target)
            parts.append(_card(name, entry, kind, _parameters(kind)))
    return "\n".join(parts)


def _card(name: str, entry: "Entry", kind: "type[Method]", parameters: int) -> str:
    card = kind.fidelity
    variants = ", ".join(f"`{variant}`" for variant in kind.variants if variant != "paper")
    rows = {
        "paper": entry.reference,
        "code followed": f"{card.repository} ({card.licence})",
        "library and ours": card.library,
        "parameters": f"{parameters:,} here; {card.theirs}",
        "encoder": kind.encoder or "its own",
        "weights": f"{', '.join(kind.weights)}; its users begin with: {card.pretraining}",
        "original recipe": card.recipe,
        "other variants": variants or "none",
    }
    lines = [f"## {entry.title} (`{name}`), {entry.category}", ""]
    lines += [f"- {label}: {text}" for label, text in rows.items()]
    lines += ["- departs:", *(f"  - {deviation}" for deviation in card.deviations), ""]
    return "\n".join(lines)


def _parameters(kind: "type[Method]") -> int:
    """Trainable parameters of the method as its paper has it."""
    from benchmark.method import Setup
    from benchmark.protocol import Protocol
    from dataset_builders.tasks import TASKS

    setup = Setup(tuple(TASKS) if kind.universal else ("BC",), Protocol(), 0, blank=True)
    method = kind(kind.Config(), setup)
    return sum(p.numel() for p in method.parameters() if p.requires_grad)
