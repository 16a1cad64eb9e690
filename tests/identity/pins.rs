//! A pin is every byte of what is pinned.

use nested_tls::identity::{
    Certificate, NamePolicy, Peer, Pin, Pinned, Presented, Problem, Rule, TimePolicy,
};

use crate::forge::{Draft, Key, Kind, cn, now, provider};

#[test]
fn one_bit_or_byte_more_or_less_is_another_pin() {
    let key = Key::new(Kind::P256);
    let leaf = Draft::v3(&cn("leaf"), &key.spki, &cn("leaf")).sign(&key);
    let view = Certificate::from_der(&leaf).unwrap();
    let hash = view.spki_sha256(&provider()).unwrap();
    let matches = |pin: Pin| {
        let rule = Pinned::new([pin], provider()).unwrap();
        let rule = rule.time(TimePolicy::Strict).names(NamePolicy::Unchecked);
        let presented =
            Presented { leaf: &leaf, chain: &[], peer: Peer::Server, name: None, now: now() };
        match rule.judge(&presented) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.problem(), Problem::Pin);
                false
            }
        }
    };
    type Make = fn(&[u8]) -> Pin;
    let kinds: [(&[u8], Make); 3] = [
        (&leaf, |bytes| Pin::certificate(bytes.to_vec().into())),
        (&key.spki, |bytes| Pin::spki(bytes.to_vec().into())),
        (&hash, |bytes| Pin::spki_sha256(bytes.try_into().unwrap())),
    ];
    for (pinned, pin) in kinds {
        assert!(matches(pin(pinned)));
        for at in 0..pinned.len() {
            let mut other = pinned.to_vec();
            other[at] ^= 1 << (at % 8);
            assert!(!matches(pin(&other)), "byte {at} of {}", pinned.len());
        }
    }
    for (pinned, pin) in &kinds[..2] {
        assert!(!matches(pin(&[pinned, &[0][..]].concat())));
        assert!(!matches(pin(&pinned[..pinned.len() - 1])));
        assert!(!matches(pin(&[])));
    }
}
