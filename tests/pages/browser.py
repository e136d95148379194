"""Chromium, where it is installed."""

import shutil
import subprocess
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def chromium(tmp_path: Path, page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What Chromium without a window says of a page."""
    return subprocess.run(
        [
            CHROMIUM,
            "--headless=new",
            # Chromium has no sandbox for root, as which containers run.
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--enable-logging=stderr",
            "--v=0",
            *options,
            page.as_uri(),
        ],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    )


def console(browser: subprocess.CompletedProcess[str]) -> list[str]:
    """What the page, or the browser about it, wrote to the console."""
    return [line for line in browser.stderr.splitlines() if "CONSOLE" in line]
