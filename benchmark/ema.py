"""The teacher of a mean-teacher method: a moving average of the student's weights."""

from copy import deepcopy
from typing import Literal

import torch
from torch import Tensor, nn

Buffers = Literal["own", "average", "copy"]


class Ema(nn.Module):
    """A second network that follows the first and learns nothing itself.

    What becomes of its buffers, the running statistics of batch norm, differs between papers:

        own         the teacher's own passes in training mode make them (U2PL, DDFP)
        average     of the student's, as of the weights (AugSeg)
        copy        the student's latest

    Args:
        student: what it begins as.
        decay: most that a step keeps of the teacher.
        buffers: one of the three.

    Attributes:
        net: the teacher.
    """

    def __init__(self, student: nn.Module, decay: float, buffers: Buffers) -> None:
        super().__init__()
        self.net = deepcopy(student).requires_grad_(False)
        self.decay = decay
        self.buffers_are: Buffers = buffers

    @torch.no_grad()
    def update(self, student: nn.Module, step: int | Tensor, start: int = 0) -> None:
        """Follow the student; called after every step.

        The decay rises as 1 - 1 / (t + 1), t counted from `start`; until then it is a copy.

        Args:
            student: of the teacher's kind.
            step: 0-based, that of the training; () int64 on the device in a recorded step.
            start: the first step that averages.
        """
        device = next(self.net.parameters()).device  # of a number too: one copy, not one a weight
        t = torch.as_tensor(step - start, dtype=torch.float32, device=device).clamp_min(0)
        new = 1 - (1 - 1 / (t + 1)).clamp_max(self.decay)  # share of the student
        for slow, fast in zip(self.net.parameters(), student.parameters(), strict=True):
            slow.lerp_(fast, new.to(slow))
        if self.buffers_are == "own":
            return
        for held, latest in zip(self.net.buffers(), student.buffers(), strict=True):
            if self.buffers_are == "average" and held.is_floating_point():
                held.lerp_(latest, new.to(held))
            else:  # a number of batches is counted, not averaged
                held.copy_(latest)
