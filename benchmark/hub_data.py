"""A data set named on the command line: a folder, or `hf:ORG/NAME@REVISION` on the Hub."""

import re
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from benchmark.dataset import Dataset, DatasetError, open_dataset
from benchmark.published import Published
from dataset_builders.manifest import MANIFEST
from dataset_builders.publish.upload import REPO, unreachable

SCHEME = "hf:"
_REFERENCE = re.compile(rf"hf:(?P<repo>{REPO})(?:@(?P<revision>\w[\w./-]*))?", re.ASCII)
_PATIENCE_S = 10
_FILES = [MANIFEST, "*.parquet", "splits/*"]  # not the pages for people


@dataclass(frozen=True, slots=True)
class Reference:
    """A data set on the Hub."""

    repo: str  # "ORG/NAME"
    revision: str  # a tag, a branch or a commit

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """`hf:ORG/NAME@REVISION`; without a revision the newest.

        Raises:
            DatasetError: not of that form.
        """
        match = _REFERENCE.fullmatch(text)
        if match is None:
            raise DatasetError(
                f"{text}: write it as hf:ORG/NAME@REVISION, for example hf:lab/usbench@v1.0.0"
            )
        return cls(match["repo"], match["revision"] or "main")

    def __str__(self) -> str:
        return f"{SCHEME}{self.repo}@{self.revision}"


def open_data(data: Path) -> Dataset:
    """The data set in a folder, or on the Hub; the latter is downloaded once and kept.

    It may lack pictures: see `Dataset.require_pictures`.

    Args:
        data: a folder, or a path that reads `hf:ORG/NAME@REVISION`.

    Raises:
        DatasetError: no data set there, a malformed name, or the Hub does not give it.
    """
    root = folder_of(data)
    dataset = open_dataset(root, whole=False)
    if root == data:
        return dataset
    reference = Reference.parse(str(data))
    # the Hub's cache names a snapshot's folder by its commit
    origin = Published(reference.repo, reference.revision, root.name)
    return replace(dataset, published=origin)


def folder_of(data: Path) -> Path:
    """Where the data set lies: the folder itself, or that of its download.

    Raises:
        DatasetError: a malformed name, or the Hub does not give it.
    """
    return download(Reference.parse(str(data))) if str(data).startswith(SCHEME) else data


def download(reference: Reference) -> Path:
    """The folder of a revision in the Hub's cache; its name is the full commit.

    The manifest comes first: a repository of something else is not downloaded to see that.

    Raises:
        DatasetError: no such repository or revision, no data set in it, or no network.
    """
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    cached = not _is_reachable()
    try:
        manifest = hf_hub_download(
            reference.repo,
            MANIFEST,
            repo_type="dataset",
            revision=reference.revision,
            local_files_only=cached,
        )
        commit = Path(manifest).parent.name
        return Path(
            snapshot_download(
                reference.repo,
                repo_type="dataset",
                revision=commit,
                allow_patterns=_FILES,
                local_files_only=cached,
            )
        )
    except RepositoryNotFoundError:
        problem = "there is no such repository, or it is private and `hf auth login` is needed"
    except RevisionNotFoundError:
        problem = f"the repository has no revision {reference.revision}; see its tags on the Hub"
    except LocalEntryNotFoundError:
        problem = "the Hub cannot be reached and it is not in the cache; try again with a network"
    except EntryNotFoundError:
        problem = f"the repository holds no data set of usbench (no {MANIFEST})"
    except (unreachable(), OSError) as error:
        problem = f"it cannot be downloaded ({str(error).partition(chr(10))[0]}); try again"
    raise DatasetError(f"{reference}: {problem}")


def _is_reachable() -> bool:
    """Whether anybody answers at the Hub: told at once, and not after the library's many tries."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    hub = urlsplit(constants.ENDPOINT)
    if getproxies().keys() & {hub.scheme, "all"}:
        return True  # for all that can be told: only the proxy need be reached from here
    port = hub.port or {"http": 80}.get(hub.scheme, 443)
    try:
        with socket.create_connection((hub.hostname or "", port), _PATIENCE_S):
            return True
    except OSError:
        return False
