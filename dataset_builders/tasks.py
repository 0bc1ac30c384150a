"""The eight tasks, in the order the paper prints them: the one table of tasks."""

from dataclasses import dataclass

TRAIN_IMAGES = 600
TEST_IMAGES = 200  # 3:1, so 800 a task


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to segment, and the sources that show it (preferred form first)."""

    code: str
    name: str
    organ: str
    sources: tuple[str, ...]
    colour: bool = False  # keep RGB: Doppler and tissue colour carry meaning there

    @property
    def prompt(self) -> str:
        """The sentence that tells a universal method what to segment."""
        return f"Segment the {self.name} in the ultrasound image."


_TASKS = (
    Task("BC", "breast cancer", "breast", ("udiat", "busi")),
    Task("FH", "fetal head", "fetus", ("hc18",)),
    Task("LA", "left atrium", "heart", ("camus",)),
    Task("LV", "left ventricle", "heart", ("camus",)),
    Task("MD", "myocardium", "heart", ("camus", "hmc_qu")),
    Task("OT", "ovarian tumor", "ovary", ("mmotu",), colour=True),
    Task("TG", "thyroid gland", "thyroid", ("tg3k",)),
    Task("TN", "thyroid nodule", "thyroid", ("tn3k", "ddti")),
)
TASKS = {task.code: task for task in _TASKS}
PARTITIONS = {"1_16": 16, "1_8": 8, "1_4": 4, "full": 1}  # labelled share of training: 1 in n
