"""Two customers, taken on with the waybill command alone, as a sysadmin would."""

import dataclasses

from .errors import StackError


@dataclasses.dataclass
class Login:
    name: str
    password: str


@dataclasses.dataclass
class Customer:
    name: str
    domain: str
    app: Login  # the application whose mail the story follows
    path: str  # of its endpoint at the receiver
    secret: str  # of its endpoint
    quotas: dict  # id of each day quota -> its scope: what Redis counts, to compare with
    bulk: Login = None  # a login with a small limit
    bulk_limit: int = 3  # messages an hour


def set_up(stack):
    """acme and globex; returns both."""
    acme, globex = _take_on(stack, "acme", "acme.test"), _take_on(stack, "globex", "globex.test")
    acme.bulk = add_login(stack, "acme", "acme-bulk")
    stack.node.waybill(
        "limit", "set", "acme-bulk-hour", "login", "messages", f"{acme.bulk_limit}/h", "--login", acme.bulk.name
    )
    return acme, globex


def _take_on(stack, name, domain):
    """One customer with a domain, a login that may use all of it, day quotas and an endpoint."""
    waybill = stack.node.waybill
    waybill("customer", "add", name, "--title", name.capitalize())
    add_domain(stack, name, domain)
    login = add_login(stack, name, f"{name}-app")
    quotas = {f"{name}-logins-day": "login", f"{name}-day": "customer"}
    for limit, scope in quotas.items():
        waybill("limit", "set", limit, scope, "messages", "1000/day", "--customer", name)
    path = f"/{name}"
    return Customer(name, domain, login, path, add_endpoint(stack, name, path), quotas)


def add_domain(stack, customer, domain):
    """A domain whose key signs: the printed records are published, and waybill has seen them at the domain's own server.
    Mail that comes back has an exchanger."""
    stack.node.waybill("domain", "add", customer, domain)
    stack.dns.add(f"{domain}. 60 IN NS ns.{domain}.", f"ns.{domain}. 60 IN A {stack.dns.address}")
    stack.dns.add(f"{domain}. 60 IN MX 10 mx.dest.test.")
    for record in stack.node.waybill_json("domain", "records", domain):
        stack.dns.txt(record["name"], record["value"])
    [key] = stack.node.waybill_json("domain", "rotate", domain, "--due")
    if key["result"] != "activated":
        raise StackError(f"the key of {domain} stays as it is, though its record is published: {key}")


def add_login(stack, customer, name, *words):
    """A login that may send as every address of its customer's domains, unless WORDS say otherwise."""
    [shown] = stack.node.waybill_json("login", "add", customer, name, *words)
    return Login(name, shown["password"])


def add_endpoint(stack, customer, path, *words):
    """An endpoint at the receiver, which learns its secret; returns the secret."""
    [shown] = stack.node.waybill_json("endpoint", "add", customer, stack.receiver.url(path), *words)
    stack.receiver.secret(path, shown["secret"])
    return shown["secret"]
