"""doc/webhooks.md keeps its word: its examples are what the program writes, its snippets verify what it signs."""

import json
import re
import shutil
import subprocess

import pytest

from .conftest import ROOT

PAGE = (ROOT / "doc" / "webhooks.md").read_text()
GOLDEN = ROOT / "tests" / "golden" / "formats"


def blocks(kind):
    """The fenced blocks behind <!-- KIND: NAME -->, by name."""
    return dict(re.findall(rf"<!-- {kind}: (\S+) -->\n```\w+\n(.*?)\n```", PAGE, re.DOTALL))


@pytest.mark.parametrize("name", sorted(blocks("example")))
def test_example(name):
    """The golden files are what every build is compared with (tests/unit/webhookd/test_format.c)."""
    written = json.loads((GOLDEN / f"{name}.json").read_text())
    assert json.loads(blocks("example")[name]) == written


def test_every_documented_key_and_type_is_there():
    table = set(re.findall(r"`((?:message|recipient|webhook|credential)\.[a-z.]+)`", PAGE))
    shown = {json.loads(body)["type"] for name, body in blocks("example").items() if name.endswith(".waybill")}
    assert shown <= table and len(shown) >= 9
    for body in (json.loads(body) for name, body in blocks("example").items() if name.endswith(".waybill")):
        assert set(body) == {"type", "timestamp", "data"}
        assert {"event_id", "schema", "customer", "seq", "smtp", "remote", "delays", "bounce", "suppression", "source",
                "detail"} <= set(body["data"])


WRAPPERS = {
    "python": ("python3", "verify.py", "{code}\nimport json, sys\nw = json.load(open(sys.argv[1]))\n"
               "print('yes' if verify(w['headers'], w['body'].encode(), w['secret']) else 'no')\n"),
    "node": ("node", "verify.js", "{code}\nconst w = JSON.parse(require('fs').readFileSync(process.argv[2]));\n"
             "console.log(verify(w.headers, Buffer.from(w.body), w.secret) ? 'yes' : 'no');\n"),
    "php": ("php", "verify.php", "{code}\n$w = json_decode(file_get_contents($argv[1]), true);\n"
            "echo verify($w['headers'], $w['body'], $w['secret']) ? 'yes' : 'no';\n"),
    "go": ("go", "verify.go", None),
    "shell": ("openssl", "verify.sh", None),
}
GO_MAIN = """
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	var w struct {
		Headers      map[string]string
		Body, Secret string
	}
	bytes, _ := os.ReadFile(os.Args[1])
	json.Unmarshal(bytes, &w)
	if verify(w.Headers, []byte(w.Body), w.Secret) {
		fmt.Println("yes")
	} else {
		fmt.Println("no")
	}
}
"""


def runner(language, folder):
    """Writes the snippet with a main() around it; returns a function that runs it over a file."""
    program, name, wrapper = WRAPPERS[language]
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    code, file = blocks("snippet")[language], folder / name
    if wrapper:
        file.write_text(wrapper.replace("{code}", code))
        return lambda words: [program, file, words]
    if language == "go":
        file.write_text(code + "\n")
        (folder / "main.go").write_text(GO_MAIN)
        return lambda words: ["go", "run", file, folder / "main.go", words]
    file.write_text(code + '\nif verify "$@"; then echo yes; else echo no; fi\n')

    def words_of(path):
        words = json.loads(path.read_text())
        (folder / "body").write_text(words["body"])
        headers = [words["headers"][f"webhook-{key}"] for key in ("id", "timestamp", "signature")]
        return ["sh", file, *headers, folder / "body", words["secret"]]
    return words_of


@pytest.fixture(scope="module")
def post(database):
    """One POST as it came: by an endpoint whose secret rotates, so that there are two signatures."""
    database.started.clear()
    server = database.server()
    old = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    endpoint, secret = database.endpoint(server.url("ok", "docs"), previous=old, previous_until="2099-01-01")
    database.run()
    database.event(endpoint, response="250 ok \u00e9")
    database.until("the event arrives", lambda: server.posts("docs"))
    database.end()
    return server.posts("docs")[0], secret, old


@pytest.mark.parametrize("language", sorted(WRAPPERS))
def test_snippet(post, tmp_path, language):
    got, secret, old = post
    run = runner(language, tmp_path)
    headers = {key: value for key, value in got.headers.items() if key.startswith("webhook-")}
    stale = {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 600)}
    plays = [("yes", headers, got.body, secret), ("yes", headers, got.body, old),
             ("no", headers, got.body + b" ", secret), ("no", stale, got.body, secret),
             ("no", headers, got.body, "whsec_" + "AAAA" * 8), ("no", {**headers, "webhook-id": "evt_x"}, got.body, secret),
             ("no", {**headers, "webhook-signature": "v1,AAAA v1a,BBBB"}, got.body, secret)]
    for number, (wanted, fields, body, key) in enumerate(plays):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps({"headers": fields, "body": body.decode(), "secret": key}))
        done = subprocess.run(run(file), capture_output=True, text=True, cwd=tmp_path)
        assert done.stdout.strip() == wanted, f"{language}, play {number}: {done.stdout}{done.stderr}"


def test_manual_page():
    if not shutil.which("mandoc"):
        pytest.skip("mandoc is not installed")
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", ROOT / "doc" / "waybill-webhooks.7"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
