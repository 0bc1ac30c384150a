"""How a command ends that cannot go on."""

import pytest
import typer
from typer.testing import CliRunner

from benchmark.commands.options import plain_errors
from dataset_builders.errors import UsageError


@pytest.fixture
def command():
    """Runs a command that raises an error, as on a terminal."""

    def command(error, *kept, **env):
        app = typer.Typer()

        @app.command()
        def raises() -> None:
            with plain_errors(*kept):
                raise error

        return CliRunner().invoke(app, [], env=env, color=True)

    return command


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UsageError("no such"), "no such"),
        (OSError("of a library"), "of a library"),
        (
            OSError(28, "No space left on device"),
            "No space left on device; mend that, then repeat the command",
        ),
        (
            PermissionError(13, "Permission denied", "/a/b"),
            "/a/b cannot be used (Permission denied); name another path, or see that it is there "
            "and may be read and written, then repeat the command",
        ),
    ],
)
def test_an_error_is_one_red_line_and_code_2(command, error, said):
    done = command(error, NO_COLOR="")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr == f"\x1b[31mError: {said}\x1b[0m\n"


def test_without_colours_if_the_user_wants_none(command):
    assert command(UsageError("no such"), NO_COLOR="1").stderr == "Error: no such\n"


def test_ctrl_c_is_one_line_and_code_130(command):
    done = command(KeyboardInterrupt())
    assert (done.exit_code, done.stdout) == (130, "")
    assert done.stderr == "stopped; what was there before is kept, and nothing is half-written\n"
    assert command(KeyboardInterrupt(), "go on").stderr == "stopped; go on\n"


def test_an_error_of_ours_is_not_hidden(command):
    assert isinstance(command(KeyError("ours")).exception, KeyError)
