"""Search strategies. Read `strategy` first; a new member is imported here."""

from metasched.search.strategies import (
    evolutionary,
    exhaustive,
    random_search,
    replay,
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
    "evolutionary",
    "exhaustive",
    "random_search",
    "replay",
]
