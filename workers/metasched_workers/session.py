"""Starts Ray on this machine, or joins a fleet: quiet, closed and without telemetry.

Ray reads its settings when it is imported, so nothing in this package imports it before this did.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sys
import tempfile
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from metasched.errors import MeasureError
from metasched_workers.scratch import Broom

STORE_BYTES: Final = 128 << 20
"""Of the object store on this machine: kernels are small, and each is needed once."""

_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_LOOPBACK: Final = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Despite its name this decides, on any system, whether Ray listens on loopback only."""
_INSTALL: Final = "Ray is not installed; install it with `pip install 'metasched[ray]'`"


@dataclass(frozen=True, slots=True)
class Session:
    """A connection to Ray.

    Attributes:
        folder: Where Ray and its processes keep files; empty where they are not this session's.
        broom: Removes the folder when this process ends before the session is closed.
        is_borrowed: Whether the connection is the caller's own and stays.
    """

    folder: str
    broom: Broom | None
    is_borrowed: bool = False

    def close(self) -> None:
        """Disconnect; end Ray where it was started for this session."""
        if not self.is_borrowed:
            load_ray().shutdown()
        if self.broom is not None:
            self.broom.sweep()


def start(cores: int, gpus: int = 0) -> Session:
    """Start Ray on this machine for this process alone, on loopback, with a token of its own.

    Args:
        cores: What builders take.
        gpus: Devices that runners take.

    Raises:
        MeasureError: Ray is not installed, does not start, or is in use in this process.
    """
    _check_not_imported()
    _settings({**_QUIET, **_LOOPBACK, "RAY_AUTH_TOKEN": secrets.token_hex(32)})
    load_ray()
    folder = tempfile.mkdtemp(prefix="metasched-")
    # All that Ray's processes write is below this folder, also when they are killed.
    variables = {"PYTHONPATH": _python_path(), "TMPDIR": f"{folder}/tmp"}
    os.mkdir(variables["TMPDIR"])
    with _variables(variables):
        return _connect(
            folder,
            address="local",
            num_cpus=cores,
            num_gpus=gpus,
            include_dashboard=False,
            object_store_memory=STORE_BYTES,
            _temp_dir=f"{folder}/ray",
        )


def join(address: str) -> Session:
    """Join a fleet.

    Args:
        address: ``"ray://HOST:PORT"`` for the port of Ray's client server, from anywhere; or
            ``"HOST:PORT"``, the address of the cluster, or ``"auto"``, on one of its nodes. Where
            this process is connected already, that is used.

    Raises:
        MeasureError: Ray is not installed, or the fleet does not answer.
    """
    _settings(_QUIET)
    if load_ray().is_initialized():
        return Session("", None, is_borrowed=True)
    return _connect("", address=address)


def _connect(folder: str, **arguments: Any) -> Session:
    session = Session(folder, Broom(folder) if folder else None)
    try:
        load_ray().init(log_to_driver=False, logging_level=logging.ERROR, **arguments)
    except Exception as error:
        session.close()
        where = "start on this machine" if folder else f"answer at '{arguments['address']}'"
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise MeasureError(f"Ray does not {where}: {reason}") from error
    return session


def _check_not_imported() -> None:
    """Ray reads its settings when it is imported; with others it would listen to everybody."""
    missing = [name for name in (*_QUIET, *_LOOPBACK) if name not in os.environ]
    if "ray" in sys.modules and missing:
        raise MeasureError(
            "Ray was imported before it could be set up for this machine alone; call ray.init()"
            " yourself, then workers='ray' uses that, or let metasched import it"
        )


def load_ray() -> Any:
    """Return Ray's module, whose own types are too loose to be of use.

    Raises:
        MeasureError: it is not installed.
    """
    try:
        return import_module("ray")
    except ModuleNotFoundError as error:
        raise MeasureError(_INSTALL) from error


def _settings(wanted: Mapping[str, str]) -> None:
    """Set variables for Ray, here and in the processes that it starts, unless the user did.

    They stay: Ray reads some of them whenever it connects, and the token only once.
    """
    for name, value in wanted.items():
        os.environ.setdefault(name, value)


def _python_path() -> str:
    """Let Ray's processes find the modules that this one finds."""
    return os.pathsep.join(entry or os.getcwd() for entry in sys.path)


@contextlib.contextmanager
def _variables(wanted: Mapping[str, str]) -> Generator[None]:
    """Set variables for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
