"""A fleet whose hosts are objects of this process, called in threads: everything but Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from metasched_workers.artefacts import read_files
from metasched_workers.broker import AbstractCluster, Broker, HostLost, Membership
from metasched_workers.engines import SIMULATED
from metasched_workers.fleet import AbstractFleet
from metasched_workers.host import Host
from metasched_workers.lanes import AbstractLink
from metasched_workers.plan import Place
from metasched_workers.protocol import Hello, HostSpec, JobInfo

from metasched.measure.records import BuildRequest


class Handle:
    """What stands for an actor: it can be killed, frozen and made to fail."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.is_dead = False
        self.frozen: list[Callable[[], None]] | None = None
        self.calls: list[str] = []


class ThreadCluster(AbstractCluster, AbstractLink):
    """A cluster as a broker sees it, and the link of drivers to its hosts."""

    def __init__(self, nodes: Mapping[str, Mapping[str, float]]) -> None:
        self.alive = dict(nodes)
        self.handles: list[Handle] = []
        self.change_hello: Callable[[Hello], Hello] = lambda hello: hello
        self._pool = ThreadPoolExecutor(32)

    def nodes(self) -> dict[str, Mapping[str, float]]:
        return dict(self.alive)

    def start(self, spec: HostSpec, place: Place) -> Handle:
        handle = Handle(Host(spec))
        self.handles.append(handle)
        return handle

    def call(  # type: ignore[override]
        self, handle: Handle, method: str, *arguments: Any
    ) -> Future[Any] | None:
        if arguments and callable(arguments[-1]):
            given, done = arguments
            self._run(handle, method, given).add_done_callback(lambda f: done(self._value(f)))
            return None
        return self._run(handle, method, arguments)

    def take(self, token: Future[Any]) -> Any:
        if not token.done():
            raise TimeoutError
        value = self._value(token)
        if isinstance(value, HostLost):
            raise value
        return self.change_hello(value) if isinstance(value, Hello) else value

    def kill(self, handle: Handle) -> None:
        handle.is_dead = True
        handle.host.close()

    def ship(self, path: str) -> bytes:
        return read_files(path)

    def freeze(self, handle: Handle) -> None:
        """Let nothing come back from a host until `thaw`."""
        handle.frozen = []

    def thaw(self, handle: Handle) -> None:
        held, handle.frozen = handle.frozen, None
        for finish in held or ():
            finish()

    def close(self) -> None:
        for handle in self.handles:
            if not handle.is_dead:
                self.kill(handle)
        self._pool.shutdown()

    def _run(self, handle: Handle, method: str, arguments: tuple[Any, ...]) -> Future[Any]:
        handle.calls.append(method)
        answer: Future[Any] = Future()

        def work() -> None:
            try:
                if handle.is_dead:
                    raise HostLost("it was killed")
                value = getattr(handle.host, method)(*arguments)
                if handle.is_dead:
                    raise HostLost("it was killed")
            except Exception as error:
                answer.set_exception(error)
                return
            if handle.frozen is None:
                answer.set_result(value)
            else:
                handle.frozen.append(lambda: answer.set_result(value))

        self._pool.submit(work)
        return answer

    def _value(self, future: Future[Any]) -> Any:
        error = future.exception()
        if error is None:
            return future.result()
        return error if isinstance(error, HostLost) else HostLost(str(error))


class ThreadFleet(AbstractFleet):
    """A broker over a `ThreadCluster`."""

    def __init__(self, cluster: ThreadCluster, broker: Broker) -> None:
        self.cluster, self.broker = cluster, broker

    def join(self, info: JobInfo) -> str:
        return self.broker.join(info)

    def beat(self, job_id: str, version: int, timeout_s: float) -> Membership | None:
        return self.broker.beat(job_id, version, timeout_s)

    def leave(self, job_id: str) -> None:
        self.broker.leave(job_id)

    def state(self) -> dict[str, Any]:
        return self.broker.state()

    def close(self) -> None:
        pass


def simulated_fleet(
    nodes: int = 1, runners: int = 2, builders: int = 2
) -> tuple[ThreadCluster, Broker]:
    """A cluster of simulated hosts, one on each node, and its broker."""
    cluster = ThreadCluster({f"node{i}": {"CPU": builders} for i in range(nodes)})

    def plan(node_id: str, resources: Mapping[str, float]) -> list[Place]:
        return [Place(node_id, ("cpu",), 0, int(resources["CPU"]), runners)]

    return cluster, Broker(cluster, SIMULATED, plan)


def build_request(number: int, build_s: float = 0.0, run_s: float = 0.01) -> BuildRequest:
    """What a simulated builder takes."""
    return BuildRequest(number, "", (build_s, run_s))
