"""Imported first by whatever may be started: from here on a signal ends the process in order.

Nothing happens where something else was started, such as a test or a notebook. Before this import,
in the first hundredths of a second, Python itself answers a signal.
"""

import sys

from process.own_signals import is_ours, take_signals

if is_ours(sys.modules.get("__main__"), sys.orig_argv):
    take_signals()
