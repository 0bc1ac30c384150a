"""What records must share to stand beside each other, and the error that says what they do not."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import product

import numpy as np

from benchmark.protocol import Protocol
from benchmark.record import RunRecord
from benchmark.scoring import TaskImages
from dataset_builders.errors import UsageError

DEFAULTS = asdict(Protocol())
OWN = ("encoder", "weights", "text")  # in these methods may differ: they stand in the row


class MixtureError(UsageError):
    """Records that cannot stand in one table or comparison."""


def precision_of(record: RunRecord) -> str:
    """Of the arithmetic; before records told it, there was no other than fp32."""
    return str(record.execution.get("precision", "fp32"))


def data_and_protocol(record: RunRecord) -> dict[str, object]:
    """What all records of a table share; settings younger than a record have their defaults."""
    return {
        "dataset.content_sha256": record.dataset.content_sha256[:12],
        "preset": record.preset,
        **{
            f"protocol.{name}": value
            for name, value in {**DEFAULTS, **record.protocol}.items()
            if name not in OWN
        },
    }


def method_settings(record: RunRecord) -> dict[str, object]:
    """What the seeds of a row share."""
    return {
        "encoder": record.encoder,
        "weights": record.weights,
        "text": record.protocol.get("text", ""),
        "variant": record.variant,
        "precision": precision_of(record),
        **{f"config.{name}": value for name, value in record.config.items()},
    }


def refuse_mixture(
    what: str,
    records: Sequence[RunRecord],
    settings: Callable[[RunRecord], dict[str, object]],
) -> None:
    """Raise unless the settings of all records are equal.

    Args:
        what: the table or comparison: begins the message.
        records: to stand in it.
        settings: those that must be equal.

    Raises:
        MixtureError: names two records and the first setting in which they differ.
    """
    for one, other in product(records[:1], records[1:]):
        left, right = settings(one), settings(other)
        for name in left | right:
            if left.get(name) != right.get(name):
                raise MixtureError(
                    f"{what} cannot hold both {one.name} and {other.name}: {name} "
                    f"is {left.get(name)!r} in the first, {right.get(name)!r} in the second. Move "
                    "the runs of one kind to another results folder and name it with --results."
                )


def refuse_other_images(
    what: str, runs: Iterable[tuple[RunRecord, Mapping[str, TaskImages]]]
) -> None:
    """Raise unless all runs scored the same test images of each task they have.

    Raises:
        MixtureError: names two runs and an image that only one of them scored.
    """
    first: dict[str, tuple[RunRecord, TaskImages]] = {}
    for record, images in runs:
        for task, own in images.items():
            earlier, seen = first.setdefault(task, (record, own))
            if np.array_equal(seen.ids, own.ids) and np.array_equal(seen.groups, own.groups):
                continue
            odd = {*zip(seen.ids, seen.groups, strict=True)} ^ {
                *zip(own.ids, own.groups, strict=True)
            }
            name, group = min(odd)
            raise MixtureError(
                f"{what} cannot hold both {earlier.name} and {record.name}: only one of them "
                f"scored the test image '{name}' of task {task}, group '{group}', so their "
                "scores cannot be paired; run one of them again with --restart"
            )
