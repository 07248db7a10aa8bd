"""What the stand-ins that speak HTTP have in common: a server that goes away and comes back, and orders on the standard input.

Each order is a line of JSON, {"do": "..."}, and is answered with one line. All of them obey

    {"do": "down"}   {"do": "up"}                      nobody listens any more; and again, at the same port
    {"do": "break", "how": "http500", "times": 2}      so many answers are wrong: http500, hang, garbage, close
    {"do": "calls"}                                    the requests that came, the oldest first; and forgets them
    {"do": "quit"}
"""

import http.server
import json
import socket
import sys
import threading
import time


class Fault(Exception):
    """An answer that is an error: a status and the body's text."""

    def __init__(self, status, body, content_type="application/json", headers=()):
        super().__init__(status)
        self.status, self.body, self.content_type, self.headers = status, body, content_type, headers


class StandIn:
    """The server. Subclasses answer requests in `answer` and obey further orders in methods named after them."""

    def __init__(self, port=0):
        self.lock = threading.RLock()
        self.calls, self.broken = [], []
        # Whoever is bound but does not listen keeps the port while the server is away.
        self.holder = socket.socket()
        self.holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.holder.bind(("127.0.0.1", port))
        self.port = self.holder.getsockname()[1]
        self.server = None
        self.do_up({})

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def do_up(self, _):
        if self.server is None:
            stand_in = self

            class Handler(http.server.BaseHTTPRequestHandler):
                protocol_version = "HTTP/1.1"

                def handle_request(self):
                    stand_in.handle(self)

                do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_request

                def log_message(self, *_):
                    pass

            class Server(http.server.ThreadingHTTPServer):
                allow_reuse_address, daemon_threads, request_queue_size = True, True, 64

            self.server = Server(("127.0.0.1", self.port), Handler)
            threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def do_down(self, _):
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def do_break(self, order):
        with self.lock:
            self.broken += [order["how"]] * order.get("times", 1)

    def do_calls(self, _):
        with self.lock:
            calls, self.calls = self.calls, []
        return {"calls": calls}

    def handle(self, request):
        length = int(request.headers.get("Content-Length") or 0)
        body = request.rfile.read(length)
        with self.lock:
            self.calls.append(f"{request.command} {request.path}")
            how = self.broken.pop(0) if self.broken else None
        if how == "hang":
            time.sleep(3600)
        if how in ("close", "garbage"):
            request.close_connection = True
            if how == "garbage":
                request.wfile.write(b"SSH-2.0-OpenSSH_9.2p1\r\n")
            return
        try:
            if how == "http500":
                raise Fault(500, {"error": {"code": 500, "title": "Internal Server Error", "message": "An unexpected error."}})
            with self.lock:
                status, answer, headers = self.answer(request.command, request.path, request.headers, body)
            content_type = "application/json"
        except Fault as fault:
            status, answer, headers, content_type = fault.status, fault.body, fault.headers, fault.content_type
        data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        request.send_response(status)
        for name, value in headers:
            request.send_header(name, value)
        request.send_header("Content-Type", content_type)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(data)

    def obey(self, **addresses):
        """Says where it listens, and obeys orders until there are no more."""
        print(json.dumps({"ready": True, "url": self.url, **addresses}), flush=True)
        for line in sys.stdin:
            try:
                order = json.loads(line)
                if order["do"] == "quit":
                    break
                answer = {"ok": True, **(getattr(self, "do_" + order["do"])(order) or {})}
            except Exception as error:  # Whatever is wrong with an order is for whoever gave it.
                answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)
