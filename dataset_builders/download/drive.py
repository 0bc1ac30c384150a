"""Google Drive, through gdown.

gdown resumes in a file of its own making beside the target, and knows the pages that Drive shows
in place of a file: the warning about viruses, which it passes, and those that end the matter.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import TypeVar

import requests

from dataset_builders.download.checks import check_file, is_whole, replaced
from dataset_builders.download.content import as_reported
from dataset_builders.download.errors import MirrorError
from dataset_builders.download.transfer import Expected, Report

TIMEOUT = (20.0, 60.0)  # s to connect, s without a byte
RETRIES = 5

Result = TypeVar("Result")

QUOTA = ("too many users", "quota", "many accesses")
TOO_MANY = (
    "it has been downloaded too often today, or is no longer shared",
    "wait a day, or open the address in a browser that is signed in to Google",
)


@dataclass(frozen=True, slots=True)
class DriveFile:
    """One shared file."""

    id: str
    name: str  # what it is called here: Drive's own name may change
    sha256: str | None = None  # as others report it
    host: str = "drive.google.com"

    @property
    def page(self) -> str:
        """Where a person downloads it."""
        return f"https://{self.host}/file/d/{self.id}/view"

    def get(self, into: Path, have: Path, report: Report) -> list[str]:
        """Fetch it unless it is, whole, in `into` or in `have`.

        Raises:
            MirrorError: what Drive says in place of the file.
        """
        mine = have / self.name
        if is_whole(mine, _expected(mine)):
            return []
        _download(self.id, into / self.name, report)
        return replaced(mine) + as_reported(into / self.name, None, self.sha256)


@dataclass(frozen=True, slots=True)
class DriveFolder:
    """The files below one folder of a shared folder, or archives of that folder.

    Args:
        id: of the shared folder.
        inside: name of the folder whose files are needed; a file of that name with an ending, as
            "OTU_2d.zip", counts too.
    """

    id: str
    inside: str
    host: str = "drive.google.com"

    @property
    def page(self) -> str:
        """Where a person downloads it."""
        return f"https://{self.host}/drive/folders/{self.id}"

    def get(self, into: Path, have: Path, report: Report) -> list[str]:
        """Fetch those of its files that are, whole, neither in `into` nor in `have`.

        Raises:
            MirrorError: as `DriveFile.get`; or the folder is not as expected.
        """
        files = self._list()
        done = 0

        def add(so_far: int, _: int | None) -> None:
            report(done + so_far, None)  # sizes are told only as the files come

        notes: list[str] = []
        for path, id_ in files.items():
            if not is_whole(have / path, _expected(path)):
                done += _download(id_, into / path, add)
                notes += replaced(have / path)
        return notes

    def _list(self) -> dict[PurePosixPath, str]:
        import gdown

        listed = _translated(
            lambda: gdown.download_folder(
                id=self.id, skip_download=True, quiet=True, use_cookies=False, timeout=TIMEOUT
            )
        )
        files = {
            PurePosixPath(file.path): file.id
            for file in listed
            if not isinstance(file, str)  # it is one where files were fetched
            and self.inside in {part.partition(".")[0] for part in Path(file.path).parts}
        }
        if not files:
            raise MirrorError(
                f"its folder lists no '{self.inside}' (of {len(listed)} files)",
                f"look at {self.page}",
            )
        return files


def _download(id_: str, target: Path, report: Report) -> int:
    """Fetch one file, going on with what has come of it; its size in bytes."""
    import gdown

    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        _translated(
            lambda: gdown.download(
                id=id_,
                output=str(target),
                quiet=True,
                use_cookies=False,
                resume=True,
                progress=report,
                timeout=TIMEOUT,
                retries=RETRIES,
            )
        )
        try:
            check_file(target, _expected(target))
        except MirrorError:
            target.unlink()
            raise
    return target.stat().st_size


def _expected(path: PurePath) -> Expected:
    """What is known of a file by its name."""
    return Expected(kind="zip" if path.suffix.lower() == ".zip" else "any")


def _translated(call: Callable[[], Result]) -> Result:
    """The result of one of gdown's functions; what it raises is told in our words."""
    import gdown

    try:
        return call()
    except gdown.FileURLRetrievalError as error:
        text = _one_line(error)
        if any(word in text.lower() for word in QUOTA):
            raise MirrorError(*TOO_MANY) from error
        raise MirrorError(f"shows a page in place of the file: {text}") from error
    except gdown.DownloadError as error:
        raise MirrorError(_one_line(error)) from error
    except requests.ConnectionError as error:
        raise MirrorError("cannot be reached", "check the network") from error
    except requests.HTTPError as error:
        status = None if error.response is None else error.response.status_code
        raise MirrorError(f"answers HTTP {status}") from error
    except requests.RequestException as error:
        raise MirrorError(_one_line(error)) from error
    except (KeyError, AssertionError) as error:  # of a page that gdown cannot read
        raise MirrorError("shows a page that gdown does not understand", "update gdown") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
