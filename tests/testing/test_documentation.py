from __future__ import annotations

import re
from pathlib import Path

from dynplat.testing.kit import CHECKS, POPULATION_CHECKS, SLOW_CHECKS, name_of

PAGE = Path(__file__).parents[2] / "docs" / "plugins" / "testing.md"


def test_page_lists_every_check_in_order_with_what_it_says_itself():
    entries = re.findall(r"^`([a-z-]+)`\n: (.*?)\n\n", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    listed = [(name, " ".join(text.split())) for name, text in entries]
    own = [check for check in POPULATION_CHECKS if check not in CHECKS]
    checks = (*CHECKS, *own, *SLOW_CHECKS)
    assert listed == [(name_of(check), (check.__doc__ or "").splitlines()[0]) for check in checks]
