//! How inner records lie in outer ones.

use nested_tls::*;

use crate::support::pair::Pair;
use crate::support::party::{Machine, Party};
use crate::support::schedule::Told;
use crate::support::setup::{Setup, Side};

/// What TLS adds to a record: header, and tag with type or nonce.
fn overhead(version: crate::support::pki::Version) -> usize {
    match version {
        crate::support::pki::Version::Tls12 => 5 + 8 + 16,
        crate::support::pki::Version::Tls13 => 5 + 1 + 16,
    }
}

/// The lengths of the records in `bytes`, headers included.
fn lengths(mut bytes: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let [typ, _, _, high, low, ..] = bytes {
        assert_eq!(*typ, 23);
        lengths.push(5 + usize::from(u16::from_be_bytes([*high, *low])));
        bytes = &bytes[*lengths.last().unwrap()..];
    }
    lengths
}

fn output<F: Framing>(machine: &mut Machine<Nested<F>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let more = machine.transmit(usize::MAX);
        if more.is_empty() {
            return bytes;
        }
        bytes.extend(more);
    }
}

#[test]
fn one_full_inner_record_is_one_outer_record() {
    for setup in Setup::versions() {
        let _told = Told::new(setup);
        let mut pair = setup.connected();
        let fragment = 16_384 - overhead(setup.inner);
        let data = vec![1; 3 * fragment];
        let before = pair.left.ports.layer(Layer::Inner).unwrap().records_out;
        assert_eq!(pair.left.write(&data), data.len());
        let sealed = output(&mut pair.left);
        assert_eq!(lengths(&sealed), [16_384 + overhead(setup.outer); 3]);
        assert_eq!(pair.left.ports.layer(Layer::Inner).unwrap().records_out - before, 3);
        for chunk in sealed.chunks(7000) {
            assert_eq!(pair.right.receive(chunk), chunk.len());
            pair.right.read_all();
        }
        assert_eq!(pair.right.report().read, data);
        // One byte more is one small record more.
        pair.left.write(&data[..fragment + 1]);
        let sealed = output(&mut pair.left);
        let small = 1 + overhead(setup.inner) + overhead(setup.outer);
        assert_eq!(lengths(&sealed), [16_384 + overhead(setup.outer), small]);
    }
}

#[test]
fn what_waits_together_leaves_in_one_record_of_each_layer() {
    for setup in Setup::versions() {
        let _told = Told::new(setup);
        let mut pair = setup.connected();
        let records = |pair: &Pair<Machine<Nested>, _>, layer| {
            pair.left.ports.layer(layer).unwrap().records_out
        };
        let before = [Layer::Outer, Layer::Inner].map(|layer| records(&pair, layer));
        for i in 0..10u8 {
            assert_eq!(pair.left.write(&[i; 50]), 50);
        }
        let sealed = output(&mut pair.left);
        assert_eq!(lengths(&sealed), [500 + overhead(setup.inner) + overhead(setup.outer)]);
        let after = [Layer::Outer, Layer::Inner].map(|layer| records(&pair, layer));
        assert_eq!(after, before.map(|n| n + 1));
        assert_eq!(pair.right.receive(&sealed), sealed.len());
        let expected: Vec<u8> = (0..10).flat_map(|i| [i; 50]).collect();
        assert_eq!(pair.right.read_all(), expected);
    }
}

/// However it came, and whatever a vector would grow to.
#[test]
fn what_waits_takes_the_room_of_one_record() {
    for setup in Setup::versions() {
        let _told = Told::new(setup);
        let mut pair = setup.connected();
        assert_eq!(pair.left.ports.buffered(), 0);
        for (size, sum) in [(9000, 9000), (1000, 10_000), (6000, 16_000)] {
            assert_eq!(pair.left.write(&vec![1; size]), size);
            let buffered = pair.left.ports.buffered();
            assert!((sum..=16_384).contains(&buffered), "{buffered} for {sum}");
        }
    }
}

/// As many inner records leave together as fit, whole, in as many slices as are handed to a cipher.
#[test]
fn inner_records_that_wait_together_leave_together() {
    let table: [(Vec<usize>, &[usize]); 5] = [
        (vec![50; 10], &[10]),
        (vec![50; 25], &[20, 5]),
        ([vec![50; 12], vec![3000]].concat(), &[13]),
        ([vec![50; 19], vec![3000]].concat(), &[19, 1]),
        (vec![9000, 9000, 5000], &[1, 2]),
    ];
    for setup in Setup::versions() {
        for (sizes, together) in &table {
            let _told = Told::new((setup, sizes));
            let mut pair = setup.connected();
            let mut written = Vec::new();
            for (i, size) in sizes.iter().enumerate() {
                let data = vec![i as u8; *size];
                assert_eq!(pair.left.write(&data), *size);
                written.extend(data);
                pair.right.write(b"?");
                let question = output(&mut pair.right);
                assert_eq!(pair.left.receive(&question), question.len());
            }
            let sealed = output(&mut pair.left);
            let mut inner = sizes.iter().map(|size| size + overhead(setup.inner));
            let expected: Vec<usize> = together
                .iter()
                .map(|n| inner.by_ref().take(*n).sum::<usize>() + overhead(setup.outer))
                .collect();
            assert_eq!(lengths(&sealed), expected);
            assert_eq!(pair.right.receive(&sealed), sealed.len());
            assert_eq!(pair.right.read_all(), written);
        }
    }
}

