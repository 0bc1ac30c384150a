"""References: whole, unique, well-formed, and those that the sources' cards name."""

import re
import unicodedata
from importlib.metadata import version
from pathlib import Path

import pytest

from dataset_builders.citing import CITED, REFERENCES, bibtex, references, text
from dataset_builders.sources import SOURCES

REQUIRED = {"article": {"journal"}, "inproceedings": {"booktitle"}, "misc": set()}
ROOT = Path(__file__).parents[2]


def parsed(source: str) -> dict[str, dict[str, str]]:
    """A strict reader of BibTeX: braces balance, every field is name = {value},."""
    entries: dict[str, dict[str, str]] = {}
    rest = source
    while rest := rest.lstrip():
        head = re.match(r"@(\w+)\{([a-z0-9]+),\n", rest)
        assert head, rest[:60]
        assert head[2] not in entries, f"key {head[2]} comes twice"
        fields = entries[head[2]] = {"kind": head[1]}
        rest = rest[head.end() :]
        while not rest.startswith("}\n"):
            field = re.match(r"  (\w+) = \{", rest)
            assert field, rest[:60]
            end, depth = field.end(), 1
            while depth:
                depth += {"{": 1, "}": -1}.get(rest[end], 0)
                end += 1
            assert field[1] not in fields, f"{head[2]}: {field[1]} comes twice"
            fields[field[1]] = rest[field.end() : end - 1]
            assert rest[end : end + 2] == ",\n"
            rest = rest[end + 2 :]
        rest = rest[2:]
    return entries


def plain(words: str) -> str:
    return unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode().lower()


def test_all_sources_are_cited_and_no_reference_is_left_over():
    assert set(CITED) == set(SOURCES)
    used = {key for keys in CITED.values() for key in keys}
    assert used | {"chen2026propl"} == set(REFERENCES)


def test_the_bibtex_is_well_formed_and_every_entry_whole():
    entries = parsed(bibtex(references(SOURCES)))
    assert set(entries) == {*REFERENCES, "usbench"}
    for key, fields in entries.items():
        assert {"author", "title", "year"} | REQUIRED[fields["kind"]] <= set(fields), key
        assert re.fullmatch(r"\d{4}", fields["year"])
        assert not re.search(r"(?<!\\)[&%#_$]", fields["author"] + fields["title"]), key
        for name in fields["author"].split(" and "):
            assert re.fullmatch(r"others|\{.+\}|[^,]+, (\w\. ?)+", name), f"{key}: {name}"
        if "doi" in fields:
            assert re.fullmatch(r"10\.\d{4,}/\S+", fields["doi"])
        if "pages" in fields:
            assert re.fullmatch(r"\w+(--\w+)?", fields["pages"])


def test_titles_keep_their_capitals():
    entries = parsed(bibtex(references(["camus"])))
    assert all(re.fullmatch(r"\{.*\}", fields["title"]) for fields in entries.values())


@pytest.mark.parametrize("source", SOURCES)
def test_references_agree_with_the_card(source):
    card = plain(SOURCES[source].card.citation)
    of_source = [REFERENCES[key] for key in CITED[source]]
    stated = set(re.findall(r"10\.\d{4,}/[^\s;]+[^\s;.]", card))
    found = {reference.fields.get("doi", "").lower() for reference in of_source}
    assert stated <= found
    in_card = [
        reference
        for reference in of_source
        if reference.fields.get("doi", reference.fields.get("eprint", "")).lower() in card
    ]
    assert in_card
    for reference in in_card:
        assert plain(reference.authors[0].split(",")[0]) in card
        assert str(reference.year) in card
        if reference.fields.get("publisher") != "Zenodo":  # the card gives its doi only
            assert plain(reference.title) in card
        for name in ("volume", "pages"):
            assert plain(reference.fields.get(name, "")) in card


def test_sources_that_ask_for_several_references_get_them():
    dois = {
        name: [REFERENCES[key].fields.get("doi") for key in keys] for name, keys in CITED.items()
    }
    assert "10.1016/j.dib.2023.109247" in dois["busi"]  # the letter on its faults
    assert "10.5281/zenodo.1327317" in dois["hc18"]  # the record of the data
    assert len(dois["hmc_qu"]) == 4


def test_only_what_is_used_is_cited_and_shared_references_once():
    assert list(references(["tg3k", "tn3k"])) == [
        "gong2023trfe",
        "gong2021tn3k",
        "chen2026propl",
        "usbench",
    ]
    assert list(references([])) == ["chen2026propl", "usbench"]


def test_usbench_is_cited_as_in_its_citation_file():
    cff = (ROOT / "CITATION.cff").read_text()
    own = references([])["usbench"]
    assert f'title: "{own.title}"' in cff
    assert f'name: "{own.authors[0].strip("{}")}"' in cff
    assert f"version: {version('usbench')}" in cff
    assert REFERENCES["chen2026propl"].title in cff
    assert REFERENCES["chen2026propl"].fields["eprint"] in cff


def test_plain_text_is_a_line_for_each_reference():
    lines = text(references(SOURCES)).splitlines()
    assert len(lines) == len(REFERENCES) + 1
    assert lines[2].startswith("M. H. Yap, G. Pons, J. Marti, et al. Automated Breast")
    assert lines[2].endswith("22(4), 1218-1226, 2018. doi:10.1109/JBHI.2017.2731873")
    assert not any("others" in line or "{" in line or ".." in line for line in lines)
