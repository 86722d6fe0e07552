"""An address that nobody may connect to: whoever does was talked into it by a request."""

import socket
import threading


class Trap:
    """Listens on loopback and notes every connection."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.visitors = []
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        while True:
            try:
                connection, peer = self.socket.accept()
            except OSError:
                return
            self.visitors.append(peer)
            connection.close()

    def take_visitors(self):
        seen, self.visitors = self.visitors, []
        return seen

    def close(self):
        self.socket.close()
