"""Ctrl-C, and SIGTERM as schedulers send it, as a request: answered after an epoch, when all state is whole."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["InterruptRequest"]


class InterruptRequest:
    """While entered (in the main thread), the first signal sets `requested`; a second one interrupts at once.

    Stopping between two calls of the program is the only safe moment: a call
    takes its state's memory over, so an exception in the middle would leave none.
    """

    def __init__(self, unit: str = "epoch") -> None:
        self.requested = False
        self._unit = unit
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> InterruptRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                previous = signal.getsignal(number)
                # A process that was told to ignore Ctrl-C (nohup, a background job) goes on ignoring it; a handler
                # that was not set from Python cannot be put back.
                if previous not in (signal.SIG_IGN, None):
                    self._previous[number] = previous
                    signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, previous in self._previous.items():
            signal.signal(signum, previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        # The terminal's line is the user's: without a word they would press again, and lose what is done.
        text = f"\nstopping at the end of this {self._unit}; press Ctrl-C again to stop at once and save nothing\n"
        os.write(2, text.encode())
