"""Search spaces: rules draft schedules, postprocessors finish them. Read `space` first."""
