from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

from metasched.cli.plot import as_svg, as_text, curves
from metasched.database import open_database
from metasched.measure.records import Status
from metasched.testing.database_records import SOFTMAX, make_failure, make_record
from tests.core.cli.conftest import Cli

RECORDS = [
    make_record(1, samples_s=(4e-3,)),
    make_record(2, samples_s=(8e-3,)),
    make_failure(3, Status.RUN_ERROR),
    make_record(4, samples_s=(1e-3,)),
    make_failure(5, Status.LOST, workload=SOFTMAX),
]


def test_a_curve_has_the_improvements() -> None:
    matmul, softmax = curves(reversed(RECORDS))
    assert (matmul.name, matmul.trials, matmul.failed) == ("matmul", 4, 1)
    assert matmul.steps == ((1, 4e-3), (4, 1e-3))
    assert (matmul.at(0), matmul.at(3), matmul.at(9)) == (None, 4e-3, 1e-3)
    assert softmax.steps == ()


def test_text_falls_from_the_first_to_the_best() -> None:
    text = as_text("abc", curves(RECORDS)).splitlines()
    assert text[0] == "job abc"
    assert text[2] == "matmul: 4 trials, 1 without a time"
    assert "4000" in text[3]
    assert "1000" in text[10]
    columns = ["".join(line.ljust(80)[16 + c] for line in text[3:11]) for c in (0, 59)]
    assert [column.index("█") for column in columns] == [0, 7]
    assert text[-1] == "softmax: 1 trials, 1 without a time"


def test_svg_is_well_formed_whatever_the_name() -> None:
    root = ET.fromstring(as_svg("<job> & co", curves(RECORDS)))
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert "job <job> & co" in texts
    paths = [e.get("d", "") for e in root.iter() if e.tag.endswith("path")]
    assert any("V200.0" in path and path.endswith("H640") for path in paths)


def test_the_command_plots_the_last_job(cli: Cli, tmp_path: Path) -> None:
    assert "no database" in cli("db", "progress").err
    with open_database("sqlite:///metasched.db") as database:
        database.start_job({})
        job = database.start_job({})
        database.put(make_record(1, job_id=job.id, samples_s=(2e-3,)))
    assert f"job {job.id}" in cli("db", "progress").out
    assert cli("db", "progress", job.id[:8], "--out", "p.svg").out == "wrote p.svg\n"
    assert ET.parse(tmp_path / "p.svg").getroot().tag.endswith("svg")
    found = json.loads(cli("db", "progress", "--json").out)
    assert found["curves"] == [{"workload": "matmul", "trials": 1, "best": [[1, 2e-3]]}]
    refused = cli("db", "progress", "nobody")
    assert refused.status == 2
    assert "no single job 'nobody'" in refused.err
    assert (
        "cannot write '/nonexistent/p.svg'"
        in cli("db", "progress", "--out", "/nonexistent/p.svg").err
    )
