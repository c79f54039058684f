"""The dashboard in a real browser: each test is a visit. `RINGVAULT_SHOTS=FOLDER` takes pictures instead."""

import os
import sys
import time
import traceback

from browser import start
from playwright.sync_api import sync_playwright


def main() -> int:
    wanted = sys.argv[1:]
    failed = 0
    with sync_playwright() as playwright:
        browser = start(playwright)
        folder = os.environ.get("RINGVAULT_SHOTS")
        if folder:
            import pictures

            pictures.take(browser, folder)
            return 0
        import visits  # wants three tokens, which pictures do not

        for visit in visits.ALL:
            if wanted and visit.__name__ not in wanted:
                continue
            began = time.monotonic()
            try:
                visit(browser)
                print(f"ok      {visit.__name__} ({time.monotonic() - began:.1f} s)")
            except Exception:
                failed += 1
                print(f"FAILED  {visit.__name__}\n{traceback.format_exc()}")
                _keep(browser, visit.__name__)
            for context in browser.contexts:
                context.close()
        browser.close()
    return 1 if failed else 0


def _keep(browser, name: str) -> None:
    """What it looked like, for whoever must find out."""
    folder = os.environ.get("RINGVAULT_TEST_PICTURES")
    if folder:
        for context in browser.contexts:
            for page in context.pages:
                page.screenshot(path=f"{folder}/{name}.png", full_page=True)


sys.exit(main())
