"""`--set name=value`: overrides of frozen dataclasses, converted by the type of the field."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar, get_type_hints

from dataset_builders.errors import UsageError

Settings = TypeVar("Settings")


def choose(kind: str, name: str, known: Iterable[str]) -> str:
    """`name` if it is known.

    Raises:
        UsageError: names the known ones, and the likely one.
    """
    names = list(known)
    if name in names:
        return name
    close = get_close_matches(name, names, n=1)
    hint = f" (did you mean '{close[0]}'?)" if close else ""
    raise UsageError(f"unknown {kind} '{name}'{hint}; choose one of: {', '.join(names)}")


def parse_overrides(assignments: Iterable[str]) -> dict[str, str]:
    """`["rate=3e-4"]` as `{"rate": "3e-4"}`.

    Raises:
        UsageError: not of the form name=value, or a name given twice.
    """
    overrides: dict[str, str] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not (equals and name and value):
            raise UsageError(f"--set {text}: write it as name=value, for example --set rate=3e-4")
        if name in overrides:
            raise UsageError(f"--set {name} is given twice: {overrides[name]} and {value}")
        overrides[name] = value
    return overrides


PROTOCOL = "protocol"  # before the dot: settings that all methods share


def joined(overrides: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides, and settings of the protocol that have options of their own.

    Raises:
        UsageError: an option that is among the overrides too.
    """
    for name, value in options.items():
        for given in {name, f"{PROTOCOL}.{name}"} & overrides.keys():
            raise UsageError(
                f"--{name} {value} and --set {given}={overrides[given]} say the same; leave one out"
            )
    return {**overrides, **{f"{PROTOCOL}.{name}": value for name, value in options.items()}}


def addressed(
    overrides: Mapping[str, Any], method: str, own: Iterable[str], shared: Iterable[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Overrides of the method and of the protocol, by plain names.

    `protocol.size=64` and `segformer.size=b0` say whose setting it is; a name that only one of them
    has may stand alone.

    Args:
        overrides: as the user gave them.
        method: whose name may stand before its settings.
        own: settings of the method.
        shared: settings of the protocol.

    Raises:
        UsageError: another name before the dot, an unknown setting, one that both have, or one
            that is given twice.
    """
    known = {method: list(own), PROTOCOL: list(shared)}
    found: dict[str, dict[str, Any]] = {method: {}, PROTOCOL: {}}
    for given, value in overrides.items():
        prefix, dot, name = given.rpartition(".")
        if dot and prefix not in known:
            instead = f"write {method}.{name}={value}, or " * (name in known[method])
            raise UsageError(
                f"--set {given}={value}: '{prefix}' is not the method of this run; "
                f"{instead}leave it out"
            )
        if dot:
            choose(f"setting of {prefix}", name, known[prefix])
        else:
            prefix = _owner(name, value, known)
        if name in found[prefix]:
            raise UsageError(f"--set {name} is given twice: {found[prefix][name]} and {value}")
        found[prefix][name] = value
    return found[method], found[PROTOCOL]


def _owner(name: str, value: Any, known: Mapping[str, Sequence[str]]) -> str:  # noqa: ANN401
    """Who has a setting of this plain name."""
    choose("setting", name, dict.fromkeys(each for names in known.values() for each in names))
    owners = [owner for owner, names in known.items() if name in names]
    if len(owners) > 1:
        both = " or ".join(f"{owner}.{name}={value}" for owner in owners)
        raise UsageError(f"--set {name}={value}: method and protocol both have it; write {both}")
    return owners[0]


def today(config: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a method, of a record of any age, in the names and values of today."""
    named = dict(setting_today(name, value) for name, value in config.items())
    return {**(_ADDED if "uplc" in named else {}), **named}


def setting_today(name: str, value: Any) -> tuple[str, Any]:  # noqa: ANN401 - any setting
    """One setting as it is written today; `value` may be text, as in a record's tag."""
    return _RENAMED.get(name, name), _REVALUED.get((name, str(value).lower()), value)


# ProPL's settings when it had two ways of prompting, and what it had before there was a choice
_RENAMED = {"calibration": "uplc"}
_REVALUED = {("prompting", "true"): "pud", ("prompting", "false"): "none"}
_ADDED = {"noise": "dropout", "sigma": 0.6547, "decoder": "p"}


def field_names(settings: object) -> list[str]:
    """Names that `override` accepts for these settings."""
    return [field.name for field in dataclasses.fields(settings)]  # type: ignore[arg-type]


def override(settings: Settings, overrides: dict[str, Any]) -> Settings:
    """A copy with the named fields changed; text is converted by the field's type.

    Raises:
        UsageError: unknown name, text of the wrong kind, or a value the settings refuse.
    """
    kinds = get_type_hints(type(settings))
    for name in overrides:
        choose("setting", name, field_names(settings))
    values = {name: _convert(name, value, kinds[name]) for name, value in overrides.items()}
    return dataclasses.replace(settings, **values)  # type: ignore[type-var]


def _convert(name: str, value: Any, kind: type) -> Any:  # noqa: ANN401 - any field of settings
    if not isinstance(value, str):
        return value
    if kind is bool:
        if value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise UsageError(f"--set {name}={value}: {name} is true or false")
    try:
        return kind(value)
    except ValueError:
        raise UsageError(
            f"--set {name}={value}: {name} needs a value of type {kind.__name__}"
        ) from None
