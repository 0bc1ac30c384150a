"""Overrides by name and type; nonsense is refused at once."""

from dataclasses import dataclass

import pytest

from benchmark.protocol import PRESETS, Protocol
from benchmark.settings import addressed, choose, joined, override, parse_overrides
from dataset_builders.errors import UsageError


@dataclass(frozen=True)
class Some:
    count: int = 1
    share: float = 0.5
    name: str = "x"
    on: bool = True


def test_values_are_converted_by_the_type_of_the_field():
    assert override(Some(), {"count": "3", "share": "1e-3", "name": "7", "on": "false"}) == Some(
        3, 1e-3, "7", False
    )


@pytest.mark.parametrize(("name", "value"), [("count", "1.5"), ("share", "much"), ("on", "yes")])
def test_a_value_of_the_wrong_kind_is_refused(name, value):
    with pytest.raises(UsageError, match=f"--set {name}={value}"):
        override(Some(), {name: value})


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(
        UsageError, match=r"unknown setting 'cuont' \(did you mean 'count'\?\).*share"
    ):
        override(Some(), {"cuont": "3"})


@pytest.mark.parametrize("text", ["rate", "=3", "rate=", ""])
def test_an_assignment_has_a_name_and_a_value(text):
    with pytest.raises(UsageError, match="name=value"):
        parse_overrides([text])


def test_a_name_given_twice_is_refused():
    with pytest.raises(UsageError, match="twice"):
        parse_overrides(["a=1", "a=2"])


OWN, SHARED = ["noise", "uplc", "power"], ["size", "power"]


def test_a_name_before_the_dot_says_whose_setting_it_is():
    given = {"propl.noise": "gaussian", "uplc": "false", "size": "64"}
    own, shared = addressed(given, "propl", OWN, SHARED)
    assert (own, shared) == ({"noise": "gaussian", "uplc": "false"}, {"size": "64"})
    both = {"propl.power": "2", "protocol.power": "1"}
    assert addressed(both, "propl", OWN, SHARED) == ({"power": "2"}, {"power": "1"})


def test_an_option_is_a_setting_of_the_protocol_and_may_be_empty():
    assert joined({"rate": "1"}, {"encoder": ""}) == {"rate": "1", "protocol.encoder": ""}
    for given in ("encoder", "protocol.encoder"):
        with pytest.raises(UsageError, match=f"--encoder a and --set {given}=b say the same"):
            joined({given: "b"}, {"encoder": "a"})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"unet.noise": "x"},
            r"--set unet\.noise=x: 'unet' is not the method.*write propl\.noise=x",
        ),
        ({"unet.what": "x"}, r"unet\.what=x: 'unet' is not the method of this run; leave it out"),
        ({"propl.size": "64"}, "unknown setting of propl 'size'.*choose one of: noise, uplc"),
        ({"protocol.noise": "x"}, "unknown setting of protocol 'noise'.*choose one of: size"),
        ({"nois": "x"}, r"unknown setting 'nois' \(did you mean 'noise'\?\)"),
        ({"power": "2"}, r"power=2: .* both have it; write propl\.power=2 or protocol\.power=2"),
        ({"propl.noise": "x", "noise": "y"}, "--set noise is given twice: x and y"),
        ({"protocol.size": "32", "size": "64"}, "--set size is given twice: 32 and 64"),
        ({".noise": "x"}, "'' is not the method of this run"),
        ({"propl.propl.noise": "x"}, "'propl.propl' is not the method of this run"),
    ],
)
def test_settings_of_others_and_of_two_are_refused(given, words):
    with pytest.raises(UsageError, match=words):
        addressed(given, "propl", OWN, SHARED)


def test_choose_takes_known_names_only():
    assert choose("split", "1_4", ("1_8", "1_4")) == "1_4"
    with pytest.raises(UsageError, match="choose one of: 1_8, 1_4"):
        choose("split", "1_2", ("1_8", "1_4"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 100}, {"batch": 5}, {"batch": 0}, {"epochs": 0}, {"steps": -1}, {"rate": 0},
        {"momentum": 1}, {"decay": -1}, {"rotation": 181}, {"scale_low": 2}, {"view_share": 1.1},
        {"flip": -0.1},
        {"optimizer": "adam"}, {"weights": "mine"}, {"text": "gpt"}, {"power": -1},
    ],
    ids=str,
)  # fmt: skip
def test_a_protocol_refuses_nonsense(wrong):
    (name,) = wrong
    with pytest.raises(UsageError, match=name):
        Protocol(**wrong)


def test_the_default_is_the_paper():
    """AAAI 2026, implementation details."""
    paper = PRESETS["paper"]
    assert (paper.size, paper.batch, paper.epochs, paper.steps) == (224, 16, 200, 0)
    assert (paper.optimizer, paper.rate, paper.power) == ("sgd", 1e-3, 0.9)
    assert (paper.momentum, paper.decay, paper.weights) == (0.9, 1e-5, "imagenet")
