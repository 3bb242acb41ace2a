"""Search spaces: rules draft schedules, postprocessors finish them. Read `space` first.

Importing this package registers the default space of each kind of target.
"""

from metasched.space import cpu as cpu
from metasched.space import gpu as gpu
