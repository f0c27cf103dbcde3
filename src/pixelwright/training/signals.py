"""SIGINT and SIGTERM as a request: the loop stops at the next step, with a checkpoint."""

import signal
import threading
from types import FrameType


class StopRequest:
    """Within, the first signal is noted in `signal`; a second one acts at once.

    Only the main thread may handle signals; elsewhere this does nothing.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()

    def __exit__(self, *_: object) -> None:
        self._restore()

    def raise_again(self) -> None:
        """Leave the program as the signal that was noted asked."""
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal:
            raise SystemExit(128 + self.signal)
