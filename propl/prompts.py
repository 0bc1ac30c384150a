"""Text features of the task prompts: computed once, by a frozen encoder, then only looked up.

The released code runs its text encoder in every step, in train mode, so that its dropout disturbs
the features; cached features are the ones it has at test time.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from baselines.networks.text import WIDTHS, sentence_features, token_features
from dataset_builders.tasks import TASKS

TOKENS = 24  # prompts are padded or cut to this length (released code)


def text_features(
    tasks: Sequence[str], encoder: str, seed: int, *, sentences: bool = False
) -> Tensor:
    """Last hidden states of the prompts of some tasks.

    Args:
        tasks: codes, such as "BC".
        encoder: "bert", "cxr-bert", "minilm" (a pip package), or "random" (seeded, for tests).
        seed: of "random".
        sentences: one feature of each prompt, in place of one of each of its tokens.

    Returns:
        (tasks, TOKENS, D), or (tasks, D) of sentences: D is 768, for minilm 384.

    Raises:
        WeightsError: an encoder that cannot be had.
    """
    prompts = [TASKS[code].prompt for code in tasks]
    if sentences:
        return sentence_features(prompts, encoder, seed)
    return token_features(prompts, encoder, TOKENS, seed)


def blank_features(
    tasks: Sequence[str], encoder: str, seed: int, *, sentences: bool = False
) -> Tensor:
    """Zeros of the shape of `text_features`, where trained ones will be loaded or none are read."""
    return torch.zeros(len(tasks), *([] if sentences else [TOKENS]), WIDTHS[encoder])
