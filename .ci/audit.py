"""Say which installed packages have known vulnerabilities, from what ``pip-audit --format json`` has written.

Exit code 1 if a package has one. Where the data of vulnerabilities cannot be reached, pip-audit skips every package and
still succeeds: that is told, and is no success and no failure.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def verdict(report: str) -> tuple[str, int]:
    """Return what a report says in words, and the exit code; an empty report is one that could not be made."""
    packages = json.loads(report)["dependencies"] if report else []
    audited = [each for each in packages if "skip_reason" not in each]
    if not audited:
        return "audit: NOT DONE: the data of known vulnerabilities cannot be reached from here", 0
    known = [
        f"  {each['name']} {each['version']}: {one['id']}, mended in {', '.join(one['fix_versions']) or 'no version'}"
        for each in audited
        for one in each["vulns"]
    ]
    skipped = f", {len(packages) - len(audited)} could not be" if len(audited) < len(packages) else ""
    head = f"audit: {len(audited)} packages were audited{skipped}; known vulnerabilities: {len(known)}"
    return "\n".join([head, *known]), 1 if known else 0


if __name__ == "__main__":
    file = Path(sys.argv[1])
    text, status = verdict(file.read_text(encoding="utf-8") if file.is_file() else "")
    sys.stdout.write(f"{text}\n")
    sys.exit(status)
