"""What each source allows to do with its images: the one table of terms.

A source that states nothing allows nothing here, and what somebody states for another copy of the
images is not taken for a statement about the files that are read. This is a reading of what could
be found, by people who are no lawyers; the source's own page decides.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from dataset_builders.citing import references, text
from dataset_builders.errors import UsageError
from dataset_builders.sources import SOURCES

ANY, COMMERCIAL = "any", "commercial"
FILTERS = (ANY, COMMERCIAL)

_HEAD = """\
# Licences

Each image keeps the licence of its source. Where nothing is stated, nothing is allowed but what the
law allows anyway. This table is a reading of what was found, and the source's own page decides. The
column `license` of a row is shorter: it also repeats what is stated for another copy of the images
or for the code beside them; what is stated for these files is said here.

| source | images | licence | copies | commercial use | changed copies | stated by |
| :-- | --: | :-- | :-- | :-- | :-- | :-- |
"""
_CHANGES = """
Changed here: images were selected; frames taken out of volumes and clips are PNG; masks are reduced
to one target and stored as 0 and 255. What usbench adds (selection, splits, hashes, text) is under
the MIT licence.
"""


class LicenceError(UsageError):
    """An unknown filter, or one that leaves no source."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is stated; None where nothing is, and that counts as not allowed."""

    stated: str  # SPDX, or in words
    by: str  # who states it, and of what
    redistribute: bool | None = None  # pass on copies
    commercial: bool | None = None  # use for gain
    share_alike: bool | None = None  # changed copies keep the licence


TERMS = {
    "busi": Terms("none", "nobody; the publisher's page has no licence"),
    "udiat": Terms(
        "research use, on a signed agreement",
        "the release agreement that every user signs",
        commercial=False,
    ),
    "hc18": Terms(
        "CC-BY-4.0",
        "the publisher, Zenodo record 1327317",
        redistribute=True,
        commercial=True,
        share_alike=False,
    ),
    "camus": Terms(
        "CC-BY-NC-SA-4.0",
        "the publisher, LICENSE_TERMS.md in the archive: non-commercial scientific research only",
        redistribute=True,
        commercial=False,
        share_alike=True,
    ),
    "hmc_qu": Terms(
        "none known", "its Kaggle page, which could not be read; a user calls it closed"
    ),
    "mmotu": Terms(
        "none for these files",
        "nobody; CC-BY-4.0 is stated for the figshare copy, which lacks the normal ovaries",
    ),
    "tn3k": Terms(
        "none for these files",
        "nobody; MIT is stated for the code and for the copy on the Hugging Face Hub",
    ),
    "tg3k": Terms("none", "nobody; MIT is stated for the code it is released with"),
    "ddti": Terms("none", "nobody"),
}


def may_be_passed_on(source: str) -> bool:
    """Whether the source's licence is known to allow copies."""
    return TERMS[source].redistribute is True


def left_out(sources: Iterable[str], wanted: str) -> dict[str, str]:
    """The sources that a filter excludes, and why.

    Args:
        sources: names of `SOURCES`.
        wanted: of `FILTERS`; "commercial" keeps what is known to allow commercial use.

    Raises:
        LicenceError: an unknown filter, or one that excludes all of the sources.
    """
    if wanted not in FILTERS:
        close = get_close_matches(wanted, FILTERS, n=1)
        hint = f" (did you mean '{close[0]}'?)" if close else ""
        raise LicenceError(
            f"unknown licence filter '{wanted}'{hint}; choose one of: {', '.join(FILTERS)}"
        )
    names = list(sources)
    if wanted == ANY:
        return {}
    excluded = {
        name: f"left out by the licence filter '{wanted}': {SOURCES[name].card.licence}"
        for name in names
        if TERMS[name].commercial is not True
    }
    if len(excluded) == len(names):
        allowed = ", ".join(name for name, terms in TERMS.items() if terms.commercial)
        raise LicenceError(
            f"none of {', '.join(names)} is known to allow commercial use; {allowed} is"
        )
    return excluded


def licences_markdown(manifest: Mapping[str, Any]) -> str:
    """LICENSES.md: the terms of every source that the data set has images of.

    Args:
        manifest: of a built or published data set.
    """
    counts: Counter[str] = Counter()
    for task in manifest["tasks"].values():
        counts.update(task["sources"])
    names = [name for name in SOURCES if name in counts]
    rows = "".join(_row(name, counts[name]) for name in names)
    cards = {name: SOURCES[name].card for name in names}
    pages = "".join(f"- **{name}**: {c.title}, <{c.homepage}>\n" for name, c in cards.items())
    cited = "".join(f"- {line}\n" for line in text(references(names)).splitlines())
    withheld = ", ".join(manifest.get("withheld", ()))
    parts = [
        f"{_HEAD}{rows}",
        f"\nWithout pictures here, as no licence is known that allows copies: {withheld}.\n"
        if withheld
        else "",
        _CHANGES,
        f"\nWhere they come from:\n\n{pages}",
        f"\nWhat to cite:\n\n{cited}",
    ]
    return "".join(parts)


def _row(name: str, images: int) -> str:
    terms = TERMS[name]
    changed = {True: "under the same licence", False: "free", None: "not stated"}
    return (
        f"| {name} | {images} | {terms.stated} | {_word(terms.redistribute)} "
        f"| {_word(terms.commercial)} | {changed[terms.share_alike]} | {terms.by} |\n"
    )


def _word(allowed: bool | None) -> str:
    return {True: "yes", False: "no", None: "not stated"}[allowed]
