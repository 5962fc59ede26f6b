"""A certificate authority and a server certificate, made by openssl."""

import base64
import datetime
import hashlib
import ipaddress
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


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


def expired(directory, name="127.0.0.1"):
    """Files (certificate, key) of the same authority for a server of that name, good until an hour ago."""
    pem = serialization.load_pem_private_key((directory / "ca.key").read_bytes(), None)
    issuer = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)
    try:
        names = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        names = x509.DNSName(name)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "push server")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(now - datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([names]), critical=False)
        .sign(pem, hashes.SHA256())
    )
    certificate, key_file = directory / "expired.pem", directory / "expired.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate, key_file


def public_key_hash(certificate):
    """As Chromium's --ignore-certificate-errors-spki-list wants it: of the certificate that it shall take for a good one."""
    public = _openssl("x509", "-in", certificate, "-noout", "-pubkey")
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], check=True, capture_output=True, input=public)
    return base64.b64encode(hashlib.sha256(der.stdout).digest()).decode()
