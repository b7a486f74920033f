"""What the tests of Redis ask of the command, and data of every type."""

from pathlib import Path

from backups import well
from peers import Command
from world.redis import Redis, search_path

PASSWORD = "correct-horse-7f3a"
DEBUG = ["--enable-debug-command", "local"]

# A value of every type, in its small and its large encoding; streams with groups, consumers and pending entries.
EVERY_TYPE = "\n".join([
    "SET text hello", "SET number 12345", "SET long " + "x" * 5000, "SETBIT bits 100000 1", "SET unicode Größe",
    "RPUSH list a b c", *(f"RPUSH longlist item-{i}-{'y' * 90}" for i in range(300)),
    "SADD intset 1 2 3", "SADD set a b c", *(f"SADD bigset member-{i}" for i in range(600)),
    "ZADD zset 1 a 2.5 b -inf c", *(f"ZADD bigzset {i}.25 member-{i}" for i in range(300)),
    "HSET hash a 1 b 2", *(f"HSET bighash field-{i} value-{i}" for i in range(700)),
    "PFADD hll a b c d", "GEOADD geo 13.36 38.11 Palermo",
    *(f"XADD stream * a {i} b {i}" for i in range(250)),
    "XGROUP CREATE stream group 0", "XGROUP CREATE stream idle 0",
    "XREADGROUP GROUP group consumer-1 COUNT 5 STREAMS stream >", "XREADGROUP GROUP group consumer-2 COUNT 3 STREAMS stream >",
    "XADD empty * a 1", "XTRIM empty MAXLEN 0", "XGROUP CREATECONSUMER stream group consumer-3",
    "SET later 1 EX 100000", "HSET laterhash a 1", "EXPIRE laterhash 100000",
    "SELECT 9", "SET nine 9", "LPUSH ninelist 1",
])
FUNCTION = "#!lua name=tests\nredis.register_function('one', function() return 1 end)"


def fill(server: Redis) -> None:
    """Puts a value of every type there, and a function."""
    server.load(EVERY_TYPE)
    if server.try_run("COMMAND", "INFO", "FUNCTION"):
        server.run("FUNCTION", "LOAD", "REPLACE", FUNCTION)


def digest(server: Redis) -> list[str]:
    """Hashes of all values of the databases, as the server makes them."""
    digests = []
    for database in ("0", "9"):
        digests.append(server.run("-n", database, "DEBUG", "DIGEST"))
    return digests


def policy_of(server: Redis, folder: Path | None, **more: object) -> dict:
    """A policy of one group, `cache`, with files by hand."""
    group = {"address": server.address, "keep": {"newest": 3}}
    if folder:
        group["storage"] = {"directory": str(folder), "key": "cache_%Y%m%d_%H%M%S.rdb.zst"}
    if server.password:
        group["password"] = {"env": "REDIS_PASSWORD"}
    return {"holdfast": 1, "company": "tests", "id": "host-1", "redis": {"cache": group | more}}


def take(holdfast: Command, policy: dict, **env: str) -> dict:
    """Takes a file that must succeed; how it is listed."""
    well(holdfast(policy, "redis", "dump", "cache", **env))
    return well(holdfast(policy, "list", "--json", **env)).json[0]


ENV = {"REDIS_PASSWORD": PASSWORD, "PATH": search_path()}
