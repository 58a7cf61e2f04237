#!/usr/bin/python3
"""The milter side by side with opendkim and rspamd: rate, CPU and memory for one message.

All sign the same messages with the same RSA-2048 key over unix sockets, in turn, so that the machine's mood hits everyone.
CPU is that of the server's processes. The goals are ratios, not rates."""

import os
import subprocess
import sys

import bench

GOLDEN = bench.ROOT / "tests" / "golden" / "milter"
RSA = "".join((GOLDEN / "rsa.key").read_text().split())
ED = "".join((GOLDEN / "ed25519.key").read_text().split())
PUBLIC = {line.split(".")[0]: line.split("p=")[1] for line in (GOLDEN / "keys").read_text().splitlines()}
RSA_KEY, ED_KEY = f"rsa-sha256 active {RSA} {PUBLIC['rsa']}", f"ed25519-sha256 active {ED} {PUBLIC['ed']}"
MESSAGES = bench.amount(6000, 400)
MANY_KEYS = bench.amount(100_000, 1000)
# OpenSSL makes what hides a key's timing (RSA blinding) at its first use, and once more at its first use by another thread.
WARM_PASSES = 3


class Target:
    """A milter to measure: its process, its socket, and what the load client is told."""

    def __init__(self, process, socket, **load):
        self.process, self.socket, self.load, self.runs = process, socket, load, []

    def run(self, messages=MESSAGES, **more):
        words = [f"{name}={value}" for name, value in {"messages": messages, **self.load, **more}.items()]
        before = self.process.cpu_s()
        out = subprocess.run([bench.BUILD / "tests" / "milter_load", self.socket, *words], stdout=subprocess.PIPE, text=True,
                             check=True).stdout
        result = {name: float(value) for name, value in (word.split("=") for word in out.split())}
        if result["signed"] != result["messages"]:
            raise RuntimeError(f"{self.socket}: {out}")
        result["cpu_us"] = (self.process.cpu_s() - before) * 1e6 / messages
        return result


