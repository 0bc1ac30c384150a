"""Figures of the report, from records alone, and from the data set where pixels are needed."""

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmark.profiles import PROFILES
from benchmark.settings import choose
from dataset_builders.errors import UsageError


def make_all(
    results: Path,
    data: Path | None,
    out: Path,
    *,
    profile: str = "paper",
    images: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Write every figure that the records allow, as SVG and PNG; equal records give equal bytes.

    Figures that show images of the data set go into `out/images`, which git ignores: the sources'
    licences forbid to publish most of them.

    Args:
        results: folder that holds `runs/`.
        data: the built data set; None leaves out figures that show images.
        out: folder of the figures.
        profile: how images are scored, one of `benchmark.profiles.PROFILES`.
        images: ids of test images for the qualitative figure; by default one a task.
        say: is told which runs and figures were left out, and why.

    Returns:
        The files written.

    Raises:
        UsageError: no run that can be read; unknown profile.
    """
    # Here, not above: Matplotlib takes a second, and a report may want no figures.
    from benchmark.figures.plans import IMAGES, plan_all
    from benchmark.figures.records import load_runs
    from benchmark.figures.style import save

    runs = load_runs(
        results,
        PROFILES[choose("profile", profile, PROFILES)],
        lambda error: say(f"left out a run: {error}"),
    )
    written: list[Path] = []
    left_out: dict[str, list[str]] = {}
    for plan in plan_all(runs, data, images):
        try:
            prepared = plan.prepare()
        except UsageError as error:
            left_out.setdefault(str(error), []).extend(plan.draw)
            continue
        if plan.shows_images:
            (out / IMAGES).mkdir(parents=True, exist_ok=True)
            (out / IMAGES / ".gitignore").write_text("*\n")
        for name, draw in plan.draw.items():
            written += save(draw(prepared), out / name)
    for reason, names in left_out.items():
        older = any((out / f"{name}.svg").exists() for name in names)
        say(f"left out {', '.join(names)}{' (older files stay)' * older}: {reason}")
    return written
