"""The entry point: `reconciler …` and `python -m reconciler …`."""

# Only what the interpreter has loaded by now: anything else would be looked for in the current
# folder first, as `python -m` without `-P` puts it at the head of the module path.
import os
import sys


def main() -> None:
    """Run the command line and exit with its code.

    The current folder is taken off the module path first, because a checkout under review could
    hold a `yaml.py` of its own; and a crash leaves no core file with secrets behind.
    """
    try:
        here = os.getcwd()
    except OSError:  # it was removed; the command says so where it needs it
        here = ""
    sys.path[:] = [place for place in sys.path if place and os.path.realpath(place) != here]
    from gc import freeze
    from resource import RLIMIT_CORE, setrlimit
    from signal import SIG_DFL, SIG_IGN, SIGINT, SIGTERM, default_int_handler, getsignal, signal

    setrlimit(RLIMIT_CORE, (0, 0))
    if getsignal(SIGTERM) is SIG_DFL:
        # What ends a CI job is an interrupt like any other: locks are given up on the way out.
        signal(SIGTERM, default_int_handler)
    try:
        from reconciler.cli import run

        code = run(sys.argv[1:], os.environ)
    except KeyboardInterrupt:
        code = 130
        # It is on its way out; one more has nothing left to interrupt.
        signal(SIGINT, SIG_IGN)
        signal(SIGTERM, SIG_IGN)
    # What is left goes with the process: nobody need look for cycles in it.
    freeze()
    sys.exit(code)


if __name__ == "__main__":
    main()
