//! HTTPS through an HTTPS proxy: Apache as the proxy, nginx as the origin, and what curl makes of them
//! beside the program and the connector of the example `hyper`.

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, Version};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use crate::case::piece;
use crate::connector::Proxy;
use crate::daemon::{Daemon, free_port};
use crate::identities::Identities;
use crate::programs::have;
use crate::tools;

const SIZES: [usize; 7] = [0, 1, 1000, 16_384, 16_385, 300_000, 3_000_000];

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fetcher {
    Curl,
    /// `nested-tls connect`, told what to say in HTTP/1.1.
    Program,
    Connector,
}

impl Fetcher {
    const ALL: [Self; 3] = [Self::Curl, Self::Program, Self::Connector];
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
enum Fetched {
    /// The origin's status, and a body.
    Answer(u16, Vec<u8>),
    /// The status with which the proxy refused the tunnel.
    Refused(u16),
}

/// What an origin offers by ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Http1,
    Http2,
}

/// A proxy, two origins, and their files.
struct Site {
    identities: Identities,
    proxy: Daemon,
    _origin: Daemon,
    ports: [u16; 2],
    ipv6: bool,
}

impl Site {
    /// The proxy speaks this version of TLS, and asks for a certificate.
    fn start(name: &str, tls: &str) -> Option<Self> {
        let there = have("apache2", &["-v"]) && have("nginx", &["-v"]) && tools::have("curl");
        if !there {
            return None;
        }
        let ipv6 = TcpListener::bind("[::1]:0").is_ok();
        if !ipv6 {
            tools::skip("an origin at ::1: there is no IPv6");
        }
        let identities = Identities::empty(name);
        for name in ["proxy", "origin", "client"] {
            let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
            let made = rcgen::generate_simple_self_signed(names).unwrap();
            identities.add(name, &made.cert.pem(), &made.signing_key.serialize_pem());
        }
        for dir in ["www", "www/put", "temp"] {
            fs::create_dir_all(identities.dir.join(dir)).unwrap();
        }
        for size in SIZES {
            fs::write(identities.dir.join(format!("www/{size}")), content(size)).unwrap();
        }
        let ports = [Speaks::Http1, Speaks::Http2].map(|_| free_port("127.0.0.1"));
        let origin = nginx(&identities, ports, ipv6);
        let proxy = apache(&identities, tls);
        for daemon in [&origin, &proxy] {
            drop(daemon.connect());
        }
        Some(Self { identities, proxy, _origin: origin, ports, ipv6 })
    }

    fn port(&self, speaks: Speaks) -> u16 {
        self.ports[speaks as usize]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.identities.dir.join(name)
    }

    /// The certificate of the proxy, the origin or the proxy's client.
    fn pem(&self, name: &str) -> String {
        self.identities.path(name, "pem").display().to_string()
    }

    fn key(&self, name: &str) -> String {
        self.identities.path(name, "key").display().to_string()
    }

    /// Lets `who` say `what` to the proxy and to the origin at `to`.
    fn fetch(&self, who: Fetcher, auth: Option<&str>, to: &str, what: &Asked<'_>) -> Fetched {
        match who {
            Fetcher::Curl => self.by_curl(auth, to, what),
            Fetcher::Program => self.by_program(auth, to, what),
            Fetcher::Connector => self.by_connector(auth, to, what),
        }
    }

    fn by_curl(&self, auth: Option<&str>, to: &str, what: &Asked<'_>) -> Fetched {
        let body = self.path("curl-body");
        let _ = fs::remove_file(&body);
        let mut command = Command::new("curl");
        command.args(["--silent", "--max-time", "60", "--write-out"]);
        command.arg("%{http_connect} %{http_code} %{http_version}");
        command.args(["--proxy", &format!("https://{}", self.proxy.address)]);
        command.args(["--proxy-cacert", &self.pem("proxy"), "--cacert", &self.pem("origin")]);
        command.args(["--proxy-cert", &self.pem("client"), "--proxy-key", &self.key("client")]);
        command.arg("--output").arg(&body);
        if let Some(auth) = auth {
            command.args(["--proxy-user", auth]);
        }
        if let Some(content) = what.put {
            let from = self.path("curl-from");
            fs::write(&from, content).unwrap();
            command.arg("--upload-file").arg(&from);
        }
        let output = command.arg(format!("https://{to}{}", what.path)).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let words: Vec<_> = said.split(' ').collect();
        let status = |word: &str| word.parse().unwrap();
        if output.status.success() {
            assert_eq!(
                (words[0], words[2]),
                ("200", if what.speaks == Speaks::Http2 { "2" } else { "1.1" })
            );
            // curl makes no file of an empty body.
            Fetched::Answer(status(words[1]), fs::read(&body).unwrap_or_default())
        } else {
            Fetched::Refused(status(words[0]))
        }
    }

