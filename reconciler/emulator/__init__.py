"""The IM vendors on loopback, for tests, benchmarks and the demo; an independent double."""

from reconciler.emulator.guesses import Guesses
from reconciler.emulator.serve import running, serve
from reconciler.emulator.settings import Clock, Settings

__all__ = ["Clock", "Guesses", "Settings", "running", "serve"]
