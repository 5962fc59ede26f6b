"""A private host to test on: real sshd, sudo and su, and the built parts of Countersign.

Everything here runs inside tests/lab/private, so it writes to /etc and /run without harm.
"""
