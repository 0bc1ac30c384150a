"""`usbench predict`: masks of pictures by a trained method."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import Results, plain_errors
from dataset_builders.errors import UsageError

Task = Annotated[str, typer.Option(help="What to outline; see `usbench list tasks`.")]
RunName = Annotated[
    str | None,
    typer.Option("--run", help="A finished run: its record, or its name as unet/1_4/seed0."),
]
Checkpoint = Annotated[
    Path | None, typer.Option("--checkpoint", help="A file of trained weights, instead of a run.")
]


def predict(
    images: Annotated[
        list[str],
        typer.Argument(help="PNG, JPEG, TIFF, BMP, NIfTI or DICOM files, folders or wildcards."),
    ],
    task: Task,
    run: RunName = None,
    checkpoint: Checkpoint = None,
    results: Results = Path("results"),
    out: Annotated[Path, typer.Option(help="Folder for masks and overlays.")] = Path("predictions"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier prediction.")
    ] = False,
) -> None:
    """Outline a target in pictures: a mask and an overlay of each, at its own size."""
    failures: list[str] = []
    with plain_errors():
        from rich.console import Console
        from rich.progress import Progress

        from benchmark.machine import pick_device
        from benchmark.pictures.inputs import find_inputs
        from benchmark.pictures.writing import Outputs
        from benchmark.predict import load_model, weights_path, write_predictions

        inputs, problems = find_inputs(images, outside=out)
        if not inputs:
            raise UsageError("\n".join(map(str, problems)))
        outputs = Outputs(out, inputs, overwrite=overwrite)
        weights = weights_path(run, checkpoint, results, task)
        model = load_model(weights, task, pick_device(device))
        console = Console(stderr=True)
        bars = Progress(console=console, disable=not console.is_terminal)

        def failed(message: str) -> None:
            failures.append(message)
            console.print(f"Error: {message}", style="red", soft_wrap=True, markup=False)

        for problem in problems:
            failed(str(problem))
        with bars:
            bar = bars.add_task(f"{task} pictures", total=len(inputs))
            frames = write_predictions(model, inputs, outputs, failed, lambda: bars.advance(bar))
    typer.echo(f"masks: {out} (frames: {frames}, errors: {len(failures)})")
    if failures:
        raise typer.Exit(1)
