"""Where a data set was had from, if it was not built here: what records keep and reports cite."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Published:
    """A version of a data set on the Hugging Face Hub."""

    repo: str  # "ORG/NAME"
    revision: str  # as it was asked for: a tag, a branch, a commit
    commit: str  # what that was, in full

    @property
    def name(self) -> str:
        """What `--data` takes to get it again."""
        return f"hf:{self.repo}@{self.revision}"

    def __str__(self) -> str:
        """How reports cite it."""
        return f"{self.name} (commit {self.commit[:12]})"
