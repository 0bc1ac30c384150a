"""ProPL's step as the released code computes it: what `ProPL` must equal, and is measured against.

Every image that is to be decoded goes through the whole network once more: encoder, text encoder
and both decoders, whichever output is used; so N + 2 full forwards a step. Noise, losses and
settings are those of `ProPL`, and so are the gradients.
"""

import torch
from torch import Tensor, nn

from benchmark.augment import normalise, weak
from benchmark.losses import bce_dice
from benchmark.method import Batch, Clock
from propl.method import ProPL
from propl.network import Decoder


class PlainProPL(ProPL):
    """ProPL in N + 2 full forwards."""

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        protocol = self.setup.protocol
        img_x, mask_x = weak(batch.img_x, batch.mask_x, batch.key_x, protocol)
        img_u, _ = weak(batch.img_u, None, batch.key_u, protocol)
        passes = self.config.perturbations if self.config.uplc else 1

        pred_x, _ = self.both(img_x, batch.task_x, batch.key_x)
        # not under no_grad: the released code keeps the graph of every pass
        disturbed = [self.both(img_u, batch.task_u, batch.key_u, n)[0] for n in range(passes)]
        _, pred_u = self.both(img_u, batch.task_u, batch.key_u)

        probs = torch.stack(disturbed).sigmoid()
        mu, gamma = probs.mean(dim=0), probs.var(dim=0, correction=0)
        target = (torch.exp(-(gamma**self.config.power)) * mu).detach()
        if self.config.hard:
            target = (target > 0.5).to(target.dtype)
        return {
            "loss_x": bce_dice(pred_x, mask_x),
            "loss_u": self.config.weight * bce_dice(pred_u, target),
        }

    def both(
        self, images: Tensor, tasks: Tensor, keys: Tensor, number: int = 0
    ) -> tuple[Tensor, Tensor]:
        """One full forward, with the noise of the pass of that number; logits of S and of P."""
        v = self.net.encoder(normalise(images))
        prompt = self.prompt(tasks)
        *skips, passes = self.disturb(v, keys, number + 1)
        disturbed = passes.chunk(number + 1)[number]
        return (
            decode(self.net.decoder_s, [*skips, disturbed], prompt),
            decode(self.net.decoder_p, v, prompt),
        )

    def prompt(self, tasks: Tensor) -> Tensor:
        """What the decoders are told of the tasks; a benchmark reads the text anew."""
        return self.net.prompt(tasks)


def decode(decoder: nn.Module, features: list[Tensor], prompt: Tensor) -> Tensor:
    """Logits of one pass by the blocks as they stand, in the order of the paper's figure."""
    logits: Tensor
    if not isinstance(decoder, Decoder):
        logits = decoder(features, prompt)  # alone, a pass takes the plain way through it
        return logits
    *skips, h = features
    for index, up in enumerate(decoder.ups):
        if decoder.prompts:
            h = decoder.prompts[index](h, prompt)
        h = up(h, skips[-1 - index])
    logits = decoder.out(decoder.subpixel(h))
    return logits
