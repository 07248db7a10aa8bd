"""The subsystem `netconf` of an sshd whose server is played by the test itself: carries bytes to the test's port and back."""

import os
import socket
import sys
import threading

far = socket.create_connection(("127.0.0.1", int(sys.argv[1])))


def send():
    while data := os.read(0, 65536):
        far.sendall(data)
    far.shutdown(socket.SHUT_WR)


threading.Thread(target=send, daemon=True).start()
while data := far.recv(65536):
    while data:
        data = data[os.write(1, data):]
