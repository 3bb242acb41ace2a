"""What the workers of the pool tests do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any


def make_handler(scratch: str) -> Callable[[Any], Any]:
    hoard: list[bytearray] = []

    def handle(request: tuple[str, Any]) -> Any:
        name, value = request
        if name == "exit":
            print("bye")
            sys.stdout.flush()
            os._exit(value)
        if name == "sleep":
            time.sleep(value)
        if name == "hoard":
            hoard.append(bytearray(os.urandom(1 << 20) * value))
        if name == "grow":
            while True:
                hoard.append(bytearray(os.urandom(1 << 20) * 16))
                time.sleep(0.01)
        if name == "spawn":
            while True:
                subprocess.Popen(["sleep", "600"], start_new_session=True)
        if name == "tick":
            code = "import sys, time\nwhile 1: open(sys.argv[1], 'a').write('.'); time.sleep(.005)"
            subprocess.Popen([sys.executable, "-c", code, value], process_group=0).wait()
        if name == "raise":
            raise ValueError(value)
        if name == "lambda":
            return lambda: None
        return value, os.getpid()

    return handle


def fail_to_start(scratch: str) -> Callable[[Any], Any]:
    raise RuntimeError("no device here")
