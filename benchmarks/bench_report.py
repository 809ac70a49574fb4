"""What the report of a large sweep weighs, and how long it takes to write and to open.

    python benchmarks/bench_report.py [--trials 1000] [--epochs 100]

The sweep trains on the built-in digits, so that every section is there; its histories are real. Opening is timed in
Chromium from the request to the `load` event and to the first frame after it, five times, the median taken; without
Chromium it is left out.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import thalweg as tw
from thalweg.report import build_report
from thalweg.report.page import render
from thalweg.report.sections.all import page_of


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=100)
    given = parser.parse_args()
    space = tw.Recipe(
        penalty=tw.penalties.L2(tw.log_uniform(1e-6, 1e-1)),
        optimizer=tw.choice(
            tw.optimizers.Adam(tw.schedules.Cosine(tw.log_uniform(1e-4, 1.0))),
            tw.optimizers.SGD(tw.schedules.Cosine(tw.log_uniform(1e-3, 1e3)), momentum=0.9),
        ),
        batch_size=256,
        epochs=given.epochs,
    )
    run = tw.sweep(space, "digits", trials=given.trials)
    print(f"{len(run.trials)} trials of {given.epochs} epochs: {run.statuses}")
    build_report(run)  # compiles
    began = time.perf_counter()
    report = build_report(run)
    built = time.perf_counter()
    text = render(page_of(report))
    drawn = time.perf_counter()
    print(f"records {built - began:.2f} s, page {drawn - built:.2f} s, {len(text.encode()) / 1e6:.2f} MB")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.html"
        file.write_text(text, encoding="utf-8")
        opening(file)


def opening(file: Path) -> None:
    """Print how long Chromium takes to open a file."""
    driver = shutil.which("chromedriver")
    if driver is None:
        print("Chromium's driver is not installed: opening is not timed")
        return
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=Service(driver))
    loads, frames = [], []
    for _ in range(6):
        browser.get("about:blank")
        browser.get(file.as_uri())
        load = browser.execute_script("return performance.timing.loadEventEnd - performance.timing.navigationStart")
        frame = browser.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => "
            "done(Date.now() - performance.timing.navigationStart)))"
        )
        loads.append(load / 1000)
        frames.append(frame / 1000)
    browser.quit()
    print(f"opened in {statistics.median(loads[1:]):.2f} s, a frame painted by {statistics.median(frames[1:]):.2f} s")


if __name__ == "__main__":
    main()
