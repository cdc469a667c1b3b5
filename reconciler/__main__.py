"""The entry point: `reconciler …` and `python -m reconciler …`."""

from __future__ import annotations

import os
import resource
import sys


def main() -> None:
    """Run the command line and exit with its code.

    The current folder is taken off the module path first, because a checkout under review could
    hold a `yaml.py` of its own; and a crash leaves no core file with secrets behind.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    here = os.getcwd()
    sys.path[:] = [place for place in sys.path if place and os.path.realpath(place) != here]
    from reconciler.cli import run

    sys.exit(run(sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
