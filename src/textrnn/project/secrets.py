"""Keeps secrets out of what is logged of uncommitted changes."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

NO_SECRETS = ("HexHighEntropyString", "IPPublicDetector")
"""Detectors of detect-secrets for hashes and addresses, which are no secrets here."""

FILTERS = ("is_templated_secret", "is_prefixed_with_dollar_sign")
"""Its filters for what names a secret and holds none, such as `password: ${PASSWORD}`."""

FILE = re.compile(r"^(?=diff --git )", re.MULTILINE)


@cache
def without_secrets(patch: str) -> str:
    """Returns `patch` without the files of which a line looks like a secret, with a warning for each.

    `git apply` accepts what is returned: it ignores the lines that say what was left out.
    """
    head, *files = FILE.split(patch)
    kept = []
    for file in files:
        name = file.partition("\n")[0].rpartition(" b/")[2]
        if found := _secrets(name, file):
            head += f"Left out, because it seems to hold a secret: {name} ({', '.join(found)})\n"
            sys.stderr.write(
                f"warning: MLflow does not get the uncommitted changes of {name}, because a line looks like a secret "
                f"({', '.join(found)}). Keep secrets in the environment or in .dvc/config.local.\n"
            )
        else:
            kept.append(file)
    return head + "".join(kept)


def _secrets(name: str, patch: str) -> list[str]:
    """The kinds of secrets that lines of the patch of one file seem to hold."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class  # deferred: seldom needed
    from detect_secrets.core.scan import scan_file
    from detect_secrets.settings import transient_settings

    kinds: dict[str, type] = get_mapping_from_secret_type_to_class()
    detectors = {kind.__name__ for kind in kinds.values()}
    settings = {
        "plugins_used": [{"name": detector} for detector in sorted(detectors.difference(NO_SECRETS))],
        "filters_used": [{"path": f"detect_secrets.filters.heuristic.{each}"} for each in FILTERS],
    }
    _, *lines = patch.partition("\n@@")[2].splitlines() or [""]
    content = [line[1:] for line in lines if line.startswith(("+", "-", " "))]
    with TemporaryDirectory() as scratch, transient_settings(settings):
        # What a secret looks like depends on the suffix.
        file = Path(scratch, f"changed{PurePosixPath(name).suffix or '.txt'}")
        file.write_text("\n".join(content), encoding="utf-8")
        return sorted({secret.type for secret in scan_file(str(file))})
