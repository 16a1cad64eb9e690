"""Nested TLS by Python's `ssl` over two pairs of memory BIOs, or its inner layer alone.

One line of KEY=VALUE pairs on standard input for each conversation, one such line on standard output.
"""

import ctypes
import functools
import os
import platform
import select
import signal
import socket
import ssl
import struct
import sys

import _ssl

LIMIT = 60
PERIOD = 251
PATTERN = bytes(range(PERIOD)) * 1024
FULL = 1 << 17

# SSL_key_update and SSL_set_block_padding are not in the module, but in the library that it has loaded.
LIBSSL = ctypes.CDLL(_ssl.__file__)


class PyObjectOfSsl(ctypes.Structure):
    """How CPython's `_ssl._SSLSocket` begins."""

    _fields_ = [
        ("head", ctypes.c_byte * object.__basicsize__),
        ("socket", ctypes.c_void_p),
        ("ssl", ctypes.c_void_p),
    ]


def pointer(layer):
    ssl_pointer = PyObjectOfSsl.from_address(id(layer.tls._sslobj)).ssl
    assert ssl_pointer, "another layout of _ssl._SSLSocket"
    return ctypes.c_void_p(ssl_pointer)


@functools.lru_cache(maxsize=None)
def context(path, end, version, own, trust, alpn):
    protocol = ssl.PROTOCOL_TLS_SERVER if end == "server" else ssl.PROTOCOL_TLS_CLIENT
    made = ssl.SSLContext(protocol)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.minimum_version = made.maximum_version = {
        "1.2": ssl.TLSVersion.TLSv1_2,
        "1.3": ssl.TLSVersion.TLSv1_3,
    }[version]
    made.load_cert_chain(os.path.join(path, own + ".pem"), os.path.join(path, own + ".key"))
    made.load_verify_locations(os.path.join(path, trust + ".pem"))
    made.set_alpn_protocols([alpn])
    if end == "server":
        made.sni_callback = lambda tls, name, _: setattr(tls, "asked", name)
    return made


class Layer:
    """One TLS connection between two memory BIOs."""

    def __init__(self, job, name):
        end = job[name]
        made = context(
            job["dir"], end, job[name + "_tls"], job[name + "_own"], job[name + "_trust"], job[name + "_alpn"]
        )
        self.name = name
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        server_name = None if end == "server" else job[name + "_name"]
        self.tls = made.wrap_bio(self.incoming, self.outgoing, end == "server", server_name)
        self.server = end == "server"
        self.established = False
        self.version = "-"
        self.ended = False
        self.closed = False
        self.updates = job[name + "_updates"] == "1"
        if int(job["pad"]) and self.updates:
            LIBSSL.SSL_set_block_padding(pointer(self), ctypes.c_size_t(int(job["pad"])))

    def shake_hands(self):
        if not self.established:
            try:
                self.tls.do_handshake()
                self.established = True
                # Later it may be gone: a failed connection has none.
                self.version = self.tls.version().replace("TLSv", "")
            except ssl.SSLWantReadError:
                pass
        return self.established

    def read(self):
        """Bytes; None if there are none now; b"" at the end."""
        try:
            data = self.tls.read(1 << 16)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            data = b""
        self.ended = data == b""
        return data

    def close(self):
        """Send close_notify. Call only when all input is read: Python's `unwrap` tries to read, too."""
        if not self.closed:
            self.closed = True
            try:
                self.tls.unwrap()
            except ssl.SSLWantReadError:
                pass

    def update_keys(self, request):
        if self.updates:
            done = LIBSSL.SSL_key_update(pointer(self), ctypes.c_int(1 if request else 0))
            assert done == 1, "SSL_key_update"
            # Sends it; until then OpenSSL counts as shaking hands, and refuses to close.
            self.tls.do_handshake()


