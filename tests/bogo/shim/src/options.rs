//! The runner's flags.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// What the runner asks of one connection.
#[derive(Clone, Default)]
pub struct Options {
    pub port: u16,
    pub shim_id: u64,
    pub ipv6: bool,
    pub server: bool,
    pub resume_count: usize,

    pub min_version: Option<u16>,
    pub max_version: Option<u16>,
    pub no_tls12: bool,
    pub no_tls13: bool,
    pub curves: Vec<u16>,
    pub max_send_fragment: Option<usize>,
    pub advertise_alpn: Vec<Vec<u8>>,
    pub select_alpn: Option<Vec<u8>>,
    pub reject_alpn: bool,
    pub host_name: Option<String>,
    pub no_ticket: bool,
    pub resumption_delay: u64,

    pub cert_file: Option<String>,
    pub key_file: Option<String>,
    pub signing_prefs: Vec<u16>,
    pub verify_prefs: Vec<u16>,
    pub ocsp_response: Option<Vec<u8>>,
    pub verify_fail: bool,
    pub custom_verifier: bool,
    pub ocsp_callback_fails: bool,
    pub ocsp_declined: bool,
    pub verify_peer: bool,
    pub require_client_certificate: bool,
    pub client_ca_list: Vec<Vec<u8>>,

    pub shim_writes_first: bool,
    pub initial_write: Vec<u8>,
    pub initial_writes: usize,
    pub read_size: usize,
    pub shim_shuts_down: bool,
    pub check_close_notify: bool,
    pub key_update: bool,
    pub key_update_before_read: bool,
    pub peek: bool,
    pub unfinished_write: bool,
    pub many_record_sizes: bool,
    pub export: Option<usize>,
    pub export_label: String,
    pub export_context: String,

    pub expect: Expect,
}

/// What the runner says must have come out.
#[derive(Clone, Default)]
pub struct Expect {
    pub version: Option<u16>,
    pub cipher: Option<u16>,
    pub curve: Option<u16>,
    pub signature_algorithm: Option<u16>,
    pub alpn: Option<Vec<u8>>,
    pub advertised_alpn: Option<Vec<Vec<u8>>>,
    pub server_name: Option<String>,
    pub no_server_name: bool,
    pub session_miss: bool,
    pub extended_master_secret: bool,
    pub peer_verify_prefs: Vec<u16>,
    pub hello_retry: Option<bool>,
    pub ocsp_response: Option<Vec<u8>>,
    pub peer_cert_file: Option<String>,
    pub no_peer_cert: bool,
    pub client_ca_list: Option<Vec<Vec<u8>>>,
}

/// Flags that change nothing for a machine without callbacks or I/O of its own: how BoringSSL is
/// called, what it may leave out, and versions that are never spoken here.
const WITHOUT_MEANING: &[&str] = &[
    "-async",
    "-use-export-context",
    "-partial-write",
    "-implicit-handshake",
    "-no-op-extra-handshake",
    "-handshake-twice",
    "-use-early-callback",
    "-use-old-client-cert-callback",
    "-no-tls1",
    "-no-tls11",
    "-no-legacy-server-connect",
    "-enable-ocsp-stapling",
    "-use-ocsp-callback",
    "-set-ocsp-in-callback",
    // A machine never becomes established with a peer that its verifier has not accepted.
    "-expect-verify-result",
    "-expect-no-secure-renegotiation",
    "-expect-secure-renegotiation",
    "-decline-alpn",
    "-server-preference",
    "-renegotiate-ignore",
    "-forbid-renegotiation-after-handshake",
    "-expect-no-session-id",
    // That a session ID or a new ticket was there shows when it is resumed from.
    "-expect-session-id",
    "-expect-ticket-renewal",
    // Early data is neither sent nor taken.
    "-enable-early-data",
    "-expect-reject-early-data",
    "-expect-no-offer-early-data",
];

/// As [`WITHOUT_MEANING`], with a value.
const VALUES_WITHOUT_MEANING: &[&str] = &["-trust-cert", "-expect-early-data-reason"];

