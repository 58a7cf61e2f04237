"""DKIM keys and DNS: rotation that waits for every authoritative server, mode cname, checks, imported keys."""

import json
import pwd
import subprocess

import dns.zone
import pytest

from tests.stack.customers import add_login

from .dns_servers import Zone




@pytest.fixture(scope="module")
def acme(stack):
    """A customer, and [ctl] pointed at the stack's own resolver."""
    settings = stack.node.settings | {"ctl": {
        "resolver": f"{stack.dns.address}:53", "dns_timeout": "300ms", "cname_zone": "dkim.relay.test",
        "egress": "192.0.2.25, 2001:db8::25", "spf_include": "spf.relay.test",
    }}
    stack.node.write_conf(settings)
    stack.node.waybill("customer", "add", "acme")
    return "acme"


@pytest.fixture
def zones(stack):
    made = []

    def make(name, count=2):
        made.append(Zone(stack, name, count))
        return made[-1]

    yield make
    for zone in made:
        zone.stop()


def add(stack, domain, *words):
    """Adds the domain; returns the records that its keys need."""
    return [row for row in stack.node.waybill_json("domain", "add", "acme", domain, *words) if row["required"]]


def rotate(stack, *words):
    return {row["selector"]: row for row in stack.node.waybill_json("domain", "rotate", *words)}


def states(stack, domain):
    return {row["selector"]: row["state"] for row in stack.postgres.execute(
        "SELECT selector, state FROM waybill.dkim_keys WHERE domain = %s", (domain,))}


def age(stack, domain, column, days):
    """Makes a key's past longer."""
    stack.postgres.execute(f"UPDATE waybill.dkim_keys SET {column} = {column} - interval '{days} days' WHERE domain = %s", (domain,))


def test_a_key_signs_once_every_server_shows_it(stack, acme, zones):
    zone = zones("rotation.test")
    [record] = add(stack, zone.name)
    selector = record["name"].split(".")[0]
    assert all(len(piece) <= 255 for piece in record["strings"]) and "".join(record["strings"]) == record["value"]
    assert states(stack, zone.name) == {selector: "pending"}

    waits = rotate(stack, zone.name, "--due")[selector]
    assert waits["result"] == "waits" and "ns0.rotation.test shows no record" in waits["detail"]

    zone.publish(record, servers=[0])
    waits = rotate(stack, zone.name, "--due")[selector]
    assert waits["result"] == "waits" and "ns0" not in waits["detail"] and "ns1.rotation.test shows no record" in waits["detail"]

    zone.publish(record, servers=[1])
    assert rotate(stack, "--due")[selector]["result"] == "activated"
    assert states(stack, zone.name) == {selector: "active"}

    # The next one, when it is due; the former one retires, is revoked and goes.
    age(stack, zone.name, "active_at", 121)
    [made] = rotate(stack, zone.name, "--due").values()
    assert made["result"] == "made"
    new = made["selector"]
    assert rotate(stack, zone.name, "--due")[new]["result"] == "waits"
    assert states(stack, zone.name) == {selector: "active", new: "pending"}
    records = {row["name"].split(".")[0]: row for row in stack.node.waybill_json("domain", "records", zone.name)}
    zone.publish(records[new])
    assert rotate(stack, zone.name, "--due")[new]["result"] == "activated"
    assert states(stack, zone.name) == {selector: "retiring", new: "active"}
    age(stack, zone.name, "retiring_at", 6)
    assert rotate(stack, zone.name, "--due") == {}
    age(stack, zone.name, "retiring_at", 2)
    assert rotate(stack, zone.name, "--due")[selector]["result"] == "retired"
    revoked = stack.node.waybill_json("domain", "records", zone.name)[0]
    assert revoked["value"].endswith("p=")
    age(stack, zone.name, "retired_at", 31)
    assert rotate(stack, zone.name, "--due")[selector]["result"] == "removed"
    assert states(stack, zone.name) == {new: "active"}


def test_spf_and_dmarc_are_recommended(stack, acme):
    add(stack, "paste.test")
    rows = stack.node.waybill_json("domain", "records", "paste.test")
    assert [(row["kind"], row["required"], row["name"]) for row in rows[1:]] == [
        ("spf", False, "paste.test"), ("dmarc", False, "_dmarc.paste.test")]
    assert rows[1]["value"] == "v=spf1 include:spf.relay.test ~all"
    assert rows[2]["value"].startswith("v=DMARC1; p=none; rua=mailto:")
    lines = stack.node.waybill("domain", "records", "paste.test").stdout.splitlines()
    assert [line.startswith("; recommended") for line in lines] == [False, True, False, True, False]
    zone = dns.zone.from_text("$TTL 60\n@ IN SOA ns root 1 1 1 1 1\n@ IN NS ns\n" + "\n".join(lines) + "\n",
                              origin="paste.test", check_origin=False)
    assert zone.get_rdataset("@", "TXT") and zone.get_rdataset("_dmarc", "TXT")
    panel = stack.node.waybill("domain", "records", "paste.test", "--panel").stdout.splitlines()
    assert panel[-1] == f"_dmarc.paste.test\tTXT\t{rows[2]['value']}"


