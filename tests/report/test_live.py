"""The live report: what it serves, to whom, and that nobody who looks disturbs the sweep."""

from __future__ import annotations

import dataclasses
import http.client
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser
import numpy as np
import pytest
from browser import until
from live_cases import end, retold, start
from report_cases import made_run

import thalweg as tw
from thalweg.cli.app import run as command
from thalweg.report import build_report
from thalweg.report.live import LiveReport
from thalweg.report.live_server import Answer, PageServer
from thalweg.testing import check_tracker

POLICY = "default-src 'none'; script-src 'sha256-abc'; connect-src 'self'"
RUN = made_run(6, diverged=1, pruned=1, epochs=4)


def page_of(run: tw.Run) -> str:
    """A page that holds what it was drawn from."""
    trials = [
        [t.status.name, t.kept_epoch, {name: [None if v != v else v for v in t.history[name]] for name in t.history}]
        for t in run.trials
    ]
    policy = POLICY.replace("'", "&#39;")
    head = f'<!doctype html>\n<html lang="en"><meta http-equiv="Content-Security-Policy" content="{policy}">'
    return head + "<main>" + json.dumps({"trials": trials, "best": run.best and run.best.number}) + "</main>"


def ask(port: int, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
    """One request; Host is the server's unless another is given."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    link.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        link.putheader(name, value)
    link.endheaders()
    answer = link.getresponse()
    body = answer.read()
    link.close()
    return answer.status, answer.headers, body


def raw(port: int, text: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
        link.sendall(text)
        return b"".join(iter(lambda: link.recv(4096), b""))


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = PageServer({
        "/": lambda: Answer(b"<p>page</p>", "text/html; charset=utf-8", POLICY),
        "/broken": lambda: 1 / 0,  # type: ignore[dict-item, return-value]
    })  # fmt: skip
    yield server.port
    server.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("_TICK", 0.01), ("_PAUSE", 0.02), ("_LINGER", 0.05)):
        monkeypatch.setattr(f"thalweg.report.live.{name}", seconds)


# --- the server ---


def test_it_serves_its_page_with_headers_that_keep_others_out(port: int) -> None:
    status, headers, body = ask(port)
    assert (status, body) == (200, b"<p>page</p>")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Content-Security-Policy"] == POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Access-Control-Allow-Origin"] is None
    assert headers["Server"] == "thalweg"
    status, headers, body = ask(port, method="HEAD")
    assert (status, headers["Content-Length"], body) == (200, "11", b"")


def test_it_answers_to_its_own_name_only(port: int) -> None:
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LocalHost:{port}"):
        assert ask(port, Host=host)[0] == 200
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", "localhost", f"127.0.0.1:{port + 1}", "",
                 f"127.0.0.1:{port}.evil.example", f"evil@127.0.0.1:{port}", f"0.0.0.0:{port}"):  # fmt: skip
        status, _, body = ask(port, Host=host)
        assert (status, b"page" in body) == (403, False), host
    assert raw(port, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 403")
    for site in ("cross-site", "Cross-Site "):
        status, _, body = ask(port, **{"Sec-Fetch-Site": site})
        assert (status, b"<p>" in body) == (403, False)
    for site in ("none", "same-origin"):
        assert ask(port, "/?x=1", **{"Sec-Fetch-Site": site})[0] == 200
    two = f"GET / HTTP/1.1\r\nHost: localhost:{port}\r\nHost: evil.example\r\n\r\n".encode()
    assert raw(port, two).startswith(b"HTTP/1.0 403")


@pytest.mark.parametrize("path", ["/index.html", "/version/", "/version?x=1", "/../etc/passwd", "/%2e/", "*", "/page"])
def test_other_paths_are_not_there(port: int, path: str) -> None:
    status, headers, body = ask(port, path)
    assert (status, body) == (404, b"there is nothing here\n")
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_other_methods_are_refused(port: int) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"):
        status, headers, _ = ask(port, method=method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert ask(port, method="BREW")[0] == 501


def test_nonsense_and_faults_are_met_in_silence(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    assert raw(port, b"<script>alert(1)</script>\r\n\r\n") in (b"", b"that is no request\n")
    assert b"alert" not in raw(port, b"GET <script>alert(1)</script> HTTP/1.1\r\n\r\n")
    assert raw(port, b"GET /" + b"x" * 70000).startswith((b"HTTP/1.0 414", b"that is no request"))
    assert raw(port, f"GET /broken HTTP/1.0\r\nHost: localhost:{port}\r\n\r\n".encode()) == b""
    with socket.create_connection(("127.0.0.1", port)) as link:  # goes away before the answer
        link.sendall(f"GET / HTTP/1.0\r\nHost: localhost:{port}\r\n\r\n".encode())
    assert ask(port)[0] == 200
    assert capfd.readouterr() == ("", "")


def test_clients_that_stall_keep_nobody_out_and_no_one_from_closing() -> None:
    server = PageServer({"/": lambda: Answer(b"x" * 16_000_000, "text/plain")})  # more than a socket's buffers hold
    stalled = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(6)]
    for link in stalled[:3]:
        link.sendall(b"GET / HT")
    for link in stalled[3:]:
        link.sendall(f"GET / HTTP/1.0\r\nHost: localhost:{server.port}\r\n\r\n".encode())
    assert len(ask(server.port)[2]) == 16_000_000
    began = time.monotonic()
    server.close()
    server.close()
    assert time.monotonic() - began < 1
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))
    for link in stalled:
        link.close()


def test_more_clients_than_it_takes_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thalweg.report.live_server._MOST", 2)
    server = PageServer({"/": lambda: Answer(b"x", "text/plain")})
    stalled = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(3)]
    assert stalled[2].recv(1) == b""
    for link in stalled:
        link.close()
    until(lambda: raw(server.port, f"GET / HTTP/1.0\r\nHost: localhost:{server.port}\r\n\r\n".encode()))
    server.close()


def test_a_port_is_had_by_one_and_bad_ones_are_refused(port: int) -> None:
    with pytest.raises(tw.UsageError, match=f"live-port is {port}, which cannot be had"):
        LiveReport(port=port).open()
    with pytest.raises(tw.UsageError, match="ports end at 65535"):
        LiveReport(port=70000)
    with pytest.raises(tw.UsageError, match="port is -1"):
        LiveReport(port=-1)


# --- what is served, and when ---


@pytest.fixture
def live() -> Iterator[LiveReport]:
    with LiveReport(page_of) as report:
        yield report


def version(live: LiveReport) -> Any:
    return json.loads(ask(at(live), "/version")[2])


def at(live: LiveReport) -> int:
    return int(live.address.rsplit(":")[-1].strip("/"))


def shown(live: LiveReport) -> Any:
    text = ask(at(live))[2].decode()
    return json.loads(text.partition("<main>")[2].partition("</main>")[0])["trials"] if "trials" in text else None


def test_the_page_follows_the_run_to_its_end(live: LiveReport) -> None:
    assert b"about to begin" in ask(at(live))[2]
    told = version(live)
    assert len(told.pop("server")) == 16
    assert told == {"version": 1, "as_of": None, "next": None, "finished": False, "where": "", "problem": ""}
    live.begin(start(RUN))
    assert until(lambda: shown(live)) == [["training", 0, {name: [] for name in tw.training.METRICS}]] * 6
    for epoch in retold(RUN, live):
        seen = until(lambda epoch=epoch: (s := shown(live)) and len(s[0][2]["data_loss"]) == epoch and s)  # type: ignore[misc]
        for trial, (status, kept, history) in zip(RUN.trials, seen, strict=True):
            trained = len(trial.history["data_loss"])
            assert status == ("training" if epoch < trained else trial.status.name)
            assert kept == min(epoch, trained)
            for name, values in history.items():
                np.testing.assert_array_equal(np.array(values, float), trial.history[name][:epoch])
    text = ask(at(live))[2].decode()
    assert f'<html data-version="{version(live)["version"]}" lang="en">' in text
    live.end(end(RUN))
    before = version(live)
    live.finish("<html><main>saved</main>", "runs/x/report.html")
    assert ask(at(live))[2] == b"<html><main>saved</main>"  # byte for byte
    assert 0 <= time.time() - before["as_of"] < 60
    assert before["next"] > before["as_of"]
    assert before["server"]
    told = version(live)
    assert (told["finished"], told["where"]) == (True, "runs/x/report.html")
    assert told["version"] > before["version"]


def test_without_a_saved_page_the_result_is_drawn(live: LiveReport) -> None:
    live.begin(start(RUN))
    ask(at(live))
    list(retold(RUN, live))
    live.end(end(RUN))
    live.finish()
    assert b'"best": ' + str(RUN.selection.best).encode() in ask(at(live))[2]  # type: ignore[union-attr]
    assert version(live)["finished"]
    live.begin(start(RUN))  # the next run of the same tracker
    assert not version(live)["finished"]


def test_the_page_s_own_policy_is_in_the_header_too(live: LiveReport) -> None:
    live.begin(start(RUN))
    until(lambda: shown(live))
    assert ask(at(live))[1]["Content-Security-Policy"] == f"{POLICY}; frame-ancestors 'none'"
    live.finish("<html>no policy</html>")
    assert ask(at(live))[1]["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_nothing_is_drawn_unless_somebody_looks_nor_in_the_training_s_thread() -> None:
    threads: list[str] = []

    def note(run: tw.Run) -> str:
        threads.append(threading.current_thread().name)
        return page_of(run)

    with LiveReport(note) as live:
        live.begin(start(RUN))
        list(retold(RUN, live))
        time.sleep(0.1)
        assert threads == []
        ask(at(live), Host="evil.example")  # no one who may look
        time.sleep(0.1)
        assert threads == []
        version(live)
        until(lambda: threads)
        time.sleep(0.1)  # no news since
        assert threads == ["live report's drawing"]


def test_a_drawing_that_takes_long_is_made_less_often() -> None:
    drawn: list[float] = []

    def slow(run: tw.Run) -> str:
        drawn.append(time.monotonic())
        spent = time.thread_time()
        while time.thread_time() < spent + 0.02:
            pass
        return page_of(run)

    with LiveReport(slow) as live:
        live.begin(start(RUN))
        while len(drawn) < 2:
            version(live)
            live._news += 1
            time.sleep(0.01)
    assert drawn[1] - drawn[0] > 0.6  # 0.02 s in thirty times as long


def test_a_drawing_that_fails_is_told_and_the_next_one_mends_it() -> None:
    broken = [True]

    def sometimes(run: tw.Run) -> str:
        if broken[0]:
            raise ValueError("<b>no</b>")
        return page_of(run)

    with LiveReport(sometimes) as live:
        live.begin(start(RUN))
        assert until(lambda: version(live)["problem"]) == "ValueError: <b>no</b>"
        broken[0] = False
        next(retold(RUN, live))
        until(lambda: shown(live))
        assert version(live)["problem"] == ""


def test_a_fault_is_printed_once_however_often_the_report_is_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: Any) -> None:
        raise RuntimeError("of ours")

    monkeypatch.setattr("thalweg.report.build.curves_record", broken)
    monkeypatch.setattr("thalweg.report.build.rate_map_record", broken)
    monkeypatch.setattr("thalweg.report.build._PRINTED", set())
    faults = [build_report(RUN, live=True).faults for _ in range(3)]
    assert faults == [("curves: RuntimeError: of ours", "rate map: RuntimeError: of ours")] * 3
    said = capsys.readouterr().err
    assert said.count("Traceback") == said.count("please report it") == 2


def test_a_part_that_cannot_be_imported_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "thalweg.report.write", None)
    with LiveReport() as live:
        assert "thalweg.report.write" in until(lambda: version(live)["problem"])
        live.begin(start(RUN))
        assert "thalweg.report.write" in until(lambda: version(live)["problem"])


def test_it_keeps_neither_the_data_nor_the_run() -> None:
    run = dataclasses.replace(RUN, dataset=object())  # type: ignore[arg-type]
    begun, ended = start(run), end(run)
    assert begun.run.dataset is None
    assert ended.run.dataset is None
    live = LiveReport(page_of)
    live.begin(begun)
    live.end(ended)
    live.close()
    assert live._growing is None
    assert live._result is None


def test_it_conforms_and_frees_its_port() -> None:
    live = LiveReport(page_of)
    check_tracker(live)
    port = at(live)
    live.close()
    with pytest.raises(ConnectionRefusedError):
        ask(port)
    with pytest.raises(tw.UsageError, match="not open"):
        _ = live.address
    with pytest.raises(KeyboardInterrupt), LiveReport(page_of, port=port):
        raise KeyboardInterrupt
    with pytest.raises(ConnectionRefusedError):
        ask(port)


def test_the_final_page_stays_until_those_who_look_can_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thalweg.report.live._LINGER", 0.4)
    got: list[bytes] = []
    with LiveReport(page_of) as live:
        live.begin(start(RUN))
        version(live)
        live.end(end(RUN))
        place = at(live)
        thread = threading.Thread(target=lambda: (time.sleep(0.15), got.append(ask(place)[2])))
        thread.start()
    thread.join()
    assert b'"best": ' + str(RUN.selection.best).encode() in got[0]  # type: ignore[union-attr]


def test_ctrl_c_ends_the_wait_for_open_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thalweg.report.live._LINGER", 60)
    live = LiveReport(page_of)
    live.open()
    version(live)
    live.finish("<html>")
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(0.2, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
    live.__exit__(None, None, None)
    with pytest.raises(tw.UsageError, match="not open"):
        _ = live.address


def test_a_browser_that_is_missing_is_a_skip_but_in_ci(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert browser.skipped(None, "driver", {})
    assert not browser.skipped("chromium", "driver", {})
    assert not browser.skipped("chromium", None, {"CI": "true"})
    pytest.importorskip("selenium")
    monkeypatch.setattr(browser, "BROWSER", None)
    with pytest.raises(pytest.fail.Exception, match="not installed, though CI is set"):
        next(browser.opened(tmp_path))


# --- from the command line ---


@pytest.mark.report
def test_a_sweep_serves_its_report_while_it_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []

    class Watched(LiveReport):
        def epoch(self, epoch: int, metrics: Any) -> None:
            super().epoch(epoch, metrics)
            seen.append((self.address, ask(at(self), "/version")[0]))

        def finish(self, page: str | None = None, where: str = "") -> None:
            super().finish(page, where)
            seen.append((where, ask(at(self))[2] == Path(where).read_bytes()))

    monkeypatch.setattr("thalweg.cli.train.LiveReport", Watched)
    monkeypatch.setattr("thalweg.report.write.report_page", lambda run, **_: f"<html>{run.trials[0].status.reason}")
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 3)).astype(np.float32)
    np.savez(tmp_path / "data.npz", X=x, y=(x[:, 0] > 0).astype(int))
    recipe = tw.Recipe(optimizer=tw.optimizers.SGD(0.1), batch_size=32, epochs=2)
    tw.save_recipe(recipe, tmp_path / "recipe.toml")
    arguments = [str(tmp_path / "data.npz"), "--recipe", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "out")]
    assert command(["fit", *arguments, "--json", "--live"]) == 0
    out, said = capsys.readouterr()
    assert json.loads(out)["run"] == str(tmp_path / "out")
    address = said.partition("\n")[0].removeprefix("live report: ")
    assert seen == [(address, 200), (address, 200), (str(tmp_path / "out" / "report.html"), True)]
    with pytest.raises(ConnectionRefusedError):
        ask(int(address.rsplit(":")[-1].strip("/")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--live-port", "8000"], "only a live report has: give --live too"),
        (["--live", "--live-port", "0"], "give a port from 1 to 65535"),
        (["--live", "--live-port", "65536"], "give a port from 1 to 65535"),
    ],
)
def test_wrong_options_are_refused(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["sweep", "digits", *options]) == 2
    assert message in capsys.readouterr().err


def test_a_run_is_whole_at_any_moment() -> None:
    """A thread that asks while another tells never sees an epoch that is not all there."""
    from thalweg.tracking.growing import GrowingRun

    run = made_run(3, diverged=0, epochs=200)
    growing = GrowingRun(start(run).run)
    teller = threading.Thread(target=lambda: list(retold(run, growing)))
    teller.start()
    while teller.is_alive():
        for trial, whole in zip(growing.so_far().trials, run.trials, strict=True):
            for name, values in trial.history.items():
                np.testing.assert_array_equal(values, whole.history[name][: len(values)])
    teller.join()
    assert [t.status for t in growing.so_far().trials] == [t.status for t in run.trials]


def test_with_patience_the_kept_epoch_is_the_best_so_far() -> None:
    from thalweg.tracking.growing import GrowingRun

    run = made_run(1, diverged=0, epochs=4)
    (trial,) = run.trials
    trial.history["validation_loss"][:] = [2.0, np.nan, 1.0, 1.0]
    run = dataclasses.replace(run, settings={**run.settings, "patience": 2})
    growing = GrowingRun(start(run).run)
    kept = [0] * 4
    for epoch in retold(run, growing):
        if epoch < 4:
            kept[epoch] = growing.so_far().trials[0].kept_epoch
    assert kept == [0, 1, 1, 3]
    assert growing.so_far().trials[0].kept_epoch == trial.kept_epoch
