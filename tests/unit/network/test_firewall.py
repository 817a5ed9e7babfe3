from ipaddress import IPv4Address

from wherry.network.firewall import HostPort, change
from wherry.network.protocol import PortMapping

POD = IPv4Address("10.244.0.5")


def test_a_host_port_of_every_address_and_of_one_address_go_to_their_maps() -> None:
    ports = [HostPort(PortMapping(8080, 80), POD), HostPort(PortMapping(53, 53, "UDP", "127.0.0.1"), POD)]
    assert change("t", "add", ports).splitlines() == [
        "add element ip t host-ports { tcp . 8080 : 10.244.0.5 . 80 }",
        "add element ip t host-address-ports { 127.0.0.1 . udp . 53 : 10.244.0.5 . 53 }",
        "add element ip t hairpin { 10.244.0.5 . 10.244.0.5 }",
    ]


def test_a_host_port_on_an_ipv6_address_is_not_programmed_for_ipv4() -> None:
    script = change("t", "delete", [HostPort(PortMapping(8080, 80, "TCP", "::1"), POD)])
    assert "host-" not in script
