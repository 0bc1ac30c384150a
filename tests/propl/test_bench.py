"""The bench: what it calls released does that much, and it runs to its last line."""

from collections import Counter

import pytest
import torch
from transformers import BertConfig

from benchmark.bench.images import RANDOM, resident_batches
from benchmark.method import Clock, Setup
from benchmark.resolve import Request, resolve
from propl.bench import READERS, Released, compare

REQUEST = Request(
    method="propl",
    split="1_4",
    preset="mini",
    device="cpu",
    overrides={"weights": "none", "encoder": "test_convnext", "size": 32, "batch": 4},
)


@pytest.fixture(autouse=True)
def small_reader(monkeypatch):
    small = BertConfig(
        hidden_size=384, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    monkeypatch.setitem(READERS, "minilm", small)


def test_released_is_four_full_forwards_with_the_text_encoder():
    plan = resolve(REQUEST, RANDOM)
    torch.manual_seed(0)
    method = Released(plan.config, Setup(plan.tasks, plan.protocol, seed=0, blank=True)).train()
    calls: Counter[str] = Counter()
    for name in ("encoder", "decoder_s.subpixel", "decoder_p.subpixel"):
        part = method.net.get_submodule(name)
        part.register_forward_hook(lambda *_, name=name: calls.update([name]))
    method.reader.register_forward_hook(lambda *_: calls.update(["reader"]))
    method.losses(resident_batches(plan).at(0), Clock(0, 2))
    assert calls == dict.fromkeys(
        ("encoder", "decoder_s.subpixel", "decoder_p.subpixel", "reader"), 4
    )
    assert not any(parameter.requires_grad for parameter in method.reader.parameters())


def test_it_runs_and_prints_both_sides(capsys):
    compare(REQUEST, steps=1)
    text = capsys.readouterr().out
    for line in ("4 full forwards", "times faster", "of a full forward", "2 + 2 images"):
        assert line in text
