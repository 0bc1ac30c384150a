"""Trained weights: kept with a run, found by its name, enough to predict with and nothing else."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from small_runs import small_run

from baselines.networks import hub
from baselines.unet import UNet
from benchmark import tensors
from benchmark.dataset import load, open_dataset
from benchmark.masks import unpack
from benchmark.method import Setup
from benchmark.protocol import Protocol
from benchmark.record import load as load_record
from benchmark.run import run
from benchmark.weights import TrainedError, load_method, save_weights, trainable, weights_of
from propl.method import ProPL


@pytest.fixture(scope="module", params=["unet", "propl"])
def trained(request, small_data, tmp_path_factory):
    results = tmp_path_factory.mktemp(request.param)
    return run(small_run(small_data, results, request.param)), results


def test_a_run_leaves_its_weights_under_its_name(trained, small_data):
    path, results = trained
    record = load_record(path)
    files = weights_of(results, record.name)
    assert list(files) == (["all"] if record.method == "propl" else ["FH", "OT"])
    for part, file in files.items():
        _, values = tensors.read(file)
        assert values["method"] == record.method
        assert values["tasks"] == (["FH", "OT"] if part == "all" else [part])
        assert values["parameters"] == record.parameters
        assert values["dataset"] == record.dataset.content_sha256
        assert (values["split"], values["seed"], values["variant"]) == ("1_4", 0, "paper")
        assert (values["protocol"], values["config"]) == (record.protocol, record.config)
        assert values["commit"] == record.commit


def test_the_weights_predict_what_the_run_recorded(trained, small_data):
    path, results = trained
    masks = pd.read_parquet(path.with_suffix(".masks.parquet")).set_index("id")["pred_png"]
    dataset = open_dataset(small_data)
    for file in weights_of(results, load_record(path).name).values():
        method = load_method(file).to(memory_format=torch.channels_last)
        assert not method.training
        for index, task in enumerate(method.setup.tasks):
            images = load(dataset, task, "test", method.setup.protocol.size)
            tasks = torch.full((len(images.ids),), index)
            with torch.inference_mode():
                probs = method.predict(torch.tensor(images.pixels).float() / 255, tasks)[:, 0]
            for name, prob in zip(images.ids, probs, strict=True):
                assert np.array_equal(unpack(masks[name]), prob > 0.5)


@pytest.mark.parametrize("kind", [UNet, ProPL])
def test_nothing_that_training_began_from_is_needed(tmp_path, monkeypatch, kind):
    def refuse() -> None:
        raise AssertionError("pretrained weights were asked for")

    monkeypatch.setattr(hub, "_reachable", refuse)
    monkeypatch.setattr(hub.huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    protocol = Protocol(size=32, encoder="test_efficientnet", weights="imagenet", text="bert")
    method = kind(kind.Config(), Setup(("LA",), protocol, 7, blank=True))
    save_weights(tmp_path / "file", method, {})
    loaded = load_method(tmp_path / "file")
    assert loaded.setup == method.setup
    assert loaded.config == method.config
    assert trainable(loaded) == trainable(method)
    state = method.state_dict()
    assert state.keys() == loaded.state_dict().keys()
    assert all(torch.equal(state[name], now) for name, now in loaded.state_dict().items())


def test_weights_of_before_there_were_more_promptings_are_read(tmp_path):
    protocol = Protocol(size=32, encoder="test_efficientnet", weights="none", text="random")
    method = ProPL(ProPL.Config(prompting="none", uplc=False), Setup(("LA",), protocol, 7))
    save_weights(tmp_path / "file", method, {})
    state, values = tensors.read(tmp_path / "file")
    added = ("noise", "sigma", "uplc", "decoder")
    config = {k: v for k, v in values["config"].items() if k not in added}
    config |= {"prompting": False, "calibration": False}
    tensors.write(tmp_path / "older", state, {**values, "config": config})
    assert load_method(tmp_path / "older").config == method.config


def test_without_weights_nothing_is_kept_and_the_error_says_how(small_data, tmp_path):
    asked = small_run(small_data, tmp_path, tasks=("FH",))
    name = load_record(run(asked)).name
    assert weights_of(tmp_path, name)
    run(replace(asked, restart=True, keep_weights=False))
    assert not list(tmp_path.rglob("*.safetensors"))
    with pytest.raises(TrainedError, match=rf"holds no weights of {name}; .*--no-weights"):
        weights_of(tmp_path, name)


def test_weights_of_tasks_that_the_record_lost_are_lost_too(small_data, tmp_path):
    """And those of tasks that are added to it are added."""
    first = run(small_run(small_data, tmp_path))
    name = load_record(first).name
    run(small_run(small_data, tmp_path, tasks=("OT",), restart=True))
    assert list(weights_of(tmp_path, name)) == ["OT"]
    run(small_run(small_data, tmp_path, tasks=("LA",)))
    assert list(weights_of(tmp_path, name)) == ["LA", "OT"]


def test_what_is_no_file_of_weights_is_refused(tmp_path):
    method = UNet(
        UNet.Config(),
        Setup(("LA",), Protocol(size=32, encoder="test_efficientnet", weights="none"), 0),
    )
    save_weights(tmp_path / "file", method, {"commit": "0123abc"})
    state, values = tensors.read(tmp_path / "file")
    whole = (tmp_path / "file").read_bytes()
    (tmp_path / "part").write_bytes(whole[: len(whole) // 2])
    torch.save(state, tmp_path / "pickled")
    for name in ("part", "pickled", "absent"):
        with pytest.raises(
            TrainedError, match=f"{name} holds no trained weights .*results/weights"
        ):
            load_method(tmp_path / name)
    for change, reason in {
        "format": ({"format": "weights 0"}, "'weights 0', not 'weights 1'"),
        "method": ({"target": "os:system"}, "no method 'os:system'"),
        "setting": ({"config": {"gone": 1}}, "unexpected keyword argument 'gone'"),
        "size": ({"protocol": {**values["protocol"], "encoder": "test_resnet"}}, "state_dict"),
    }.values():
        tensors.write(tmp_path / "other", state, {**values, **change})
        message = rf"does not fit this usbench \(.*{reason}.*commit 0123abc\)"
        with pytest.raises(TrainedError, match=message):
            load_method(tmp_path / "other")
