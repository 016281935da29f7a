"""`dtms`: the commands. Everything heavy is imported inside of them, so that `--help` is quick."""

from __future__ import annotations

import sys

import typer

from dtms.cli import ask, audit, config, drill, instruments, kill, ledger, mode, person, processes, run
from dtms.cli.output import Exit, exit_of, say
from dtms.errors import DtmsError

app = typer.Typer(
    name="dtms",
    help=(
        "Protects open trading positions: scores them, warns, tightens, takes part off, hedges, recovers or closes.\n\n"
        "Exit codes: 0 done; 1 a check or the product failed; 2 a setting, tape or argument cannot be used; "
        "3 a service cannot be reached; 4 not found."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
run.add(app)
processes.add(app)
ask.add(app)
config.add(app)
mode.add(app)
kill.add(app)
person.add(app)
audit.add(app)
ledger.add(app)
drill.add(app)
instruments.add(app)


def main() -> None:
    """Run one command; an error that has a name ends it with one sentence and its exit code, never a traceback."""
    try:
        app(prog_name="dtms")
    except DtmsError as error:
        said = "; ".join((str(error), *getattr(error, "__notes__", ())))
        say(f"dtms: {said}")
        sys.exit(exit_of(error))
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone; there is nobody left to tell
        sys.exit(0)
    except OSError as error:
        say(f"dtms: {_machine(error)}")
        sys.exit(Exit.USAGE)


def _machine(error: OSError) -> str:
    """Return what the machine refused: a full disk, missing rights, a file where a folder is meant."""
    where = "" if error.filename is None else f"{error.filename}: "
    return (
        f"{where}{error.strerror or type(error).__name__}; make room, correct the path or its rights, and start again"
    )


if __name__ == "__main__":
    main()
