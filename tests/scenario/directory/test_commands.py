"""The command line: what it refuses and how, what it writes down, what each role may do, migrations."""

import json
import shutil
import subprocess

import psycopg2
import pytest


@pytest.fixture(scope="module")
def waybill(stack):
    """Runs a command; returns (exit status, standard output, standard error)."""

    def run(*words, input=None):
        done = stack.node.waybill(*words, ok=False, input=input)
        return done.returncode, done.stdout, done.stderr

    run("customer", "add", "acme", "--title", "Acme")
    run("customer", "add", "other")
    run("limit", "set", "taken", "customer", "messages", "1/h", "--customer", "acme")
    run("domain", "add", "acme", "acme.test", "--activate")
    return run


@pytest.mark.parametrize("words, says", [
    (("customer", "add", "Acme"), 'customer "Acme", character 1: '),
    (("customer", "add", "ac me"), 'customer "ac me", character 3: '),
    (("customer", "add", "a" * 64), "longer than 63"),
    (("customer", "add", "x", "--time-zone", "Mars/Olympus"), 'no time zone "Mars/Olympus"'),
    (("customer", "add", "x", "--header-from", "maybe"), "none of: off, log, enforce"),
    (("domain", "add", "acme", "-bad.test"), "character 1"),
    (("domain", "add", "acme", "under_score.test"), "under_score.test"),
    (("domain", "add", "acme", "bad(.test"), "bad(.test"),
    (("domain", "add", "acme", "single"), "single"),
    (("login", "add", "acme", "two words"), "character 4"),
    (("login", "add", "acme", "x", "--networks", "192.0.2.1/24"), "character 1"),
    (("login", "add", "acme", "x", "--networks", "192.0.2.0/24,nonsense"), "character 14"),
    (("login", "add", "acme", "x", "--networks", "192.0.2.0/24,2001:db8::/129"), "character 14"),
    (("login", "add", "acme", "x", "--allow", "user@"), "pattern"),
    (("login", "add", "acme", "x", "--expires", "soon"), "not a time"),
    (("limit", "set", "l", "login", "messages", "10/fortnight", "--customer", "acme"), "character 4"),
    (("limit", "set", "l", "destination", "messages", "1/h", "--customer", "acme", "--destination", "a..test"), "character 3"),
    (("limit", "set", "l", "login", "letters", "10/h", "--customer", "acme"), "none of: messages, recipients, bytes"),
    (("domain", "add", "acme", "www.büch_er.test"), "character 5"),
    (("suppress", "add", "acme", "no address"), "character 11: there is no @"),
    (("suppress", "add", "acme", "a b@x.test"), "character 2"),
    (("suppress", "add", "acme", "über..a@x.test"), "character 6"),
    (("suppress", "add", "acme", '"a"b@x.test'), "character 4"),
    (("suppress", "add", "acme", "a@x..test"), "character 5"),
    (("suppress", "add", "acme", "a@[192.0.2.1]"), "character 3"),
])
def test_bad_words_are_refused_at_the_character(stack, waybill, words, says):
    before = stack.postgres.execute("SELECT max(id) AS id FROM waybill.audit")
    status, out, error = waybill(*words)
    assert status == 65 and says in error and not out
    assert stack.postgres.execute("SELECT max(id) AS id FROM waybill.audit") == before


@pytest.mark.parametrize("words, status, says", [
    (("customer", "show", "nobody"), 67, "next: waybill customer list"),
    (("login", "show", "nobody"), 67, "next: waybill login list"),
    (("domain", "records", "nowhere.test"), 67, "next: waybill domain list"),
    (("login", "add", "nobody", "x"), 67, 'no customer "nobody"'),
    (("customer", "add", "acme"), 73, "exists already: nothing was changed"),
    (("domain", "add", "acme", "ACME.test"), 73, "exists already: nothing was changed"),
    (("customer", "remove", "acme"), 64, "repeat it with --yes"),
    (("limit", "set", "taken", "customer", "messages", "1/h", "--customer", "other"), 73, "belongs to another customer"),
    (("customer", "frobnicate"), 64, "no such verb: frobnicate"),
    (("customer", "show"), 64, "missing: CUSTOMER"),
    (("limit", "set", "l", "login", "messages", "1/h"), 64, "--customer"),
    (("limit", "set", "l", "customer", "messages", "1/h", "--customer", "acme", "--destination", "a.test"), 64,
     "for limits of scope destination"),
    (("customer", "list", "--colour"), 64, "no such option here: --colour"),
])
def test_errors_name_the_next_step(waybill, words, status, says):
    got, out, error = waybill(*words)
    assert (got, out) == (status, "") and says in error


