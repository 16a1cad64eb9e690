//! What preparing a configuration turns off, what is turned on again, and what a rule, a store and a
//! ticketer are asked through it.

use std::sync::Arc;

use nested_tls::*;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{TicketRequest, Tls12Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
};

use super::early_data;
use super::resumption::{Clock, alone, client, ends, machines, memory, outer_resumed, server};
use crate::support::crypto::{GROUP, NOW, OTHER_GROUP, provider};
use crate::support::pki::{self, Version};
use crate::support::schedule::Told;
use crate::support::setup::Side;

fn ticketer() -> Arc<dyn ProducesTickets> {
    rustls::crypto::ring::Ticketer::new().unwrap()
}

/// How much each side of a layer says in two connections with the same two roles.
fn said(client: &Role, server: &Role) -> [[usize; 2]; 2] {
    [(), ()].map(|()| {
        let mut pair = alone(client, server);
        pair.send(Side::Right, b"behind the tickets");
        assert_eq!(pair.left.error(), None);
        [pair.to_right.transcript.len(), pair.to_left.transcript.len()]
    })
}

/// Tickets and early data are not for whoever has only configured rustls.
#[test]
fn what_rustls_would_do_early_or_again_is_off() {
    let pki = pki::outer();
    for version in Version::ALL {
        let asking = |edit: fn(&mut ClientConfig)| {
            let mut config = pki.client(version);
            edit(&mut config);
            client(pki, config, pki.server_rule())
        };
        let edits: [fn(&mut ServerConfig); 3] = [
            |config| config.ticketer = ticketer(),
            |config| (config.send_tls13_tickets, config.max_tls13_tickets) = (5, 5),
            |config| (config.max_early_data_size, config.send_half_rtt_data) = (1 << 14, true),
        ];
        let plain = said(&asking(|_| ()), &Role::server(pki.server(version)));
        for (i, edit) in edits.into_iter().enumerate() {
            let _told = Told::new((version, i));
            let mut config = pki.server(version);
            edit(&mut config);
            assert_eq!(said(&asking(|_| ()), &Role::server(config)), plain);
        }
        // Sessions alone do not turn early data on, either.
        let resumes = said(&asking(|_| ()), &server(pki.server(version), pki.client_rule()));
        let mut config = pki.server(version);
        edits[2](&mut config);
        assert_eq!(said(&asking(|_| ()), &server(config, pki.client_rule())), resumes);
        let early = |config: &mut ClientConfig| config.enable_early_data = true;
        let taking = || early_data::server(pki.server(version));
        assert_eq!(said(&asking(early), &taking()), said(&asking(|_| ()), &taking()));
    }
}

/// Sessions that are in the client's tickets and nowhere else, as long as the ticketer says.
#[test]
fn a_server_may_have_nothing_but_a_ticketer() {
    let pki = pki::outer();
    for version in Version::ALL {
        let clock = Clock::at(NOW);
        let (mut asking, mut answering) = (pki.client(version), pki.server(version));
        asking.time_provider = Arc::new(clock.clone());
        answering.time_provider = Arc::new(clock.clone());
        answering.session_storage = Arc::new(NoServerSessionStorage {});
        answering.ticketer = ticketer();
        let lifetime = u64::from(answering.ticketer.lifetime());
        let asking = client(pki, asking, pki.server_rule());
        let answering = server(answering, pki.client_rule());
        for (later, resumes) in [(0, false), (0, true), (lifetime - 1, true), (lifetime + 1, false)]
        {
            let _told = Told::new((version, later));
            clock.forward(later);
            let mut pair = alone(&asking, &answering);
            pair.send(Side::Right, b"behind the tickets");
            assert_eq!(outer_resumed(&pair), resumes);
        }
    }
}

#[test]
fn a_server_that_can_not_remember_promises_nothing() {
    let pki = pki::outer();
    for version in Version::ALL {
        let mut config = pki.server(version);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let asking = || client(pki, pki.client(version), pki.server_rule());
        let plain = said(&asking(), &Role::server(config.clone()));
        assert_eq!(said(&asking(), &server(config, pki.client_rule())), plain);
    }
}

