"""The end of a hook manager that takes results: a real libzmq REP, told what to do line by line.

It binds, prints `bound`, and then obeys the lines of its standard input.

    answer N             take N results, acknowledge each, and print each
    time N               the same, and then print the nanoseconds between the first and the last
    swallow              take one result, print it, and never answer
    wrong                take one result, print it, and answer something else
    quit                 close the socket
"""

import sys
import time

import zmq

socket = zmq.Context().socket(zmq.REP)
socket.setsockopt(zmq.LINGER, 1000)
socket.bind(sys.argv[1])


def answer(line):
    print(line, flush=True)


answer("bound")
for line in sys.stdin:
    command, *arguments = line.split()
    if command in ("answer", "time"):
        came = []
        for _ in range(int(arguments[0])):
            result = socket.recv()
            came.append(time.monotonic_ns())
            socket.send(b"ACK")
            answer(result.decode())
        if command == "time":
            answer(came[-1] - came[0])
    elif command == "swallow":
        answer(socket.recv().decode())
    elif command == "wrong":
        answer(socket.recv().decode())
        socket.send(b"NACK")
    elif command == "quit":
        break
socket.close()
zmq.Context.instance().term()
