"""CSC-PA (Ding et al., CVPR 2025): prototype attentions across images, for a single network.

The paper's rules are the default, written from a description of shdkdh/CSC-PA at 0505d2e, whose
code departs from them (`--variant released`): there PAL and the container have no gradient.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F
from torch.optim import Optimizer

from baselines.networks.prototype_attention import EPA, FPA, edges, neighbours
from baselines.networks.segnet import enlarge
from baselines.semi import SemiSupervised
from benchmark.augment import standardise
from benchmark.fidelity import Fidelity
from benchmark.keys import derive, stable_key, uniforms
from benchmark.losses import cross_entropy
from benchmark.method import Backward, Batch, Clock, Setup, plain_backward
from benchmark.pseudo import below_percentile, kept_shares, masked_ce, pseudo
from dataset_builders.errors import UsageError

ALONE = 20  # labelled images alone for 1 / ALONE of the training: 10 of 200 epochs
DROPPED = 0.2  # share of the pixels with the largest entropy that do not count, falling to 0
GRID = 8  # squares along a side: 28 px of 224; in the code 9, of 57 px
PROTECTED, BLANKED = 0.7, 0.7
_EDGES, _MASK = stable_key("csc_pa/edges"), stable_key("csc_pa/mask")


class Maps(NamedTuple):
    """What the network makes of images, at stride 4."""

    f: Tensor  # (B, D, H/4, W/4), before attention
    f_out: Tensor  # the same with attention
    logits: Tensor  # (B, 2, H/4, W/4)

    def split(self, count: int) -> tuple[Self, Self]:
        """The first `count` images, and the others."""
        return type(self)(*(m[:count] for m in self)), type(self)(*(m[count:] for m in self))


class Seen(NamedTuple):
    """What the second stage of a step has of the first; no gradient leads back."""

    u: Maps  # of the whole unlabelled images
    fresh: Tensor  # edge vectors, for the container


class CSCPA(SemiSupervised):
    """Two updates a step: of whole images, then of masked ones that must agree with them."""

    # a step of the first phase has other images, one pass and one update
    capturable = False
    training_only = (
        "fpa.",
        "epa.",
    )
    variants: ClassVar = {"paper": {}, "released": {"released": True}}
    fidelity = Fidelity(
        repository="shdkdh/CSC-PA at 0505d2e",
        licence="none; only facts of it are here",
        library="network from segmentation-models-pytorch on timm's encoder; attentions and step "
        "are ours",
        theirs="DeepLabv3+ on ResNet-50 at output stride 8 with FPA and EPA on 512 channels",
        pretraining="ImageNet encoder",
        recipe="SGD 3e-3, wd 5e-4, poly 0.9, 4 + 4 images of 513 px, 200 epochs",
        deviations=(
            "the paper's text was not at hand: what its code leaves unsaid is ours",
            (
                "PAL's gradient goes through the similarities of neighbours, and the container's "
                "map learns; the code detaches both (--variant released)"
            ),
            (
                "EPA's attention is a softmax over all positions times their number; the code's, "
                "over 129 rows and without the factor, makes EPA nearly nothing (--variant "
                "released)"
            ),
            (
                "the container's map has rows that sum to 1, and edge vectors are taken before "
                "attention: the prototype would otherwise feed on itself and grow without bound "
                "(--variant released has neither)"
            ),
            (
                "both stages mix the container anew, so that its map learns from both; edge "
                "vectors are drawn with replacement, and the last ones serve again where a step "
                "finds none"
            ),
            (
                "the head's batch norm takes its statistics from plain f, by a pass of the head "
                "without gradient: the plain network predicts, and with those of f after "
                "attention, as in the code, it finds next to nothing (--variant released)"
            ),
            "neighbours beyond the border and of negative similarity have no weight in PAL",
            "8 x 8 squares instead of 9 x 9 of 57 px; a square is foreground if any pixel of it is",
            "f has 304 channels, not 512; the cross-image attention is 256 wide, as there",
            "weak views are the protocol's rotation and scaling, without crops and mirroring",
        ),
    )

    @dataclass(frozen=True)
    class Config(SemiSupervised.Config):
        """Settings of CSC-PA."""

        released: bool = False  # detached PAL and container, as in the code

    config: Config
    seen: Seen

    def __init__(self, config: Config, setup: Setup) -> None:
        super().__init__(config, setup)
        if setup.protocol.batch % 4:
            raise UsageError(
                f"batch = {setup.protocol.batch}; CSC-PA begins with pairs of labelled images, "
                "which are half of a batch: choose a multiple of 4"
            )
        self.fpa = FPA(self.net.fused)
        self.epa = EPA(self.net.fused, released=config.released)

    def forward(self, images: Tensor, pair: Tensor | None = None) -> Maps:
        """Images (B, 3, H, W) alone, by the plain network; or with their partners after them."""
        f = self.net.fuse(self.net.encode(_joined(images, pair)))
        if pair is None:
            return Maps(f, f, self.net.classify(self.net.head(f)))
        f_out = f + self.epa(f) + self.fpa(f)
        return Maps(f, f_out, self.net.classify(self.paired_head(f_out)))

    def paired_head(self, f_out: Tensor) -> Tensor:
        """The head of what attention gave; its batch norm keeps statistics of plain f alone.

        With those of f_out the plain network, which predicts, finds nothing: attention more than
        doubles f.
        """
        if self.config.released:
            return self.net.head(f_out)
        neck = self.net.neck
        spare = {name: buffer.clone() for name, buffer in neck.named_buffers()}
        v: Tensor = functional_call(neck, spare, (f_out,))
        return v

    def update(
        self, batch: Batch, clock: Clock, optimizer: Optimizer, backward: Backward = plain_backward
    ) -> dict[str, Tensor]:
        number, alone = int(clock.step), clock.total // ALONE
        if number < alone:
            terms = super().update(batch, clock, optimizer, backward)
        else:
            # on the device: compiled losses would be compiled anew for every new number
            clock = replace(clock, step=torch.full((), number, device=batch.img_x.device))
            terms = {}
            for stage in (self.whole, self.masked):
                optimizer.zero_grad(set_to_none=True)
                terms |= backward(stage, batch, clock)
                optimizer.step()
        if number >= alone - 1:
            self.epa.store(self.seen.fresh)
        return terms

    def losses(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """The first phase: labelled images alone, half of them with the other half."""
        img_x, y_x = self.weak_x(batch)
        x = self(*standardise(img_x).chunk(2))
        self.see(x, x, _right(x, y_x), batch)
        return {"loss_x": _supervised(x, y_x), "loss_pal": self.pal_x(x, y_x)}

    def whole(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """The first stage; makes pseudo-labels and finds edges on the way."""
        img_x, y_x = self.weak_x(batch)
        both = self(standardise(img_x), standardise(self.weak_u(batch)))
        x, u = both.split(len(img_x))
        sure = below_percentile(pseudo(u.logits).entropy, _share(clock))
        self.see(both, u, torch.cat((_right(x, y_x), sure)), batch)
        return {"loss_x_whole": _supervised(x, y_x), "loss_pal_whole": self.pal_x(x, y_x)}

    def masked(self, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """The second stage: the pseudo-labels must be found in spite of blank squares."""
        whole, share = self.seen.u, _share(clock)
        logits = enlarge(whole.logits)
        img_x, y_x = self.weak_x(batch)
        blank = squares(logits, derive(batch.key_u, _MASK), clock)
        img_m = torch.where(blank, 0, standardise(self.weak_u(batch)))
        x, m = self(standardise(img_x), img_m).split(len(img_x))

        u = pseudo(logits)
        kept = below_percentile(u.entropy, share)
        sure = below_percentile(pseudo(whole.logits).entropy, share)
        pal_u = self.pal(
            affinity(sure * _sigma(m.logits.argmax(1)), m.f_out),
            affinity(sure * _sigma(whole.logits.argmax(1)), whole.f_out),
        )
        return {
            "loss_x": _supervised(x, y_x),
            "loss_u": masked_ce(enlarge(m.logits), u.label, kept, over="kept_scaled"),
            "loss_pal": (self.pal_x(x, y_x) + pal_u) / 2,
            **kept_shares(kept, u.label),
        }

    @torch.no_grad()
    def see(self, both: Maps, u: Maps, sure: Tensor, batch: Batch) -> None:
        """Remember the unlabelled images, and edges among the pixels that are sure (B, H, W)."""
        if not self.config.released:
            self.net.head(both.f)  # for the statistics of its batch norm
        f = both.f_out if self.config.released else both.f
        edge = edges(both.logits.argmax(1)) & sure
        fresh = self.epa.draw(f, edge, derive(batch.key_x[:1], _EDGES))
        self.seen = Seen(Maps(*(m.detach() for m in u)), fresh)

    def pal_x(self, x: Maps, y_x: Tensor) -> Tensor:
        """PAL of labelled images: what is asked for weighs all neighbours alike."""
        predicted = affinity(_sigma(x.logits.argmax(1)), x.f_out)
        return self.pal(predicted, affinity(_sigma(y_x[:, ::4, ::4])))

    def pal(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Pixel affinity loss of two maps (B, H, W): KL divergence, down each column."""
        if self.config.released:
            predicted = predicted.detach()
        log_p, q = predicted.log_softmax(dim=1), target.softmax(dim=1)
        return F.kl_div(log_p, q, reduction="batchmean")


