"""Girder, the file server of CAMUS: list its folders, fetch the files that are needed.

Its archive of a whole collection is packed anew for every download, so it has no checksum and
cannot be resumed. File by file, an interrupted transfer goes on with the first file that is not
here yet, and the films, most of the 3.6 GB, stay where they are.
"""

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import requests

from dataset_builders.download.answer import new_session
from dataset_builders.download.errors import MirrorError
from dataset_builders.download.transfer import Expected, Patience, Report, fetch

TIMEOUT = 30  # s until a listing is answered
AT_ONCE = 4  # stills are small, so one at a time would mostly wait for answers


@dataclass(frozen=True, slots=True)
class Remote:
    """One file as the server lists it."""

    path: PurePosixPath  # its folders and its name
    url: str
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class GirderCollection:
    """Some files of a collection, in the folders they have there.

    Only names that a pattern knows whole become names here, so none leads out of the folder.

    Args:
        api: address of the server's API, without a slash at its end.
        collection: id of the collection.
        folders: top folder -> whole names of its own folders to look into.
        wanted: whole names of the files to fetch.
    """

    api: str
    collection: str
    folders: Mapping[str, re.Pattern[str]]
    wanted: re.Pattern[str]
    patience: Patience = field(default_factory=Patience)

    @property
    def host(self) -> str:
        return urlsplit(self.api).netloc

    def get(self, into: Path, have: Path, report: Report) -> list[str]:
        """Fetch what is neither in `into` nor in `have`.

        Raises:
            MirrorError: no list of files, or none of those that are wanted in it.
            DownloadError: a file cannot be had; those that could stay for the next try.
        """
        with new_session() as session:
            remotes = list(self._list(session))
            if not remotes:
                raise MirrorError("lists none of the files that are needed; its layout has changed")
            absent = [remote for remote in remotes if not _is_here(have / remote.path, remote.size)]
            self._fetch_all(absent, into, session, report)
        return []

    def _list(self, session: requests.Session) -> Iterator[Remote]:
        for top in self._call(session, "folder", parentType="collection", parentId=self.collection):
            known = self.folders.get(top["name"])
            if known is None:
                continue
            path = PurePosixPath(top["name"])
            yield from self._files(session, path, top["_id"])
            for inner in self._call(session, "folder", parentType="folder", parentId=top["_id"]):
                if known.fullmatch(inner["name"]):
                    yield from self._files(session, path / inner["name"], inner["_id"])

    def _files(self, session: requests.Session, path: PurePosixPath, id_: str) -> Iterator[Remote]:
        for item in self._call(session, "item", folderId=id_):
            if self.wanted.fullmatch(item["name"]):
                url = f"{self.api}/item/{item['_id']}/download"
                yield Remote(path / item["name"], url, int(item["size"]))

    def _call(self, session: requests.Session, what: str, **of: str) -> list[dict[str, Any]]:
        """All folders or items of a parent."""
        try:
            answer = session.get(f"{self.api}/{what}", params={**of, "limit": "0"}, timeout=TIMEOUT)
            answer.raise_for_status()
            return [dict(entry, _id=entry["_id"], name=entry["name"]) for entry in answer.json()]
        except requests.ConnectionError as error:
            raise MirrorError("cannot be reached", "check the network") from error
        except (requests.RequestException, ValueError, TypeError, KeyError) as error:
            raise MirrorError(f"gave no list of files: {' '.join(str(error).split())}") from error

    def _fetch_all(
        self, remotes: list[Remote], into: Path, session: requests.Session, report: Report
    ) -> None:
        total = sum(remote.size for remote in remotes)
        done: dict[PurePosixPath, int] = {}
        lock = Lock()

        def fetch_one(remote: Remote) -> None:
            def one(so_far: int, _: int | None) -> None:
                with lock:
                    done[remote.path] = so_far
                    report(sum(done.values()), total)

            target, expected = into / remote.path, Expected(size=remote.size, kind="any")
            fetch(
                [remote.url],
                target,
                expected,
                report=one,
                session=session,
                patience=self.patience,
            )

        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                for _ in pool.map(fetch_one, remotes):
                    pass
            except BaseException:  # Ctrl-C too: the files under way are finished, no other begun
                pool.shutdown(cancel_futures=True)
                raise


def _is_here(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size
