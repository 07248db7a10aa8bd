"""A real libzmq publisher, told what to do line by line.

It binds an XPUB, which is a PUB that shows who subscribes, prints `bound`, and then obeys the lines of its standard
input. Frames are given in base64, `-` is an empty one. Each command is answered with one line.

    wait N               until N subscriptions were made
    send FRAME...        publish one message
    numbered N SIZE      publish N messages `EVENT API one.test N` of SIZE bytes, waiting where the subscriber is slow
    states N SIZE        publish N state changes of machines with SIZE bytes of template
    quit                 close the socket, all that was sent included
"""

import argparse
import base64
import random
import sys

import zmq

parser = argparse.ArgumentParser()
parser.add_argument("endpoint")
parser.add_argument("--heartbeat", type=int, help="milliseconds between PINGs")
parser.add_argument("--heartbeat-timeout", type=int, help="milliseconds a PONG may take")
parser.add_argument("--drop", action="store_true", help="drop beyond the high-water mark, as a PUB does")
options = parser.parse_args()

socket = zmq.Context().socket(zmq.XPUB)
socket.setsockopt(zmq.XPUB_VERBOSE, 1)
# The hook manager's default high-water mark; beyond it this socket waits in place of dropping, unless told otherwise.
socket.setsockopt(zmq.SNDHWM, 1000)
socket.setsockopt(zmq.XPUB_NODROP, 0 if options.drop else 1)
socket.setsockopt(zmq.LINGER, 10_000)
if options.heartbeat:
    socket.setsockopt(zmq.HEARTBEAT_IVL, options.heartbeat)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, options.heartbeat_timeout)
socket.bind(options.endpoint)


def running(machine, size):
    """A message that says a machine runs now."""
    document = (
        "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>ACTIVE</STATE>"
        "<LCM_STATE>RUNNING</LCM_STATE><RESOURCE_ID>%d</RESOURCE_ID><REMOTE_HOST/><VM><ID>%d</ID><N>%s</N></VM>"
        "</HOOK_MESSAGE>" % (machine, machine, random.randbytes(size // 2).hex())
    )
    return [b"EVENT STATE VM/ACTIVE/RUNNING/%d " % machine, base64.b64encode(document.encode())]


def answer(line):
    print(line, flush=True)


answer("bound")
subscriptions = 0
for line in sys.stdin:
    command, *arguments = line.split()
    if command == "wait":
        while subscriptions < int(arguments[0]):
            if socket.recv()[:1] == b"\x01":
                subscriptions += 1
        answer("subscribed")
    elif command == "send":
        socket.send_multipart([b"" if a == "-" else base64.b64decode(a) for a in arguments])
        answer("sent")
    elif command == "numbered":
        count, size = map(int, arguments)
        content = base64.b64encode(b"x" * size)
        for number in range(count):
            socket.send_multipart([b"EVENT API one.test %d" % number, content])
        answer("sent")
    elif command == "states":
        count, size = map(int, arguments)
        messages = [running(machine, size) for machine in range(500)]
        for number in range(count):
            socket.send_multipart(messages[number % len(messages)])
        answer("sent")
    elif command == "quit":
        break
socket.close()
zmq.Context.instance().term()