    fn by_program(&self, auth: Option<&str>, to: &str, what: &Asked<'_>) -> Fetched {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nested-tls"));
        command.env_remove("SSLKEYLOGFILE");
        command.args(["connect", &self.proxy.address, "--http-connect", to, "--quiet"]);
        command.args(["--outer-ca", &self.pem("proxy"), "--inner-ca", &self.pem("origin")]);
        command.args(["--outer-cert", &self.pem("client"), "--outer-key", &self.key("client")]);
        command.args(["--inner-alpn", "http/1.1"]);
        if let Some(auth) = auth {
            let file = self.path("auth");
            fs::write(&file, auth).unwrap();
            command.arg("--http-auth").arg(file);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let method = if what.put.is_some() { "PUT" } else { "GET" };
        let content = what.put.unwrap_or_default();
        let head = format!(
            "{method} {} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            what.path,
            content.len()
        );
        // It may end before it has read anything. The input stays open as a browser's would.
        let mut input = child.stdin.take().unwrap();
        let _ = input.write_all(head.as_bytes()).and_then(|()| input.write_all(content));
        let mut bytes = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        match output.status.code() {
            Some(0) => answer(&bytes),
            Some(7) => Fetched::Refused(refusal(&stderr)),
            _ => panic!("{:?} {stderr}", output.status),
        }
    }

    fn by_connector(&self, auth: Option<&str>, to: &str, what: &Asked<'_>) -> Fetched {
        let [outer, inner] = ["proxy", "origin"].map(|name| trusting(&self.pem(name)));
        let certificate = CertificateDer::from_pem_file(self.pem("client")).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.key("client")).unwrap();
        let outer = outer.with_client_auth_cert(vec![certificate], key).unwrap();
        let inner = inner.with_no_client_auth();
        let mut proxy = Proxy::new(self.proxy.address.parse().unwrap(), outer, inner).unwrap();
        if let Some((user, password)) = auth.and_then(|auth| auth.split_once(':')) {
            proxy = proxy.with_auth(user, password);
        }
        let method = if what.put.is_some() { Method::PUT } else { Method::GET };
        let content = Bytes::copy_from_slice(what.put.unwrap_or_default());
        let uri = format!("https://{to}{}", what.path);
        let request = Request::builder().method(method).uri(uri).body(Full::new(content)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            match Client::builder(TokioExecutor::new()).build(proxy).request(request).await {
                Ok(response) => {
                    let version = match what.speaks {
                        Speaks::Http1 => Version::HTTP_11,
                        Speaks::Http2 => Version::HTTP_2,
                    };
                    assert_eq!(response.version(), version);
                    let status = response.status().as_u16();
                    let body = response.into_body().collect().await.unwrap().to_bytes();
                    Fetched::Answer(status, body.to_vec())
                }
                Err(error) => Fetched::Refused(refusal(&error.source().unwrap().to_string())),
            }
        })
    }
}

/// What is asked of an origin.
struct Asked<'a> {
    path: &'a str,
    put: Option<&'a [u8]>,
    speaks: Speaks,
}

const AUTH: &str = "me:secret";

#[test]
fn every_fetcher_gets_the_same_bytes() {
    let Some(site) = Site::start("https-proxy-get", "TLSv1.3") else { return };
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let port = site.port(speaks);
        for (host, sizes) in
            [("localhost", &SIZES[..]), ("127.0.0.1", &[300_000]), ("[::1]", &[300_000])]
        {
            if host == "[::1]" && !site.ipv6 {
                continue;
            }
            for (&size, who) in sizes.iter().flat_map(|size| Fetcher::ALL.map(|who| (size, who))) {
                let path = format!("/{size}");
                let asked = Asked { path: &path, put: None, speaks };
                let got = site.fetch(who, Some(AUTH), &format!("{host}:{port}"), &asked);
                let right = got == Fetched::Answer(200, content(size));
                assert!(right, "{who:?}, {speaks:?}, {host}, {size}: {}", shown(&got));
            }
        }
    }
}

#[test]
fn every_fetcher_sends_the_same_bytes() {
    let Some(site) = Site::start("https-proxy-put", "TLSv1.2") else { return };
    let file = site.path("www/put/it");
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let to = format!("localhost:{}", site.port(speaks));
        // nginx makes no file of a body that is not announced, as hyper does not an empty one.
        for (&size, who) in SIZES[1..].iter().flat_map(|size| Fetcher::ALL.map(|who| (size, who))) {
            let _ = fs::remove_file(&file);
            let asked = Asked { path: "/put/it", put: Some(&content(size)), speaks };
            let got = site.fetch(who, Some(AUTH), &to, &asked);
            let what = format!("{who:?}, {speaks:?}, {size}: {}", shown(&got));
            assert!(matches!(got, Fetched::Answer(201, _)), "{what}");
            assert!(fs::read(&file).unwrap() == content(size), "{what}");
        }
    }
}

