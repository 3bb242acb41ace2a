"""Logs are lines of JSON that name host, job and candidate."""

from __future__ import annotations

import json
import logging

from metasched_workers.logs import JsonLines


def test_a_line_has_the_ids_that_were_given() -> None:
    record = logging.makeLogRecord(
        {"msg": "killed by %s", "args": ("SIGSEGV",), "levelname": "INFO", "candidate": "7", "x": 1}
    )
    line = json.loads(JsonLines().format(record))
    assert line["message"] == "killed by SIGSEGV"
    assert (line["level"], line["candidate"]) == ("info", "7")
    assert "x" not in line
    assert line["time"].endswith("Z")
