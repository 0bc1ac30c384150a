"""What to cite: the one table of references, as BibTeX and as plain text.

A field that no publisher or paper could be asked for is left out rather than guessed; "others" ends
a list of authors of which only the first are known here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version

ALWAYS = ("chen2026propl", "usbench")  # cited whatever the data


@dataclass(frozen=True, slots=True)
class Reference:
    """One BibTeX entry."""

    kind: str  # article, inproceedings, misc
    authors: tuple[str, ...]  # "Family, G. I."; "others" last if there are more
    title: str
    year: int
    fields: Mapping[str, str]  # journal, booktitle, volume, number, pages, doi, eprint, ...


CITED = {
    "busi": ("aldhabyani2020busi", "pawlowska2023busi"),
    "udiat": ("yap2018udiat",),
    "hc18": ("vandenheuvel2018hc18", "vandenheuvel2018hc18data"),
    "camus": ("leclerc2019camus",),
    "hmc_qu": (
        "degerli2021hmcqu",
        "kiranyaz2020hmcqu",
        "degerli2024hmcqu",
        "adalioglu2023safnet",
    ),
    "mmotu": ("zhao2022mmotu",),
    "tn3k": ("gong2021tn3k", "gong2023trfe"),
    "tg3k": ("gong2023trfe",),
    "ddti": ("pedraza2015ddti",),
}

_HEUVEL = (
    "van den Heuvel, T. L. A.",
    "de Bruijn, D.",
    "de Korte, C. L.",
    "van Ginneken, B.",
)

REFERENCES = {
    "aldhabyani2020busi": Reference(
        "article",
        ("Al-Dhabyani, W.", "Gomaa, M.", "Khaled, H.", "Fahmy, A."),
        "Dataset of breast ultrasound images",
        2020,
        {
            "journal": "Data in Brief",
            "volume": "28",
            "pages": "104863",
            "doi": "10.1016/j.dib.2019.104863",
        },
    ),
    "pawlowska2023busi": Reference(
        "article",
        ("Pawłowska, A.", "Karwat, P.", "Żołek, N."),
        "Letter to the Editor. Re: [Dataset of breast ultrasound images by W. Al-Dhabyani, "
        "M. Gomaa, H. Khaled & A. Fahmy, Data in Brief, 2020, 28, 104863]",
        2023,
        {
            "journal": "Data in Brief",
            "volume": "48",
            "pages": "109247",
            "doi": "10.1016/j.dib.2023.109247",
        },
    ),
    "yap2018udiat": Reference(
        "article",
        ("Yap, M. H.", "Pons, G.", "Marti, J.", "others"),
        "Automated Breast Ultrasound Lesions Detection Using Convolutional Neural Networks",
        2018,
        {
            "journal": "IEEE Journal of Biomedical and Health Informatics",
            "volume": "22",
            "number": "4",
            "pages": "1218-1226",
            "doi": "10.1109/JBHI.2017.2731873",
        },
    ),
    "vandenheuvel2018hc18": Reference(
        "article",
        _HEUVEL,
        "Automated measurement of fetal head circumference using 2D ultrasound images",
        2018,
        {
            "journal": "PLoS ONE",
            "volume": "13",
            "number": "8",
            "pages": "e0200412",
            "doi": "10.1371/journal.pone.0200412",
        },
    ),
    "vandenheuvel2018hc18data": Reference(
        "misc",
        _HEUVEL,
        "Automated measurement of fetal head circumference using 2D ultrasound images",
        2018,
        {"publisher": "Zenodo", "note": "Data set", "doi": "10.5281/zenodo.1327317"},
    ),
    "leclerc2019camus": Reference(
        "article",
        ("Leclerc, S.", "Smistad, E.", "Pedrosa, J.", "Østvik, A.", "others"),
        "Deep Learning for Segmentation using an Open Large-Scale Dataset in 2D Echocardiography",
        2019,
        {
            "journal": "IEEE Transactions on Medical Imaging",
            "volume": "38",
            "number": "9",
            "pages": "2198-2210",
            "doi": "10.1109/TMI.2019.2900516",
        },
    ),
    "degerli2021hmcqu": Reference(
        "article",
        (
            "Degerli, A.",
            "Zabihi, M.",
            "Kiranyaz, S.",
            "Hamid, T.",
            "Mazhar, R.",
            "Hamila, R.",
            "Gabbouj, M.",
        ),
        "Early Detection of Myocardial Infarction in Low-Quality Echocardiography",
        2021,
        {
            "journal": "IEEE Access",
            "volume": "9",
            "pages": "34442-34453",
            "doi": "10.1109/ACCESS.2021.3059595",
        },
    ),
    "kiranyaz2020hmcqu": Reference(
        "article",
        (
            "Kiranyaz, S.",
            "Degerli, A.",
            "Hamid, T.",
            "Mazhar, R.",
            "Ahmed, R. E. F.",
            "Abouhasera, R.",
            "Zabihi, M.",
            "Malik, J.",
            "Hamila, R.",
            "Gabbouj, M.",
        ),
        "Left Ventricular Wall Motion Estimation by Active Polynomials for Acute Myocardial "
        "Infarction Detection",
        2020,
        {
            "journal": "IEEE Access",
            "volume": "8",
            "pages": "210301-210317",
            "doi": "10.1109/ACCESS.2020.3038743",
        },
    ),
    "degerli2024hmcqu": Reference(
        "article",
        ("Degerli, A.", "Kiranyaz, S.", "Hamid, T.", "Mazhar, R.", "Gabbouj, M."),
        "Early Myocardial Infarction Detection over Multi-view Echocardiography",
        2024,
        {
            "journal": "Biomedical Signal Processing and Control",
            "volume": "87",
            "pages": "105448",
            "doi": "10.1016/j.bspc.2023.105448",
        },
    ),
    "adalioglu2023safnet": Reference(
        "inproceedings",
        ("Adalioglu, I.", "Ahishali, M.", "Degerli, A.", "Kiranyaz, S.", "Gabbouj, M."),
        "SAF-Net: Self-Attention Fusion Network for Myocardial Infarction Detection Using "
        "Multi-View Echocardiography",
        2023,
        {"booktitle": "Computing in Cardiology (CinC)", "doi": "10.22489/CinC.2023.240"},
    ),
    "zhao2022mmotu": Reference(
        "misc",
        ("Zhao, Q.", "Lyu, S.", "Bai, W.", "others"),
        "A Multi-Modality Ovarian Tumor Ultrasound Image Dataset for Unsupervised Cross-Domain "
        "Semantic Segmentation",
        2022,
        {"eprint": "2207.06799", "archiveprefix": "arXiv"},
    ),
    "gong2021tn3k": Reference(
        "inproceedings",
        (
            "Gong, H.",
            "Chen, G.",
            "Wang, R.",
            "Xie, X.",
            "Mao, M.",
            "Yu, Y.",
            "Chen, F.",
            "Li, G.",
        ),
        "Multi-task learning for thyroid nodule segmentation with thyroid region prior",
        2021,
        {
            "booktitle": "IEEE International Symposium on Biomedical Imaging (ISBI)",
            "doi": "10.1109/ISBI48211.2021.9434087",
        },
    ),
    "gong2023trfe": Reference(
        "article",
        ("Gong, H.", "Chen, J.", "Chen, G.", "Li, H.", "Li, G.", "Chen, F."),
        "Thyroid region prior guided attention for ultrasound segmentation of thyroid nodules",
        2023,
        {
            "journal": "Computers in Biology and Medicine",
            "volume": "155",
            "pages": "106389",
            "doi": "10.1016/j.compbiomed.2022.106389",
        },
    ),
    "pedraza2015ddti": Reference(
        "inproceedings",
        (
            "Pedraza, L.",
            "Vargas, C.",
            "Narváez, F.",
            "Durán, O.",
            "Muñoz, E.",
            "Romero, E.",
        ),
        "An open access thyroid ultrasound image database",
        2015,
        {
            "booktitle": "Proceedings of SPIE",
            "volume": "9287",
            "pages": "92870W",
            "doi": "10.1117/12.2073532",
        },
    ),
    "chen2026propl": Reference(
        "inproceedings",
        (
            "Chen, Y.",
            "Wang, Q.",
            "Li, C.",
            "Hu, J.",
            "Shi, Y.",
            "Xiong, S.",
            "Zhu, X. X.",
            "Mou, L.",
        ),
        "ProPL: Universal Semi-Supervised Ultrasound Image Segmentation via Prompt-Guided "
        "Pseudo-Labeling",
        2026,
        {
            "booktitle": "AAAI Conference on Artificial Intelligence",
            "eprint": "2511.15057",
            "archiveprefix": "arXiv",
        },
    ),
}


def usbench() -> Reference:
    """The project itself, as CITATION.cff has it."""
    return Reference(
        "misc",
        ("{The usbench developers}",),
        "usbench: universal semi-supervised ultrasound segmentation, benchmarked",
        2026,
        {"note": f"Version {version('usbench')}"},
    )


def references(sources: Iterable[str]) -> dict[str, Reference]:
    """Key -> reference of the sources, each once, then of ProPL and of usbench.

    Args:
        sources: names of `SOURCES`.
    """
    keys = dict.fromkeys(key for source in sources for key in CITED[source])
    known = {**REFERENCES, "usbench": usbench()}
    return {key: known[key] for key in (*keys, *ALWAYS)}


def bibtex(entries: Mapping[str, Reference]) -> str:
    """Entries with UTF-8 text, as biber and today's BibTeX styles take it."""
    return "\n".join(_entry(key, reference) for key, reference in entries.items())


