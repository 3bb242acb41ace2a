"""Files of kernels that travel: kept by the driver, shipped to machines that do not have them.

A driver and a host on one machine share files. Otherwise the bytes of a build come with its answer,
the driver keeps them, and runs take them from Ray's object store, which fetches them once a node.
"""

from __future__ import annotations

import itertools
import os
import pickle
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from metasched.measure.records import (
    Artefact,
    BuildRequest,
    BuildResult,
    CompareRequest,
)
from metasched_workers.protocol import Answer, Request
from metasched_workers.scratch import Broom

_MOST_KEPT = 256
"""Files that a host keeps though nothing here needs them now: references come again."""


def artefacts_of(request: Request) -> tuple[Artefact, ...]:
    """The kernels that a request names."""
    if isinstance(request, BuildRequest):
        return ()
    if isinstance(request, CompareRequest):
        return request.artefacts
    return (request.artefact, *((request.reference,) if request.reference else ()))


def with_content(answer: Answer) -> Answer:
    """An answer with the bytes of what was built."""
    result = answer.result
    if not isinstance(result, BuildResult) or result.output is None:
        return answer
    return replace(answer, content=read_files(result.output.artefact.path))


def files_of(path: str) -> list[Path]:
    """The files of a kernel: one, or several of one name with different endings."""
    return sorted(Path(path).parent.glob(f"{Path(path).stem}.*"))


def read_files(path: str) -> bytes:
    """Return the files of a kernel, packed by their endings."""
    return pickle.dumps({file.suffix: file.read_bytes() for file in files_of(path)})


def write_files(path: Path, content: bytes) -> None:
    """Write what `read_files` packed."""
    files: dict[str, bytes] = pickle.loads(content)
    for suffix, data in files.items():
        path.with_suffix(suffix).write_bytes(data)


class Arrivals:
    """The kernels that came from a driver on another machine, as files of this one."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="metasched-arrivals-"))
        self._files: OrderedDict[str, Path] = OrderedDict()
        self._pins: dict[str, int] = {}
        self._numbers = itertools.count()

    def missing(self, paths: Iterable[str]) -> list[str]:
        """Return the driver's paths that have no file here."""
        return [path for path in paths if path not in self._files]

    def take(self, parcels: Mapping[str, bytes]) -> None:
        """Write the kernels of a driver, by its paths."""
        for path, content in parcels.items():
            if path not in self._files:
                # A new name each time: a library that is loaded is never written over.
                file = self.folder / f"{next(self._numbers)}-{os.path.basename(path)}"
                write_files(file, content)
                self._files[path] = file

    def pin(self, request: Request) -> None:
        """Keep the files of a request until it is released."""
        for artefact in artefacts_of(request):
            if artefact.path in self._files:
                self._files.move_to_end(artefact.path)
                self._pins[artefact.path] = self._pins.get(artefact.path, 0) + 1

    def release(self, request: Request) -> None:
        """Let go of the files of a request; the longest unused ones go when there are many."""
        for artefact in artefacts_of(request):
            if self._pins.get(artefact.path, 0) > 1:
                self._pins[artefact.path] -= 1
            else:
                self._pins.pop(artefact.path, None)
        while len(self._files) > _MOST_KEPT + len(self._pins):
            path = next(path for path in self._files if path not in self._pins)
            for file in files_of(str(self._files.pop(path))):
                file.unlink(missing_ok=True)

    def localise(self, request: Request) -> Request:
        """Return a request that names files of this machine."""
        if isinstance(request, BuildRequest):
            return request
        if isinstance(request, CompareRequest):
            return replace(request, artefacts=tuple(map(self._local, request.artefacts)))
        reference = self._local(request.reference) if request.reference else None
        return replace(request, artefact=self._local(request.artefact), reference=reference)

    def close(self) -> None:
        """Remove all files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _local(self, artefact: Artefact) -> Artefact:
        file = self._files.get(artefact.path)
        return artefact if file is None else replace(artefact, path=str(file))


class Store:
    """The kernels of a job, as files of its driver, valid until the job ends."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="metasched-job-"))
        self._broom = Broom(str(self.folder))
        self._numbers = itertools.count()

    def keep(self, result: BuildResult, content: bytes | None) -> BuildResult:
        """Return a result whose artefact is a file of this process.

        Args:
            result: A build that a host finished; its file may go at any time.
            content: The bytes of the file; None where it can be linked.

        Raises:
            OSError: The file is gone, or cannot be written here.
        """
        if result.output is None:
            return result
        artefact = result.output.artefact
        name = f"{next(self._numbers)}-{os.path.basename(artefact.path)}"
        file = self.folder / name
        if content is not None:
            write_files(file, content)
        else:
            _link(artefact.path, file)
        output = replace(result.output, artefact=replace(artefact, path=str(file)))
        return replace(result, output=output)

    def close(self) -> None:
        """Remove all files."""
        self._broom.sweep()


def _link(source: str, path: Path) -> None:
    """Give the files of a kernel names here; the named one must be there."""
    for one in {Path(source), *files_of(source)}:
        file = path.with_suffix(one.suffix)
        try:
            os.link(one, file)
        except FileNotFoundError:
            raise
        except OSError:
            shutil.copyfile(one, file)
