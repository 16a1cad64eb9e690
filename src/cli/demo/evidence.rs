//! What shows that the demonstration succeeded: each claim that it makes, checked.

use nested_tls::Layer;

use crate::failure::{Failure, Status};

/// What no piece of the message this long may be found in; shorter ones occur by chance.
pub(super) const PIECE: usize = 8;

/// What all three parties know in the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence<'a> {
    pub(super) message: &'a [u8],
    /// What came back to the client.
    pub(super) answer: &'a [u8],
    /// What the HSM heard.
    pub(super) heard: &'a [u8],
    /// What the host forwarded.
    pub(super) to_hsm: &'a [u8],
    pub(super) from_hsm: &'a [u8],
    /// Whether the client accepted the host and the HSM, and the host the client, each by a rule.
    pub(super) accepted: [bool; 3],
}

impl Evidence<'_> {
    pub(super) fn echoed(&self) -> bool {
        self.answer == self.message && self.heard == self.message
    }

    /// How many pieces of the message there are.
    pub(super) fn pieces(&self) -> usize {
        self.message.windows(PIECE).count()
    }

    /// How many pieces of the message stand in what the host saw.
    pub(super) fn found_by_host(&self) -> usize {
        pieces_in(self.message, self.to_hsm) + pieces_in(self.message, self.from_hsm)
    }

    /// The same search where it must succeed.
    pub(super) fn found_in_plaintext(&self) -> usize {
        pieces_in(self.message, self.heard)
    }

    /// Whether everything that was claimed is so.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        let [host, hsm, client] = self.accepted;
        let claims = [
            (host, Layer::Outer, "no rule accepted the host"),
            (client, Layer::Outer, "no rule accepted the client"),
            (hsm, Layer::Inner, "no rule accepted the HSM"),
            (self.echoed(), Layer::Inner, "the HSM's answer is not the message"),
            (self.found_by_host() == 0, Layer::Inner, "the host saw a piece of the message"),
            (
                self.pieces() > 0 && self.found_in_plaintext() == self.pieces(),
                Layer::Inner,
                "the search does not find what is there",
            ),
            (
                [self.to_hsm, self.from_hsm].map(records).iter().all(|count| *count > Some(0)),
                Layer::Inner,
                "the host saw something else than TLS records",
            ),
        ];
        match claims.iter().find(|(holds, ..)| !holds) {
            None => Ok(()),
            Some((_, layer, what)) => {
                let remedy = "report this as an error of nested-tls";
                Err(Failure::new(Status::of(*layer), *what, remedy).on(*layer))
            }
        }
    }
}

/// How many different places of `message` begin a piece that stands somewhere in `haystack`.
fn pieces_in(message: &[u8], haystack: &[u8]) -> usize {
    let stands = |piece: &&[u8]| haystack.windows(piece.len()).any(|window| window == *piece);
    message.windows(PIECE).filter(stands).count()
}

/// How many TLS records there are, if there is nothing else.
pub(super) fn records(mut bytes: &[u8]) -> Option<usize> {
    let mut count = 0;
    while let [kind, 3, _, high, low, rest @ ..] = bytes {
        if !(20..=23).contains(kind) {
            return None;
        }
        bytes = rest.get(usize::from(u16::from_be_bytes([*high, *low]))..)?;
        count += 1;
    }
    bytes.is_empty().then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_finds_what_is_there() {
        assert_eq!(pieces_in(b"only the HSM", b"...only the HSM..."), 5);
        assert_eq!(pieces_in(b"only the HSM", b"...only the..."), 1);
        assert_eq!(pieces_in(b"only the HSM", b"only thX HSM"), 0);
    }

    #[test]
    fn records_are_counted_only_where_there_is_nothing_else() {
        assert_eq!(records(&[22, 3, 1, 0, 1, 9, 23, 3, 3, 0, 0]), Some(2));
        assert_eq!(records(&[22, 3, 1, 0, 1]), None);
        assert_eq!(records(b"only the HSM"), None);
        assert_eq!(records(&[]), Some(0));
    }

    /// Each step alone, gone wrong, is a failure of the whole.
    #[test]
    fn no_failed_step_is_hidden() {
        const MESSAGE: &[u8] = b"only the HSM";
        let good = Evidence {
            message: MESSAGE,
            answer: MESSAGE,
            heard: MESSAGE,
            to_hsm: &[23, 3, 3, 0, 2, 7, 7],
            from_hsm: &[23, 3, 3, 0, 2, 8, 8],
            accepted: [true; 3],
        };
        assert_eq!(good.verdict(), Ok(()));
        let seen: &[u8] = b"\x17\x03\x03\x00\x0conly the HSM";
        let rows = [
            (Evidence { accepted: [false, true, true], ..good }, "no rule accepted the host"),
            (Evidence { accepted: [true, false, true], ..good }, "no rule accepted the HSM"),
            (Evidence { accepted: [true, true, false], ..good }, "no rule accepted the client"),
            (Evidence { answer: b"only the HSm", ..good }, "not the message"),
            (Evidence { answer: b"", ..good }, "not the message"),
            (Evidence { heard: b"only the HSM!", ..good }, "not the message"),
            (Evidence { to_hsm: seen, ..good }, "the host saw a piece"),
            (Evidence { from_hsm: seen, ..good }, "the host saw a piece"),
            (Evidence { message: b"", answer: b"", heard: b"", ..good }, "does not find"),
            (Evidence { to_hsm: &[], ..good }, "something else than TLS records"),
            (Evidence { from_hsm: &[1, 2, 3], ..good }, "something else than TLS records"),
        ];
        for (evidence, words) in rows {
            let text = evidence.verdict().map_err(|failure| failure.to_string());
            assert!(text.as_ref().is_err_and(|text| text.contains(words)), "{words}: {text:?}");
        }
    }
}
