"""One model for all tasks, labelled images only: what universal supervised networks learn from."""

from abc import abstractmethod

from torch import Tensor, nn

from benchmark.augment import normalise, weak_input
from benchmark.losses import bce_and_dice
from benchmark.method import Batch, Clock, Method, Setup


class Universal(Method):
    """BCE + Dice on weak views of the labelled images, on the output of each image's own task.

    A subclass says which network: `network()` and the name of its `encoder`.
    """

    universal = True

    def __init__(self, config: Method.Config, setup: Setup) -> None:
        super().__init__(config, setup)
        self.net = self.network()

    @abstractmethod
    def network(self) -> nn.Module:
        """(B, 3, H, W) and task numbers (B,) -> logits (B, 1, H, W)."""

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        img_x, mask_x = weak_input(batch.img_x, batch.mask_x, batch.key_x, self.setup.protocol)
        logits = self.net(img_x, batch.task_x)
        return bce_and_dice(logits, mask_x)

    def predict(self, images: Tensor, tasks: Tensor) -> Tensor:
        logits: Tensor = self.net(normalise(images), tasks)
        return logits.sigmoid()
