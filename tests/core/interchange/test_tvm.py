"""`data/tvm_matmul.json` holds what TVM 0.27 wrote for the sketches of a matmul (64, 48, 32)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import metasched as ms
from metasched.database import MemoryDatabase, Trust
from metasched.errors import DatabaseError, UsageError
from metasched.interchange import import_foreign
from metasched.interchange.tvm import read_tvm
from metasched.measure.records import MeasureConfig
from metasched.schedule.replay import replay
from metasched.trace.trace import Trace
from metasched.verifying import verify

FOLDER = Path(__file__).parent / "data" / "tvm"
DATA = Path(__file__).parent / "data" / "tvm_matmul.json"
PROGRAM = ms.ops.matmul(m=64, n=48, k=32)
TARGET = ms.Target("cpu")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "database_tuning_record.json"


def first() -> list:
    return json.loads(DATA.read_text().splitlines()[0])


def test_traces_carry_over() -> None:
    report = read_tvm(DATA, [ms.ops.softmax(m=64, n=48), PROGRAM], TARGET)
    assert len(report.records) == 3
    assert report.skipped == {"the candidate failed in TVM, with no reason given": 3}
    assert len(report.lost) == 2
    record = report.records[0]
    assert record.evidence["their_time_s"] == pytest.approx(1.05e-4)
    assert record.samples_s == ()
    assert not record.is_servable
    scheduled = replay(Trace.from_json(record.trace), PROGRAM)
    kinds = [step.kind for step in scheduled.trace.instructions]
    assert kinds.count("sample_perfect_tile") == 3
    assert (16, 2, 1, 2) in scheduled.trace.decisions.values()


@pytest.mark.cc
def test_a_record_is_served_once_it_is_verified() -> None:
    quick = MeasureConfig(min_samples=3, max_samples=3)
    with MemoryDatabase() as database:
        import_foreign(database, DATA, "tvm", programs=[PROGRAM])
        assert database.best(PROGRAM, TARGET) is None
        verdicts = verify(database, imported=True, top=1, config=quick)
        assert [verdict.trust for verdict in verdicts] == [Trust.CURRENT], verdicts
        best = database.best(PROGRAM, TARGET)
        assert best is not None
        assert best.evidence["imported_from"] == "tvm"
        assert ms.compile(PROGRAM, database=database).record == best


def test_the_folder_will_do(file: Path) -> None:
    file.write_text(DATA.read_text())
    assert len(read_tvm(file.parent, [PROGRAM], TARGET).records) == 3


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (["Frobnicate", [], [], []], "primitive 'Frobnicate' does not carry over"),
        (["Fuse", ["l99"], [1], ["l100"]], "handle 'l99' is not defined"),
        (["GetSBlock", [], [], ["b9"]], "GetSBlock has other arguments than are known"),
        (["GetSBlock", [], ["absent"], ["b9"]], "'absent'"),
        (["SamplePerfectTile", ["l2"], [4, 64], ["v0"]], "SamplePerfectTile has no decision"),
        (["Annotate", ["b0", {}], ["x"], []], "an input is a dict"),
        ([], "a step has 4 parts, got 0"),
    ],
)
def test_a_trace_that_does_not_fit_is_skipped_with_the_reason(
    file: Path, step: list, reason: str
) -> None:
    entry = first()
    entry[1][0][0].append(step)
    file.write_text(json.dumps(entry) + "\n" + json.dumps(first()))
    report = read_tvm(file, [PROGRAM], TARGET)
    assert len(report.records) == 1
    (found,) = report.skipped
    assert reason in found


def test_a_program_of_other_parameters_is_named() -> None:
    report = read_tvm(DATA, [ms.ops.matmul(m=64, n=48, k=64)], TARGET)
    assert report.records == []
    assert any("no program was given for float32(64, 32)" in reason for reason in report.skipped)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "expected a list, got dict"),
        ("[0]", "expected a workload and a record, got 1 items"),
        ("[0, [1]]", "a record has 4 parts, got 1"),
        ("[null, [[], [], {}, []]]", "the number of the workload is none"),
        ("[" * 100_000, "nested too deeply|is no JSON"),
        ("nonsense", "is no JSON"),
    ],
)
def test_a_line_that_is_no_record_imports_nothing(file: Path, text: str, message: str) -> None:
    file.write_text(json.dumps(first()) + "\n" + text)
    with MemoryDatabase() as database:
        with pytest.raises(DatabaseError, match=f"line 2: .*({message})"):
            import_foreign(database, file, "tvm", programs=[PROGRAM])
        assert database.stats().records == 0


def test_programs_are_read_from_the_file_beside() -> None:
    with MemoryDatabase() as database:
        report = import_foreign(database, FOLDER, "tvm")
        assert len(report.records) == 6
        assert database.stats().records == 3  # two of each are one candidate
        assert report.skipped == {}
        assert report.lost["annotation 'axis' of a program"] == 1
        (matmul,) = database.records(PROGRAM, TARGET)
        assert matmul.evidence["imported_from"] == "tvm"


def test_a_program_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    beside = tmp_path / "database_workload.json"
    lines = beside.read_text().splitlines()
    beside.write_text("\n".join((lines[0], '["1","AAAA"]', lines[2])))
    report = read_tvm(tmp_path, [], TARGET)
    assert len(report.records) == 4
    ((reason, count),) = report.skipped.items()
    assert count == 2
    assert "float32(16, 24), and of TVM's: a workload is no JSON" in reason


def test_a_record_of_no_program_says_so(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    beside = tmp_path / "database_workload.json"
    beside.write_text(beside.read_text().splitlines()[0])
    assert sum(read_tvm(tmp_path, [], TARGET).skipped.values()) == 4
    beside.write_text("{}")
    with pytest.raises(DatabaseError, match=r"database_workload.json' line 1: .* expected a list"):
        read_tvm(tmp_path, [], TARGET)


def test_programs_and_format_have_to_be_given() -> None:
    with MemoryDatabase() as database:
        with pytest.raises(UsageError, match="name them, such as --program 'matmul"):
            import_foreign(database, DATA, "tvm")
        with pytest.raises(UsageError, match="unknown format 'tvmm'; did you mean 'tvm'"):
            import_foreign(database, DATA, "tvmm")


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="cannot read"):
        read_tvm(tmp_path / "absent.json", [PROGRAM], TARGET)
