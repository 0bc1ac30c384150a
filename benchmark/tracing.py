"""Whether tensors hold numbers, or what is done to them is being written down."""

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode


def traced(tensor: Tensor) -> bool:
    """Whether only torch's operations may be used.

    So it is within `torch.compile`, on fake tensors, and while a mode counts or records operations.
    """
    real = type(tensor) is Tensor and not torch.compiler.is_compiling()
    return not real or bool(is_in_torch_dispatch_mode())