def _entry(key: str, reference: Reference) -> str:
    fields = {
        "author": " and ".join(reference.authors),
        "title": f"{{{_escaped(reference.title)}}}",  # inner braces keep the capitals
        **{name: _escaped(value) for name, value in reference.fields.items()},
        "year": str(reference.year),
    }
    if "pages" in fields:
        fields["pages"] = fields["pages"].replace("-", "--")
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"@{reference.kind}{{{key},\n{lines}}}\n"


def _escaped(text: str) -> str:
    return text.replace("&", r"\&")


def text(entries: Mapping[str, Reference]) -> str:
    """One line a reference, for a list of references or an acknowledgement."""
    return "".join(f"{_line(reference)}\n" for reference in entries.values())


def _line(reference: Reference) -> str:
    fields = reference.fields
    authors = ", ".join(
        "et al." if name == "others" else " ".join(reversed(name.strip("{}").split(", ")))
        for name in reference.authors
    )
    where = fields.get("journal") or fields.get("booktitle") or fields.get("publisher", "")
    number = f"({fields['number']})" if "number" in fields else ""
    volume = f" {fields['volume']}{number}" if "volume" in fields else ""
    pages = f", {fields['pages']}" if "pages" in fields else ""
    place = f"{where}{volume}{pages}, " if where else ""
    parts = [authors.rstrip("."), reference.title, f"{place}{reference.year}"]
    if "note" in fields:
        parts.append(fields["note"])
    if "eprint" in fields:
        parts.append(f"arXiv:{fields['eprint']}")
    if "doi" in fields:
        parts.append(f"doi:{fields['doi']}")
    return ". ".join(parts)
