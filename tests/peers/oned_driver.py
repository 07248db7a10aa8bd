#!/usr/bin/env python3
"""The hook manager's driver of the stand-in for oned (see oned.py): it publishes events and takes results as one_hm does.

    oned_driver.py EVENTS_PORT REPLIES_PORT HIGH_WATER_MARK

It is a process of its own so that it can hang or die as one. Orders come on standard input, a line each, words in
base64: `EXECUTE DOCUMENT`, `RETRY DOCUMENT`, `PUBLISH KEY CONTENT`, `FLUSH NUMBER`. It prints `INIT SUCCESS`, then
`RESULT TIME LENGTH` and so many bytes of a result as they came, `SUBSCRIBE PREFIX`, `UNSUBSCRIBE PREFIX` and
`FLUSHED NUMBER TIME`, with the times at which a result came and at which the newest document was published.
"""

import base64
import ctypes
import os
import re
import signal
import sys
import time
from xml.sax.saxutils import escape, unescape

import zmq


def keys(document):
    """The keys an event is published under. A document with two HOOK_TYPEs has none that is known: that is a real defect."""
    plain = re.sub(r"<!\[CDATA\[(.*?)\]\]>", lambda section: escape(section[1]), document, flags=re.DOTALL)

    def texts(name):
        """The texts of all elements of this name, at any depth, also where the document is not well-formed."""
        return [unescape(text) for text in re.findall(f"<{name}>([^<]*)</{name}>", plain)]

    kind = "".join(texts("HOOK_TYPE"))
    if kind == "API":
        return [f"API {texts('CALL')[0]} {texts('RESULT')[0]}"]
    if kind != "STATE":
        return [""]
    resource, state, number = (texts(name)[0] for name in ("HOOK_OBJECT", "STATE", "RESOURCE_ID"))
    lcm_state = texts("LCM_STATE")[0] if resource == "VM" else ""
    service = texts("SERVICE_ID")
    found = [f"{resource} {number}/{state}/{lcm_state} ", f"STATE {resource}/{state}/{lcm_state}/{number} "]
    return found + [f"SERVICE {service[0]} "] if service else found


def drive(events_port, replies_port, high_water_mark):
    """Publishes what standard input says, and prints the results that come."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: a frozen driver does not see that its parent ended.
    context = zmq.Context()
    # An XPUB is a PUB that shows who subscribes; it drops what is beyond the high-water mark as a PUB does.
    publisher = context.socket(zmq.XPUB)
    publisher.setsockopt(zmq.XPUB_VERBOSER, 1)
    publisher.setsockopt(zmq.SNDHWM, high_water_mark)
    replier = context.socket(zmq.REP)
    publisher.bind(f"tcp://127.0.0.1:{events_port}")
    replier.bind(f"tcp://127.0.0.1:{replies_port}")
    print("INIT SUCCESS", flush=True)
    poller = zmq.Poller()
    for readable in (publisher, replier, sys.stdin.fileno()):
        poller.register(readable, zmq.POLLIN)
    unread, published_at = b"", 0.0
    while True:
        ready = dict(poller.poll())
        if publisher in ready:
            subscription = publisher.recv()
            word = "SUBSCRIBE" if subscription[:1] == b"\x01" else "UNSUBSCRIBE"
            print(word, base64.b64encode(subscription[1:]).decode(), flush=True)
        if replier in ready:
            result = replier.recv()
            came_at = time.time()
            replier.send(b"ACK")
            sys.stdout.buffer.write(b"RESULT %f %d\n%b" % (came_at, len(result), result))
            sys.stdout.buffer.flush()
        if sys.stdin.fileno() in ready:
            read = os.read(sys.stdin.fileno(), 1 << 20)
            if not read:
                break
            *lines, unread = (unread + read).split(b"\n")
            for line in lines:
                order, *words = line.split(b" ")
                if order == b"EXECUTE":
                    for key in keys(base64.b64decode(words[0]).decode(errors="replace")):
                        publisher.send_multipart([b"EVENT " + key.encode(), words[0]])
                    published_at = time.time()
                elif order == b"RETRY":
                    # The blank stands before a word that is never there.
                    publisher.send_multipart([b"RETRY", words[0] + b" "])
                elif order == b"PUBLISH":
                    publisher.send_multipart([base64.b64decode(word) for word in words])
                elif order == b"FLUSH":
                    print("FLUSHED", words[0].decode(), published_at, flush=True)
    context.destroy(linger=1000)


if __name__ == "__main__":
    drive(*map(int, sys.argv[1:4]))
