"""The kinds of models that Setpoint knows how to keep."""
