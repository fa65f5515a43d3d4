"""Runs the operator's `check` against TLS servers of OpenSSL's that are each wrong in one way, and writes what it says as a table.

Called by run.sh. Each server has the words that its message must have; none may see a byte of a request.
"""

import difflib
import os
import re
import select
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from stacks import RIGHT, STOP_S, Failed, Operator, free_port

START_S = 20
NAME = "service4.ultipro.localhost"
LEAF = f"""basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature,keyEncipherment
extendedKeyUsage=serverAuth
subjectAltName=DNS:{NAME}
"""
CA = """basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign
"""
# `openssl ca`, the one way of OpenSSL 3.0 to choose both ends of a certificate's time.
CA_CONFIG = """[ca]
default_ca = it
[it]
database = {db}
new_certs_dir = {directory}
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
"""


class Authority:
    """A certificate authority with a key and a certificate in files."""

    def __init__(self, directory, name, subject, issuer=None, extensions=CA, **more):
        self.directory, self.name = directory, name
        self.key, self.certificate = directory / f"{name}.key", directory / f"{name}.crt"
        self.pem = (issuer or self).issue(name, subject, extensions, **more)

    def issue(self, name, subject, extensions=LEAF, start="20200101000000Z", end="20900101000000Z", key="rsa:2048", digest="sha256"):
        """Makes a key and a certificate of it, by this authority; gives the certificate in PEM."""
        at = self.directory
        openssl("req", "-new", "-newkey", key, "-nodes", "-subj", f"/CN={subject}", "-keyout", at / f"{name}.key", "-out", at / f"{name}.csr")
        (at / f"{name}.ext").write_text(extensions)
        (at / f"{name}.db").write_text("")
        (at / f"{name}.cnf").write_text(CA_CONFIG.format(db=at / f"{name}.db", directory=at))
        itself = name == self.name
        signer = ["-selfsign", "-keyfile", at / f"{name}.key"] if itself else ["-cert", self.certificate, "-keyfile", self.key]
        openssl(
            "ca", "-batch", "-notext", "-config", at / f"{name}.cnf", "-in", at / f"{name}.csr", "-out", at / f"{name}.crt",
            "-extfile", at / f"{name}.ext", "-startdate", start, "-enddate", end, "-md", digest, *signer,
        )
        return (at / f"{name}.crt").read_text()


def openssl(*arguments):
    run = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=60)
    if run.returncode != 0:
        raise Failed(f"openssl {arguments[0]}: {run.stderr}")


@dataclass
class Server:
    """What is wrong with it, the verdict's reason, and words that the message must have."""

    what: str
    reason: str
    words: str
    # The leaf's name in files, and what is sent with it.
    leaf: str = "good"
    chain: tuple = ("intermediate",)
    # Of `openssl s_server`.
    options: tuple = field(default=("-cipher", "DEFAULT:@SECLEVEL=0"))
    # In place of one.
    bytes_sent: bytes | None = None
    # Whether it reads before it sends or closes.
    reads_first: bool = True
    # Whether it does so inside of TLS that is as it should be.
    inside: bool = False