def test_every_command_explains_itself(stack, waybill):
    text = waybill("--help")[1]
    assert max(map(len, text.splitlines())) <= 100
    rows = [line.split("  ")[1] for line in text.splitlines() if line.startswith("  ") and line[2] != " "]
    assert len(rows) > 40
    for row in rows:
        noun, verb = (row.split() + [""])[:2]
        words = [noun] if verb.isupper() else [noun, verb]
        status, out, _ = waybill(*words, "--help")
        assert status == 0 and out.startswith(f"usage: waybill {' '.join(words)}")


def test_the_help_of_a_noun_shows_its_commands_options(waybill):
    status, out, _ = waybill("domain", "--help")
    assert status == 0 and "  domain add CUSTOMER DOMAIN" in out and "    --ed25519" in out and "customer add" not in out
    assert waybill("nonsense", "--help")[0] == 64
    assert max(map(len, out.splitlines())) <= 100


def test_completion_offers_nouns_verbs_and_options(stack):
    script = subprocess.run([stack.node.bin / "waybill", "--completion"], capture_output=True, text=True, check=True).stdout

    def complete(*words):
        line = f'{script}\nCOMP_WORDS=({" ".join(map(repr, words))}); COMP_CWORD={len(words) - 1}; _waybill; echo "${{COMPREPLY[@]}}"'
        return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout.split()

    assert "customer" in complete("waybill", "cu")
    assert complete("waybill", "customer", "sus") == ["suspend"]
    assert complete("waybill", "domain", "add", "--act") == ["--activate"]


def test_a_control_byte_cannot_move_the_cursor(waybill):
    waybill("customer", "set", "acme", "--title", "evil\x1b[2Jname")
    assert "\x1b" not in waybill("customer", "list")[1]
    assert json.loads(waybill("customer", "list", "--json")[1].splitlines()[0])["title"] == "evil\x1b[2Jname"
    waybill("customer", "set", "acme", "--title", "Acme")


def test_audit_names_person_command_and_values_but_no_secret(stack, waybill):
    shown = json.loads(waybill("login", "add", "acme", "audited", "--label", "one", "--json")[1])
    waybill("login", "set", "audited", "--label", "two")
    waybill("login", "rotate", "audited")
    rows = [json.loads(line) for line in waybill("audit", "list", "--object", "login audited", "--json")[1].splitlines()]
    assert [row["what"] for row in rows] == ["login add", "login set", "login rotate"]
    assert rows[1]["before"]["label"] == "one" and rows[1]["after"]["label"] == "two" and rows[1]["who"] == "root"
    everything = stack.postgres.execute("SELECT string_agg(a::text, ' ') AS text FROM waybill.audit AS a")[0]["text"]
    assert shown["password"] not in everything and "$2b$" not in everything and "sealed" not in everything
    # The columns are left out by a list: whoever adds a secret adds it there.
    assert stack.postgres.execute(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'waybill'"
        " AND column_name ~ '^sealed|_hash$' AND waybill.without_secrets(jsonb_build_object(column_name, 'x')) <> '{}'") == []


def test_suppressions_go_out_and_in_again(stack, waybill):
    lines = 'a@dest.test,manual,2030-01-01T00:00:00Z,"a, note"\n"""q,q""@dest.test",import,,\n"#1@dest.test",import,,#\n'
    status, out, error = waybill("suppress", "import", "acme", "-", "--json", input=lines + "# no line\n\nnonsense\nb@dest.test,because\n")
    assert status == 65 and json.loads(out) == {"imported": 3, "existing": 0, "refused": 2}
    assert "standard input:6: " in error and "standard input:7: " in error
    exported = waybill("suppress", "export", "acme")[1]
    assert sorted(exported.splitlines()) == sorted(lines.splitlines())
    assert json.loads(waybill("suppress", "import", "acme", "-", "--json", input=exported)[1])["existing"] == 3


