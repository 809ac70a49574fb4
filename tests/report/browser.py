"""Chromium for the tests of pages: one browser a module, windows and colour schemes on demand, a silent console."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MISSING = "Chromium or its driver is not installed"


def skipped(browser: str | None, driver: str | None, environment: Mapping[str, str]) -> bool:
    """Whether tests in a browser are left out: on a machine without one, but not in CI, where none may be missed."""
    return (browser is None or driver is None) and not environment.get("CI")


needs_browser = pytest.mark.skipif(skipped(BROWSER, DRIVER, os.environ), reason=MISSING)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def opened(profile: Path) -> Iterator[Any]:
    """Open a headless Chromium, and close it in the end."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    if BROWSER is None or DRIVER is None:
        pytest.fail(f"{MISSING}, though CI is set; install both, or unset CI and the tests are skipped")
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


def window(browser: Any, width: int, height: int = 900) -> None:
    settings = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", settings)


def media(browser: Any, kind: str = "", **features: str) -> None:
    """Show a page as for a colour scheme and the like; ``kind`` may be "print"."""
    wanted = {"prefers_color_scheme": "light", "prefers_reduced_motion": "no-preference"} | features
    given = [{"name": name.replace("_", "-"), "value": value} for name, value in wanted.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": kind, "features": given})


def until(true: Callable[[], Any], seconds: float = 10) -> Any:
    """Wait until something holds; return it."""
    end = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return value


def requests(browser: Any) -> list[str]:
    """The addresses that the page has asked for since the last look."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
