//! The options of one layer, the same for both: written once, offered as `--outer-X` and as `--inner-X`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};
use nested_tls::Layer;
use rustls::KeyLog;

/// Options that exist once per layer.
pub(crate) trait PerLayer: Sized {
    /// The options, without their prefix.
    fn options() -> Vec<Arg>;

    /// Takes the values; `layer` knows their prefix.
    fn take(values: &mut Values<'_>) -> Self;
}

/// The options of a layer in which this side is the client.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientOptions {
    pub(crate) ca: Vec<PathBuf>,
    pub(crate) pin: Vec<PathBuf>,
    pub(crate) pin_spki: Vec<SpkiHash>,
    pub(crate) webpki_roots: bool,
    pub(crate) name: Option<String>,
    pub(crate) no_name_check: bool,
    /// The layer is CloudHSM's, not typed but filled in: what an authority did not sign itself is refused, and no name
    /// leaves in the clear unless it was asked for.
    pub(crate) cloudhsm: bool,
    pub(crate) common: CommonOptions,
}

impl PerLayer for ClientOptions {
    fn options() -> Vec<Arg> {
        let mut options = vec![
            path(
                "ca",
                "Accept a server whose certificate an authority of this PEM file or hashed directory issued",
            )
            .action(ArgAction::Append),
            path(
                "pin",
                "Accept this very server certificate, or one of a hashed directory; with --ca, both must hold",
            )
            .action(ArgAction::Append),
            value("pin-spki", "HEX", "Accept this server key: SHA-256 of its SubjectPublicKeyInfo")
                .value_parser(ValueParser::new(spki_hash))
                .action(ArgAction::Append),
            flag("webpki-roots", "Accept what the public authorities of the Web issued"),
            value("name", "NAME", "The name in the server's certificate, and the SNI"),
            flag("no-name-check", "Look at no name; only beside a pin or an authority of your own"),
        ];
        options.extend(CommonOptions::options());
        options
    }

    fn take(values: &mut Values<'_>) -> Self {
        Self {
            ca: values.many("ca"),
            pin: values.many("pin"),
            pin_spki: values.many("pin-spki"),
            webpki_roots: values.flag("webpki-roots"),
            name: values.one("name"),
            no_name_check: values.flag("no-name-check"),
            cloudhsm: false,
            common: CommonOptions::take(values),
        }
    }
}

/// The options of a layer in which this side is the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerOptions {
    pub(crate) client_ca: Vec<PathBuf>,
    pub(crate) client_pin: Vec<PathBuf>,
    pub(crate) common: CommonOptions,
}

impl PerLayer for ServerOptions {
    fn options() -> Vec<Arg> {
        let mut options = vec![
            path(
                "client-ca",
                "Require a client certificate that an authority of this file or hashed directory issued",
            )
            .action(ArgAction::Append),
            path("client-pin", "Require this client certificate; with --client-ca, either will do")
                .action(ArgAction::Append),
        ];
        options.extend(CommonOptions::options());
        options
    }

    fn take(values: &mut Values<'_>) -> Self {
        Self {
            client_ca: values.many("client-ca"),
            client_pin: values.many("client-pin"),
            common: CommonOptions::take(values),
        }
    }
}

/// What both roles have.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommonOptions {
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) alpn: Vec<Protocol>,
    pub(crate) tls: Option<Version>,
    pub(crate) ignore_expiry: bool,
    /// Of both layers, not an option of one.
    pub(crate) keylog: Option<Arc<dyn KeyLog>>,
}

impl PerLayer for CommonOptions {
    fn options() -> Vec<Arg> {
        vec![
            path("cert", "Our certificate with the chain to send, PEM"),
            path("key", "The private key of our certificate, PEM; else it is looked for in --cert"),
            value("alpn", "LIST", "Application protocols to offer, separated by commas")
                .value_parser(ValueParser::new(protocol))
                .value_delimiter(',')
                .action(ArgAction::Append),
            value("tls", "VERSION", "Speak this version of TLS only")
                .value_parser(value_parser!(Version)),
            flag("ignore-expiry", "Accept a peer's certificate that has expired, and say so"),
        ]
    }