/// Else a session could be had again as often as its ticket is shown.
#[test]
fn early_data_goes_without_the_ticketer() {
    let pki = pki::outer();
    let inner = ends(pki::inner(), Version::Tls13, false);
    let config = || {
        let mut config = pki.server(Version::Tls13);
        config.ticketer = ticketer();
        Prepared::from(config)
    };
    for prepared in [
        config().with_early_data().with_resumption(pki.client_rule()),
        config().with_resumption(pki.client_rule()).with_early_data(),
    ] {
        let outer = (early_data::client(), Role::server(prepared));
        early_data::warm(&outer, &inner);
        let mut pair = machines(&outer, &inner, 1);
        pair.settle();
        pair.assert_established();
        assert_eq!(early_data::early(&pair), [true; 2]);
    }
}

/// Also where the store is kept from sessions of TLS 1.2.
#[test]
fn the_group_that_a_server_wants_is_remembered() {
    let pki = pki::outer();
    let with = |groups| {
        Arc::new(CryptoProvider { kx_groups: groups, ..CryptoProvider::clone(&provider()) })
    };
    let tls13 = [Version::Tls13.rustls()];
    for how in [Tls12Resumption::Disabled, Tls12Resumption::SessionIdOrTickets] {
        let sessions = ClientSessions::new(pki.server_rule(), memory()).tls12(how);
        let config = pki.client_with(with(vec![GROUP, OTHER_GROUP]), &tls13);
        let asking = Role::client(Prepared::from(config).with_resumption(sessions), pki.name());
        let answering = Role::server(pki.server_with(with(vec![OTHER_GROUP]), &tls13));
        for flights in [3, 2] {
            let pair = alone(&asking, &answering);
            assert_eq!(pair.to_right.flights.len(), flights, "{how:?}");
        }
    }
}

/// A rule that says more than yes or no.
#[derive(Debug)]
struct Particular {
    rule: Arc<dyn ServerCertVerifier>,
    raw_keys: bool,
    hints: Option<Vec<DistinguishedName>>,
}

impl ServerCertVerifier for Particular {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.rule.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.rule.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.rule.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.rule.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.raw_keys
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.hints.as_deref()
    }
}

#[test]
fn a_rule_asks_for_what_it_needs() {
    let pki = pki::outer();
    // An extension and its body: server_certificate_type with RawPublicKey, certificate_authorities.
    const RAW_KEYS: &[u8] = &[0, 20, 0, 2, 1, 2];
    const HINTS: &[u8] = &[0, 47, 0, 8, 0, 6, 0, 4, 0x30, 2, 5, 0];
    for (raw_keys, hinted) in [(false, false), (true, false), (false, true)] {
        let hints = hinted.then(|| vec![DistinguishedName::in_sequence(&[5, 0])]);
        let rule = Arc::new(Particular { rule: pki.server_rule(), raw_keys, hints });
        let role = client(pki, pki.client(Version::Tls13), rule);
        let pair = alone(&role, &Role::server(pki.server(Version::Tls13)));
        let hello = &pair.to_right.transcript[pair.to_right.flights[0].clone()];
        let has = |extension: &[u8]| hello.windows(extension.len()).any(|w| w == extension);
        assert_eq!((has(RAW_KEYS), has(HINTS)), (raw_keys, hinted));
        assert_eq!(pair.left.error().is_some(), raw_keys, "there are no raw keys");
    }
}

/// As many tickets as the client asks for and the configuration allows.
#[test]
fn a_client_may_ask_for_tickets() {
    let pki = pki::outer();
    let [fewer, more] = [1, 3].map(|allowed| {
        let mut asking = pki.client(Version::Tls13);
        asking.send_ticket_request =
            Some(TicketRequest { new_session_count: 3, resumption_count: 3 });
        let mut answering = pki.server(Version::Tls13);
        answering.max_tls13_tickets = allowed;
        let pair =
            alone(&client(pki, asking, pki.server_rule()), &server(answering, pki.client_rule()));
        pair.right.ports.layer(Layer::Outer).unwrap().bytes_out
    });
    assert!(fewer + 2 * 32 < more, "{fewer} and {more} bytes");
}
