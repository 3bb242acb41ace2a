"""Search strategies. Read `strategy` first; a new member is imported here."""

from metasched.search.strategies import (
    droplet,
    evolutionary,
    exhaustive,
    optuna_search,
    random_search,
    replay,
    replay_func,
    replay_trace,
)
from metasched.search.strategies.strategy import (
    STRATEGIES,
    AbstractStrategy,
    Context,
    Pick,
    Proposals,
    StrategySettings,
)

__all__ = [
    "STRATEGIES",
    "AbstractStrategy",
    "Context",
    "Pick",
    "Proposals",
    "StrategySettings",
    "droplet",
    "evolutionary",
    "exhaustive",
    "optuna_search",
    "random_search",
    "replay",
    "replay_func",
    "replay_trace",
]
