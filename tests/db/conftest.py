"""A PostgreSQL server for the tests: the one that is named, else one of their own.

`METASCHED_TEST_POSTGRES` names a server by a URL such as
``postgresql://postgres@/postgres?host=/run/postgresql``, of a role that may create databases.
Otherwise a server is started from Debian's package in a temporary directory, reached by a socket
in it, and stopped at the end. Where neither is possible the tests are skipped and say why.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

PACKAGE = Path("/usr/lib/postgresql")
SETTINGS = "-c listen_addresses='' -c fsync=off -c max_connections=64"


def find_binaries() -> Path | None:
    """The newest installed release."""
    found = sorted(PACKAGE.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return found[-1].parent if found else None


class Server:
    """A server in a directory; it refuses to run as root, so root runs it as ``postgres``."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self.binaries, self.folder = binaries, folder
        self.url = f"postgresql://postgres@/postgres?host={folder}"

    def start(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
        self.folder.chmod(0o755)
        options = "-A trust -U postgres --no-sync -E UTF8 --locale=C"
        self._run(f"initdb -D {self.folder}/data {options}")
        settings = f"{SETTINGS} -c unix_socket_directories={self.folder}"
        self._run(f'pg_ctl -D {self.folder}/data -w -l {self.folder}/log -o "{settings}" start')

    def stop(self) -> None:
        self._run(f"pg_ctl -D {self.folder}/data -m immediate stop")

    def _run(self, command: str) -> None:
        shell = ["su", "postgres", "-s", "/bin/sh", "-c"] if os.geteuid() == 0 else ["sh", "-c"]
        subprocess.run(
            [*shell, f"{self.binaries}/{command}"],
            cwd="/", check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    if named := os.environ.get("METASCHED_TEST_POSTGRES"):
        yield named
        return
    binaries = find_binaries()
    if binaries is None:
        pytest.skip(f"no PostgreSQL under {PACKAGE} (apt-get install postgresql)")
    folder = Path(mkdtemp(prefix="metasched-postgres-"))
    server = Server(binaries, folder)
    try:
        server.start()
    except subprocess.CalledProcessError as error:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"PostgreSQL does not start: {error.stderr.strip()[:300]}")
    yield server.url
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database."""
    from metasched_db.location import check_url
    from sqlalchemy import create_engine, text

    name = f"metasched_{uuid.uuid4().hex}"
    engine = create_engine(check_url(postgres_server), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = check_url(postgres_server).set(drivername="postgresql", database=name)
    yield url.render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'tuning.db'}"
    return request.getfixturevalue("postgres_url")
