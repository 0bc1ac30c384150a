"""What a step asks of a device: counted, not timed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop, sdpa_flop

aten = torch.ops.aten
_ALLOCATE = ("empty", "new_empty", "_unsafe_view")  # beside views, what moves no data


@dataclass(frozen=True, slots=True)
class Work:
    """Counts of one step as plain PyTorch runs it, call after call."""

    calls: int  # aten calls that compute: views and allocations are none
    flop: int  # of convolutions, matrix products and attention; a multiply-add is two
    bytes: int  # each call reads its inputs and writes its outputs once


def count(step: Callable[[], object]) -> Work:
    """Run one step and count what it does; work inside custom kernels is not seen."""
    with _Counter() as counter:
        step()
    return Work(counter.calls, counter.flop, counter.bytes)


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls = self.flop = self.bytes = 0

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - an OpOverload
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - what the call returns
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if not func.is_view and not func.__name__.startswith(_ALLOCATE):
            self.calls += 1
            touched = tree_leaves((args, kwargs, out))
            self.bytes += sum(_bytes(leaf) for leaf in touched if isinstance(leaf, Tensor))
            formula = _FORMULAS.get(func.overloadpacket)
            if formula is not None:
                self.flop += formula(*args, **kwargs, out_val=out)
        return out


def _bytes(tensor: Tensor) -> int:
    """Of what lies in memory: an expanded tensor has more elements than that."""
    return min(tensor.nbytes, tensor.untyped_storage().nbytes())


def _convolution_backward(
    grad: Tensor, images: Tensor, weight: Tensor, *rest: object, out_val: object
) -> int:
    """Each gradient asked for costs what the forward does; torch forgets the groups here."""
    *_, transposed, _, _, wanted = rest
    places = (images if transposed else grad).shape[2:]
    return 2 * len(images) * prod(places) * weight.numel() * sum(wanted[:2])  # type: ignore[index]


def _attention(q: Tensor, k: Tensor, v: Tensor, *_: object, **__: object) -> int:
    return int(sdpa_flop(q.shape, k.shape, v.shape))


def _attention_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: object, **__: object
) -> int:
    return int(sdpa_backward_flop(grad.shape, q.shape, k.shape, v.shape))


_FORMULAS = {
    **flop_registry,
    aten.convolution_backward: _convolution_backward,
    # torch's table has no attention of the CPU
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


@dataclass(frozen=True, slots=True)
class Kernels:
    """What one step launched on a GPU, copies and fills included."""

    number: int
    ms: float  # sum of their durations


# The profiler loses a few records at the head of every session (pytorch/pytorch#192021), so the
# head is made of kernels that no method uses.
_HEAD, _HEAD_NAME = 300, "erfinv"


def kernels(step: Callable[[], object], device: torch.device) -> Kernels | None:
    """Run one step under the profiler; None without a CUDA GPU, or where none may be watched."""
    if device.type != "cuda":
        return None
    spare = torch.zeros(1, device=device)
    torch.cuda.synchronize(device)
    with profile(activities=[ProfilerActivity.CUDA]) as session:
        for _ in range(_HEAD):
            spare.erfinv_()
        torch.cuda.synchronize(device)
        step()
        torch.cuda.synchronize(device)
    events = [
        event
        for event in session.events() or ()
        if event.device_type.name == "CUDA"
        and not event.is_user_annotation
        and _HEAD_NAME not in event.name
    ]
    if not events:
        return None
    return Kernels(len(events), sum(event.time_range.elapsed_us() for event in events) / 1e3)
