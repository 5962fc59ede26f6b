"""Writes tables of addresses in MaxMind's DB format, by its published specification. Nothing here reads them.

python3 tests/lab/mmdb.py FOLDER: the tables that the daemon's unit tests read.
"""

import ipaddress
import struct
import sys
from pathlib import Path

MARKER = b"\xab\xcd\xefMaxMind.com"


def _head(kind, size):
    """The first bytes of a value."""
    if size < 29:
        low, more = size, b""
    elif size < 285:
        low, more = 29, bytes([size - 29])
    elif size < 65821:
        low, more = 30, struct.pack(">H", size - 285)
    else:
        low, more = 31, (size - 65821).to_bytes(3, "big")
    if kind > 7:
        return bytes([low, kind - 7]) + more
    return bytes([kind << 5 | low]) + more


def _pointer(to):
    if to < 2048:
        return bytes([0x20 | to >> 8, to & 0xFF])
    if to < 526336:
        return bytes([0x28 | (to - 2048) >> 16]) + ((to - 2048) & 0xFFFF).to_bytes(2, "big")
    return bytes([0x38]) + to.to_bytes(4, "big")


class Data:
    """The data section. A text that was written before is pointed at."""

    def __init__(self):
        self.bytes = b""
        self._texts = {}

    def add(self, value):
        """Appends a value; returns where it is."""
        at = len(self.bytes)
        self._write(value)
        return at

    def _write(self, value):
        if isinstance(value, str):
            if len(value) > 2 and value in self._texts:
                self.bytes += _pointer(self._texts[value])
                return
            self._texts[value] = len(self.bytes)
            encoded = value.encode()
            self.bytes += _head(2, len(encoded)) + encoded
        elif isinstance(value, tuple):
            kind, number = value
            encoded = number.to_bytes((number.bit_length() + 7) // 8, "big")
            self.bytes += _head(kind, len(encoded)) + encoded
        elif isinstance(value, bool):
            self.bytes += _head(14, int(value))
        elif isinstance(value, int):
            encoded = value.to_bytes((value.bit_length() + 7) // 8, "big")
            self.bytes += _head(6 if value < 2**32 else 9, len(encoded)) + encoded
        elif isinstance(value, float):
            self.bytes += _head(3, 8) + struct.pack(">d", value)
        elif isinstance(value, list):
            self.bytes += _head(11, len(value))
            for entry in value:
                self._write(entry)
        else:
            self.bytes += _head(7, len(value))
            for name, entry in value.items():
                self._write(name)
                self._write(entry)


def table(networks, record=24, version=6):
    """The bytes of a table: data by network, as in {"192.0.2.0/24": {...}}."""
    # Numbers of the description have each a type of their own, (5, n) 16 bits, (6, n) 32, (9, n) 64.
    data, nodes = Data(), [[None, None]]
    for network, value in networks.items():
        network = ipaddress.ip_network(network)
        bits, length = int(network.network_address), network.prefixlen
        width = network.max_prefixlen
        if version == 6 and network.version == 4:
            length, width = length + 96, 128
        at = data.add(value)
        node = 0
        for depth in range(length - 1):
            side = bits >> (width - 1 - depth) & 1
            if not isinstance(nodes[node][side], int):
                nodes.append([None, None])
                nodes[node][side] = len(nodes) - 1
            node = nodes[node][side]
        nodes[node][bits >> (width - length) & 1] = ("data", at)
    tree = b"".join(_node([_place(side, len(nodes)) for side in node], record) for node in nodes)
    description = Data()
    description.add({
        "binary_format_major_version": (5, 2), "binary_format_minor_version": (5, 0), "build_epoch": (9, 1_800_000_000),
        "database_type": "Countersign-Test", "description": {"en": "made by tests/lab/mmdb.py"}, "ip_version": (5, version),
        "languages": ["en"], "node_count": (6, len(nodes)), "record_size": (5, record),
    })  # fmt: skip
    return tree + bytes(16) + data.bytes + MARKER + description.bytes


def _place(side, nodes):
    if side is None:
        return nodes
    return side if isinstance(side, int) else nodes + 16 + side[1]


def _node(sides, record):
    left, right = sides
    if record == 28:
        return (left & 0xFFFFFF).to_bytes(3, "big") + bytes([left >> 24 << 4 | right >> 24]) + (right & 0xFFFFFF).to_bytes(3, "big")
    return left.to_bytes(record // 8, "big") + right.to_bytes(record // 8, "big")


def city(name, country, **more):
    """A network's data as in a table of cities."""
    names = {"names": {"de": f"{name} (de)", "en": name}} if name else {}
    return {
        "city": {"geoname_id": 2_950_159, **names},
        "continent": {"code": "EU", "names": {"en": "Europe"}},
        "country": {"iso_code": "DE", "is_in_european_union": True, "names": {"de": f"{country} (de)", "en": country}},
        "location": {"accuracy_radius": 20, "latitude": 52.5, "longitude": 13.4, "time_zone": "Europe/Berlin"},
        "subdivisions": [{"iso_code": "BE", "names": {"en": "State of Berlin"}}],
        **more,
    }


NETWORKS = {
    "192.0.2.0/24": city("Berlin", "Germany"),
    "198.51.100.0/25": city("São Paulo", "Brazil", note="x" * 300),
    "198.51.100.128/25": city(None, "Brazil"),
    "203.0.113.7/32": city("Zür\u202eich", "Switzerland"),
    "203.0.113.8/32": city("y" * 200, "Utopia"),
    "2001:db8::/32": city("Reykjavík", "Iceland"),
    "2001:db9::/64": {"registered_country": {"names": {"en": "Nowhere"}}},
}
for number in range(200):
    NETWORKS[f"10.{number}.0.0/16"] = city(f"City {number} of many", "Utopia", filler="z" * 40)


if __name__ == "__main__":
    for size in (24, 28, 32):
        Path(sys.argv[1], f"test-{size}.mmdb").write_bytes(table(NETWORKS, size))
    only = {network: value for network, value in NETWORKS.items() if ":" not in network}
    Path(sys.argv[1], "test-ipv4.mmdb").write_bytes(table(only, 24, version=4))