def affinity(sigma: Tensor, f: Tensor | None = None) -> Tensor:
    """a_i = (1 + sum_j s_ij sigma_j) / 2: how much of a pixel's surroundings is foreground.

    Args:
        sigma: (B, H, W), 1 for foreground, -1 for background, 0 for a pixel that does not count.
        f: (B, D, H, W), whose cosines s_ij, of sum 1, weigh the neighbours j; None weighs them
            alike.

    Returns:
        (B, H, W) in [0, 1]; 1/2 where no neighbour counts.
    """
    beside = torch.stack(neighbours(sigma))  # (8, B, H, W)
    s = beside.abs()
    if f is not None:
        f = F.normalize(f.float(), dim=1)
        s = s * torch.stack([(f * other).sum(dim=1) for other in neighbours(f)]).clamp_min(0)
    s = s / s.sum(0).clamp_min(1e-6)
    return (1 + (s * beside).sum(0)) / 2


@torch.no_grad()
def squares(logits: Tensor, keys: Tensor, clock: Clock) -> Tensor:
    """Which pixels to blank, (B, 1, S, S) bool: squares, never the most uncertain foreground.

    Args:
        logits: (B, 2, S, S) of the whole images.
        keys: (B,).
        clock: uncertain squares are protected less and less.
    """
    seen = pseudo(logits)
    side, is_foreground = logits.shape[-1] // GRID, seen.label.to(seen.conf.dtype)
    surprise = -seen.conf * seen.conf.log() * is_foreground
    area, score = (F.avg_pool2d(m, side).flatten(1) for m in (is_foreground, surprise))
    score = torch.where(area > 0, score / area, -1.0)  # (B, GRID * GRID)

    ratio = PROTECTED * (1 - clock.fraction)
    protected = _ranks(-score) < (ratio * (area > 0).sum(1, keepdim=True)).ceil()
    drawn = torch.where(protected, 1.0, uniforms(keys, score.shape[1]).T)
    chosen = _ranks(drawn) < (BLANKED * (~protected).sum(1, keepdim=True)).ceil()
    chosen = chosen.view(-1, 1, GRID, GRID)
    return chosen.repeat_interleave(side, dim=2).repeat_interleave(side, dim=3)


def _ranks(values: Tensor) -> Tensor:
    """The place of each value in its row (B, N), 0 for the smallest."""
    return values.argsort(dim=1, stable=True).argsort(dim=1)


def _joined(images: Tensor, pair: Tensor | None) -> Tensor:
    return images if pair is None else torch.cat((images, pair))


def _supervised(x: Maps, y_x: Tensor) -> Tensor:
    return cross_entropy(enlarge(x.logits).float(), y_x)


def _right(x: Maps, y_x: Tensor) -> Tensor:
    """Pixels (B, H/4, W/4) that are predicted as they are labelled."""
    return x.logits.argmax(1) == y_x[:, ::4, ::4]


def _sigma(label: Tensor) -> Tensor:
    """1 for foreground and -1 for background."""
    return 2.0 * label - 1


def _share(clock: Clock) -> float | Tensor:
    """Share of the pixels that count, from 0.8 at first to 1 at the end."""
    return 1 - DROPPED * (1 - clock.fraction)
