"""Resolution of drafts while the pointer moves: as low as the frame rate requires."""

PERIOD = 1 / 30  # seconds from a move of the pointer to its picture, sought
FINER = 1.7  # how much longer a picture takes at most with one more block of the generator
MOST = 2  # blocks that are left out
NEW = 0.3  # weight of the last picture in the mean
LEAST = 4  # pictures between two changes


class Pace:
    """Of one page. less: number of generator blocks to skip in the next draft.

    The load of other pages and programs counts too, because it delays images in the same way.
    """

    def __init__(self) -> None:
        self.less = 1
        self._seconds, self._since = PERIOD, 0

    def took(self, seconds: float) -> None:
        """Record the time of a draft, from the order to its bytes."""
        self._seconds += NEW * (seconds - self._seconds)
        self._since += 1
        if self._since < LEAST:
            return
        if self._seconds > PERIOD and self.less < MOST:
            self._change(1)
        elif self._seconds * FINER < PERIOD and self.less > 0:
            self._change(-1)

    def _change(self, by: int) -> None:
        self.less += by
        self._seconds, self._since = PERIOD / FINER**0.5, 0  # unknown: in the middle of what changes nothing
