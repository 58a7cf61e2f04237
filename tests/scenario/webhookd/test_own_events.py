"""Types that are about no message reach endpoints, too: made with waybill, posted by webhookd."""

import json

from .test_endpoint_commands import waybill  # noqa: F401


def test_suppression_list(relay, waybill):  # noqa: F811
    server = relay.server()
    relay.endpoint(server.url("ok", "list"), events=["suppression.created", "suppression.deleted"])
    relay.endpoint(server.url("ok", "mail"), events=["message.delivered"])
    relay.run()
    waybill("suppress", "add", "acme", "gone@example.net")
    waybill("suppress", "remove", "acme", "gone@example.net")
    relay.until("both are posted", lambda: len(server.posts("list")) == 2)
    bodies = sorted((json.loads(post.body) for post in server.posts("list")), key=lambda body: body["data"]["seq"])
    assert [body["type"] for body in bodies] == ["suppression.created", "suppression.deleted"]
    assert {body["data"]["recipient"] for body in bodies} == {"gone@example.net"}
    assert not server.posts("mail")
