"""Contract tests of each kind of plug-in: subclass one in a test module and override its fixture.

A contract says in tests what the base class of a kind promises. Databases have theirs in
`metasched.testing.database_contract`.
"""

from metasched.testing.contracts.cost_model import CostModelContract as CostModelContract
from metasched.testing.contracts.intrinsic import IntrinsicContract as IntrinsicContract
from metasched.testing.contracts.measure_callback import (
    MeasureCallbackContract as MeasureCallbackContract,
)
from metasched.testing.contracts.mutator import MutatorContract as MutatorContract
from metasched.testing.contracts.postproc import PostprocContract as PostprocContract
from metasched.testing.contracts.primitive import PrimitiveContract as PrimitiveContract
from metasched.testing.contracts.rule import RuleContract as RuleContract
from metasched.testing.contracts.strategy import StrategyContract as StrategyContract
from metasched.testing.contracts.task_scheduler import (
    TaskSchedulerContract as TaskSchedulerContract,
)
from metasched.testing.contracts.workers import WorkersContract as WorkersContract