def test_a_bad_row_of_an_import_costs_no_other(stack, waybill):
    lines = [b"one@rows.test,manual,soon,", b"two@rows.test", b"three@rows.test,manual,2030-02-31", b"four@rows.test,import,+30 days",
             b"five@rows.test,manual,,\xff\xfe", b"six@rows.test,manual,,a\0b", b'seven@rows.test,manual,,"open', b"@rows.test",
             b"two@rows.test", b"eight@rows.test,manual,2030-01-01,last"]
    file = stack.home / "rows"
    file.write_bytes(b"\n".join(lines))
    status, out, error = waybill("suppress", "import", "other", file, "--json")
    assert status == 65 and json.loads(out) == {"imported": 3, "existing": 1, "refused": 6}
    assert sorted(int(line.split(":")[2]) for line in error.splitlines()) == [1, 3, 5, 6, 7, 8]
    rows = [json.loads(line) for line in waybill("suppress", "list", "other", "--json")[1].splitlines()]
    assert [row["recipient"] for row in rows] == ["eight@rows.test", "four@rows.test", "two@rows.test"]


def test_keys_of_an_opendkim_are_taken_over(stack, waybill):
    folder = stack.home / "opendkim"
    folder.mkdir()
    for name, command in {"rsa": ["genrsa", "2048"], "weak": ["genrsa", "1024"], "tiny": ["genrsa", "512"]}.items():
        (folder / name).write_bytes(subprocess.run(["openssl", *command], capture_output=True, check=True).stdout)
    (folder / "bad").write_text("no key")
    (folder / "keys").write_text(f"# keys\nk1 one.test:old1:{folder}/rsa\nk2 %:old2:{folder}/weak\nk3 three.test:s:{folder}/tiny\n"
                                 f"k4 four.test:s:{folder}/bad\nk5 five.test:s:{folder}/missing\nbroken\n")
    (folder / "signing").write_text("*@one.test k1\nsub.two.test k2 # comment\nuser@three.test k3\nfour.test k4\nfive.test k5\n"
                                    "six.test k6\n*@one.test k1\n")
    status, out, _ = waybill("domain", "import-opendkim", folder / "keys", folder / "signing", "--customer", "acme", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 65
    assert [(row["domain"], row["selector"], row["result"]) for row in rows] == [
        ("one.test", "old1", "imported"), ("sub.two.test", "old2", "imported"), ("three.test", "s", "refused"),
        ("four.test", "s", "refused"), ("five.test", "s", "refused"), ("-", "", "refused"), ("one.test", "old1", "exists")]
    assert "2048" in rows[1]["detail"] and "1024" in rows[2]["detail"]
    public = subprocess.run(["openssl", "rsa", "-in", folder / "rsa", "-pubout", "-outform", "DER"], capture_output=True).stdout
    [key] = stack.postgres.execute("SELECT state, public_key FROM waybill.dkim_keys WHERE domain = 'one.test'")
    assert key["state"] == "active" and bytes(key["public_key"]) == public


SECRETS = ["SELECT password_hash FROM waybill.logins", "SELECT sealed FROM waybill.dkim_keys",
           "SELECT sealed_secret FROM waybill.endpoints"]
# What each role may do at all, and a sample of what it may not.
ROLES = {
    "waybill_dovecot": (["SELECT * FROM auth.passdb", "SELECT * FROM auth.passdb_previous"],
                        [*SECRETS, "SELECT * FROM waybill.customers", "SELECT * FROM support.logins"]),
    "waybill_support": (["SELECT * FROM support.customers", "SELECT * FROM support.logins", "SELECT * FROM support.domains",
                         "SELECT * FROM support.limits", "SELECT * FROM support.suppressions", "SELECT * FROM support.audit",
                         "SELECT * FROM support.domain_checks", "SELECT * FROM support.events"],
                        [*SECRETS, "SELECT * FROM auth.passdb", "UPDATE waybill.customers SET title = ''",
                         "UPDATE support.customers SET title = ''"]),
    "waybill_follow": (["SELECT sealed FROM waybill.dkim_keys", "SELECT login FROM waybill.logins", "SELECT * FROM waybill.changes",
                        "SELECT waybill.prune_changes()"],
                       [SECRETS[0], SECRETS[2], "UPDATE waybill.customers SET title = ''", "SELECT * FROM auth.passdb"]),
    "waybill_bouncer": (["SELECT login, customer FROM waybill.logins"],
                        [*SECRETS, "DELETE FROM waybill.customers", "SELECT * FROM auth.passdb"]),
    "waybill_report": (["SELECT waybill.keep_report('{\"why\": \"x\", \"kind\": \"other\"}')"],
                       [*SECRETS, "DELETE FROM waybill.customers", "SELECT * FROM auth.passdb"]),
    "waybill_webhookd": (["SELECT sealed_secret FROM waybill.endpoints"], [*SECRETS[:2], "DELETE FROM waybill.customers"]),
    "waybill_admin": (["SELECT sealed FROM waybill.dkim_keys", "UPDATE waybill.customers SET title = title"], []),
}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_its_work_and_no_more(stack, waybill, role):
    allowed, denied = ROLES[role]
    for sql in allowed:
        stack.postgres.execute(sql, user=role)
    for sql in denied:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            stack.postgres.execute(sql, user=role)


def test_the_admin_role_can_do_what_the_commands_do(stack, waybill):
    """The other tests connect as the owner."""
    conf = stack.home / "admin.conf"
    conf.write_text(stack.node.conf.read_text().replace(stack.postgres.conninfo("postgres"), stack.postgres.conninfo("waybill_admin")))

    def run(*words):
        done = subprocess.run([stack.node.bin / "waybill", "-c", conf, *words], capture_output=True, text=True)
        assert done.returncode == 0, (words, done.stderr)

    run("customer", "add", "byadmin", "--time-zone", "Europe/Berlin")
    run("domain", "add", "byadmin", "byadmin.test", "--activate")
    run("login", "add", "byadmin", "byadmin-app", "--expires", "+30 days")
    run("login", "allow", "byadmin-app", "x@byadmin.test")
    run("limit", "set", "byadmin", "customer", "messages", "10/h", "--customer", "byadmin")
    run("suppress", "add", "byadmin", "a@dest.test", "--until", "+1 day")
    run("endpoint", "add", "byadmin", "https://hooks.test/")
    run("customer", "suspend", "byadmin", "--reason", "x", "--until", "+1 day")
    run("can", "byadmin-app", "a@byadmin.test")
    run("audit", "list")
    run("customer", "remove", "byadmin", "--yes")


def test_migrations_run_once_and_edited_ones_are_refused(stack, waybill):
    rows = [json.loads(line) for line in waybill("db", "status", "--json")[1].splitlines()]
    assert rows and {row["state"] for row in rows} == {"applied"}
    assert waybill("db", "migrate")[0] == 0
    stack.postgres.execute("CREATE DATABASE other", database="postgres")
    conf = stack.home / "other.conf"
    conf.write_text(stack.node.conf.read_text().replace("dbname=waybill", "dbname=other"))

    def run(*words):
        return subprocess.run([stack.node.bin / "waybill", "-c", conf, *words], capture_output=True, text=True)

    assert run("db", "status").returncode == 78
    assert "waybill db migrate" in run("customer", "list").stderr
    assert "would be applied" in run("db", "migrate", "--dry-run").stdout
    assert stack.postgres.execute("SELECT to_regclass('waybill.customers') AS t", database="other")[0]["t"] is None
    migrating = [subprocess.Popen([stack.node.bin / "waybill", "-c", conf, "db", "migrate"], stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [one.wait() for one in migrating] == [0, 0]  # the second waited for the first
    assert run("db", "status").returncode == 0
    stack.postgres.execute("UPDATE waybill.migrations SET sha256 = 'x' WHERE name = '0001_directory'", database="other")
    done = run("db", "migrate")
    assert done.returncode == 65 and "0001_directory.sql was edited" in done.stderr


def test_seal_init_never_overwrites(stack, waybill):
    key = stack.home / "seal.key"
    before = key.read_bytes()
    assert waybill("seal", "init")[0] == 0
    assert key.read_bytes() == before
    aside = shutil.move(key, stack.home / "aside.key")
    try:
        status, _, error = waybill("domain", "add", "acme", "noseal.test")
        assert status == 78 and "seal init" in error
        assert stack.postgres.execute("SELECT FROM waybill.domains WHERE domain = 'noseal.test'") == []
    finally:
        shutil.move(aside, key)