def interleaved(targets):
    """name -> median figures, of targets measured in turn."""
    runs = {name: [] for name in targets}
    for target, options in targets.values():
        target.run(**{**options, "messages": max(options.get("messages", MESSAGES) // 10, 100)})
    for _ in range(bench.ROUNDS):
        for name, (target, options) in targets.items():
            runs[name].append(target.run(**options))
    return {name: {key: bench.median(run[key] for run in results) for key in results[0]} for name, results in runs.items()}


def directory_text():
    yield "customer acme\nlogin app acme\nallow *@owned\n"
    yield f"domain d0.test acme\nkey rsa {RSA_KEY}\n"
    yield f"domain both.test acme\nkey rsa {RSA_KEY}\nkey ed {ED_KEY}\n"
    yield "customer metered\nlimit m-hour customer messages 1000000000/h defer\nlimit m-day customer recipients 1000000000/day "
    yield "defer\nlogin metered metered\nallow *@owned\n"
    yield f"domain metered.test metered\nlimit d-hour domain messages 1000000000/h defer\nkey rsa {RSA_KEY}\n"
    yield "customer many\nlogin many many\nallow *@owned\n"
    for domain in sorted(f"k{i}.test" for i in range(MANY_KEYS)):  # as "waybill directory follow" builds it
        yield f"domain {domain} many\nkey rsa {RSA_KEY}\n"


def start_waybill(folder):
    subprocess.run([bench.BUILD / "tests" / "make_snapshot", folder.path / "directory.mdb", folder.path / "seal.key"],
                   input="".join(directory_text()), text=True, check=True)
    redis = folder.path / "redis.sock"
    folder.start(["redis-server", "--port", "0", "--unixsocket", redis, "--save", "", "--dir", folder.path]).wait_for(redis)
    conf = folder.path / "waybill.conf"
    conf.write_text(f"[common]\nnode = bench\ndirectory = {folder.path}/directory.mdb\n[redis]\nsocket = {redis}\n"
                    f"[milter]\nlisten = unix:{folder.path}/waybill.sock\nseal_key = {folder.path}/seal.key\n"
                    f"key_cache = {MANY_KEYS + 10}\n")
    process = folder.start([bench.BUILD / "bin" / "waybill-milter", "-c", conf]).wait_for(folder.path / "waybill.sock")
    return Target(process, folder.path / "waybill.sock", domain="d0.test")


def write_pem(folder):
    """The signing key as PEM, which the rivals read."""
    pem = folder.path / "key.pem"
    lines = "\n".join(RSA[i:i + 64] for i in range(0, len(RSA), 64))
    pem.write_text(f"-----BEGIN RSA PRIVATE KEY-----\n{lines}\n-----END RSA PRIVATE KEY-----\n")
    pem.chmod(0o644)
    return pem


def start_opendkim(folder, pem):
    conf, socket = folder.path / "opendkim.conf", folder.path / "opendkim.sock"
    conf.write_text(f"Mode s\nSyslog no\nUserID nobody\nUMask 000\nSocket local:{socket}\nDomain d0.test\nSelector rsa\n"
                    f"KeyFile {pem}\nCanonicalization relaxed/relaxed\nInternalHosts 127.0.0.0/8\nOversignHeaders From\n"
                    f"RequireSafeKeys no\n")
    return Target(folder.start(["opendkim", "-f", "-x", conf]).wait_for(socket), socket, domain="d0.test")


def start_rspamd(folder, pem):
    """rspamd with its DKIM signer and nothing else, a worker for each core."""
    home, socket = folder.path / "rspamd", folder.path / "rspamd.sock"
    home.mkdir()
    home.chmod(0o777)
    plugins = sorted(path.stem for path in (bench.pathlib.Path("/usr/share/rspamd/plugins")).glob("*.lua"))
    off = "\n".join(f"{name} {{ enabled = false; }}" for name in plugins if name != "dkim_signing")
    conf = home / "rspamd.conf"
    conf.write_text(f"""
.include "$CONFDIR/metrics.conf"
.include "$CONFDIR/actions.conf"
.include "$CONFDIR/groups.conf"
options {{
  filters = "dkim"; local_addrs = []; pidfile = "{home}/pid"; tempdir = "/tmp"; control_socket = "{home}/control mode=0600";
  dns {{ nameserver = ["127.0.0.1:9"]; timeout = 1s; }}
  cache_file = "{home}/cache"; hs_cache_dir = "{home}"; url_tld = "/usr/share/rspamd/effective_tld_names.dat";
}}
lang_detection {{ }}
logging {{ type = "file"; filename = "{home}/log"; level = "warning"; }}
worker "rspamd_proxy" {{
  bind_socket = "{socket} mode=0666"; milter = yes; count = {os.cpu_count()}; upstream "local" {{ default = yes; self_scan = yes; }}
}}
dkim_signing {{
  sign_authenticated = true; sign_local = true; allow_username_mismatch = true; use_domain = "header"; use_esld = false;
  check_pubkey = false; selector = "rsa"; path = "{pem}"; try_fallback = true;
}}
modules {{ path = "$PLUGINSDIR"; }}
{off}
lua = "$RULESDIR/rspamd.lua"
""")
    process = folder.start(["rspamd", "-f", "-u", "nobody", "-g", "nogroup", "-c", conf]).wait_for(socket)
    return Target(process, socket, domain="d0.test")


def raw_signature_us(algorithm):
    return float(subprocess.run([bench.BUILD / "tests" / "raw_sign", algorithm, GOLDEN / f"{algorithm}.key",
                                 str(bench.amount(2, 0.3))], stdout=subprocess.PIPE, text=True, check=True).stdout)


def rivals(ours, folder):
    pem = write_pem(folder)
    raw = raw_signature_us("rsa")
    got = interleaved({"waybill": (ours, {}), "opendkim": (start_opendkim(folder, pem), {}),
                       "rspamd": (start_rspamd(folder, pem), {})})
    raw = (raw + raw_signature_us("rsa")) / 2
    mine, opendkim, rspamd = got["waybill"], got["opendkim"], got["rspamd"]
    bench.row("RSA-2048, 4 KB, 20 connections, messages/s", f"{mine['per_s']:.0f}", f"opendkim {opendkim['per_s']:.0f}",
              mine["per_s"] / opendkim["per_s"], (">=", 2.4))
    bench.row("the same", f"{mine['per_s']:.0f}", f"rspamd {rspamd['per_s']:.0f}", mine["per_s"] / rspamd["per_s"], (">=", 1.35))
    bench.row("CPU per message, us", f"{mine['cpu_us']:.0f}", f"raw signature {raw:.0f}", mine["cpu_us"] / raw, ("<=", 2.05))
    bench.note("  of the rivals", f"{opendkim['cpu_us']:.0f}", f"opendkim, {rspamd['cpu_us']:.0f} rspamd")
    bench.note("p99 at 20 connections, ms", f"{mine['p99_us'] / 1000:.1f}",
               f"opendkim {opendkim['p99_us'] / 1000:.1f}, rspamd {rspamd['p99_us'] / 1000:.1f}")


def variations(ours):
    got = interleaved({
        "plain": (ours, {}), "both": (ours, {"domain": "both.test"}),
        "limits": (ours, {"domain": "metered.test", "login": "metered"}), "50 KB": (ours, {"body": 51200}),
        "50 recipients": (ours, {"recipients": 50}),
    })
    plain = got["plain"]["cpu_us"]
    bench.row("RSA and Ed25519, CPU us", f"{got['both']['cpu_us']:.0f}", f"RSA alone {plain:.0f}", got["both"]["cpu_us"] / plain,
              ("<=", 1.10))
    bench.note("  of that, the Ed25519 signature itself", f"{raw_signature_us('ed25519'):.0f}", "us: no signer gets below it")
    for name, figure, parts, goal in (("limits", "three limits in Redis, us more", 1, 12),
                                      ("50 KB", "body of 50 KB, us more than 4 KB", 1, 60),
                                      ("50 recipients", "each further recipient, us", 49, 16)):
        bench.row(figure, f"{got[name]['cpu_us']:.0f}", f"plain {plain:.0f}", (got[name]["cpu_us"] - plain) / parts, ("<=", goal))


def many_keys(ours, folder):
    few, own, mapped = (ours.process.rss_kib(kind) for kind in ("VmRSS", "RssAnon", "RssFile"))
    every = {"login": "many", "domain": "k%d.test", "domains": MANY_KEYS}
    for _ in range(WARM_PASSES):
        ours.run(messages=MANY_KEYS, **every)
    got = interleaved({"one": (ours, {}), "many": (ours, {**every, "messages": max(MESSAGES, 400)})})
    bench.row(f"{MANY_KEYS} hot keys, messages/s", f"{got['many']['per_s']:.0f}", f"one key {got['one']['per_s']:.0f}",
              got["many"]["per_s"] / got["one"]["per_s"], (">=", 0.93))
    bench.row("memory with few keys, MiB", f"{few / 1024:.1f}", "", few / 1024, ("<=", 12))
    now = ours.process.rss_kib("RssAnon")
    bench.row("memory of each hot key, KiB", f"{now / 1024:.0f} MiB", f"less {own / 1024:.0f} MiB", (now - own) / MANY_KEYS,
              ("<=", 8))
    bench.note("  mapped of the directory for each, KiB", f"{(ours.process.rss_kib('RssFile') - mapped) / MANY_KEYS:.1f}",
               "the file's pages, which all processes share")


def main():
    with bench.Folder() as folder:
        ours = start_waybill(folder)
        rivals(ours, folder)
        variations(ours)
        many_keys(ours, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
