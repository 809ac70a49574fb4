"""The report of a sweep while it runs, on a page that keeps itself fresh."""

from __future__ import annotations

import contextlib
import html
import importlib
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from thalweg.errors import UsageError
from thalweg.fields import check_integer
from thalweg.report.block import Note, Section
from thalweg.report.live_server import Answer, PageServer
from thalweg.report.page import Page, render
from thalweg.run import Run
from thalweg.tracking import EpochMetrics, RunEnd, RunStart, TrialEnd
from thalweg.tracking.growing import GrowingRun

__all__ = ["LiveReport", "Render"]

Render = Callable[[Run], str]  # a run as far as it has come → a page, drawn to be kept fresh

_TICK = 0.2  # seconds between two looks whether there is something to draw
_PAUSE = 2.0  # seconds between two drawings, at least
_SHARE = 0.03  # of the time, at most, a processor draws: it takes a core, and the interpreter, from the training
_LOOKS = 10.0  # seconds for which a request counts as somebody looking
_POLLS = 3.0  # seconds within which an open page has asked again, even where a browser slows it down
_LINGER = 2.5  # seconds that a final page is still served, for the pages that are open to fetch it


@dataclass(frozen=True)
class _Served:
    """A page as it is served: its number, its bytes, its content policy, and of when it is, in seconds since 1970."""

    version: int
    body: bytes
    policy: str
    as_of: float | None


