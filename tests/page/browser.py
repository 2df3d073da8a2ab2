"""A page in the browser: run scripts, press keys, click, choose an item."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class Page:
    """A page in the browser."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def until(self, script: str, good: Callable[[Any], bool] = bool) -> Any:
        end = time.monotonic() + 10
        while not good(value := self.run(f"return {script}")):
            assert time.monotonic() < end, f"{script} is still {value}"
            time.sleep(0.02)
        return value

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def click_word(self, index: int) -> None:
        self.driver.find_elements("css selector", "#words button")[index].click()

    def current_word(self) -> str | None:
        value: str | None = self.run("return document.querySelector('[aria-current=true]')?.textContent ?? null")
        return value

    def position(self) -> float:
        return float(self.run("return Number(document.getElementById('seek').value)"))


def choose(page: Page, index: int) -> None:
    page.run(
        f"const list = document.getElementById('items'); list.selectedIndex = {index};"
        f"list.dispatchEvent(new Event('change'))"
    )