class Peer:
    def __init__(self, job):
        self.job = job
        self.outer = None if job["outer"] == "none" else Layer(job, "outer")
        self.inner = Layer(job, "inner")
        self.send, self.piece = int(job["send"]), int(job["piece"])
        self.outer_piece = int(job["outer_piece"])
        self.update, self.updates = int(job["update"]), 0
        self.sent = self.received = 0
        self.wrong = -1
        self.wire = bytearray()
        self.done = False
        self.failure = None
        self.at = None

    def feed(self, data):
        first = self.outer or self.inner
        if data:
            first.incoming.write(data)
        else:
            first.incoming.write_eof()

    def advance(self):
        """As far as the input reaches; fills `wire`."""
        if self.failure is not None:
            return
        try:
            self.step()
        except ssl.SSLError as error:
            self.failure = (self.at, error)
            self.done = True
            self.carry()
            if self.at == "inner" and self.outer:
                self.outer.close()
        if self.outer:
            self.wire += self.outer.outgoing.read()

    def step(self):
        if self.outer:
            self.at = "outer"
            if not self.outer.shake_hands():
                return
            while not self.outer.ended and (data := self.outer.read()) is not None:
                if data:
                    self.inner.incoming.write(data)
                elif not self.inner.ended:
                    self.inner.incoming.write_eof()
        self.at = "inner"
        established = self.inner.shake_hands()
        while established and not self.inner.ended and (data := self.inner.read()):
            self.take(data)
        if established:
            self.speak()
        self.carry()

    def take(self, data):
        at = self.received % PERIOD
        if self.wrong < 0 and data != PATTERN[at : at + len(data)]:
            self.wrong = self.received
        self.received += len(data)

    def speak(self):
        if self.job["waits"] == "1" and not self.inner.ended:
            return
        while self.sent < self.send:
            if len(self.wire) + self.inner.outgoing.pending >= FULL:
                return
            most = min(self.piece, self.send - self.sent)
            if self.update:
                most = min(most, (self.updates + 1) * self.update - self.sent)
            at = self.sent % PERIOD
            self.sent += self.inner.tls.write(PATTERN[at : at + most])
            if self.update and self.sent == (self.updates + 1) * self.update:
                self.carry()
                for layer in filter(None, (self.outer, self.inner)):
                    layer.update_keys(self.updates % 2 == 0)
                self.updates += 1
        cut = self.job["cut"]
        if cut in ("transport", "reset"):
            self.done = True
        elif cut == "outer":
            self.carry()
            self.outer.close()
            self.done = True
        else:
            self.inner.close()
            self.carry()
            if self.inner.ended:
                if self.outer and cut == "none":
                    self.outer.close()
                self.done = True

    def carry(self):
        """Inner records become outer plaintext."""
        data = self.inner.outgoing.read()
        if not self.outer:
            self.wire += data
            return
        if data and self.outer.established and not self.outer.closed:
            for at in range(0, len(data), self.outer_piece):
                self.outer.tls.write(data[at : at + self.outer_piece])
        self.wire += self.outer.outgoing.read()

    def report(self):
        said = {"end": "none", "received": self.received, "wrong": self.wrong}
        if self.inner.ended:
            said["end"] = "clean"
        elif self.failure:
            layer, error = self.failure
            truncated = isinstance(error, ssl.SSLEOFError) or "EOF" in str(error)
            said["end"] = "truncated" if truncated else "error"
            said["layer"] = layer
            said["reason"] = str(error).replace(" ", "_")
        for layer in filter(None, (self.outer, self.inner)):
            said[layer.name + "_version"] = layer.version
            said[layer.name + "_alpn"] = layer.tls.selected_alpn_protocol() or "-"
            said[layer.name + "_sni"] = getattr(layer.tls, "asked", None) or "-" if layer.server else "-"
        if self.outer:
            said["outer_end"] = "clean" if self.outer.ended else "unclean"
        return " ".join(f"{key}={value}" for key, value in said.items())


def converse(job):
    peer = Peer(job)
    with socket.create_connection(("127.0.0.1", int(job["port"]))) as tcp:
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tcp.setblocking(False)
        try:
            exchange(peer, tcp)
        except ConnectionError:
            # What has not come by now does not come.
            peer.feed(b"")
            peer.advance()
    return peer.report()


def exchange(peer, tcp):
    shut = False
    while True:
        peer.advance()
        if peer.done and not peer.wire and not shut:
            shut = True
            if peer.job["cut"] == "reset":
                tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            tcp.shutdown(socket.SHUT_WR)
        readable, writable, _ = select.select([tcp], [tcp] if peer.wire else [], [], LIMIT)
        assert readable or writable, "a hang"
        if writable:
            del peer.wire[: tcp.send(peer.wire)]
        if readable:
            data = tcp.recv(1 << 16)
            peer.feed(data)
            if not data:
                peer.advance()
                return


def main():
    print(f"Python {platform.python_version()} ssl, {ssl.OPENSSL_VERSION.rsplit(' ', 3)[0]}", flush=True)
    for line in sys.stdin:
        signal.alarm(LIMIT)
        job = dict(pair.split("=", 1) for pair in line.split())
        print(converse(job), flush=True)


main()