UNTRUSTED, FAILED = "TlsUntrusted", "TlsFailed"
LOW = "ALL:@SECLEVEL=0"
REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
SERVERS = [
    Server("valid TLS, and a redirect", "NotUkgPro", "UKG Pro's web services send neither", bytes_sent=REDIRECT, inside=True),
    Server("certificate of an authority that is not trusted, sent with its intermediate certificate", UNTRUSTED, "issued by an authority that is not trusted", "strange", ("strange-intermediate",)),
    Server("intermediate certificate missing", UNTRUSTED, "the host sent no intermediate certificate", chain=()),
    Server("self-signed certificate", UNTRUSTED, "it is self-signed", "self", ()),
    Server("authority with the name of a product that inspects TLS", UNTRUSTED, "a product that inspects TLS", "inspected", ("zscaler",)),
    Server("expired certificate", UNTRUSTED, "it expired on 2021-02-03", "expired"),
    Server("certificate that is not valid yet", UNTRUSTED, "it is not valid before 2080-01-02", "early"),
    Server("expired intermediate certificate", UNTRUSTED, "expired", "of-expired", ("expired-intermediate",)),
    Server("certificate for another name", UNTRUSTED, "it is for another host name", "other"),
    Server("wildcard certificate for a level that is too high", UNTRUSTED, "it is for another host name", "wildcard"),
    Server("certificate without subjectAltName", UNTRUSTED, "it has no subjectAltName", "no-san"),
    Server("RSA key of 1,024 bits", UNTRUSTED, "too weak, or of an unknown kind", "weak-key"),
    Server("signature with SHA-1", UNTRUSTED, "too weak, or of an unknown kind", "sha1"),
    Server("certificate for clients", UNTRUSTED, "it is not a server certificate", "client"),
    Server("authority that may not issue certificates for this name", UNTRUSTED, "may not issue for this name", "constrained", ("constrained-intermediate",)),
    Server("certificate of an authority in place of a server's", UNTRUSTED, "itself an authority's certificate", "ca-leaf"),
    Server("authority that was replaced by one of the same name", UNTRUSTED, "the authority may have been replaced", "replaced", ()),
    Server("unknown critical extension", UNTRUSTED, "it breaks a rule", "critical"),
    Server("only TLS 1.0", FAILED, "only TLS versions older than 1.2", options=("-tls1", "-cipher", LOW)),
    Server("only TLS 1.1", FAILED, "only TLS versions older than 1.2", options=("-tls1_1", "-cipher", LOW)),
    Server("only RSA key exchange", FAILED, "no cipher suite or key exchange", options=("-tls1_2", "-cipher", "AES128-GCM-SHA256:AES256-GCM-SHA384")),
    Server("only finite-field Diffie-Hellman", FAILED, "no cipher suite or key exchange", options=("-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256")),
    Server("only CBC", FAILED, "no cipher suite or key exchange", options=("-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA256")),
    Server("TLS 1.3 with only a group that the operator does not have", FAILED, "no cipher suite or key exchange", options=("-tls1_3", "-groups", "P-521")),
    Server("client certificate required, TLS 1.2", FAILED, "requires a client certificate", options=("-tls1_2", "-Verify", "1", "-verify_return_error")),
    Server("client certificate required, TLS 1.3", FAILED, "requires a client certificate", options=("-tls1_3", "-Verify", "1", "-verify_return_error")),
    Server("name refused with an alert", FAILED, "refused it with a TLS alert", options=("-servername", "elsewhere.example", "-servername_fatal")),
    Server("plain HTTP", FAILED, "does not speak TLS", bytes_sent=b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    Server("SSH", FAILED, "does not speak TLS", bytes_sent=b"SSH-2.0-OpenSSH_9.2\r\n", reads_first=False),
    Server("SMTP", FAILED, "does not speak TLS", bytes_sent=b"220 mail ESMTP ready\r\n", reads_first=False),
    Server("connection closed at once", FAILED, "closed during the handshake", bytes_sent=b"", reads_first=False),
    Server("connection closed after the client's first message", FAILED, "closed during the handshake", bytes_sent=b""),
]


def certificates(directory):
    """All that the servers show; gives the authority that the operator trusts."""
    root = Authority(directory, "root", "oracles")
    intermediate = Authority(directory, "intermediate", "oracles intermediate", root)
    stranger = Authority(directory, "stranger", "stranger")
    strange = Authority(directory, "strange-intermediate", "stranger intermediate", stranger)
    zscaler = Authority(directory, "zscaler", "Zscaler Intermediate Root CA", stranger)
    expired = Authority(directory, "expired-intermediate", "oracles expired", root, end="20210203000000Z")
    limited = CA + "nameConstraints=critical,permitted;DNS:example.com\n"
    constrained = Authority(directory, "constrained-intermediate", "oracles constrained", root, limited)
    intermediate.issue("good", NAME)
    strange.issue("strange", NAME)
    zscaler.issue("inspected", NAME)
    expired.issue("of-expired", NAME)
    constrained.issue("constrained", NAME)
    Authority(directory, "self", NAME, extensions=LEAF)
    intermediate.issue("expired", NAME, end="20210203000000Z")
    intermediate.issue("early", NAME, start="20800102000000Z")
    intermediate.issue("other", "other", LEAF.replace(NAME, "service5.ultipro.localhost"))
    intermediate.issue("wildcard", "wildcard", LEAF.replace(NAME, "*.localhost"))
    intermediate.issue("no-san", NAME, "".join(LEAF.splitlines(True)[:-1]))
    intermediate.issue("weak-key", NAME, key="rsa:1024")
    intermediate.issue("sha1", NAME, digest="sha1")
    intermediate.issue("client", NAME, LEAF.replace("serverAuth", "clientAuth"))
    intermediate.issue("ca-leaf", NAME, CA + f"subjectAltName=DNS:{NAME}\n")
    intermediate.issue("critical", NAME, LEAF + "1.2.3.4.5=critical,ASN1:NULL\n")
    # Of the root's name, by another key.
    (directory / "other").mkdir()
    usurper = Authority(directory / "other", "root", "oracles")
    usurper.directory = directory
    usurper.name = "usurper"
    usurper.issue("replaced", NAME)
    return root.pem


class OpenSsl:
    """`openssl s_server`; what it is sent is in its output."""

    def __init__(self, directory, server, port):
        chain = directory / "chain.pem"
        chain.write_text("".join((directory / f"{name}.crt").read_text() for name in server.chain))
        sent = ["-cert_chain", chain] if server.chain else []
        command = [
            "openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", directory / f"{server.leaf}.crt", "-key",
            directory / f"{server.leaf}.key", *sent, *server.options, "-www",
        ]
        if "-servername" in server.options:
            command += ["-cert2", directory / f"{server.leaf}.crt", "-key2", directory / f"{server.leaf}.key"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        deadline, said = time.monotonic() + START_S, b""
        while b"ACCEPT" not in said:
            readable, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 4096) if readable else b""
            if not piece:
                self.stop()
                raise Failed(f"openssl s_server did not start: {said.decode(errors='replace')}")
            said += piece

    def stop(self):
        self.process.kill()
        self.process.wait(STOP_S)


class Raw:
    """A port that sends some bytes and closes."""

    def __init__(self, directory, server, port):
        self.listener = socket.create_server(("127.0.0.1", port))
        if server.inside:
            chain = directory / "chain.pem"
            chain.write_text("".join((directory / f"{name}.crt").read_text() for name in (server.leaf, *server.chain)))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(chain, directory / f"{server.leaf}.key")
            self.listener = context.wrap_socket(self.listener, server_side=True)
        threading.Thread(target=self.serve, args=(server,), daemon=True).start()

    def serve(self, server):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(STOP_S)
                try:
                    if server.reads_first:
                        connection.recv(4096)
                    connection.sendall(server.bytes_sent)
                    connection.shutdown(socket.SHUT_WR)
                    # Bytes that are left unread would make a reset of the close.
                    while connection.recv(4096):
                        pass
                except OSError:
                    pass

    def stop(self):
        self.listener.close()


def run(server, directory, operator):
    port = free_port()
    peer = (OpenSsl if server.bytes_sent is None else Raw)(directory, server, port)
    try:
        verdict, _ = operator.check("tls", port, RIGHT)
    finally:
        peer.stop()
    message = re.sub(rf"(https://{re.escape(NAME)}):\d+", r"\1", verdict.message)
    if verdict.state != "Unreachable" or verdict.reason != server.reason or server.words not in message:
        raise Failed(f"{verdict}: {message}")
    said = re.search(r"(?:is not trusted|failed): (.*?)\. ", message)
    return f"{verdict.reason}: {said.group(1) if said else message.split('. ')[0]}"


def main():
    binary, directory, kept = sys.argv[1], *map(Path, sys.argv[2:4])
    directory = directory / "tls"
    directory.mkdir()
    operator = Operator(binary, directory, certificates(directory))
    flaws, rows = [], []
    for server in SERVERS:
        try:
            rows.append((server.what, run(server, directory, operator)))
        except (Failed, subprocess.TimeoutExpired) as error:
            flaws.append(f"{server.what}: {error}")
    version = ssl.OPENSSL_VERSION.split()[1].rsplit(".", 1)[0]
    head = f"""# TLS faults

`make oracles` runs `ukgpro-operator check` against servers of OpenSSL {version}, each with one fault. It fails if the results differ from this
table; `WRITE_STACKS=1 make oracles` writes the table. The operator sends nothing before the TLS handshake succeeds. In each case the
connection's state is Unreachable, and the operator retries. A host that only asks for a client certificate costs one second for each new
TLS 1.3 connection by HTTP/1.1.

| Server | Reason, and what the message says |
|---|---|
"""
    seen = head + "".join(f"| {what} | {said} |\n" for what, said in rows)
    for flaw in flaws:
        print(f"oracles: TLS: {flaw}", file=sys.stderr)
    if not flaws and os.environ.get("WRITE_STACKS") == "1":
        kept.write_text(seen)
    was = kept.read_text() if kept.exists() else ""
    if seen != was:
        sys.stderr.writelines(difflib.unified_diff(was.splitlines(True), seen.splitlines(True), "docs/tls.md", "what was seen"))
        print("oracles: what was seen is not what docs/tls.md says; WRITE_STACKS=1 writes it", file=sys.stderr)
    shutil.rmtree(directory)
    if flaws or seen != was:
        sys.exit(1)
    print(f"oracles: {len(SERVERS)} TLS servers came out as docs/tls.md says", file=sys.stderr)


if __name__ == "__main__":
    main()
