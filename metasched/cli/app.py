"""The command group, and how every error becomes one line and an exit status.

Statuses: 0 success, 1 the work failed, 2 bad usage (a wrong argument, or something that has to be
installed or repaired first), 130 interrupted. Commands are imported when they are asked for, and
import the library inside their functions, so that help and completion stay instant.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

import click

from metasched.errors import (
    DatabaseError,
    DeviceError,
    MetaschedError,
    ParseError,
    ToolchainError,
    TraceError,
    UsageError,
    suggest,
)

SUCCESS: Final = 0
FAILED: Final = 1
BAD_USAGE: Final = 2
INTERRUPTED: Final = 130

COMMANDS: Final = ("tune", "query", "space", "bench", "db", "model", "simulate", "targets")
_USER_CAN_REPAIR: Final = (
    UsageError,
    ToolchainError,
    DeviceError,
    DatabaseError,
    TraceError,
    ParseError,
)


class _Commands(click.Group):
    """The commands by name, each imported from the module of its name on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            raise click.UsageError(f"unknown command '{cmd_name}'{suggest(cmd_name, COMMANDS)}")
        return getattr(import_module(f"metasched.cli.commands.{cmd_name}"), cmd_name)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    invoke_without_command=True,
)
@click.version_option(package_name="metasched")
@click.pass_context
def app(context: click.Context) -> None:
    """Make tensor programs fast on the machine that runs them."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status; errors are one line on standard error."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    try:
        status = app.main(list(arguments), prog_name="metasched", standalone_mode=False)
    except click.ClickException as error:
        return _refuse(error.format_message(), error.exit_code)
    except click.Abort:
        return _refuse("interrupted", INTERRUPTED)
    except MetaschedError as error:
        status = BAD_USAGE if isinstance(error, _USER_CAN_REPAIR) else FAILED
        return _refuse(str(error), status)
    except BrokenPipeError:
        # The reader of a pipe, such as head, has seen enough.
        sys.stdout = None
        return SUCCESS
    return status if isinstance(status, int) else SUCCESS


def _refuse(message: str, status: int) -> int:
    line = " ".join(message.split()) if status == BAD_USAGE else message
    click.echo(f"metasched: {line}", err=True)
    return status
