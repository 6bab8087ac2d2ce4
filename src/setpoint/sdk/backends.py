from setpoint.db.local import LocalBackend, open_local

__all__ = ["LocalBackend", "open_local"]
