"""By which addresses other machines may reach this one."""

import contextlib
import ipaddress
import re
import socket
from pathlib import Path

from hpcnas.errors import UsageError

MAX_ADDRESSES = 32  # a node full of containers has many that lead nowhere
_LOCAL_IPV4 = re.compile(r"\|-- (\S+)\n\s+/32 host LOCAL")


def own_addresses() -> list[str]:
    """Those that the machine's name resolves to, then those of its interfaces, none of them loopback or link-local.

    The name alone is not enough: it may resolve to an interface that compute nodes do not see.
    """
    found = [*resolved(socket.gethostname()), *interface_addresses(_read("/proc/net/fib_trie"), _read("/proc/net/if_inet6"))]
    return [address for address in dict.fromkeys(found) if _is_seen_outside(address)][:MAX_ADDRESSES]


def resolved(name: str) -> list[str]:
    """Addresses of a machine's name; none if it does not resolve."""
    with contextlib.suppress(OSError):
        return list(dict.fromkeys(str(entry[4][0]) for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)))
    return []


def interface_addresses(fib_trie: str, if_inet6: str) -> list[str]:
    """The addresses in two tables of the kernel, IPv4 first: /proc/net/fib_trie and /proc/net/if_inet6."""
    ipv6 = [str(ipaddress.IPv6Address(bytes.fromhex(line.split()[0]))) for line in if_inet6.splitlines()]
    return list(dict.fromkeys([*_LOCAL_IPV4.findall(fib_trie), *ipv6]))


def check_own(option: str, named: str) -> None:
    """Check that an address or a name leads to this machine.

    Raises:
        UsageError: it leads elsewhere or nowhere; the message lists this machine's addresses.
    """
    if not any(_can_bind(address) for address in resolved(named)):
        own = ", ".join(own_addresses()) or "none that other machines see"
        raise UsageError(f"{option} {named} is no address of this machine; it has {own}: give one of them, or a name of one")


def listen(host: str = "", port: int = 0) -> socket.socket:
    """A socket that listens on an interface, "" for all of IPv4 and IPv6, at a port, 0 for any free one."""
    if not host and socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):  # IPv6 compiled in and switched off
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
    return socket.create_server((host, port), backlog=1024)


def addresses_for_others(named: str = "") -> list[str]:
    """The addresses that another machine connects to, in the order of trying.

    Args:
        named: what to try first, by the user's word; "" for the machine's name.
    """
    return list(dict.fromkeys([named or socket.gethostname(), *own_addresses()]))


def _can_bind(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _is_seen_outside(address: str) -> bool:
    value = ipaddress.ip_address(address.partition("%")[0])
    return not (value.is_loopback or value.is_link_local or value.is_unspecified)


def _read(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="ascii")
    return ""
