use proptest::prelude::*;

use super::*;

/// Feeds `stream` in the given pieces and takes whatever comes, up to the first error.
fn decode(pieces: &[&[u8]]) -> (Vec<Traffic>, Option<FrameError>) {
    let mut decoder = Decoder::default();
    let mut traffic = Vec::new();
    for piece in pieces {
        decoder.buffer().extend_from_slice(piece);
        loop {
            match decoder.take() {
                Ok(Some(unit)) => traffic.push(unit),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.take(), Err(error.clone()), "an error is final");
                    return (traffic, Some(error));
                }
            }
        }
    }
    (traffic, None)
}

fn message(parts: &[&[u8]]) -> Traffic {
    Traffic::Message(parts.iter().map(|part| Bytes::copy_from_slice(part)).collect())
}

fn command(name: &str, data: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    let name_len = u8::try_from(name.len()).expect("short");
    write_frame(COMMAND, &[&[name_len], name.as_bytes(), data].concat(), &mut out);
    out.to_vec()
}

#[test]
fn messages_and_commands_are_read() {
    let long = vec![b'x'; 300];
    let mut stream = BytesMut::new();
    write_message(&[b"EVENT STATE VM/ACTIVE/RUNNING/12 ", &long], &mut stream);
    write_ready(SocketType::Pub, &mut stream);
    write_message(&[b""], &mut stream);
    stream.extend_from_slice(&command("PING", b"\x00\x10context"));
    stream.extend_from_slice(&command("ERROR", b"\x04nope"));
    stream.extend_from_slice(&command("SUBSCRIBE", b"EVENT"));
    stream.extend_from_slice(&command("CANCEL", b"EVENT"));
    stream.extend_from_slice(&command("JOIN", b"group"));
    let context = Bytes::from_static(b"context");
    let prefix = Bytes::from_static(b"EVENT");
    assert_eq!(
        decode(&[&stream]),
        (
            vec![
                message(&[b"EVENT STATE VM/ACTIVE/RUNNING/12 ", &long]),
                Traffic::Command(Command::Ready {
                    socket_type: "PUB".to_owned()
                }),
                message(&[b""]),
                Traffic::Command(Command::Ping { context }),
                Traffic::Command(Command::Error {
                    reason: "nope".to_owned()
                }),
                Traffic::Command(Command::Subscribe {
                    prefix: prefix.clone()
                }),
                Traffic::Command(Command::Cancel { prefix }),
                Traffic::Command(Command::Other {
                    name: "JOIN".to_owned()
                }),
            ],
            None
        )
    );
}

#[test]
fn a_command_between_the_parts_of_a_message_is_taken_out() {
    let stream = [b"\x01\x03key".as_slice(), &command("PING", b"\0\0"), b"\x00\x01v"].concat();
    assert_eq!(
        decode(&[&stream]).0,
        [
            Traffic::Command(Command::Ping {
                context: Bytes::new()
            }),
            message(&[b"key", b"v"])
        ]
    );
}

