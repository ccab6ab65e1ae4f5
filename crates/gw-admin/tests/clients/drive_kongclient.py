"""Drives an empty gateway with python-kongclient, as its users do: `drive_kongclient.py ADMIN_URL PEM_DIR`."""

import sys
from pathlib import Path

from kongclient import KongClient
from kongclient.exceptions import APIException


def refused(status, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except APIException as error:
        assert error.http_status == status, error
        return
    raise AssertionError(f"expected {status}")


def main(url, pem):
    kong = KongClient(url)
    service = kong.services.create(name="orders", url="http://orders.internal:8080/v1")
    assert (service["host"], service["port"], service["path"]) == ("orders.internal", 8080, "/v1")
    assert kong.services.update("orders", retries=3)["retries"] == 3
    assert [one["id"] for one in kong.services.list()] == [service["id"]]

    route = kong.routes.create("orders", service_id=service["id"], paths=["/orders"])
    assert route["service"] == {"id": service["id"]}
    assert kong.routes.get("orders")["paths"] == ["/orders"]
    assert len(kong.services.list_routes("orders")) == 1

    consumer = kong.consumers.create("app", custom_id="4711", tags=["mobile"])
    assert kong.consumers.update("app", custom_id="4712")["custom_id"] == "4712"
    assert [one["username"] for one in kong.consumers.list(tags="mobile")] == ["app"]

    plugin = kong.plugins.create("key-auth", route_id=route["id"], config={"key_names": ["k"]})
    assert plugin["config"]["key_names"] == ["k"] and plugin["route"] == {"id": route["id"]}
    assert kong.plugins.get_route(plugin["id"])["id"] == route["id"]
    assert kong.plugins.update(plugin["id"], enabled=False)["enabled"] is False
    assert "key-auth" in kong.plugins.get_enabled_plugins()["enabled_plugins"]
    assert kong.plugins.get_schema("key-auth")["fields"]
    refused(404, kong.plugins.get_service, plugin["id"])
    refused(400, kong.consumers.add_plugin, consumer["id"], "key-auth")

    cert, key = ((pem / name).read_text() for name in ("rsa.crt", "rsa.key"))
    certificate = kong.certificates.create(cert, key, tags=["tls"])
    assert certificate["snis"] == [] and kong.certificates.list(tags="tls")
    sni = kong.certificates.add_sni(certificate["id"], "shop.example.com")
    assert kong.certificates.get("shop.example.com")["snis"] == ["shop.example.com"]
    assert kong.snis.get("shop.example.com")["id"] == sni["id"]
    kong.snis.update("shop.example.com", tags=["x"])
    kong.snis.delete("shop.example.com")
    kong.snis.create("other.example.com", certificate["id"])
    assert kong.certificates.list_services(certificate["id"]) == []

    upstream = kong.upstreams.create("orders.internal")
    target = kong.upstreams.add_target(upstream["id"], "10.0.0.1")
    assert target["target"] == "10.0.0.1:8000"
    assert len(kong.upstreams.list_targets("orders.internal")) == 1
    assert len(kong.upstreams.list_all_targets("orders.internal")) == 1

    assert {(one["tag"], one["entity_name"]) for one in kong.tags.get("mobile")} == {("mobile", "consumers")}
    assert len(kong.tags.list()) >= 4

    kong.targets.delete_target_by_upstream("orders.internal", "10.0.0.1:8000")
    assert kong.info.get_node_info()["version"] and kong.info.get_node_status()["database"]["reachable"]

    refused(409, kong.services.create, name="orders", url="http://a")
    refused(400, kong.services.delete, "orders")  # its route needs it
    refused(404, kong.services.get, "nothing")
    kong.plugins.delete(plugin["id"])
    kong.routes.delete("orders")
    kong.services.delete("orders")
    kong.consumers.delete("app")
    kong.certificates.delete(certificate["id"])
    kong.upstreams.delete("orders.internal")
    assert kong.snis.list() == [] and kong.services.list() == []


main(sys.argv[1], Path(sys.argv[2]))
print("python-kongclient: ok")