/// Whatever ends or follows the plaintext taken comes behind it; what is received, too, may end the
/// layer or change its keys.
#[test]
fn nothing_overtakes_plaintext_that_waits() {
    for setup in Setup::versions() {
        let _told = Told::new(setup);
        let acts: [fn(&mut Nested); 4] = [
            |_| (),
            Ports::close_write,
            Ports::close,
            |nested| drop(nested.update_keys(Layer::Inner, true)),
        ];
        for act in acts {
            let mut pair = setup.connected();
            assert_eq!(pair.left.write(b"first"), 5);
            pair.left.with(act);
            assert!(pair.left.ports.readiness().wire_out);
            pair.settle();
            assert_eq!(pair.right.report().read, b"first");
        }
    }
}

#[test]
fn a_framed_full_inner_record_is_one_outer_record() {
    use crate::support::framings::{Bridge, Prefixed};
    fn check<F: Framing>(setup: Setup, framing: fn() -> F) {
        let mut pair = Pair::new(
            setup.nested_in(Side::Left, framing()),
            setup.nested_in(Side::Right, framing()),
        );
        pair.settle();
        pair.assert_established();
        let header = framing().overhead();
        let fragment = 16_384 - header - overhead(setup.inner);
        assert_eq!(pair.left.write(&vec![7; 2 * fragment]), 2 * fragment);
        let sealed = output(&mut pair.left);
        assert_eq!(lengths(&sealed), [16_384 + overhead(setup.outer); 2]);
    }
    for setup in Setup::versions() {
        let _told = Told::new(setup);
        check(setup, Prefixed::default);
        check(setup, || Bridge);
    }
}

#[test]
fn records_are_as_small_as_the_configuration_says() {
    for setup in Setup::versions() {
        let setup = Setup { max_fragment_size: Some(64), ..setup };
        let _told = Told::new(setup);
        let mut pair = setup.connected();
        let data = vec![5; 1000];
        pair.left.write(&data);
        let sealed = output(&mut pair.left);
        for len in lengths(&sealed) {
            assert!(len <= 64 - 5 + overhead(setup.outer), "{len}");
        }
        assert_eq!(pair.right.receive(&sealed), sealed.len());
        assert_eq!(pair.right.read_all(), data);
    }
}

#[test]
fn a_peer_may_split_and_join_as_it_likes() {
    const SIZES: [usize; 6] = [1, 2, 5, 23, 1000, 16_384];
    for setup in Setup::versions() {
        let _told = Told::new(setup);
        let data: Vec<u8> = (0..5000u32).map(|i| i as u8).collect();
        for (size, owned) in SIZES.into_iter().flat_map(|n| [(n, false), (n, true)]) {
            let mut pair = Pair::new(setup.nested(Side::Left), setup.glued(Side::Right));
            pair.settle();
            // One inner record over many outer ones, and many inner ones in one.
            let mut ciphertext = Vec::new();
            pair.right.with(|outer, inner| {
                for chunk in data.chunks(977) {
                    std::io::Write::write_all(&mut inner.writer(), chunk).unwrap();
                }
                while inner.wants_write() {
                    inner.write_tls(&mut ciphertext).unwrap();
                }
                for chunk in ciphertext.chunks(size) {
                    std::io::Write::write_all(&mut outer.writer(), chunk).unwrap();
                }
            });
            let mut taken = Vec::new();
            loop {
                let bytes = pair.right.transmit(1500);
                if bytes.is_empty() {
                    break;
                }
                assert_eq!(pair.left.receive(&bytes), bytes.len());
                if owned {
                    // The next record may have come in part.
                    while let Some(bytes) = pair.left.with(Ports::plain_out_bytes) {
                        taken.extend(bytes);
                    }
                } else {
                    taken.extend(pair.left.read_all());
                }
            }
            assert!(taken == data, "{} bytes of {}", taken.len(), data.len());
        }
    }
}

#[test]
fn an_empty_write_makes_no_record() {
    let mut pair = Setup::default().connected();
    assert_eq!(pair.left.with(|p| p.plain_write(b"")), Ok(0));
    assert_eq!(output(&mut pair.left), b"");
}

#[test]
fn vectored_output_is_the_same_output() {
    let setup = Setup::default();
    let (mut a, mut b) = (setup.connected(), setup.connected());
    let data = vec![9; 40_000];
    a.left.write(&data);
    b.left.write(&data);
    let one_by_one = output(&mut a.left);
    let gathered = b.left.with(|p| {
        let mut slices: [&[u8]; 8] = [&[]; 8];
        let n = p.wire_out_slices(&mut slices);
        assert_eq!(n, 3);
        let bytes = slices[..n].concat();
        p.wire_sent(bytes.len()).unwrap();
        bytes
    });
    assert_eq!(gathered, one_by_one);
    assert_eq!(output(&mut b.left), b"");
}
