"""Pictures of every screen: light, dark, and as wide as a phone."""

import os
from pathlib import Path

from browser import Visitor
from playwright.sync_api import Browser

SCREENS = {
    "fleet": ("/ui/fleet", "Fleet"),
    "cluster": ("/ui/clusters/orders-prod", "orders-prod"),
    "jobs": ("/ui/jobs", "Jobs"),
    "restore": ("/ui/restore?cluster=orders-prod", "Restore"),
    "storage": ("/ui/storage?cluster=orders-prod", "Storage of orders-prod"),
    "evidence": ("/ui/evidence", "Evidence"),
}
LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}, "device_scale_factor": 2},
}


def take(browser: Browser, folder: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    wanted = os.environ.get("RINGVAULT_SHOTS_OF", "")
    for look, options in LOOKS.items():
        visitor = Visitor(browser, os.environ["RINGVAULT_ADMIN"], **{"viewport": {"width": 1280, "height": 800}, **options})
        for name, (path, heading) in SCREENS.items():
            if wanted and name not in wanted.split(","):
                continue
            visitor.go(path, heading)
            visitor.page.wait_for_load_state("networkidle")
            visitor.page.screenshot(path=f"{folder}/{name}-{look}.png", full_page="full" in wanted)
        visitor.close()