def test_spf_names_the_addresses_where_there_is_no_include(stack, acme):
    conf = stack.home / "no-include.conf"
    text = stack.node.conf.read_text().replace("spf_include = spf.relay.test\n", "")
    add(stack, "addresses.test")

    def spf():
        done = subprocess.run([stack.node.bin / "waybill", "-c", conf, "domain", "records", "addresses.test", "--json"],
                              capture_output=True, text=True, check=True)
        return [row["value"] for row in map(json.loads, done.stdout.splitlines()) if row["kind"] == "spf"]

    conf.write_text(text)
    assert spf() == ["v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 ~all"]
    conf.write_text(text.replace("[ctl]", "[ctl]\nreturn_path = bounces.relay.test"))
    assert spf() == []  # SPF never asks the customer's domain


def test_a_wrong_record_does_not_activate(stack, acme, zones):
    zone = zones("wrong.test")
    [record] = add(stack, zone.name)
    selector = record["name"].split(".")[0]
    for value, says in [(record["value"].replace("p=MII", "p=MIJ"), "another key"), ("v=DKIM1; p=", "revoked"),
                        ("v=spf1 -all", "no DKIM key"), (record["value"].replace("k=rsa", "k=ed25519"), "another key")]:
        zone.publish({**record, "value": value})
        waits = rotate(stack, zone.name, "--due")[selector]
        assert waits["result"] == "waits" and says in waits["detail"], waits
        zone.withdraw(record["name"])
    zone.publish(record)
    zone.publish({**record, "value": "v=DKIM1; p="})
    assert "several records" in rotate(stack, zone.name, "--due")[selector]["detail"]


def test_a_silent_server_is_no_answer(stack, acme, zones):
    zone = zones("silent.test")
    [record] = add(stack, zone.name)
    selector = record["name"].split(".")[0]
    zone.publish(record)
    zone.servers[1].stop()
    done = stack.node.waybill("domain", "rotate", zone.name, "--due", "--json", ok=False)
    [waits] = map(json.loads, done.stdout.splitlines())
    assert waits["selector"] == selector and waits["result"] == "unknown"
    assert "ns1.silent.test does not answer" in waits["detail"]
    assert done.returncode == 75 and "DNS could not tell about 1 pending key" in done.stderr  # EX_TEMPFAIL: a timer tries again
    zone.servers[1].start()
    assert rotate(stack, zone.name, "--due")[selector]["result"] == "activated"


def test_both_algorithms_rotate(stack, acme, zones):
    zone = zones("both.test")
    records = add(stack, zone.name, "--ed25519")
    assert [("k=ed25519" in record["value"]) for record in records] == [False, True]
    for record in records:
        zone.publish(record)
    assert {row["result"] for row in rotate(stack, zone.name, "--due").values()} == {"activated"}


def test_force_activates_without_dns(stack, acme):
    [record] = add(stack, "forced.test")
    selector = record["name"].split(".")[0]
    result = rotate(stack, "forced.test", "--force")[selector]
    assert result["result"] == "activated" and "DNS was not asked" in result["detail"]


def test_cname_mode_asks_the_customer_once(stack, acme, zones):
    zone, relay = zones("cname.test", 1), zones("dkim.relay.test", 1)
    records = add(stack, zone.name, "--cname")
    slots = [record for record in records if record["type"] == "CNAME"]
    assert [record["name"] for record in slots] == ["wb1._domainkey.cname.test", "wb2._domainkey.cname.test"]
    for record in slots:
        line = f"{record['name']}. 60 IN CNAME {record['value']}."
        zone.servers[0].add(line)
        stack.dns.add(line)
    for slot in ("wb1", "wb2", "wb1"):
        [key] = [record for record in stack.node.waybill_json("domain", "records", zone.name)
                 if record["type"] == "TXT" and record["state"] == "pending"]
        assert key["publisher"] == "relay" and key["name"] == f"{slot}.cname.test.dkim.relay.test"
        relay.withdraw(key["name"])
        relay.publish(key)
        assert rotate(stack, zone.name, "--due")[slot]["result"] == "activated"
        age(stack, zone.name, "retiring_at", 8)
        rotate(stack, zone.name, "--due")
        age(stack, zone.name, "retired_at", 31)
        rotate(stack, zone.name, "--due")
        assert states(stack, zone.name) == {slot: "active"}
        age(stack, zone.name, "active_at", 121)
        rotate(stack, zone.name, "--due")


