"""Where the built parts are."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PROFILE = os.environ.get("COUNTERSIGN_PROFILE", "release")
# tests/run puts copies of the built parts here, where every account can read them.
BUILT = Path("/run/lab/bin")
MODULE = BUILT / "pam_countersign.so"
DAEMON = BUILT / "countersignd"
SERVER = BUILT / "countersign-server"
COMMAND = BUILT / "countersign"
# Debian's libfaketime, for processes of several threads.
FAKETIME = f"/usr/lib/{os.uname().machine}-linux-gnu/faketime/libfaketimeMT.so.1"
