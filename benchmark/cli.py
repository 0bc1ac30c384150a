"""`usbench`: the table of its commands.

Each command imports what it needs when it is called, so that `--help`, `list` and `report` start
without torch.
"""

import typer

from benchmark.commands.audit import audit
from benchmark.commands.bench import bench
from benchmark.commands.build_data import build_data
from benchmark.commands.cite import cite
from benchmark.commands.compare import compare
from benchmark.commands.diff_data import diff_data
from benchmark.commands.download import download
from benchmark.commands.export import export
from benchmark.commands.leakage import leakage
from benchmark.commands.list_ import list_
from benchmark.commands.plan import plan
from benchmark.commands.predict import predict
from benchmark.commands.publish import publish
from benchmark.commands.report import report
from benchmark.commands.run import run
from benchmark.commands.sources import sources
from benchmark.commands.sweep import sweep
from benchmark.commands.verify_data import verify_data

app = typer.Typer(
    name="usbench",
    help="Universal semi-supervised ultrasound segmentation: one data set, 21 methods.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("sources")(sources)
app.command("download")(download)
app.command("build-data")(build_data)
app.command("verify-data")(verify_data)
app.command("diff-data")(diff_data)
app.command("leakage")(leakage)
app.command("publish")(publish)
app.command("cite")(cite)
app.command("run")(run)
app.command("sweep")(sweep)
app.command("plan")(plan)
app.command("report")(report)
app.command("compare")(compare)
app.command("audit")(audit)
app.command("list")(list_)
app.command("bench")(bench)
app.command("predict")(predict)
app.add_typer(export, name="export")


def main() -> None:
    """Entry point of the `usbench` script."""
    app()


if __name__ == "__main__":
    main()
