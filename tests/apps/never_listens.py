"""A deploy gone wrong: it runs, says so, and listens nowhere."""

import signal

print("waiting for a database that never comes", flush=True)
signal.pause()