def test_a_key_that_cannot_be_opened_touches_no_other(stack, acme, zones):
    zone = zones("seal.test")
    [record] = add(stack, zone.name)
    zone.publish(record)
    stack.postgres.execute("UPDATE waybill.dkim_keys SET sealed = set_byte(sealed, 40, get_byte(sealed, 40) # 1) WHERE domain = 'seal.test'")
    result = rotate(stack, zone.name, "--due")[record["name"].split(".")[0]]
    assert result["result"] == "failed" and "private key" in result["detail"]
    done = stack.node.waybill("seal", "rotate", ok=True)
    assert done.returncode == 0  # it is under the current key: nothing to do
    others = stack.postgres.execute("SELECT count(*) AS n FROM waybill.dkim_keys")[0]["n"] - 1
    key = stack.home / "seal.key"
    former = key.read_text()
    stack.node.waybill("seal", "rotate", "--new-key")
    done = stack.node.waybill("seal", "rotate", ok=False)
    assert done.returncode == 65 and "DKIM key seal.test" in done.stderr
    # Every other key is under the new one alone now.
    new = key.read_text().splitlines()[0]
    assert new not in former
    key.write_text(new + "\n")
    row = json.loads(stack.node.waybill("seal", "rotate", "--json", ok=False).stdout.splitlines()[0])
    assert row["kind"] == "DKIM key" and row["failed"] == 1 and row["sealed_anew"] == 0 and row["current"] == others
    stack.node.waybill("domain", "remove", zone.name, "--yes")


def findings(stack, domain):
    done = stack.node.waybill("domain", "check", domain, "--json", ok=False)
    rows = {row["check"]: row for row in map(json.loads, done.stdout.splitlines())}
    broken = any(row["status"] == "broken" for row in rows.values())
    assert done.returncode == (69 if broken else 0), done.stderr
    return rows


def test_check_of_a_good_domain(stack, acme, zones):
    zone = zones("good.test")
    [record] = add(stack, zone.name)
    zone.publish(record)
    rotate(stack, zone.name, "--due")
    stack.dns.add("good.test. 60 IN MX 10 mx.dest.test.", 'good.test. 60 IN TXT "v=spf1 include:spf.relay.test mx -all"',
                  'spf.relay.test. 60 IN TXT "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"',
                  '_dmarc.good.test. 60 IN TXT "v=DMARC1; p=reject; rua=mailto:dmarc@good.test"',
                  '_mta-sts.good.test. 60 IN TXT "v=STSv1; id=1"')
    rows = findings(stack, zone.name)
    selector = record["name"].split(".")[0]
    for name in (f"dkim {selector}", "spf 192.0.2.25", "spf 2001:db8::25", "dmarc", "alignment", "mx", "mta-sts"):
        assert rows[name]["status"] == "good", rows[name]
    assert rows["spf 192.0.2.25"]["detail"] == "pass for good.test; 1 of 10 lookups, 0 of 2 void"
    assert rows["tls-rpt"]["status"] == "note"


def test_check_of_what_is_wrong(stack, acme, zones):
    zone = zones("bad.test")
    add(stack, zone.name, "--activate")
    stack.dns.add("bad.test. 60 IN MX 0 .", 'bad.test. 60 IN TXT "v=spf1 a:gone1.test a:gone2.test a:gone3.test -all"',
                  '_dmarc.bad.test. 60 IN TXT "v=DMARC1; p=none"', '_dmarc.bad.test. 60 IN TXT "v=DMARC1; p=reject"')
    rows = findings(stack, zone.name)
    broken = {name for name, row in rows.items() if row["status"] == "broken"}
    assert {"spf 192.0.2.25", "dmarc", "mx"} <= broken and any(name.startswith("dkim ") for name in broken)
    assert "null MX" in rows["mx"]["detail"]
    assert "several" in rows["dmarc"]["detail"]
    assert "3 of 2 void" in rows["spf 192.0.2.25"]["detail"] and "remove terms" in rows["spf 192.0.2.25"]["advice"]


