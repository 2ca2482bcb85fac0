"""RUN/head.json: where the head listens, written by the head, read by its workers."""

import contextlib
import os
import socket

from msgspec import Struct
from msgspec.json import Decoder

from hpcnas.errors import StoreUnavailable
from hpcnas.population import faultpoints
from hpcnas.population.protocol.messages import MessageError, decode, encode
from hpcnas.run_folder import RunFolder
from hpcnas.system.network import own_addresses
from hpcnas.system.processes import boot_id

_MAX_BYTES = 1 << 16


class HeadAddress(Struct, frozen=True, forbid_unknown_fields=True):
    """The address of a head.

    Attributes:
        host: name of the machine, or the address that its user named; its port is open on all its interfaces.
        addresses: of all its interfaces, as its name may resolve nowhere, or to one that others do not see.
        boot_id: of the machine's kernel, by which a process on the same machine recognises it.
    """

    host: str
    port: int
    pid: int
    epoch: int
    addresses: tuple[str, ...] = ()
    boot_id: str = ""

    def hosts(self) -> list[str]:
        """The hosts to connect to, in the order of trying."""
        # Between processes of one machine loopback works, whatever its name resolves to.
        here = ["127.0.0.1"] if self.boot_id and self.boot_id == boot_id() else []
        return [*here, *self.hosts_elsewhere()]

    def hosts_elsewhere(self) -> list[str]:
        """The hosts that another machine connects to, in the order of trying."""
        return list(dict.fromkeys([self.host, *self.addresses]))


_ADDRESS = Decoder(HeadAddress)


def this_address(port: int, epoch: int, named: str = "") -> HeadAddress:
    """The address of a head in this process.

    Args:
        named: what to try first, by the user's word; "" for the machine's name.
    """
    return HeadAddress(named or socket.gethostname(), port, os.getpid(), epoch, tuple(own_addresses()), boot_id())


def write_address(folder: RunFolder, address: HeadAddress) -> None:
    """Put head.json in its place, whole."""
    unfinished = folder.head_address.with_name(f"head.json.{os.getpid()}.new")
    with unfinished.open("wb") as file:
        file.write(encode(address) + b"\n")
        file.flush()
        faultpoints.fsync(file.fileno())
    faultpoints.rename(unfinished, folder.head_address)


def remove_address(folder: RunFolder, address: HeadAddress) -> None:
    """Take head.json away, if it is still that of `address`."""
    with contextlib.suppress(StoreUnavailable, FileNotFoundError):
        if read_address(folder) == address:
            folder.head_address.unlink()


def read_address(folder: RunFolder) -> HeadAddress:
    """Read the head's address.

    Raises:
        StoreUnavailable: no head has been there, or the file is half written or garbage.
    """
    path = folder.head_address
    try:
        with path.open("rb") as file:
            address = decode(file.read(_MAX_BYTES), _ADDRESS)
    except FileNotFoundError as error:
        raise StoreUnavailable(f"no head is running: there is no {path}") from error
    except (OSError, MessageError) as error:
        raise StoreUnavailable(
            f"{path} cannot be used ({error}); a running head writes it anew when it is started again"
        ) from error
    if not 0 < address.port < 65536:
        raise StoreUnavailable(f"{path} names no port between 1 and 65535")
    return address
