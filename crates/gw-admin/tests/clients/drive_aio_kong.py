"""Drives an empty gateway with aio-kong, as its users do: `drive_aio_kong.py ADMIN_URL PEM_DIR`."""

import asyncio
import sys
from pathlib import Path

from kong.client import Kong, KongResponseError

CONFIG = {
    "services": [
        {
            "name": "orders",
            "host": "orders.internal",
            "port": 8080,
            "routes": [
                {"name": "orders", "paths": ["/orders"], "methods": ["GET"], "plugins": [{"name": "key-auth"}]},
                {"name": "hosted", "hosts": ["a.example.com"], "strip_path": False},
            ],
            "plugins": [{"name": "key-auth", "config": {"key_names": ["k"]}}],
        },
        {"name": "gone", "ensure": "absent"},
    ],
    "consumers": [
        {
            "username": "app",
            "groups": ["admins", "users"],
            "auths": [{"type": "key-auth", "config": {"key": "secret"}}],
        }
    ],
}


async def refused(status, call):
    try:
        await call
    except KongResponseError as error:
        assert error.status == status, error
        return error.message
    raise AssertionError(f"expected {status}")


async def main(url, pem):
    async with Kong(url) as cli:
        await cli.delete_all()
        for _ in range(2):  # the second run finds everything there
            result = await cli.apply_json(CONFIG)
        assert [route["name"] for route in result["services"][0]["routes"]] == ["orders", "hosted"]
        assert await cli.services.has("orders") and not await cli.services.has("gone")

        service = await cli.services.get("orders")
        assert (service.host, service.protocol) == ("orders.internal", "http")
        assert len(await service.routes.get_list()) == 2
        assert len(await service.plugins.get_list()) == 1
        app = await cli.consumers.get("app")
        assert {acl["group"] for acl in await app.acls.get_list()} == {"admins", "users"}
        assert [key["key"] for key in await app.keyauths.get_list()] == ["secret"]
        assert len((await app.keyauths.create())["key"]) == 32
        assert len(await cli.acls.get_list()) == 2

        config = dict(CONFIG["consumers"][0], groups=["users"])
        await cli.consumers.apply_json(config)
        assert [acl["group"] for acl in await app.acls.get_list()] == ["users"]

        for number in range(7):
            await cli.consumers.create(username=f"many-{number}", tags=["many"])
        many = await cli.consumers.get_full_list(size=3, tags="many")
        assert sorted(one.username for one in many) == [f"many-{number}" for number in range(7)]

        cert, key = ((pem / name).read_text() for name in ("p256.crt", "p256.key"))
        made = await cli.certificates.create(cert=cert, key=key)
        await made.snis.create(name="shop.example.com")
        await cli.snis.apply_json({"name": "shop.example.com", "certificate": {"id": made.id}, "tags": ["x"]})
        assert (await cli.certificates.get("shop.example.com"))["snis"] == ["shop.example.com"]
        assert len(await cli.snis.get_list()) == 1

        error = await refused(400, cli.services.create(name="x", prot="http"))
        assert error["code"] == 2 and error["fields"]["prot"] == "unknown field", error
        await refused(409, cli.services.create(name="orders", host="a"))
        await refused(404, cli.services.get("nothing"))
        await refused(404, cli.services.update("nothing", host="a"))

        updated = await cli.services.update("orders", port=81)
        assert updated["port"] == 81
        await cli.delete_all()
        for component in (cli.services, cli.routes, cli.plugins, cli.consumers, cli.certificates, cli.snis):
            assert await component.get_list() == [], component


asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
print("aio-kong: ok")
