"""A checkpoint brings back every bit, and refuses what is not its own."""

import json
from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, AdamW

from benchmark import checkpoint, tensors
from benchmark.checkpoint import CheckpointError, Standing

SETTINGS = {"method": "unet", "protocol": {"rate": 0.001, "size": 32}, "tasks": ("FH", "OT")}


class Net(nn.Module):
    """One of everything that a method may hold."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        self.norm = nn.BatchNorm2d(4)  # int64 counter without a dimension
        self.tied = nn.Linear(4, 4, bias=False)
        self.tied_too = nn.Linear(4, 4, bias=False)
        self.tied_too.weight = self.tied.weight
        self.alpha = nn.Parameter(torch.tensor(1.7))
        self.teacher = deepcopy(self.conv).requires_grad_(False)
        self.register_buffer("queue", torch.randn(5, 3).bfloat16())
        self.register_buffer("turned", torch.arange(6.0).reshape(2, 3).t())
        self.register_buffer("seen", torch.tensor([True, False]))
        self.register_buffer("nothing", torch.zeros(0, 3))

    def forward(self, images):
        h = self.norm(self.conv(images)).mean((2, 3))
        return self.alpha * self.tied_too(self.tied(h)).square().mean()


def optimizer_of(net: nn.Module, kind: str):
    learning = [p for p in net.parameters() if p.requires_grad]
    if kind == "adamw":
        return AdamW(learning, lr=0.01, betas=(0.8, 0.9))
    if kind == "rate in a tensor":
        return AdamW(learning, lr=torch.tensor(0.01), fused=True)
    return SGD(learning, lr=0.01, momentum=0.9)


def learn(net: nn.Module, optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.randn(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)).backward()
        optimizer.step()
        net.queue.copy_(torch.randn(5, 3))


def same(one, two) -> bool:
    return one.keys() == two.keys() and all(
        a.dtype == b.dtype and a.stride() == b.stride() and torch.equal(a, b)
        for a, b in ((one[name], two[name]) for name in one)
    )


@pytest.fixture(params=["adamw", "rate in a tensor", "sgd"])
def kind(request):
    return request.param


@pytest.mark.parametrize("steps", [0, 3])
def test_a_restored_training_ends_with_the_same_bits(tmp_path, kind, steps):
    torch.manual_seed(0)
    net = Net()
    optimizer = optimizer_of(net, kind)
    learn(net, optimizer, steps)
    optimizer.param_groups[0]["lr"] *= 0.5
    standing = Standing(steps, 1.25)
    checkpoint.save(tmp_path / "saved", standing, SETTINGS, net, optimizer)
    learn(net, optimizer, 3)

    torch.manual_seed(1)
    other = Net()
    other_optimizer = optimizer_of(other, kind)
    learn(other, other_optimizer, 1)  # its moments must go
    restored = checkpoint.restore(tmp_path / "saved", SETTINGS, other, other_optimizer)
    assert restored == standing
    learn(other, other_optimizer, 3)
    assert same(net.state_dict(), other.state_dict())
    state, other_state = optimizer.state_dict(), other_optimizer.state_dict()
    assert repr(state["param_groups"]) == repr(other_state["param_groups"])
    for index, moments in state["state"].items():
        assert same(moments, other_state["state"][index])


def test_the_header_is_plain_json_and_says_all_that_is_no_tensor(tmp_path):
    net = Net()
    checkpoint.save(tmp_path / "saved", Standing(7, 2.5), SETTINGS, net, optimizer_of(net, "sgd"))
    data = (tmp_path / "saved").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    values = json.loads(header["__metadata__"]["usbench"])
    assert values["standing"]["step"] == 7
    assert values["settings"]["protocol"] == {"rate": 0.001, "size": 32}
    assert values["optimizer"]["groups"][0]["momentum"] == 0.9


def test_other_settings_are_refused_by_name(tmp_path):
    net = Net()
    optimizer = optimizer_of(net, "sgd")
    checkpoint.save(tmp_path / "saved", Standing(), SETTINGS, net, optimizer)
    other = {**SETTINGS, "protocol": {"rate": 0.5, "size": 32}}
    with pytest.raises(CheckpointError, match=r"\(rate: then 0\.001, now 0\.5\); .*--restart"):
        checkpoint.restore(tmp_path / "saved", other, net, optimizer)


@pytest.mark.parametrize("length", [0, 5, 300, -1])
def test_a_truncated_checkpoint_is_refused(tmp_path, length):
    net = Net()
    optimizer = optimizer_of(net, "sgd")
    path = tmp_path / "saved"
    checkpoint.save(path, Standing(), SETTINGS, net, optimizer)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"saved is no whole checkpoint \(.+\); .*--restart"):
        checkpoint.restore(path, SETTINGS, net, optimizer)


def test_a_foreign_file_is_refused(tmp_path):
    from safetensors.torch import save_file

    net = Net()
    optimizer = optimizer_of(net, "sgd")
    save_file({"weight": torch.zeros(2)}, tmp_path / "theirs")
    tensors.write(tmp_path / "ours", {"weight": torch.zeros(2)}, {"format": "weights 1"})
    torch.save(net.state_dict(), tmp_path / "pickled")
    for name, reason in {
        "theirs": "usbench did not write it",
        "ours": "is 'weights 1'",
        "pickled": "no whole checkpoint",
        "absent": "No such file",
    }.items():
        with pytest.raises(CheckpointError, match=rf"{reason}.*begin again with --restart"):
            checkpoint.restore(tmp_path / name, SETTINGS, net, optimizer)


def test_a_checkpoint_of_a_method_that_has_changed_is_refused(tmp_path):
    net = Net()
    optimizer = optimizer_of(net, "sgd")
    checkpoint.save(tmp_path / "saved", Standing(), SETTINGS, net, optimizer)
    net.conv = nn.Conv2d(3, 5, 3)
    with pytest.raises(CheckpointError, match=r"does not fit.*size mismatch.*--restart"):
        checkpoint.restore(tmp_path / "saved", SETTINGS, net, optimizer)


KINDS = st.sampled_from(list(tensors.DTYPES))
SHAPES = st.lists(st.integers(0, 4), max_size=4)


@settings(max_examples=30)
@given(st.dictionaries(st.text(min_size=1, max_size=5), st.tuples(KINDS, SHAPES), max_size=5))
def test_every_tensor_comes_back(tmp_path_factory, wanted):
    path = tmp_path_factory.mktemp("any") / "file"
    named = {
        name: (torch.rand(shape) * 100).to(dtype).transpose(0, -1 if shape else 0)
        for name, (dtype, shape) in wanted.items()
        if name != "__metadata__"
    }
    tensors.write(path, named, {"names": list(named), "number": 0.1})
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    for name, tensor in named.items():  # so that a file may be mapped and used as it is
        assert (8 + length + header[name]["data_offsets"][0]) % tensor.element_size() == 0
    back, values = tensors.read(path)
    assert values == {"names": list(named), "number": 0.1}
    assert back.keys() == named.keys()
    for name, tensor in named.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor)
