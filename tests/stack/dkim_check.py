"""Verifies what the sink received with python3-dkim, against the keys in the stack's DNS: a verifier that is not
ours."""

import re

import dkim


def verify(message, dns):
    """One (domain, selector, algorithm, is it right) for each DKIM-Signature of MESSAGE, its bytes."""
    checker = dkim.DKIM(message)
    count = sum(name.lower() == b"dkim-signature" for name, _ in checker.headers)
    found = []
    for index in range(count):
        try:
            right = checker.verify(idx=index, dnsfunc=dns.lookup_txt)
        except dkim.DKIMException:
            right = False
        found.append((*_tags(checker, index), right))
    return found


def _tags(checker, index):
    """The d=, s= and a= of the signature at INDEX."""
    value = [value for name, value in checker.headers if name.lower() == b"dkim-signature"][index].decode()
    return tuple(re.search(rf"(?:^|;)\s*{tag}=\s*([^;\s]+)", value).group(1) for tag in "dsa")