/// Each is told the same by the proxy: that it wants another password, that nobody is there.
#[test]
fn every_fetcher_is_refused_alike() {
    let Some(site) = Site::start("https-proxy-refused", "TLSv1.3") else { return };
    let there = format!("localhost:{}", site.port(Speaks::Http2));
    let nobody = format!("127.0.0.1:{}", free_port("127.0.0.1"));
    let asked = Asked { path: "/1", put: None, speaks: Speaks::Http2 };
    for (auth, to, status) in [
        (None, &there, 407),
        (Some("me:wrong"), &there, 407),
        (Some("you:secret"), &there, 407),
        (Some(AUTH), &nobody, 503),
    ] {
        for who in Fetcher::ALL {
            assert_eq!(site.fetch(who, auth, to, &asked), Fetched::Refused(status), "{who:?} {to}");
        }
    }
}

fn content(size: usize) -> Vec<u8> {
    let mut content = Vec::with_capacity(size);
    while content.len() < size {
        content.extend_from_slice(piece(content.len() as u64, size - content.len()));
    }
    content
}

fn trusting(pem: &str) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pem).unwrap()).unwrap();
    ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
}

/// An answer in HTTP/1.1, whose length is told.
fn answer(bytes: &[u8]) -> Fetched {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    assert_eq!(bytes.len() - end, length.parse::<usize>().unwrap());
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Fetched::Answer(status, bytes[end..].to_vec())
}

/// The status in "the proxy refused the tunnel: 407 ...".
fn refusal(said: &str) -> u16 {
    let status = said.split("refused the tunnel: ").nth(1).and_then(|rest| rest.get(..3));
    status.and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{said}"))
}

fn shown(fetched: &Fetched) -> String {
    match fetched {
        Fetched::Answer(status, body) => format!("{status} with {} bytes", body.len()),
        Fetched::Refused(status) => format!("refused with {status}"),
    }
}

fn nginx(identities: &Identities, [http1, http2]: [u16; 2], ipv6: bool) -> Daemon {
    let dir = identities.dir.display();
    let hosts = if ipv6 { &["127.0.0.1", "[::1]"][..] } else { &["127.0.0.1"] };
    let mut servers = String::new();
    for (port, more) in [(http1, ""), (http2, "http2")] {
        let listen = hosts.iter().map(|host| format!("listen {host}:{port} ssl {more};"));
        let listen: String = listen.collect();
        servers += &format!("server {{ {listen} location /put/ {{ dav_methods PUT; }} }}\n");
    }
    let text = format!(
        "daemon off; master_process off; pid {dir}/nginx.pid; error_log {dir}/nginx.log;
        events {{ worker_connections 64; }}
        http {{
            access_log off; root {dir}/www; client_max_body_size 0;
            client_body_temp_path {dir}/temp/body; proxy_temp_path {dir}/temp/proxy;
            fastcgi_temp_path {dir}/temp/fastcgi; uwsgi_temp_path {dir}/temp/uwsgi;
            scgi_temp_path {dir}/temp/scgi;
            ssl_certificate {dir}/origin.pem; ssl_certificate_key {dir}/origin.key;
            ssl_protocols TLSv1.2 TLSv1.3;
            {servers}
        }}\n"
    );
    let config = identities.path("nginx", "conf");
    fs::write(&config, text).unwrap();
    let address = format!("127.0.0.1:{http1}");
    Daemon::start("nginx", address, Command::new("nginx").arg("-c").arg(config))
}

fn apache(identities: &Identities, tls: &str) -> Daemon {
    let dir = identities.dir.display();
    let port = free_port("127.0.0.1");
    // The password is "secret".
    fs::write(identities.path("users", "txt"), "me:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n").unwrap();
    let mut text = String::new();
    for module in [
        "mpm_event",
        "authn_core",
        "authn_file",
        "authz_core",
        "authz_user",
        "auth_basic",
        "proxy",
        "proxy_connect",
        "ssl",
    ] {
        let file = format!("/usr/lib/apache2/modules/mod_{module}.so");
        text += &format!("LoadModule {module}_module {file}\n");
    }
    text += &format!(
        "ServerRoot {dir}\nServerName localhost\nPidFile {dir}/apache.pid\nErrorLog {dir}/apache.log
        DefaultRuntimeDir {dir}/temp\nListen 127.0.0.1:{port}\n
        SSLEngine on\nSSLCertificateFile {dir}/proxy.pem\nSSLCertificateKeyFile {dir}/proxy.key
        SSLProtocol {tls}\nSSLVerifyClient require\nSSLCACertificateFile {dir}/client.pem
        ProxyRequests On\nAllowCONNECT 1-65535
        <Proxy *>\nAuthType Basic\nAuthName proxy\nAuthUserFile {dir}/users.txt\nRequire valid-user\n</Proxy>\n"
    );
    let config = identities.path("apache", "conf");
    fs::write(&config, text).unwrap();
    let address = format!("127.0.0.1:{port}");
    // One process, in the foreground.
    Daemon::start("apache2", address, Command::new("apache2").args(["-X", "-f"]).arg(config))
}
