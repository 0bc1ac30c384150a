"""One thing that is wrong with a built data set, said so that it can be found."""

from dataclasses import dataclass

STEPS = {
    "manifest": "manifest.json against what the shards hold",
    "file": "bytes of a shard against the manifest",
    "row": "reading rows from a shard",
    "column": "a column against the others, the file's name or the manifest",
    "pixels": "decoded image against pixel_sha256",
    "mask": "decoded mask against mask_sha256",
    "list": "splits/*.txt against the shards",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What differs, where, and in which step of `STEPS` it was seen."""

    step: str
    where: str  # file inside the data set, and the row where it is known
    problem: str
    sample: str = ""  # id of the image, where one is at fault
    source: str = ""  # whose image it is

    def __str__(self) -> str:
        whose = f" {self.sample} (source {self.source})" if self.sample else ""
        return f"{self.step:<8}  {self.where}{whose}: {self.problem}"
