"""Kaggle, through kagglehub.

kagglehub writes to a cache of its own, which is put into the folder of what is under way here: so
an archive that came in part is gone on with, and nothing else is left behind. It unpacks by itself,
with the standard library's extraction, which keeps to the folder and makes no links.
"""

import logging
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from dataset_builders.download.errors import MirrorError
from dataset_builders.download.transfer import Report

CREDENTIALS = (
    "sign in at www.kaggle.com, accept the terms on the data set's page if it asks, make a token "
    "under API at https://www.kaggle.com/settings, put it into ~/.kaggle/kaggle.json (or into the "
    "environment, as KAGGLE_USERNAME and KAGGLE_KEY), and repeat the command"
)
CACHE = ".kagglehub"


@dataclass(frozen=True, slots=True)
class KaggleSet:
    """A whole data set of Kaggle."""

    handle: str  # "owner/name"
    host: str = "www.kaggle.com"

    @property
    def page(self) -> str:
        """Where a person downloads it."""
        return f"https://{self.host}/datasets/{self.handle}"

    def get(self, into: Path, have: Path, report: Report) -> list[str]:
        """Fetch and unpack all of it into `into`; whatever is in `have` is fetched again.

        Raises:
            MirrorError: no or wrong credentials, no such data set, no network, a damaged archive.
        """
        import kagglehub  # type: ignore[import-untyped]

        cache = into / CACHE
        try:
            with _quiet_cache(cache), _reporting(report):
                unpacked = Path(kagglehub.dataset_download(self.handle))
        except kagglehub.exceptions.UnauthenticatedError as error:
            raise MirrorError("asks for credentials, and there are none", CREDENTIALS) from error
        except requests.HTTPError as error:
            raise self._refused(error) from error
        except requests.ConnectionError as error:
            raise MirrorError("cannot be reached", "check the network") from error
        except requests.RequestException as error:
            raise MirrorError(f"the transfer broke off ({error})", "repeat the command") from error
        except (zipfile.BadZipFile, kagglehub.exceptions.DataCorruptionError, ValueError) as error:
            if "credentials" in str(error).lower():  # a ValueError of its reading kaggle.json
                raise MirrorError(str(error), CREDENTIALS) from error
            shutil.rmtree(cache, ignore_errors=True)  # or the next try would go on with it
            raise MirrorError("the archive came damaged", "repeat the command") from error
        for entry in unpacked.iterdir():
            target = into / entry.name
            if target.is_dir():  # of a try that was stopped at this very point
                shutil.rmtree(target)
            entry.replace(target)
        shutil.rmtree(cache)
        return []

    def _refused(self, error: requests.HTTPError) -> MirrorError:
        status = None if error.response is None else error.response.status_code
        if status in (401, 403):
            from kagglehub.config import (  # type: ignore[import-untyped]
                get_kaggle_credentials,
            )

            known = "the credentials are refused" if get_kaggle_credentials() else "no credentials"
            return MirrorError(f"answers HTTP {status}: {known}", CREDENTIALS)
        if status == 404:
            return MirrorError("answers HTTP 404: no such data set", f"look at {self.page}")
        if status == 429:
            return MirrorError("answers HTTP 429: too many requests", "wait an hour")
        return MirrorError(f"answers HTTP {status}", "try again later")


@contextmanager
def _quiet_cache(folder: Path) -> Iterator[None]:
    """Let kagglehub work in `folder` and say nothing on the screen."""
    log = logging.getLogger("kagglehub")
    level, before = log.level, os.environ.get("KAGGLEHUB_CACHE")
    log.setLevel(logging.WARNING)
    os.environ["KAGGLEHUB_CACHE"] = str(folder.absolute())
    try:
        yield
    finally:
        log.setLevel(level)
        if before is None:
            del os.environ["KAGGLEHUB_CACHE"]
        else:
            os.environ["KAGGLEHUB_CACHE"] = before


@contextmanager
def _reporting(report: Report) -> Iterator[None]:
    """Have `report` told what kagglehub, which takes no callback, tells the bar it draws."""
    from kagglehub import clients

    class Bar:
        """What kagglehub uses of tqdm."""

        def __init__(self, total: int, initial: int = 0, **_: object) -> None:
            self.done, self.total = initial, total

        def __enter__(self) -> "Bar":
            report(self.done, self.total)
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, count: int) -> None:
            self.done += count
            report(self.done, self.total)

    drawn = clients.tqdm
    clients.tqdm = Bar
    try:
        yield
    finally:
        clients.tqdm = drawn
