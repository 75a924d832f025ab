"""The network between machines: a hub in this process, which hands each frame to all other machines."""

import contextlib
import os
import select
import socket
import threading

FRAME = 1 << 16


class Hub(threading.Thread):
    """One datagram is one frame. A machine's cable is pulled here, whatever the machine is made of."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ports: dict[str, socket.socket] = {}
        self.unplugged: set[str] = set()
        self.wake, self.waker = os.pipe()
        self.start()

    def plug_in(self, name: str, kind: socket.SocketKind) -> socket.socket:
        """A machine's end of a new cable."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        ours.setblocking(False)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.ports[name] = ours
        os.write(self.waker, b"x")
        return theirs

    def run(self) -> None:
        while True:
            ports = dict(self.ports)
            readable, _, _ = select.select([self.wake, *ports.values()], [], [])
            if self.wake in readable:
                os.read(self.wake, 64)
            for name, port in ports.items():
                if port in readable:
                    self.carry(name, port)

    def carry(self, name: str, port: socket.socket) -> None:
        """Hands the frame that waits at a port to the others; forgets a port whose machine is gone."""
        try:
            frame = port.recv(FRAME)
        except OSError:
            frame = b""
        if not frame:
            if self.ports.get(name) is port:
                del self.ports[name]
            port.close()
            return
        if name in self.unplugged:
            return
        for other, to in list(self.ports.items()):
            if other != name and other not in self.unplugged:
                # What does not fit is lost, as on any network.
                with contextlib.suppress(OSError):
                    to.send(frame)
