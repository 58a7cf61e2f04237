"""Verifiers of Standard Webhooks signatures, none of them waybill's own: npm's package, or Python's hmac without
Node."""

import base64
import binascii
import hashlib
import hmac
import json
import pathlib
import shutil
import subprocess
import threading
import time

PACKAGE = "standardwebhooks"
HERE = pathlib.Path(__file__).resolve().parent
MODULES = HERE.parents[1] / "build" / "npm"
TOLERANCE = 300  # seconds: what the Standard Webhooks libraries accept between the time stamp and now


def available():
    """Has install.sh got the package, and is there a Node to run it?"""
    return bool(shutil.which("node")) and (MODULES / "node_modules" / PACKAGE / "package.json").exists()


class NodeVerifier:
    """npm's standardwebhooks in a Node process."""

    def __init__(self):
        package = json.loads((MODULES / "node_modules" / PACKAGE / "package.json").read_text())
        self.name = f"npm {PACKAGE} {package['version']}"
        self.lock = threading.Lock()
        self.node = subprocess.Popen(
            ["node", HERE / "verifier.mjs", MODULES], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def verify(self, **fields):
        """None when the signature is right, else what is wrong."""
        with self.lock:
            self.node.stdin.write(
                json.dumps({**fields, "body": base64.b64encode(fields["body"]).decode()}).encode() + b"\n"
            )
            self.node.stdin.flush()
            answer = json.loads(self.node.stdout.readline())
        return None if answer["verified"] else answer["error"]


class PythonVerifier:
    """The specification's own recipe, in Python's standard library."""

    name = "Python's hmac"

    def verify(self, id, timestamp, signature, body, secret):
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
            age = abs(time.time() - int(timestamp))
        except (binascii.Error, ValueError) as error:
            return str(error)
        if age > TOLERANCE:
            return "the time stamp is too far from now"
        wanted = base64.b64encode(hmac.digest(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256)).decode()
        versions = [part.split(",", 1) for part in signature.split(" ") if "," in part]
        if any(version == "v1" and hmac.compare_digest(value, wanted) for version, value in versions):
            return None
        return "no signature matches"


def choose():
    """The best verifier that this machine has."""
    return NodeVerifier() if available() else PythonVerifier()