class LiveReport:
    """A tracker that serves the report of a running sweep on 127.0.0.1, for browsers on this machine.

    ``/`` is the report as the run stands, ``/version`` a small JSON object by which the open page learns that there
    is a newer one, of when the report is and when the next may come. A page is drawn in a thread beside the training:
    when there is news, somebody has looked within the last ten seconds, and the last drawing is two seconds ago, or
    thirty times as long as the processor took for it.

    >>> with tw.report.LiveReport() as live:  # doctest: +SKIP
    ...     print(live.address)
    ...     run = tw.sweep(None, "digits", trackers=[live])

    Whoever has an account on this machine can open the page: the loopback address keeps other machines out, and the
    server keeps other web pages out (`report.live_server`). One object may follow several sweeps, one after another.

    Arguments:
        render: draws a run; None: the report's own page.
        port: 0 takes one that is free.

    Raises:
        UsageError: no such port, or (once it is opened) one that is taken.
    """

    def __init__(self, render: Render | None = None, *, port: int = 0) -> None:
        check_integer("LiveReport", "port", port, least=0)
        if port > 65535:
            raise UsageError(f"LiveReport: port is {port}; ports end at 65535")
        self._render, self._port = render or _report, port
        self._server: PageServer | None = None
        self._lock = threading.Lock()  # of what is served
        self._served: _Served | None = None
        self._finished, self._where, self._problem = False, "", ""
        self._stop = threading.Event()
        self._growing: GrowingRun | None = None
        self._result: Run | None = None
        self._news = self._drawn = 0  # how much was heard, and how much of it was drawn
        self._looked = self._drew = -1e9  # when, on the monotonic clock
        self._pause = _PAUSE
        self._next: float | None = None  # when the next drawing may come, in seconds since 1970
        self._name = ""  # of an opening: another sweep's server may be given the same port

    @property
    def address(self) -> str:
        """Where the page is, such as ``http://127.0.0.1:40123/``; a UsageError where it is not open."""
        if self._server is None:
            raise UsageError("the live report is not open: use it in a with statement, or call open() first")
        return self._server.address

    def open(self) -> None:
        """Begin to serve: a page that says to wait, until a run begins."""
        if self._server is None:
            self._server = PageServer({"/": self._page, "/version": self._version}, self._port)
            self._name = secrets.token_hex(8)
            self._stop = threading.Event()  # a new one: the thread of an earlier opening may not have met its own yet
            name = "live report's drawing"
            threading.Thread(target=self._keep_drawing, args=(self._stop,), name=name, daemon=True).start()

    def finish(self, page: str | None = None, where: str = "") -> None:
        """Serve the final page from now on.

        Arguments:
            page: as it was saved, byte for byte; None draws the result of the run that ended last, without the
                sections that need the data, which a tracker is not given.
            where: the place that it was saved in, which open pages then name.
        """
        problem, drawn = "", page is None
        if page is None:
            page, problem = self._drawing(self._result or self._so_far())
        with self._lock:
            self._finished, self._where, self._problem = True, where, problem
            if page is not None:
                self._serve(page, None, numbered=drawn)

    def close(self, linger: float = _LINGER) -> None:
        """Stop and free the port.

        Where a final page is served and somebody is looking it waits ``linger`` seconds, or until Ctrl-C, so that their
        page gets it.
        """
        if self._server is None:
            return
        try:
            if self._finished and time.monotonic() - self._looked < _POLLS:
                with contextlib.suppress(KeyboardInterrupt):  # which asks for the wait to end: all work is done
                    self._stop.wait(linger)
        finally:
            self._stop.set()
            self._server.close()
            self._server = None
            self._growing = self._result = None  # a tracker may be kept for longer than the run

    def __enter__(self) -> LiveReport:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self._finished and self._result is not None and self._anyone():
                self.finish()
        finally:
            self.close(0.0 if kind is not None and not issubclass(kind, Exception) else _LINGER)

    # What a tracker is told, in the training's thread: it is written down, and nothing is drawn.

    def begin(self, run: RunStart) -> None:
        self.open()
        with self._lock:
            self._finished, self._where, self._problem, self._next = False, "", "", None
        self._result = None
        self._growing = None if run.run is None else GrowingRun(run.run)
        self._news += 1

    def epoch(self, epoch: int, metrics: EpochMetrics) -> None:
        if self._growing is not None:
            self._growing.epoch(epoch, metrics)
            self._news += 1

    def ended(self, trials: Mapping[int, TrialEnd]) -> None:
        if self._growing is not None:
            self._growing.ended(trials)
            self._news += 1

    def end(self, run: RunEnd) -> None:
        self.ended(run.trials)
        self._result = run.run if isinstance(run.run, Run) else None

    # Drawing, in a thread of its own.

    def _keep_drawing(self, stop: threading.Event) -> None:
        if self._render is _report:
            try:
                importlib.import_module("thalweg.report.write")  # takes longer than a drawing
            except Exception as error:  # the page says so, now and at each drawing, which needs it too
                with self._lock:
                    self._problem = _in_words(error)
        while not stop.wait(_TICK):
            now = time.monotonic()
            if self._news != self._drawn and self._anyone() and now - self._drew >= self._pause and not self._finished:
                self._draw()

    def _anyone(self) -> bool:
        return time.monotonic() - self._looked < _LOOKS

    def _so_far(self) -> Run | None:
        growing = self._growing
        return None if growing is None else growing.so_far()

    def _draw(self) -> None:
        news, spent, as_of = self._news, time.thread_time(), time.time()
        page, problem = self._drawing(self._so_far())
        self._drawn, self._drew = news, time.monotonic()
        self._pause = max(_PAUSE, (time.thread_time() - spent) / _SHARE)
        with self._lock:
            if self._finished:
                return
            self._problem, self._next = problem, time.time() + self._pause
            if page is not None:
                self._serve(page, as_of)

    def _drawing(self, run: Run | None) -> tuple[str | None, str]:
        """Draw a run, if there is one; or say what kept it from being drawn, for the page: the sweep goes on."""
        try:
            return (None if run is None else self._render(run)), ""
        except Exception as error:
            return None, _in_words(error)

    def _serve(self, page: str, as_of: float | None, *, numbered: bool = True) -> None:
        """Replace what is served. A page that asks for news is told its number; a saved one stays as it is."""
        version = 1 if self._served is None else self._served.version + 1
        text = page.replace("<html ", f'<html data-version="{version}" ', 1) if numbered else page
        self._served = _Served(version, text.encode(), _policy(page), as_of)

    # Answers, in the clients' threads.

    def _page(self) -> Answer:
        self._looked = time.monotonic()
        with self._lock:
            if self._served is None:
                self._serve(_waiting(), None)
            served = self._served
        assert served is not None
        return Answer(served.body, "text/html; charset=utf-8", served.policy)

    def _version(self) -> Answer:
        self._looked = time.monotonic()
        with self._lock:
            told: dict[str, Any] = {
                "server": self._name,
                "version": 0 if self._served is None else self._served.version,
                "as_of": None if self._served is None else self._served.as_of,
                "next": self._next,
                "finished": self._finished,
                "where": self._where,
                "problem": self._problem,
            }
        return Answer(json.dumps(told).encode(), "application/json")


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _report(run: Run) -> str:
    from thalweg.report.write import report_page  # not with this module: it brings the diagnostics

    return report_page(run, live=True)


def _waiting() -> str:
    note = Note("The data is being read and looked at. The report appears here once the training begins.")
    return render(Page("A sweep is about to begin", "", (Section("waiting", "Not yet", (note,)),)), live=True)


def _policy(page: str) -> str:
    """The content policy that a page states itself, with what only a header can say; none allows nothing."""
    found = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    stated = html.unescape(found[1]) if found else "default-src 'none'"
    return f"{stated}; frame-ancestors 'none'"
