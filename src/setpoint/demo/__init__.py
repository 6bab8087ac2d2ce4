"""The main job, replayed on a real year: see `setpoint demo`."""
