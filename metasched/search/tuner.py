"""The ask/tell core of tuning one program.

`Tuner` decides what to measure next and learns from what was measured. It does no I/O and starts no
process; what it proposes is a function of the seed and of the calls made to it. Asking little and
often keeps builders and runners busy: no call waits for results that are still out.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from metasched.cost.accuracy import Accuracy
from metasched.cost.model import AbstractCostModel, Learning, Sample, predict_samples
from metasched.errors import UsageError
from metasched.search.history import History, Measured
from metasched.search.population import Book
from metasched.search.problem import AbstractStructureSet
from metasched.search.records import Candidate, Known, Outcome, Result
from metasched.search.scoring import Scorer, training_samples
from metasched.search.strategies.strategy import AbstractStrategy, Context, Pick

_LEAST_KNOWN = 32
"""With fewer results a model knows too little to end a search."""
_EMPTY_ROUNDS = 8
"""So many calls without a pick and without a reason end a search all the same."""


@dataclass(frozen=True, slots=True)
class TunerOptions:
    """When the tuner thinks.

    Attributes:
        batch: Picks per run of the strategy; they are handed out one ask after another.
        train_after: New results before the model is trained again,
        train_share: or this share of those it was trained on, whichever is more,
        train_most: but never more than this, or twice what one `ask` is for.
        warm: How many known results the model is trained on at the start, the fastest ones.
        stop_below: The search ends when no candidate of a batch is expected to beat the best by
            this share of it, as far as the model can tell; 0 never ends it so.
    """

    batch: int = 16
    train_after: int = 12
    train_share: float = 0.125
    train_most: int = 32
    warm: int = 512
    stop_below: float = 0.0


@final
class Tuner:
    """Proposes candidates of one program and learns from their results.

    Args:
        structures: The space of the program.
        model: The cost model; the tuner trains it.
        strategy: Picks candidates; it belongs to this tuner.
        seed: Of every random choice.
        task: Name of the program and target, for models that learn from several.
        known: Earlier measurements: they are not repeated, and search and model start from them.
        options: When the tuner thinks.

    Attributes:
        end: Why no more candidates come, empty while they may.
        accuracy: How well the model ordered new results before training on them, over time.
        background: Train on a thread of its own while candidates of the model before are handed
            out: each `ask` takes over what the one before it began. For callers that lose more by
            waiting than by a model that is one `ask` old. Proposals depend on it, not on its speed.
    """

    def __init__(
        self,
        structures: AbstractStructureSet,
        model: AbstractCostModel,
        strategy: AbstractStrategy,
        *,
        seed: int,
        task: str = "task",
        known: Sequence[Known] = (),
        options: TunerOptions | None = None,
    ) -> None:
        book = Book()
        self._context = Context(
            structures, book, History(book), Scorer(book, model), np.random.default_rng(seed)
        )
        self._model = model
        self._strategy = strategy
        self._task = task
        self._options = options or TunerOptions()
        self._queue: deque[Pick] = deque()
        self._in_flight: dict[int, Candidate] = {}
        self._results: dict[int, Measured] = {}
        self._lost: set[tuple[int, bytes]] = set()
        self._best: tuple[Candidate, float] | None = None
        self._asked = self._trained = 0
        self._offset = 0.0
        self._training: tuple[Learning, list[Measured], list[Sample]] | None = None
        self.end = ""
        self.accuracy: list[Accuracy] = []
        self.background = False
        self._start_from(known)

    @property
    def best(self) -> tuple[Candidate, float] | None:
        """The fastest candidate told so far, with its seconds."""
        return self._best

    @property
    def model(self) -> AbstractCostModel:
        """The cost model; see `learn_rest`."""
        return self._model

    @property
    def in_flight(self) -> int:
        """How many candidates were asked for and not told yet."""
        return len(self._in_flight)

    def prepare(self) -> None:
        """Do what the first `ask` would wait for; call it while there is time anyway."""
        self._model.prepare()
        self._refill(self._options.batch)

    def ask(self, count: int) -> tuple[Candidate, ...]:
        """Up to ``count`` new candidates; fewer only when the search has ended (see `end`).

        Trains the model first when enough results came in.

        Raises:
            UsageError: ``count`` is below 1.
        """
        if count < 1:
            raise UsageError(f"asked for {count} candidates; expected at least 1")
        self._train_if_due(count)
        asked: list[Candidate] = []
        while len(asked) < count and self._refill(count - len(asked)):
            pick = self._queue.popleft()
            if self._context.history.mark(pick.owner, pick.row):
                asked.append(self._candidate(pick))
        return tuple(asked)

    def learn_rest(self) -> None:
        """Let model and strategy take in the results that no further `ask` will give them."""
        self._adopt()
        if self._results:
            self._train()
            self._adopt()
        self._strategy.finish(self._context)

    def tell(self, results: Sequence[Result]) -> None:
        """Report what became of candidates, in any order; cheap, the model is trained by `ask`.

        Raises:
            UsageError: An id is unknown or was told before, or a time is missing or not above zero;
                nothing of the call is kept.
        """
        self._check(results)
        for result in results:
            candidate = self._in_flight.pop(result.id)
            owner = self._context.book.number(candidate.structure)
            match result.outcome:
                case Outcome.OK | Outcome.FAILED:
                    self._results[result.id] = Measured(owner, candidate.row, result.time_s)
                case Outcome.LOST:
                    self._lose(owner, candidate)
                case Outcome.DUPLICATE:
                    pass
            if result.time_s is not None and (not self._best or result.time_s < self._best[1]):
                self._best = (candidate, result.time_s)

    def _lose(self, owner: int, candidate: Candidate) -> None:
        """Let a lost candidate come back once; one that is lost again may be what kills workers."""
        key = (owner, candidate.row.tobytes())
        if key not in self._lost:
            self._lost.add(key)
            self._context.history.release(owner, candidate.row)
            self.end = ""

    def _candidate(self, pick: Pick) -> Candidate:
        structure = self._context.book[pick.owner]
        candidate = Candidate(
            self._asked,
            structure,
            pick.row,
            structure.trace(pick.row),
            pick.origin,
            pick.score + self._offset,
        )
        self._asked += 1
        self._in_flight[candidate.id] = candidate
        return candidate

    def _refill(self, missing: int) -> bool:
        """Whether there is a pick in the queue, after asking the strategy if there was none."""
        for _ in range(_EMPTY_ROUNDS):
            if self._queue or self.end:
                return bool(self._queue)
            proposals = self._strategy.propose(self._context, max(missing, self._options.batch))
            if self._is_hopeless(proposals.picks):
                return False
            self._queue.extend(proposals.picks)
            self.end = "" if proposals.picks else proposals.end
        self.end = self.end or f"the strategy proposed nothing {_EMPTY_ROUNDS} times in a row"
        return bool(self._queue)

    def _is_hopeless(self, picks: Sequence[Pick]) -> bool:
        """Whether to stop, since no pick promises enough."""
        least = self._options.stop_below
        unsure = [pick for pick in picks if pick.unsure > 0.0]
        if not (least and unsure and self._best) or self._trained < _LEAST_KNOWN:
            return False
        best = math.log(self._best[1])
        gain = max(_expected_gain(best - pick.score - self._offset, pick.unsure) for pick in unsure)
        if gain >= least:
            return False
        self.end = f"no candidate promises a gain of {least:.2%} any more, the best {gain:.2%}"
        return True

    def _train_if_due(self, asked: int) -> None:
        options = self._options
        due = max(options.train_after, options.train_share * self._trained)
        self._adopt()
        # Who asks for many at once has many workers, whose results come faster than trees grow.
        if len(self._results) >= min(due, max(options.train_most, 2 * asked)):
            self._train()
            if not self.background:
                self._adopt()

    def _train(self) -> None:
        # Results come in the order in which runs happen to end; the model must not depend on it.
        new = [self._results[i] for i in sorted(self._results)]
        self._results = {}
        for item in new:
            self._context.history.add(item.owner, item.row, item.time_s)
        self._learn(new)

    def _learn(self, new: list[Measured]) -> None:
        """Begin to train; `_adopt` takes over what comes of it."""
        samples = training_samples(self._context.book, new, self._task)
        self._training = self._model.begin(samples), new, samples
        self._trained += len(new)

    def _adopt(self) -> None:
        """Wait for the training that was begun, and judge candidates by it from now on."""
        if self._training is None:
            return
        (learning, new, samples), self._training = self._training, None
        card = learning()
        if card is not None:
            self.accuracy.append(card)
        self._queue.clear()
        measured = np.array([item.log_s for item in new])
        timed = np.isfinite(measured)
        if timed.any():
            predicted = predict_samples(self._model, samples)
            self._offset = float(np.median((measured - predicted)[timed]))

    def _start_from(self, known: Sequence[Known]) -> None:
        """Mark known candidates as proposed and train on the fastest of them."""
        context = self._context
        for record in known:
            found = context.structures.of_trace(record.trace)
            if found is not None:
                context.history.add(context.book.number(found[0]), found[1], record.time_s)
        fastest = sorted(context.history.measured, key=lambda m: m.log_s)[: self._options.warm]
        if fastest:
            self._learn(fastest)
            self._adopt()

    def _check(self, results: Sequence[Result]) -> None:
        ids = [result.id for result in results]
        for result in results:
            if result.id not in self._in_flight or ids.count(result.id) > 1:
                raise UsageError(
                    f"candidate {result.id} is not in flight; tell each asked candidate once"
                )
            timed = result.time_s is not None and 0.0 < result.time_s < math.inf
            if timed != (result.outcome == Outcome.OK):
                raise UsageError(
                    f"candidate {result.id} is {result.outcome} with time {result.time_s}; "
                    "expected seconds above zero exactly when it is ok"
                )


def _expected_gain(ahead: float, unsure: float) -> float:
    """Mean of what a candidate gains, in log-seconds, where a worse one gains nothing.

    >>> round(_expected_gain(0.0, 0.1), 4), round(_expected_gain(0.2, 0.001), 4)
    (0.0399, 0.2)
    """
    z = ahead / unsure
    density = math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    return ahead * 0.5 * (1.0 + math.erf(z / math.sqrt(2.0))) + unsure * density
