"""What a builder process does with a request: calls its task and turns the outcome into data.

`worker` runs it, `local` sends the requests.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from metasched.errors import MetaschedError
from metasched.measure.modules import load_modules
from metasched.measure.records import BuildOutput, BuildRequest, BuildResult, Rejected, Status
from metasched.measure.worker import describe_error, resolve
from metasched.target.toolchain import CompileTimeout


class Builder:
    """Builds candidates, each in a folder of its own below the job's scratch folder."""

    def __init__(self, scratch: str) -> None:
        self._folder = Path(scratch) / "builds"
        self._folder.mkdir(exist_ok=True)

    def __call__(self, request: BuildRequest) -> BuildResult:
        """Build one candidate; whatever goes wrong is in the result."""
        out_dir = tempfile.mkdtemp(prefix=f"{request.candidate_id}-", dir=self._folder)
        try:
            if request.modules:
                load_modules(request.modules)
            output = resolve(request.task)(request.payload, out_dir)
        except Rejected as reason:
            return _failed(request, Status.REJECTED, str(reason), out_dir)
        except CompileTimeout as error:
            return _failed(request, Status.BUILD_TIMEOUT, str(error), out_dir)
        except MetaschedError as error:
            return _failed(request, Status.BUILD_ERROR, str(error), out_dir)
        except Exception as error:
            return _failed(request, Status.BUILD_ERROR, describe_error(error), out_dir)
        if not isinstance(output, BuildOutput):
            problem = f"{request.task} returned {type(output).__name__}, expected BuildOutput"
            return _failed(request, Status.BUILD_ERROR, problem, out_dir)
        return BuildResult(request.candidate_id, Status.OK, output=output)


def _failed(request: BuildRequest, status: Status, message: str, out_dir: str) -> BuildResult:
    # What a failed build leaves is of no use, and there are many of them.
    for entry in os.scandir(out_dir):
        if entry.is_file(follow_symlinks=False):
            os.unlink(entry)
    return BuildResult(request.candidate_id, status, message)
