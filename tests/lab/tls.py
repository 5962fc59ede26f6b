"""A certificate authority and a server certificate, made by openssl."""

import base64
import hashlib
import subprocess


def _openssl(*words):
    return subprocess.run(["openssl", *[str(word) for word in words]], check=True, capture_output=True).stdout


def make(directory, name="IP:127.0.0.1"):
    """Files (certificate, key, ca) for a server of that name; the CA is new every time."""
    directory.mkdir(parents=True, exist_ok=True)
    ca, ca_key = directory / "ca.pem", directory / "ca.key"
    certificate, key, request = directory / "server.pem", directory / "server.key", directory / "server.csr"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    _openssl("req", "-x509", *curve, "-keyout", ca_key, "-out", ca, "-days", 2, "-subj", "/CN=test CA")
    _openssl("req", *curve, "-keyout", key, "-out", request, "-subj", "/CN=push server")
    extensions = directory / "extensions"
    extensions.write_text(f"subjectAltName = {name}\nbasicConstraints = CA:FALSE\n")
    _openssl(
        "x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", 2,
        "-extfile", extensions, "-out", certificate,
    )  # fmt: skip
    for file in (ca, certificate):
        file.chmod(0o644)
    return certificate, key, ca


def public_key_hash(certificate):
    """As Chromium's --ignore-certificate-errors-spki-list wants it: of the certificate that it shall take for a good one."""
    public = _openssl("x509", "-in", certificate, "-noout", "-pubkey")
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], check=True, capture_output=True, input=public)
    return base64.b64encode(hashlib.sha256(der.stdout).digest()).decode()