#[test]
fn what_is_not_zmtp_or_beyond_a_limit_is_refused() {
    let huge = (1_u64 << 62).to_be_bytes();
    let over = (MAX_MESSAGE as u64 + 1).to_be_bytes();
    let rest = (MAX_MESSAGE as u64 - 2).to_be_bytes();
    let table: [(&str, Vec<u8>, FrameError); 12] = [
        ("reserved flag", vec![0x08], FrameError::UnknownFlags(0x08)),
        ("high flag", vec![0x80, 0], FrameError::UnknownFlags(0x80)),
        (
            "a command with more",
            vec![0x05, 0],
            FrameError::UnknownFlags(0x05),
        ),
        ("text", b"HTTP/1.1".to_vec(), FrameError::UnknownFlags(b'H')),
        (
            "2^62 bytes",
            [&[LONG], huge.as_slice()].concat(),
            FrameError::TooLong {
                announced: 1 << 62,
                limit: MAX_MESSAGE,
            },
        ),
        (
            "one byte over",
            [&[LONG], over.as_slice()].concat(),
            FrameError::TooLong {
                announced: MAX_MESSAGE as u64 + 1,
                limit: MAX_MESSAGE,
            },
        ),
        (
            "parts that add up to too much",
            [b"\x01\x03abc".as_slice(), &[LONG], &rest].concat(),
            FrameError::TooLong {
                announced: MAX_MESSAGE as u64 + 1,
                limit: MAX_MESSAGE,
            },
        ),
        (
            "2^64-1 bytes after a part",
            [b"\x01\x01a".as_slice(), &[LONG], &[0xff; 8]].concat(),
            FrameError::TooLong {
                announced: u64::MAX,
                limit: MAX_MESSAGE,
            },
        ),
        (
            "a long command",
            [
                &[LONG | COMMAND],
                (MAX_COMMAND as u64 + 1).to_be_bytes().as_slice(),
            ]
            .concat(),
            FrameError::TooLong {
                announced: MAX_COMMAND as u64 + 1,
                limit: MAX_COMMAND,
            },
        ),
        ("17 parts", b"\x01\x00".repeat(17), FrameError::TooManyParts),
        ("an empty command", vec![COMMAND, 0], FrameError::MalformedCommand),
        (
            "a context of 17 bytes",
            command("PING", &[0; 19]),
            FrameError::MalformedCommand,
        ),
    ];
    for (name, stream, error) in table {
        assert_eq!(decode(&[&stream]), (vec![], Some(error)), "{name}");
    }
    let sixteen = [b"\x01\x00".repeat(15), b"\x00\x00".to_vec()].concat();
    assert_eq!(decode(&[&sixteen]).0, [message(&[b"".as_slice(); 16])]);
}

#[test]
fn malformed_ready_and_error_commands_are_refused() {
    for data in [
        b"\x0b".as_slice(),
        b"\x0bSocket-Type",
        b"\x0bSocket-Type\0\0\0\x04PUB",
        b"\x0bSocket-Type\xff\xff\xff\xffPUB",
    ] {
        let (traffic, error) = decode(&[&command("READY", data)]);
        assert_eq!(
            (traffic, error),
            (vec![], Some(FrameError::MalformedCommand)),
            "{data:?}"
        );
    }
    assert_eq!(
        decode(&[&command(
            "READY",
            b"\x08Identity\0\0\0\0\x0bSOCKET-TYPE\0\0\0\x04XPUB"
        )])
        .0,
        [Traffic::Command(Command::Ready {
            socket_type: "XPUB".to_owned()
        })]
    );
    assert_eq!(
        decode(&[&command("ERROR", b"\x05no")]).1,
        Some(FrameError::MalformedCommand)
    );
}

#[test]
fn greetings_are_checked_as_soon_as_they_can_be() {
    let good = greeting();
    assert_eq!(good.len(), GREETING_LEN);
    for len in 0..GREETING_LEN {
        assert_eq!(check_greeting(&good[..len]), Ok(false), "{len}");
    }
    assert_eq!(check_greeting(&good), Ok(true));
    assert_eq!(check_greeting(&[good.as_slice(), b"\x04\x05"].concat()), Ok(true));

    let mut newer = good;
    newer[11] = 1;
    assert_eq!(check_greeting(&newer), Ok(true));

    let mut curve = good;
    curve[12..17].copy_from_slice(b"CURVE");
    let with = |index: usize, value: u8| {
        let mut changed = good;
        changed[index] = value;
        changed
    };
    let table: [(&[u8], &str); 8] = [
        (b"HTTP/1.1 400 Bad Request\r\n", "the peer speaks HTTP, not ZMTP"),
        (b"SSH-2.0-OpenSSH_9.2", "the peer speaks SSH, not ZMTP"),
        (b"\x15\x03\x03\x00\x02", "the peer speaks TLS, not ZMTP"),
        (
            b"hello\n\x00",
            "the peer does not speak ZMTP; it sent `hello\\n\\x00`",
        ),
        (
            &with(9, 0)[..10],
            "the peer does not speak ZMTP; it sent `\\xff\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00`",
        ),
        (
            &with(10, 1)[..11],
            "the peer speaks ZMTP 2; version 3 is needed (libzmq 4.0 or newer)",
        ),
        (
            &with(10, 0)[..11],
            "the peer speaks ZMTP 1; version 3 is needed (libzmq 4.0 or newer)",
        ),
        (
            &curve,
            "the peer asks for the security mechanism `CURVE`; only NULL is supported",
        ),
    ];
    for (bytes, sentence) in table {
        assert_eq!(check_greeting(bytes).expect_err(sentence).to_string(), sentence);
    }
}