def test_dmarc_of_the_organisation_governs_its_subdomains(stack, acme, zones):
    zone = zones("news.org.test", 1)
    add(stack, zone.name, "--activate")
    stack.dns.add('_dmarc.org.test. 60 IN TXT "v=DMARC1; p=quarantine; rua=mailto:d@org.test"')
    assert findings(stack, zone.name)["dmarc"]["detail"].startswith("p=quarantine")


def test_what_gets_worse_makes_one_event(stack, acme, zones):
    zone = zones("worse.test", 1)
    [record] = add(stack, zone.name)
    zone.publish(record)
    rotate(stack, zone.name, "--due")
    stack.dns.add("worse.test. 60 IN MX 10 mx.dest.test.", 'worse.test. 60 IN TXT "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"')
    findings(stack, zone.name)

    def events():
        return stack.postgres.execute("SELECT detail FROM waybill.events WHERE type = 'domain.dns_broken' "
                                      "AND detail ->> 'domain' = 'worse.test'")

    assert events() == []
    zone.withdraw(record["name"])
    for _ in range(2):
        findings(stack, zone.name)
        assert [event["detail"]["check"] for event in events()] == [f"dkim {record['name'].split('.')[0]}"]
    # A DNS server that does not answer is no news.
    zone.stop()
    findings(stack, zone.name)
    assert len(events()) == 1


def test_a_broken_spf_helper_is_an_unknown(stack, acme):
    """One that crashes, and one that says nonsense."""
    for script in ("#!/bin/sh\nkill -SEGV $$\n", "#!/bin/sh\necho nonsense\n"):
        helper = stack.home / "helper"
        helper.write_text(script)
        helper.chmod(0o755)
        conf = stack.home / "helper.conf"
        conf.write_text(stack.node.conf.read_text().replace("[ctl]\n", f"[ctl]\nspf_check = {helper}\n"))
        done = subprocess.run([stack.node.bin / "waybill", "-c", conf, "domain", "check", "forced.test", "--json"],
                              capture_output=True, text=True)
        rows = {row["check"]: row for row in map(json.loads, done.stdout.splitlines())}
        assert rows["spf 192.0.2.25"]["status"] == "unknown"


def test_the_spf_helper_has_no_account_and_no_environment(stack, acme):
    """What waybill, as root and with secrets in its environment, hands to the helper."""
    helper, conf = stack.home / "helper", stack.home / "helper.conf"
    helper.write_text("#!/bin/sh\necho pass $(id -u) $(tr -dc = </proc/self/environ | wc -c) $(ls /proc/self/fd | wc -l)\n")
    helper.chmod(0o755)
    done = subprocess.run([stack.node.bin / "waybill", "-c", conf, "domain", "check", "forced.test", "--json"],
                          capture_output=True, text=True, env={"SECRET": "x", "PATH": "/usr/bin:/bin"})
    rows = {row["check"]: row for row in map(json.loads, done.stdout.splitlines())}
    # "RESULT LOOKUPS VOID": the helper's uid is nobody's; the environment has what the shell itself sets, PWD.
    uid = pwd.getpwnam("nobody").pw_uid
    assert rows["spf 192.0.2.25"]["detail"].startswith(f"pass for forced.test; {uid} of 10 lookups"), rows["spf 192.0.2.25"]
    assert int(rows["spf 192.0.2.25"]["detail"].split("; ")[1].split(", ")[1].split()[0]) <= 1


def test_the_spf_helper_evaluates(stack, acme):
    """RFC 7208 section 4.6.4, with the real libspf2: what counts as a lookup, and what is void."""
    stack.dns.add('spf-a.test. 60 IN TXT "v=spf1 a:mx.dest.test mx:dest.test a:no1.test include:spf-b.test -all"',
                  'spf-b.test. 60 IN TXT "v=spf1 ip4:198.51.100.7 -all"',
                  'spf-void.test. 60 IN TXT "v=spf1 a:no1.test a:no2.test a:no3.test ip4:198.51.100.7 -all"',
                  'spf-loop.test. 60 IN TXT "v=spf1 include:spf-loop.test -all"')

    def evaluate(address, domain):
        done = subprocess.run([stack.node.bin / "waybill-spf-check", f"{stack.dns.address}:53", "500", address, domain],
                              capture_output=True, text=True)
        return done.stdout.split()[:3]

    assert evaluate("198.51.100.7", "spf-a.test") == ["pass", "4", "1"]
    assert evaluate("203.0.113.9", "spf-a.test")[0] == "fail"
    assert evaluate("198.51.100.7", "nothing.test")[0] == "none"
    assert evaluate("198.51.100.7", "spf-void.test")[2] == "3"
    assert evaluate("198.51.100.7", "spf-loop.test")[0] == "permerror"
