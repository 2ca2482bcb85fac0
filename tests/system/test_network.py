"""By which addresses a machine is found: its name alone may lead to an interface that others do not see."""

import socket

import pytest

from hpcnas.errors import UsageError
from hpcnas.system import network
from hpcnas.system.network import check_own, interface_addresses, own_addresses

FIB_TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
           |-- 127.0.0.1
              /32 host LOCAL
     +-- 10.1.0.0/16 2 0 2
        |-- 10.1.0.7
           /32 host LOCAL
        |-- 10.1.255.255
           /32 link BROADCAST
     |-- 192.168.9.7
        /32 host LOCAL
Local:
        |-- 10.1.0.7
           /32 host LOCAL
"""
IF_INET6 = """00000000000000000000000000000001 01 80 10 80       lo
fe8000000000000000fc00fffe000001 04 40 20 80     eth0
fd000000000000000000000000000002 04 40 00 82     eth0
"""


def test_all_interfaces_are_listed_and_broadcasts_are_not() -> None:
    assert interface_addresses(FIB_TRIE, IF_INET6) == [
        *("127.0.0.1", "10.1.0.7", "192.168.9.7"),
        *("::1", "fe80::fc:ff:fe00:1", "fd00::2"),
    ]
    assert interface_addresses("", "") == []


def test_what_only_this_machine_sees_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name resolves to loopback, as Debian writes it into /etc/hosts; the interfaces are there nevertheless."""
    tables = {"/proc/net/fib_trie": FIB_TRIE, "/proc/net/if_inet6": IF_INET6}
    monkeypatch.setattr(network, "_read", tables.__getitem__)
    monkeypatch.setattr(socket, "gethostname", lambda: "localhost")
    assert own_addresses() == ["10.1.0.7", "192.168.9.7", "fd00::2"]


def test_this_machines_tables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_is_seen_outside", lambda address: True)
    assert "127.0.0.1" in own_addresses()


@pytest.mark.parametrize("named", ["nowhere.invalid", "203.0.113.9", "2001:db8::9"])
def test_an_address_of_another_machine_is_refused_with_ones_own(named: str) -> None:
    check_own("--address", "127.0.0.1")
    check_own("--address", "localhost")
    with pytest.raises(UsageError, match=rf"--address {named} is no address of this machine; it has .*: give one of them"):
        check_own("--address", named)
