"""Real libzmq sockets at the other end of hem's publisher and of hem's questions.

    subscribe ENDPOINT PREFIX COUNT   print `subscribed`; when a line comes on standard input, take COUNT messages and
                                      print their keys as they come, one a line
    ask ENDPOINT TEXT                 send TEXT as REQ and print the answer
    answer ENDPOINT                   bind a REP, print `bound`, answer each question with `you said ` and the question
"""

import sys

import zmq

role, endpoint, *rest = sys.argv[1:]
context = zmq.Context()
if role == "subscribe":
    prefix, count = rest
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.RCVTIMEO, 60_000)
    socket.setsockopt_string(zmq.SUBSCRIBE, prefix)
    socket.connect(endpoint)
    print("subscribed", flush=True)
    sys.stdin.readline()
    for _ in range(int(count)):
        print(socket.recv_multipart()[0].decode(), flush=True)
elif role == "ask":
    socket = context.socket(zmq.REQ)
    socket.setsockopt(zmq.RCVTIMEO, 60_000)
    socket.connect(endpoint)
    socket.send_string(rest[0])
    print(socket.recv_string(), flush=True)
elif role == "answer":
    socket = context.socket(zmq.REP)
    socket.bind(endpoint)
    print("bound", flush=True)
    while True:
        socket.send(b"you said " + socket.recv())
context.destroy(linger=0)
