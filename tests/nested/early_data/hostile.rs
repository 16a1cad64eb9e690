//! What a server makes of early data, whoever sent it: replayed, split, too much, or never offered.

use super::*;

/// A store that hands out a session as often as it is asked, as no store should.
#[derive(Debug)]
struct Forgetful(Arc<dyn StoresServerSessions>);

impl StoresServerSessions for Forgetful {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.0.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// Whoever has seen a connection sends all of it again.
#[test]
fn a_replay_wins_nothing() {
    for forgetful in [false, true] {
        for inner in Version::ALL {
            let _told = Told::new((forgetful, inner));
            let mut config = pki::outer().server(Version::Tls13);
            if forgetful {
                config.session_storage = Arc::new(Forgetful(ServerSessionMemoryCache::new(32)));
            }
            let (outer, inner) = ((client(), server(config)), ends(pki::inner(), inner, true));
            warm(&outer, &inner);
            let mut pair = machines(&outer, &inner, 1);
            pair.drive(&mut Coalesced::default());
            pair.send(Side::Left, b"pay once");
            assert_eq!(early(&pair), [true; 2]);
            let seen = pair.to_right.transcript;
            let first = pair.to_right.flights[0].end;

            for sent in [first, seen.len()] {
                let mut victim = machines(&outer, &inner, 77 + sent as u64).right;
                victim.receive(&seen[..sent]);
                let answer = victim.transmit(usize::MAX);
                assert!(!answer.is_empty());
                assert_eq!(victim.report().events, []);
                assert_eq!(victim.report().read, b"");
                // A session that is used up makes early data noise.
                let info = victim.ports.layer(Layer::Inner).unwrap();
                assert_eq!(info.bytes_in > 0, forgetful);
                assert_eq!(info.version, None);
                victim.eof();
                assert_eq!(victim.error().unwrap().layer(), Layer::Outer);
            }
        }
    }
}

/// An outer layer whose cryptography notices nothing, so that the test can be anybody.
fn transparent() -> Ends {
    let (name, strength) = (pki::outer().name, Strength::Nothing);
    let client = null::client(strength, name, Version::Tls13);
    let server = null::server(strength, name, Version::Tls13, true);
    (
        asking(client, null::server_rule(strength, name)),
        answering(server, null::client_rule(strength, name)),
    )
}

/// A record of data in that layer.
fn data(payload: &[u8]) -> Vec<u8> {
    let len = payload.len() + 1 + 16;
    let mut record = vec![23, 3, 3, (len >> 8) as u8, len as u8];
    record.extend_from_slice(payload);
    record.push(23);
    record.extend([0; 16]);
    record
}

/// The client's first flight, on the wire; then deliver what the test makes of it.
fn first_flight<A: Party, B: Party>(pair: &mut Pair<A, B>) -> Vec<Vec<u8>> {
    pair.transmit(Side::Left, &mut Whole);
    let flight = records(&pair.to_right.steal());
    assert_eq!(flight.iter().map(|record| record[0]).collect::<Vec<_>>(), [22, 20, 23]);
    flight
}

/// A client that goes on with early data where its Finished is due: with its part of the inner
/// handshake, which the early answer lets it complete, and with application data.
#[test]
fn only_one_inner_flight_is_looked_at_early() {
    for inner in Version::ALL {
        let (outer, inner) = (transparent(), ends(pki::inner(), inner, true));
        warm(&outer, &inner);
        let mut pair = machines(&outer, &inner, 1);
        for side in Side::BOTH {
            pair.transmit(side, &mut Whole);
            pair.deliver(side, &mut Whole);
        }
        assert_eq!(pair.left.write(b"request"), 7);
        pair.transmit(Side::Left, &mut Whole);
        let mut flight = records(&pair.to_right.steal());
        assert!(flight.len() > 2);
        // EndOfEarlyData and Finished come last.
        flight.rotate_left(2);
        let rest = flight.split_off(flight.len() - 2);
        let before = pair.right.ports.layer(Layer::Inner).unwrap().clone();
        for record in flight {
            pair.to_right.inject(&record);
            pair.deliver(Side::Left, &mut Whole);
        }
        let now = pair.right.ports.layer(Layer::Inner).unwrap();
        assert_eq!((now.records_in, now.records_out), (before.records_in, before.records_out));
        assert_eq!(pair.right.report().events, []);
        assert_eq!(pair.right.ports.plain_out(), Plaintext::Pending);
        for record in rest {
            pair.to_right.inject(&record);
            pair.deliver(Side::Left, &mut Whole);
        }
        pair.settle();
        pair.assert_established();
        assert_eq!(pair.right.report().read, b"request");
    }
}

#[test]
fn an_inner_refusal_of_early_data_is_told() {
    let (outer, inner) = (transparent(), ends(pki::inner(), Version::Tls13, false));
    warm(&outer, &inner);
    let mut pair = machines(&outer, &inner, 1);
    let mut flight = first_flight(&mut pair);
    // The type of the inner handshake message.
    assert_eq!(flight[2][10], 1);
    flight[2][10] = 99;
    pair.to_right.inject(&flight.concat());
    pair.settle();
    let refusing = pair.right.error().unwrap();
    assert_eq!((refusing.layer(), refusing.phase()), (Layer::Inner, Phase::OuterHandshake));
    let refused = pair.left.error().unwrap();
    assert_eq!(refused.layer(), Layer::Inner);
    assert!(refused.alert_received().is_some(), "{refused}");
}

/// The outer client may have ended its handshake in the same piece: that is too late all the same.
#[test]
fn a_refused_first_flight_fails_early_however_it_is_split() {
    let inner = ends(pki::inner(), Version::Tls13, false);
    let mut told = Vec::new();
    ways(|_, schedule| {
        let outer = transparent();
        warm(&outer, &inner);
        let mut pair = machines(&outer, &inner, 1);
        let mut flight = first_flight(&mut pair);
        // The type of the inner handshake message.
        flight[2][10] = 99;
        let early = flight.split_off(1).concat();
        pair.to_right.inject(&flight.concat());
        pair.deliver(Side::Left, &mut Whole);
        pair.transmit(Side::Right, &mut Whole);
        pair.deliver(Side::Right, &mut Whole);
        pair.to_right.inject(&early);
        pair.transmit(Side::Left, &mut Whole);
        pair.drive(schedule);
        let error = pair.right.error().unwrap();
        assert_eq!((error.layer(), error.phase()), (Layer::Inner, Phase::OuterHandshake));
        assert_eq!(pair.right.report().events, []);
        told.push(pair.right.report().clone());
    });
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
}

/// What comes behind the inner ClientHello waits, in whatever pieces it comes.
#[test]
fn what_is_behind_the_first_flight_fails_later_however_it_is_split() {
    let (outer, inner) = (transparent(), ends(pki::inner(), Version::Tls13, false));
    warm(&outer, &inner);
    let mut told = Vec::new();
    ways(|seed, schedule| {
        let mut pair = machines(&outer, &inner, seed);
        let flight = first_flight(&mut pair);
        pair.to_right.inject(&flight.concat());
        // An inner record that makes no sense.
        pair.to_right.inject(&data(&[22, 3, 3, 0, 4, 99, 0, 0, 0]));
        pair.drive(schedule);
        assert!(pair.right.has(Event::Established(Layer::Outer)));
        assert_eq!(pair.right.error().unwrap().layer(), Layer::Inner);
        told.push([pair.left.report().clone(), pair.right.report().clone()]);
    });
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn early_data_has_a_bound() {
    let (outer, inner) = (transparent(), ends(pki::inner(), Version::Tls13, false));
    warm(&outer, &inner);
    let limits = Limits {
        wire_in: 1000,
        record: 6000,
        handshake: 6000,
        plaintext: 100,
        wire_out: 100,
        messages: 100,
    };
    for (records, fits) in [(1, true), (2, false)] {
        ways(|seed, schedule| {
            let left = machines(&outer, &inner, seed).left;
            let right = Machine::new(seed + 50, || {
                let session = Session::new(outer.1.clone(), limits).unwrap();
                session.nest(inner.1.clone(), Direct).unwrap()
            });
            let mut pair = Pair::new(left, right);
            let flight = first_flight(&mut pair);
            pair.to_right.inject(&flight.concat());
            for _ in 0..records {
                pair.to_right.inject(&data(&[0; 4000]));
            }
            pair.drive(schedule);
            let kind = pair.right.error().unwrap().kind().clone();
            let expected = ErrorKind::Limit { what: "early data", limit: 6000 };
            assert_eq!(kind == expected, !fits, "{kind:?}");
            if !fits {
                let alert = pair.left.error().unwrap().alert_received();
                assert_eq!(alert, Some(AlertDescription::DecodeError));
            }
        });
    }
}

/// A message for the host is no part of the inner layer's first flight.
#[test]
fn messages_and_marks_wait_for_the_end_of_the_handshake() {
    let (outer, inner) = (transparent(), ends(pki::inner(), Version::Tls13, false));
    let machine = |(outer, inner): (&Role, &Role), seed| {
        Machine::new(seed, || {
            let session = Session::new(outer.clone(), Limits::default()).unwrap();
            session.nest(inner.clone(), Prefixed::default()).unwrap()
        })
    };
    let pair = |seed| {
        let (left, right) = ((&outer.0, &inner.0), (&outer.1, &inner.1));
        Pair::new(machine(left, seed), machine(right, seed + 50))
    };
    let mut first = pair(1);
    first.settle();
    first.send(Side::Right, b"behind the tickets");

    // What the user of a client says at once.
    let mut told = pair(2);
    told.left.with(|ports| ports.send_message(b"for the host").unwrap());
    let flight = first_flight(&mut told);
    let contains = |bytes: &[u8]| bytes.windows(12).any(|window| window == b"for the host");
    assert!(!contains(&flight.concat()));
    told.to_right.inject(&flight.concat());
    told.settle();
    told.assert_established();
    let message = told.right.with(Nested::poll_message).unwrap();
    assert_eq!(message, &b"for the host"[..]);
    assert!(told.left.ports.layer(Layer::Outer).unwrap().early_data);

    // What the user of a server says before a client has come. The inner answer must not overtake it.
    let mut told = pair(20);
    told.right.with(|ports| ports.send_message(b"for the host").unwrap());
    let flight = first_flight(&mut told);
    told.to_right.inject(&flight.concat());
    told.deliver(Side::Left, &mut Whole);
    told.transmit(Side::Right, &mut Whole);
    assert!(!contains(&told.to_left.transcript));
    told.settle();
    told.assert_established();
    assert!(told.right.ports.layer(Layer::Outer).unwrap().early_data);
    assert_eq!(told.left.with(Nested::poll_message).unwrap(), &b"for the host"[..]);

    // What a client sends as early data: a message, an end mark, nonsense.
    for (seed, frame) in
        [&b"\x01\x00\x04psst"[..], b"\x02\x00\x00", b"\x09"].into_iter().enumerate()
    {
        let mut told = pair(3 + seed as u64);
        let flight = first_flight(&mut told);
        told.to_right.inject(&flight.concat());
        told.to_right.inject(&data(frame));
        told.deliver(Side::Left, &mut Whole);
        assert_eq!(told.right.with(Nested::poll_message), None);
        assert_eq!(told.right.error(), None);
        assert_eq!(told.right.ports.phase(), Phase::OuterHandshake);
        told.settle();
        assert!(told.right.has(Event::Established(Layer::Outer)));
        match seed {
            0 => {
                told.assert_established();
                assert_eq!(told.right.with(Nested::poll_message).unwrap(), &b"psst"[..]);
            }
            _ => assert_ne!(told.right.error().unwrap().phase(), Phase::OuterHandshake),
        }
    }
}

/// What came early is the preamble's only when the client has shown that it is there.
#[test]
fn a_session_alone_keeps_early_data_to_itself() {
    for inner in Version::ALL {
        let (outer, inner) = (outer(), ends(pki::inner(), inner, false));
        warm(&outer, &inner);
        let left = machines(&outer, &inner, 1).left;
        let sent = left.ports.layer(Layer::Inner).unwrap().bytes_out as usize;
        let right = Machine::new(2, || Session::new(outer.1.clone(), Limits::default()).unwrap());
        let mut pair = Pair::new(left, right);
        pair.transmit(Side::Left, &mut Whole);
        pair.deliver(Side::Left, &mut Whole);
        assert_eq!(pair.right.ports.plain_out(), Plaintext::Pending);
        pair.stopped.1 = true;
        pair.settle();
        assert!(pair.right.ports.layer(Layer::Outer).unwrap().early_data);
        let Plaintext::Bytes(bytes) = pair.right.ports.plain_out() else { panic!("no preamble") };
        assert_eq!(bytes.len(), sent);
        let right = pair.right.map(|session| session.nest(inner.1.clone(), Direct).unwrap());
        let mut pair = Pair::new(pair.left, right);
        pair.settle();
        pair.assert_established();
        pair.send(Side::Right, b"pong");
        assert_eq!(pair.left.report().read, b"pong");
    }
}

/// Whoever cuts the handshake and lets the client try again must not have its data acted upon twice.
#[test]
fn a_session_alone_that_failed_shows_no_early_data() {
    for inner in Version::ALL {
        let (outer, inner) = (outer(), ends(pki::inner(), inner, false));
        warm(&outer, &inner);
        let left = machines(&outer, &inner, 1).left;
        let right = Machine::new(2, || Session::new(outer.1.clone(), Limits::default()).unwrap());
        let mut pair = Pair::new(left, right);
        pair.transmit(Side::Left, &mut Whole);
        pair.deliver(Side::Left, &mut Whole);
        pair.stopped.1 = true;
        pair.to_right.inject(&[0xff; 64]);
        pair.deliver(Side::Left, &mut Whole);
        assert_eq!(pair.right.ports.failure().unwrap().phase(), Phase::OuterHandshake);
        assert_eq!(pair.right.ports.plain_out(), Plaintext::Pending);
        assert!(pair.right.ports.plain_out_bytes().is_none());
    }
}

/// A hostile server says that it took what nobody offered.
#[test]
fn early_data_that_was_not_offered_can_t_be_taken() {
    let inner = ends(pki::inner(), Version::Tls13, false);
    for offered in [false, true] {
        let mut outer = transparent();
        if offered {
            warm(&outer, &inner);
            // The session is unknown here, so the handshake is a full one.
            outer.1 = transparent().1;
        }
        let mut pair = machines(&outer, &inner, 1);
        pair.transmit(Side::Left, &mut Whole);
        pair.deliver(Side::Left, &mut Whole);
        pair.transmit(Side::Right, &mut Whole);
        let mut flight = records(&pair.to_left.steal());
        let record = flight.iter_mut().find(|record| record[0] == 23 && record[5] == 8).unwrap();
        // EncryptedExtensions: one more extension, early_data, and three lengths.
        record.splice(11..11, [0, 42, 0, 0]);
        for last in [4, 8, 10] {
            let (low, carry) = record[last].overflowing_add(4);
            record[last] = low;
            record[last - 1] += u8::from(carry);
        }
        pair.to_left.inject(&flight.concat());
        pair.settle();
        let expected = match offered {
            true => PeerMisbehaved::EarlyDataExtensionWithoutResumption,
            false => PeerMisbehaved::UnsolicitedEncryptedExtension,
        };
        let error = pair.left.error().unwrap();
        assert_eq!((error.layer(), error.kind()), (Layer::Outer, &ErrorKind::Tls(expected.into())));
        assert!(!pair.left.has(Event::Established(Layer::Outer)));
    }
}
