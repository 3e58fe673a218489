"""Print constraints for pip: the oldest version of each required package that setup.cfg allows, as ``zarr==3.1.3``.

Libraries of optional formats are tried with their newest versions only.
"""

from __future__ import annotations

import configparser
import re
import sys
from pathlib import Path


def oldest(text: str) -> list[str]:
    """Return the constraints for the content of a setup.cfg."""
    config = configparser.ConfigParser()
    config.read_string(text)
    lines = config["options"]["install_requires"].split("\n")
    found = [re.fullmatch(r"([\w.-]+)>=([\w.]+)(?:,!=[\w.]+)*", line.strip()) for line in lines if line.strip()]
    if None in found:
        raise SystemExit(f"setup.cfg: expected name>=version in each line, got {lines}")
    return [f"{match[1]}=={match[2]}" for match in found if match]


if __name__ == "__main__":
    sys.stdout.write("\n".join(oldest(Path("setup.cfg").read_text(encoding="utf-8"))) + "\n")
