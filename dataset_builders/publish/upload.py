"""The calls to the Hugging Face Hub that publish a folder."""

import re
from pathlib import Path
from typing import Any

from dataset_builders.manifest import MANIFEST
from dataset_builders.publish.contents import PublishError

_NAME = r"\w+(?:[.-]\w+)*"
REPO = rf"{_NAME}/{_NAME}(?<!\.git)"  # as the Hub allows; ASCII
_LONGEST = 96
TAG = re.compile(r"v?\d+\.\d+\.\d+", re.ASCII)  # what Croissant takes for a version
_OF_NEW = {".gitattributes", "README.md"}  # what a new repository may hold
_KIND = {"repo_type": "dataset"}


def check_names(repo: str, tag: str | None) -> None:
    """Raise what is wrong with them.

    Raises:
        PublishError: not of the form ORG/NAME; a tag that is no version.
    """
    if not re.fullmatch(REPO, repo, re.ASCII) or len(repo) > _LONGEST:
        raise PublishError(f"--repo {repo}: write it as ORG/NAME, for example lab/usbench")
    if tag is not None and not TAG.fullmatch(tag):
        raise PublishError(f"--tag {tag}: write it as a version of three numbers, like v1.0.0")


def check_token() -> None:
    """Raise if there is none, before any work is done.

    Raises:
        PublishError: nobody has logged in here.
    """
    from huggingface_hub import get_token

    if get_token() is None:
        raise PublishError(
            "no token of the Hugging Face Hub here; run `hf auth login` with one that may write, "
            "set HF_TOKEN, or look at what would be uploaded with --dry-run"
        )


def unreachable() -> type[Exception]:
    """The error of a lost connection: of httpx or httpx2, whichever the installed hub uses."""
    from huggingface_hub.errors import HfHubHTTPError

    base: type[Exception] = HfHubHTTPError.__bases__[0]
    return base


def planned(repo: str, tag: str | None, *, private: bool) -> dict[str, dict[str, Any]]:
    """The calls that change or check the repository, in order, with their arguments."""
    calls: dict[str, dict[str, Any]] = {
        "auth_check": {"repo_id": repo, **_KIND, "write": True},
        "create_repo": {"repo_id": repo, **_KIND, "private": private, "exist_ok": True},
        "upload_folder": {
            "repo_id": repo,
            **_KIND,
            "commit_message": f"usbench {tag or 'data set'}",
            # what an earlier version had and this one has not, such as pictures, goes
            "delete_patterns": "*",
        },
    }
    if tag:
        calls["create_tag"] = {"repo_id": repo, **_KIND, "tag": tag, "exist_ok": False}
    return calls


def upload(folder: Path, repo: str, tag: str | None, *, private: bool) -> str:
    """Make the repository hold this folder, and give the version its tag; return its commit.

    Raises:
        PublishError: no network, no right to write, a tag that exists, a repository of something
            else or of another visibility. The repository changes only with the last file: files
            that arrived before wait there, unseen, and are not sent again.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    calls, api = planned(repo, tag, private=private), HfApi()
    try:
        if exists(api, calls["auth_check"]):
            _check_repository(api, repo, tag, private=private)
        api.create_repo(**calls["create_repo"])
        done = api.upload_folder(folder_path=folder, **calls["upload_folder"])
        if tag:
            api.create_tag(revision=done.oid, **calls["create_tag"])
    except HfHubHTTPError as error:
        raise PublishError(
            f"the Hub refused to publish {repo} ({_said(error)}); check that your token may write "
            "there, then publish again: what is uploaded already is not sent twice"
        ) from None
    except (unreachable(), OfflineModeIsEnabled) as error:
        raise PublishError(
            f"the Hub at {api.endpoint} cannot be reached ({_said(error)}); publish again with a "
            "network, or look at what would be uploaded with --dry-run"
        ) from None
    return str(done.oid)


def exists(api: Any, call: dict[str, Any]) -> bool:  # noqa: ANN401 - HfApi, imported late
    """Whether the repository is there and may be written to.

    Raises:
        HfHubHTTPError: it is there, and may not.
    """
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        api.auth_check(**call)
    except GatedRepoError:
        raise
    except RepositoryNotFoundError:
        return False
    return True


def _check_repository(api: Any, repo: str, tag: str | None, *, private: bool) -> None:  # noqa: ANN401
    """Refuse what publishing would spoil."""
    tags = {ref.name for ref in api.list_repo_refs(repo, **_KIND).tags}
    if tag in tags:
        raise PublishError(
            f"{repo} has a tag {tag} already, and a published version does not change; "
            "give another --tag"
        )
    files = set(api.list_repo_files(repo, **_KIND))
    if files - _OF_NEW and MANIFEST not in files:
        raise PublishError(
            f"{repo} holds something else (no {MANIFEST}), which would be deleted; "
            "give another --repo"
        )
    if private and not api.repo_info(repo, **_KIND).private:
        raise PublishError(
            f"{repo} is public; make it private in its settings, or publish without --private"
        )


def _said(error: Exception) -> str:
    """The first line of what the library says."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
