"""Terms of use: stated or not allowed; and builds that keep to them."""

import pytest

from dataset_builders import phantom
from dataset_builders.build import build
from dataset_builders.citing import references, text
from dataset_builders.licences import (
    TERMS,
    LicenceError,
    left_out,
    licences_markdown,
    may_be_passed_on,
)
from dataset_builders.sources import SOURCES
from dataset_builders.tasks import TASKS
from dataset_builders.verify import verify


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    phantom.write(folder, images=16, size=64, sources=["busi", "hc18", "camus"])
    return folder


def test_every_source_has_terms():
    assert list(TERMS) == list(SOURCES)


@pytest.mark.parametrize("source", SOURCES)
def test_terms_agree_with_the_licence_on_the_card(source):
    licence, terms = SOURCES[source].card.licence, TERMS[source]
    if "NC" in terms.stated.split("-"):
        assert (terms.commercial, terms.share_alike) == (False, "SA" in terms.stated.split("-"))
    if terms.stated.startswith("CC"):
        assert licence.startswith(terms.stated)
        assert terms.redistribute
    if terms.stated.startswith("none"):
        # what nobody states for these files is not allowed, and not denied either
        assert (terms.redistribute, terms.commercial, terms.share_alike) == (None, None, None)
    else:
        assert "none" not in licence


def test_what_is_not_stated_is_not_allowed():
    assert {name for name in SOURCES if may_be_passed_on(name)} == {"hc18", "camus"}
    assert set(SOURCES) - set(left_out(SOURCES, "commercial")) == {"hc18"}
    assert left_out(SOURCES, "any") == {}


def test_an_unknown_filter_names_the_known_ones():
    with pytest.raises(LicenceError, match=r"'comercial' \(did you mean 'commercial'\?\); choose"):
        left_out(SOURCES, "comercial")


def test_a_filter_that_leaves_nothing_says_what_would_be_left():
    with pytest.raises(LicenceError, match=r"none of busi, camus .* hc18 is"):
        left_out(["busi", "camus"], "commercial")


def test_a_commercial_build_holds_only_what_is_allowed_and_says_so(raw, tmp_path):
    manifest = build(raw, tmp_path / "data", allow_missing=True, license_filter="commercial")
    assert set(manifest["sources"]) == {"hc18"}
    assert manifest["license_filter"] == "commercial"
    assert set(manifest["tasks"]) == {"FH"}
    assert set(manifest["partial"]) >= set(TASKS) - {"FH"}
    assert "left out by the licence filter 'commercial': none stated" in manifest["missing"]["busi"]
    assert verify(tmp_path / "data").findings == ()


def test_sources_that_the_filter_leaves_out_need_not_be_there(raw, tmp_path, monkeypatch):
    whole = {"FH": 16}  # a complete release, so that nothing allowed is missing
    monkeypatch.setattr(type(SOURCES["hc18"]), "expected", whole)
    manifest = build(raw, tmp_path / "data", license_filter="commercial")
    assert set(manifest["missing"]) == set(SOURCES) - {"hc18"}
    assert set(manifest["partial"]) >= set(TASKS) - {"FH"}


def test_a_build_without_filter_says_so(raw, tmp_path):
    manifest = build(raw, tmp_path / "data", sources=["hc18"], allow_missing=True)
    assert manifest["license_filter"] == "any"
    assert manifest["missing"].keys() <= {"hc18"}


def test_an_unknown_filter_builds_nothing(raw, tmp_path):
    with pytest.raises(LicenceError):
        build(raw, tmp_path / "data", license_filter="free")
    assert not (tmp_path / "data").exists()


def test_the_text_has_a_line_for_each_source_with_images():
    manifest = {
        "tasks": {
            "LA": {"sources": {"camus": 800}},
            "MD": {"sources": {"camus": 400, "hmc_qu": 400}},
        }
    }
    lines = licences_markdown(manifest).splitlines()
    rows = [line for line in lines if line.startswith("| ")][2:]
    assert rows[0].startswith(
        "| camus | 1200 | CC-BY-NC-SA-4.0 | yes | no | under the same licence |"
    )
    assert rows[1].startswith("| hmc_qu | 400 | none known | not stated | not stated | not stated")
    assert len(rows) == 2
    assert sum("Leclerc" in line for line in lines) == 1
    assert not any("busi" in line for line in lines)
    assert [line for line in lines if "no licence is known" in line] == []


def test_the_text_names_what_is_withheld_and_cites_as_usbench_cite_does():
    manifest = {
        "tasks": {"TN": {"sources": {"tn3k": 1, "hmc_qu": 2}}, "TG": {"sources": {"tg3k": 3}}},
        "withheld": {"tn3k": {}, "tg3k": {}},
    }
    lines = licences_markdown(manifest).splitlines()
    assert "Without pictures here, as no licence is known that allows copies: tn3k, tg3k." in lines
    cited = text(references(["hmc_qu", "tn3k", "tg3k"])).splitlines()
    assert [line.removeprefix("- ") for line in lines[-len(cited) :]] == cited
    assert sum("Thyroid region prior guided attention" in line for line in lines) == 1