    fn take(values: &mut Values<'_>) -> Self {
        Self {
            cert: values.one("cert"),
            key: values.one("key"),
            alpn: values.many("alpn"),
            tls: values.one("tls"),
            ignore_expiry: values.flag("ignore-expiry"),
            keylog: None,
        }
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Version {
    #[value(name = "1.2")]
    Tls12,
    #[value(name = "1.3")]
    Tls13,
}

/// SHA-256 of a public key with its algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpkiHash(pub(crate) [u8; 32]);

/// The name of a protocol for ALPN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Protocol(pub(crate) Vec<u8>);

/// The options `O` of the outer layer.
#[derive(Clone, Debug)]
pub(crate) struct Outer<O>(pub(crate) O);

/// The options `O` of the inner layer.
#[derive(Clone, Debug)]
pub(crate) struct Inner<O>(pub(crate) O);

/// Gives `O`'s options the prefix of a layer, and finds them again under it.
macro_rules! prefixed {
    ($wrapper:ident, $layer:expr) => {
        impl<O: PerLayer> Args for $wrapper<O> {
            fn augment_args(command: Command) -> Command {
                augment::<O>(command, $layer)
            }

            fn augment_args_for_update(command: Command) -> Command {
                augment::<O>(command, $layer)
            }
        }

        impl<O: PerLayer> FromArgMatches for $wrapper<O> {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Self::from_arg_matches_mut(&mut matches.clone())
            }

            fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
                Ok(Self(O::take(&mut Values { matches, layer: $layer })))
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                *self = Self::from_arg_matches(matches)?;
                Ok(())
            }
        }
    };
}

prefixed!(Outer, Layer::Outer);
prefixed!(Inner, Layer::Inner);

/// What was given on the command line, for the options of one layer.
#[derive(Debug)]
pub(crate) struct Values<'a> {
    matches: &'a mut ArgMatches,
    layer: Layer,
}

impl Values<'_> {
    fn many<T: Clone + Send + Sync + 'static>(&mut self, name: &str) -> Vec<T> {
        let id = prefix(self.layer, name);
        self.matches.remove_many(&id).map(Iterator::collect).unwrap_or_default()
    }

    fn one<T: Clone + Send + Sync + 'static>(&mut self, name: &str) -> Option<T> {
        self.matches.remove_one(&prefix(self.layer, name))
    }

    fn flag(&mut self, name: &str) -> bool {
        self.matches.get_flag(&prefix(self.layer, name))
    }
}

/// `--outer-ca`, as it is typed.
pub(crate) fn option(layer: Layer, name: &str) -> String {
    format!("--{}", prefix(layer, name))
}

fn prefix(layer: Layer, name: &str) -> String {
    format!("{layer}-{name}")
}

fn augment<O: PerLayer>(command: Command, layer: Layer) -> Command {
    let heading = match layer {
        Layer::Outer => "Outer layer",
        Layer::Inner => "Inner layer",
    };
    command.args(O::options().into_iter().map(|option| {
        let name = prefix(layer, option.get_id().as_str());
        let help = option.get_help().map(|help| {
            let text = help.to_string();
            text.replace("--", &format!("--{layer}-"))
        });
        option.id(name.clone()).long(name).help(help.unwrap_or_default()).help_heading(heading)
    }))
}

fn value(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).value_name(value).help(help)
}

fn path(name: &'static str, help: &'static str) -> Arg {
    value(name, "PATH", help).value_parser(value_parser!(PathBuf))
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).action(ArgAction::SetTrue).help(help)
}

fn spki_hash(text: &str) -> Result<SpkiHash, String> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    let bytes: Option<Vec<u8>> = digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .map(SpkiHash)
        .ok_or_else(|| String::from("SHA-256 is 64 hexadecimal digits"))
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text.len() {
        1..=255 => Ok(Protocol(text.as_bytes().to_vec())),
        _ => Err(String::from("a protocol's name has 1 to 255 bytes")),
    }
}
