"""Ctrl-C as a request that is answered at the end of an epoch, when all state is whole."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["InterruptRequest"]


class InterruptRequest:
    """While entered (in the main thread), the first SIGINT sets `requested`; a second one interrupts at once.

    Stopping between two calls of the program is the only safe moment: a call
    takes its state's memory over, so an exception in the middle would leave none.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: Any = None

    def __enter__(self) -> InterruptRequest:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.getsignal(signal.SIGINT)
            # A process that was told to ignore Ctrl-C (nohup, a background job) goes on ignoring it.
            if self._previous is not signal.SIG_IGN:
                signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
