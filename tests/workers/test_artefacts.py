"""Kernels travel with all their files."""

from __future__ import annotations

from pathlib import Path

from metasched_workers.artefacts import Arrivals, Store, read_files, with_content
from metasched_workers.protocol import Answer

from metasched.measure.records import Artefact, BuildOutput, BuildResult, RunRequest, Status


def made(folder: Path) -> BuildResult:
    (folder / "abc.cubin").write_bytes(b"code")
    (folder / "abc.json").write_text("launches")
    artefact = Artefact(str(folder / "abc.cubin"), "kernel", "abc", (), 0, 1.0)
    return BuildResult(1, Status.OK, output=BuildOutput(artefact, "hash", "[]"))


def files(path: str) -> tuple[bytes, str]:
    return Path(path).read_bytes(), Path(path).with_suffix(".json").read_text()


def test_all_files_of_a_kernel_come_to_the_driver_and_to_hosts(tmp_path: Path) -> None:
    store, arrivals = Store(), Arrivals()
    result = made(tmp_path)
    shipped = with_content(Answer(1, result))
    for content in (None, shipped.content):
        kept = store.keep(result, content)
        assert kept.output is not None
        path = kept.output.artefact.path
        assert path != str(tmp_path / "abc.cubin")
        assert files(path) == (b"code", "launches")
        assert arrivals.missing([path]) == [path]
        arrivals.take({path: read_files(path)})
        run = arrivals.localise(RunRequest(2, kept.output.artefact))
        assert isinstance(run, RunRequest)
        assert run.artefact.path != path
        assert files(run.artefact.path) == (b"code", "launches")
    folders = store.folder, arrivals.folder
    store.close()
    arrivals.close()
    assert not any(folder.exists() for folder in folders)