#[test]
fn a_large_message_leaves_no_large_buffer_behind() {
    let mut decoder = Decoder::default();
    write_message(&[b"key", &vec![7; 4 << 20]], decoder.buffer());
    write_message(&[b"next"], decoder.buffer());
    assert!(matches!(decoder.take(), Ok(Some(Traffic::Message(parts))) if parts[1].len() == 4 << 20));
    assert!(decoder.buffer().capacity() <= KEPT_CAPACITY);
    assert_eq!(decoder.take(), Ok(Some(message(&[b"next"]))));
}

/// Bytes that are ZMTP most of the time, so that the search goes deep.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let part = prop::collection::vec(any::<u8>(), 0..400);
    let frames = prop::collection::vec(part, 1..4).prop_map(|parts| {
        let mut out = BytesMut::new();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        write_message(&parts, &mut out);
        out.to_vec()
    });
    let known = prop::sample::select(vec!["PING", "READY", "ERROR", "SUBSCRIBE", "X"]);
    let commands =
        (known, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(name, data)| command(name, &data));
    let announced =
        any::<u64>().prop_map(|len| [vec![LONG], len.to_be_bytes().to_vec(), vec![1; 20]].concat());
    let garbage = prop::collection::vec(any::<u8>(), 0..30);
    let piece = prop_oneof![8 => frames, 3 => commands, 1 => announced, 1 => garbage];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn cut<'a>(stream: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = stream;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let size = sizes.next().map_or(rest.len(), |size| (*size).min(rest.len()));
        let (piece, left) = rest.split_at(size);
        pieces.push(piece);
        rest = left;
    }
    pieces
}

proptest! {
    #[test]
    fn any_cut_of_any_stream_gives_the_same(
        stream in stream(),
        sizes in prop::collection::vec(1_usize..50, 0..20),
    ) {
        prop_assert_eq!(decode(&cut(&stream, &sizes)), decode(&[&stream]));
    }

    #[test]
    fn memory_follows_what_arrived_not_what_is_announced(
        stream in stream(),
        sizes in prop::collection::vec(1_usize..50, 0..20),
    ) {
        let mut decoder = Decoder::default();
        let mut received = 0;
        for piece in cut(&stream, &sizes) {
            decoder.buffer().extend_from_slice(piece);
            received += piece.len();
            let mut outcome = decoder.take();
            while let Ok(Some(_)) = outcome {
                outcome = decoder.take();
            }
            let parts: usize = decoder.parts.iter().map(Bytes::len).sum();
            prop_assert!(parts <= received);
            prop_assert!(decoder.parts.len() <= MAX_PARTS);
            prop_assert!(decoder.buffer.capacity() <= 2 * received.max(64));
            if outcome.is_err() {
                break;
            }
        }
    }

    #[test]
    fn what_is_written_reads_back(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 1..=MAX_PARTS)) {
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let mut out = BytesMut::new();
        write_message(&parts, &mut out);
        prop_assert_eq!(decode(&[&out]), (vec![message(&parts)], None));
    }

    #[test]
    fn no_greeting_panics_and_a_verdict_is_never_taken_back(
        bytes in prop::collection::vec(any::<u8>(), 0..100),
        good in 0..=GREETING_LEN,
    ) {
        let mut received = greeting()[..good].to_vec();
        received.extend(bytes);
        let mut verdict = Ok(false);
        for len in 0..=received.len() {
            let now = check_greeting(&received[..len]);
            if verdict == Ok(true) {
                prop_assert_eq!(&now, &Ok(true));
            } else if verdict.is_err() {
                prop_assert!(now.is_err());
            }
            verdict = now;
        }
    }
}
