"""Logs of hosts and brokers as lines of JSON, with the ids of host, job and candidate."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any, Final

LOGGER: Final = "metasched.workers"
_IDS: Final = ("host", "job", "candidate", "kind", "status")


class JsonLines(logging.Formatter):
    """One JSON object a line; what is given by ``extra=`` under a known name is a field."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        fields |= {name: getattr(record, name) for name in _IDS if hasattr(record, name)}
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


def log_to_file(name: str) -> Path:
    """Write the logs of this process to a file among those of Ray's session, and return it."""
    path = _folder() / f"metasched-{name}.jsonl"
    handler = logging.FileHandler(path, delay=True)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger(LOGGER)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return path


def _folder() -> Path:
    node: Any = import_module("ray._private.worker").global_worker.node
    return Path(node.get_logs_dir_path() if node is not None else tempfile.gettempdir())