impl Options {
    /// The options of the first connection and of those after it.
    ///
    /// # Errors
    /// The first flag that is not known.
    pub fn parse(arguments: &[String]) -> Result<(Self, Self), String> {
        let mut first = Self {
            initial_write: b"hello".to_vec(),
            initial_writes: 1,
            read_size: 512,
            ..Self::default()
        };
        let mut later = first.clone();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let (flag, of_first, of_later) = match argument {
                flag if flag.starts_with("-on-initial") => (&flag[11..], true, false),
                flag if flag.starts_with("-on-resume") => (&flag[10..], false, true),
                // Only refused early data makes the runner's own shim try again.
                flag if flag.starts_with("-on-retry") => (&flag[9..], false, false),
                flag => (flag.as_str(), true, true),
            };
            let flag = flag.to_owned();
            if WITHOUT_MEANING.contains(&&*flag) {
                continue;
            }
            let mut value = None;
            for options in [of_first.then_some(&mut first), of_later.then_some(&mut later)]
                .into_iter()
                .flatten()
            {
                let mut take = || {
                    value.get_or_insert_with(|| rest.next().cloned().unwrap_or_default()).clone()
                };
                if VALUES_WITHOUT_MEANING.contains(&&*flag) {
                    take();
                    continue;
                }
                options.set(&flag, &mut take).ok_or_else(|| format!("flag {flag}"))?;
            }
            if !of_first && !of_later {
                return Err(format!("flag -on-retry{flag}"));
            }
        }
        Ok((first, later))
    }

    fn set(&mut self, flag: &str, value: &mut dyn FnMut() -> String) -> Option<()> {
        let mut number = || value().parse::<u64>().expect("a number");
        match flag {
            "-port" => self.port = number() as u16,
            "-shim-id" => self.shim_id = number(),
            "-ipv6" => self.ipv6 = true,
            "-server" => self.server = true,
            "-resume-count" => self.resume_count = number() as usize,

            "-min-version" => self.min_version = Some(number() as u16),
            "-max-version" => self.max_version = Some(number() as u16),
            "-no-tls12" => self.no_tls12 = true,
            "-no-tls13" => self.no_tls13 = true,
            "-curves" => self.curves.push(number() as u16),
            "-max-send-fragment" => self.max_send_fragment = Some(number() as usize),
            "-advertise-alpn" => self.advertise_alpn = length_prefixed(value().as_bytes()),
            "-select-alpn" => self.select_alpn = Some(value().into_bytes()),
            "-reject-alpn" => self.reject_alpn = true,
            "-host-name" => self.host_name = Some(value()),
            "-no-ticket" => self.no_ticket = true,
            "-resumption-delay" => self.resumption_delay = number(),

            "-cert-file" => self.cert_file = Some(value()),
            "-key-file" => self.key_file = Some(value()),
            "-signing-prefs" => self.signing_prefs.push(number() as u16),
            "-verify-prefs" => self.verify_prefs.push(number() as u16),
            "-ocsp-response" => self.ocsp_response = Some(base64(&value())),
            "-verify-fail" => self.verify_fail = true,
            "-use-custom-verify-callback" => self.custom_verifier = true,
            "-fail-ocsp-callback" => self.ocsp_callback_fails = true,
            "-decline-ocsp-callback" => self.ocsp_declined = true,
            "-verify-peer" => self.verify_peer = true,
            "-require-any-client-certificate" => self.require_client_certificate = true,
            "-use-client-ca-list" => self.client_ca_list = hex_list(&value()),

            "-shim-writes-first" => self.shim_writes_first = true,
            "-shim-initial-write" => self.initial_write = value().into_bytes(),
            "-repeat-shim-initial-write" => self.initial_writes = number() as usize,
            "-read-size" => self.read_size = number() as usize,
            "-shim-shuts-down" => self.shim_shuts_down = true,
            "-check-close-notify" => self.check_close_notify = true,
            "-key-update" => self.key_update = true,
            "-key-update-before-read" => self.key_update_before_read = true,
            "-peek-then-read" => self.peek = true,
            "-read-with-unfinished-write" => self.unfinished_write = true,
            "-write-different-record-sizes" => self.many_record_sizes = true,

            "-export-keying-material" => self.export = Some(number() as usize),
            "-export-label" => self.export_label = value(),
            "-export-context" => self.export_context = value(),

            "-expect-version" => self.expect.version = Some(number() as u16),
            "-expect-cipher" => self.expect.cipher = Some(number() as u16),
            "-expect-curve-id" => self.expect.curve = Some(number() as u16),
            "-expect-peer-signature-algorithm" => {
                self.expect.signature_algorithm = Some(number() as u16);
            }
            "-expect-alpn" => self.expect.alpn = Some(value().into_bytes()),
            "-expect-advertised-alpn" => {
                self.expect.advertised_alpn = Some(length_prefixed(value().as_bytes()));
            }
            "-expect-server-name" => self.expect.server_name = Some(value()),
            "-expect-no-server-name" => self.expect.no_server_name = true,
            "-expect-session-miss" => self.expect.session_miss = true,
            "-expect-extended-master-secret" => self.expect.extended_master_secret = true,
            "-expect-peer-verify-pref" => self.expect.peer_verify_prefs.push(number() as u16),
            "-expect-hrr" => self.expect.hello_retry = Some(true),
            "-expect-no-hrr" => self.expect.hello_retry = Some(false),
            "-expect-ocsp-response" => self.expect.ocsp_response = Some(base64(&value())),
            "-expect-peer-cert-file" => self.expect.peer_cert_file = Some(value()),
            "-expect-no-peer-cert" => self.expect.no_peer_cert = true,
            "-expect-client-ca-list" => self.expect.client_ca_list = Some(hex_list(&value())),
            _ => return None,
        }
        Some(())
    }
}

fn base64(text: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text).expect("base64")
}

fn length_prefixed(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut items = Vec::new();
    while let Some((&len, behind)) = bytes.split_first() {
        let (item, behind) = behind.split_at(usize::from(len));
        items.push(item.to_vec());
        bytes = behind;
    }
    items
}

fn hex_list(text: &str) -> Vec<Vec<u8>> {
    let byte = |hex: &[u8]| {
        let hex = std::str::from_utf8(hex).expect("hexadecimal");
        u8::from_str_radix(hex, 16).expect("hexadecimal")
    };
    match text {
        "" | "<NULL>" | "<EMPTY>" => Vec::new(),
        list => list.split(',').map(|item| item.as_bytes().chunks(2).map(byte).collect()).collect(),
    }
}
