"""Writes docs/report.png: the beginning of a report, as Chromium shows it.

thalweg sweep IMAGES --trials 32 --out runs/pictured
python docs/make_report_picture.py runs/pictured
"""

from __future__ import annotations

import base64
import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

WIDTH, HEIGHT = 1280, 1560


def main(folder: str) -> None:
    options = webdriver.ChromeOptions()
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get((Path(folder) / "report.html").resolve().as_uri())
    # A dozen rows are enough to see what the table is.
    browser.execute_script("document.querySelector('#trials .scroll').style.maxHeight = '15rem'")
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    browser.quit()
    picture = Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(Path(__file__).parent / "report.png", optimize=True)


if __name__ == "__main__":
    main(sys.argv[1])
