"""How many rows of a job to score at once, so that others are not kept waiting. Pure."""

TARGET_SECONDS = 0.05
MOST_ROWS = 4_096
SHARE = 0.05  #: of the time that jobs have where others never stop asking


class Pace:
    """Learns how many rows of a model fit the time that a requester would not notice.

    A model whose every call is slow, however few its rows, is given twice the time of its
    shortest call: fewer rows would make it no quicker.
    """

    def __init__(self) -> None:
        self.rows = 1
        self._shortest = float("inf")  #: seconds that a call took
        self.patience = TARGET_SECONDS / SHARE  #: seconds that the next call waits for others

    def took(self, rows: int, seconds: float) -> None:
        """Note how long a call took."""
        self._shortest = min(self._shortest, seconds)
        self.patience = seconds * (1 / SHARE - 1)
        limit = max(TARGET_SECONDS, 2 * self._shortest)
        if seconds > limit:
            self.rows = max(1, rows // 2)
        elif rows == self.rows and (seconds <= limit / 2 or seconds <= 1.25 * self._shortest):
            self.rows = min(2 * self.rows, MOST_ROWS)
