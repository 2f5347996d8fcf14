"""What else Home Assistant needs than the package of that name.

    requirements.py constraints    the versions that fit together, as it ships them
    requirements.py needs NAME...  the packages of these integrations, of those that it always starts, and of all that
                                   they depend on
"""

import json
import sys
from pathlib import Path

package = next(
    path / "homeassistant" for path in map(Path, sys.path) if (path / "homeassistant" / "components").is_dir()
)


def needs(names: list[str]) -> list[str]:
    from homeassistant import bootstrap  # its own dependencies are there by now

    waiting = {*bootstrap.CORE_INTEGRATIONS, *bootstrap.DEFAULT_INTEGRATIONS, *names}
    seen: set[str] = set()
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        manifest = json.loads((package / "components" / name / "manifest.json").read_text())
        found.update(manifest.get("requirements", []))
        waiting |= set(manifest.get("dependencies", [])) - seen
    return sorted(found)


if sys.argv[1] == "constraints":
    print((package / "package_constraints.txt").read_text())
else:
    print("\n".join(needs(sys.argv[2:])))
