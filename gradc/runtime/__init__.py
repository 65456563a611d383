"""What runs compiled code: executables, the native call entry, threads, memory, and the cache on disk."""

import time

IMPORTED = time.time_ns()
"""When gradc was imported: what has changed in its files since then is not what runs."""
