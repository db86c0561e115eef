"""The command line: one module a verb; the only place that prints.

Exit codes: 0 done, 1 failed (one message says why), 2 the command was not written right, 130 interrupted.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import typer

from pwact._version import __version__
from pwact.cli import experiment, plan, report, sites, stats, study, train
from pwact.cli.common import ctrl_c, fail, leave_at_once, programs
from pwact.errors import PwactError

app = typer.Typer(
    help="How does a CNN make its decisions, point by point?",
    epilog="First steps: `pwact study` runs everything; `pwact COMMAND --help` shows an example of each.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"pwact {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
    version: bool | None = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    pass


class Interrupted(Exception):
    """Ctrl-C, with what there is to say about it; typer would swallow a KeyboardInterrupt."""


def _interruptible(command: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        try:
            if command is not report.command:  # which does without JAX
                programs.keep()
            command(**arguments)
        except KeyboardInterrupt as interrupt:
            raise Interrupted(str(interrupt)) from interrupt

    return run


for module in (study, train, sites, plan, stats, experiment, report):
    app.command(name=module.__name__.rpartition(".")[2], epilog=module.EXAMPLE)(
        _interruptible(module.command)
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; `--debug` anywhere shows tracebacks.

    Without arguments they are the process's own: compiled programs are kept for the next one, and Ctrl-C ends
    it as soon as the message is out, as an XLA that was interrupted can crash when Python takes it apart.
    """
    own_process = arguments is None
    interrupted = leave_at_once if own_process else fail
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    programs.own_process = own_process
    debug = "--debug" in arguments
    with ctrl_c.listening():
        try:
            app([argument for argument in arguments if argument != "--debug"], prog_name="pwact")
        except PwactError as error:
            if debug:
                raise
            fail(str(error))
        except Interrupted as interrupt:
            if debug:
                raise
            interrupted(f"Interrupted. {interrupt}".rstrip(), code=130)
        except SystemExit:
            if ctrl_c.seen:
                interrupted("Interrupted, too late to stop anything: what is said above is done.", code=130)
            raise
        except Exception as error:  # one message, whatever went wrong
            if debug:
                raise
            fail(f"{type(error).__name__}: {error} (this was not foreseen; --debug shows where)")
