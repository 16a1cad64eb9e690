//! The two servers of the demonstration, and the files of all three parties.

use core::net::{Ipv4Addr, SocketAddr};
use std::fs::{self, DirBuilder};
use std::path::{Path, PathBuf};
use std::{env, io, process};

use nested_tls::Layer;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{LIMIT, unexpected};
use crate::config::ServerLayer;
use crate::diagnosis::Broken;
use crate::failure::{Failure, Status};
use crate::files::words;
use crate::link::Link;
use crate::net::{Endpoint, connect, listen, prepare};
use crate::options::{CommonOptions, ServerOptions};
use crate::pki::{self, ClientIdentity, Options, Period, Pki};
use crate::pump::Flow;
use crate::relay::forward_both;
use crate::report::LayerReport;
use crate::serve::{Serve, echo};
use crate::watch::WatchBoth;
use crate::wire::Watched;

/// Certificates, and the directory where they are.
pub(super) struct Cluster {
    pki: Pki,
    directory: Directory,
}

/// A server that serves one connection.
pub(super) struct Party<T> {
    pub(super) address: SocketAddr,
    pub(super) task: JoinHandle<Result<T, Failure>>,
}

/// What the host saw.
pub(super) struct Seen {
    pub(super) client: LayerReport,
    pub(super) to_hsm: Vec<u8>,
    pub(super) from_hsm: Vec<u8>,
}

impl Cluster {
    /// Makes the certificates and stores them, for good in `keep`.
    pub(super) fn new(keep: Option<PathBuf>) -> Result<Self, Failure> {
        let now = DefaultTimeProvider.current_time().map_or(0, |now| now.as_secs());
        let pki = Pki::new(&Options::new(Period::around(now))).map_err(|error| unmade(&error))?;
        let directory = Directory::new(keep)?;
        let path = directory.path();
        pki.write_client_dir(path, ClientIdentity::Issued).map_err(|error| unmade(&error))?;
        let server = path.join("server");
        create(&server)?;
        for (name, text) in [
            ("host.crt", &pki.outer_server.pem),
            ("host.key", &pki.outer_server.key_pem),
            ("default-client.crt", &pki.default_client.pem),
            ("default-client.key", &pki.default_client.key_pem),
            ("hsm.crt", &pki.cluster.pem),
            ("hsm.key", &pki.cluster.key_pem),
        ] {
            let mode = if name.ends_with(".key") { 0o600 } else { 0o644 };
            pki::write(&server.join(name), text, mode).map_err(|error| unmade(&error))?;
        }
        Ok(Self { pki, directory })
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The directory, if it stays.
    pub(super) fn kept(&self) -> Option<&Path> {
        match &self.directory {
            Directory::Kept(path) => Some(path),
            Directory::Temporary(_) => None,
        }
    }

    /// Every certificate of the connection, in the order of the seed document.
    pub(super) fn certificates(&self) -> [(&'static str, &[u8]); 6] {
        [
            ("the host's own, self-signed: certs/21a10654.0", &self.pki.outer_server.der),
            (
                "the second one that the client trusts: certs/712ff948.0",
                &self.pki.second_anchor.der,
            ),
            ("the client's, issued by the customer: client.crt", &self.pki.issued_client.der),
            ("the default client's, which the host accepts, too", &self.pki.default_client.der),
            ("the cluster's, issued by the customer: presented by the HSM", &self.pki.cluster.der),
            ("the customer's authority: customerCA.crt", &self.pki.customer_ca.der),
        ]
    }

    /// A TLS server behind the host: it answers with what it hears, and says in the end what that was.
    pub(super) async fn hsm(&self) -> Result<Party<Vec<u8>>, Failure> {
        // One layer alone; to this server it is neither outer nor inner.
        let layer = ServerLayer::load(Layer::Outer, self.server("hsm"))?;
        let setup = layer.setup()?;
        let (listener, address) = free_port().await?;
        let task = tokio::spawn(async move {
            let tcp = accept(listener).await?;
            let explain = |broken: Broken| {
                let failure = broken.explain(&[&setup]);
                Failure::new(Status::Inner, format!("at the HSM: {failure}"), "see above")
            };
            let mut link = Link::single(&setup, tcp).map_err(explain)?;
            let mut heard = Vec::new();
            let result = async {
                link.handshake(LIMIT).await?;
                echo(&mut link, |said| heard.extend_from_slice(said)).await
            }
            .await;
            link.finish().await;
            result.map_err(explain)?;
            Ok(heard)
        });
        Ok(Party { address, task })
    }

    /// The host in front of the HSM; it says in the end what it saw.
    pub(super) async fn host(&self, hsm: SocketAddr) -> Result<Party<Seen>, Failure> {
        let setup = ServerLayer::load(Layer::Outer, self.host_options())?.setup()?;
        let (listener, address) = free_port().await?;
        let hsm = Endpoint { host: hsm.ip().to_string(), port: hsm.port() };
        let task = tokio::spawn(async move {
            let tcp = accept(listener).await?;
            let explain = |broken: Broken| {
                let failure = broken.explain(&[&setup]);
                Failure::new(Status::Outer, format!("at the host: {failure}"), "see above")
            };
            let mut link = Link::single(&setup, tcp).map_err(explain)?;
            if let Err(broken) = link.handshake(LIMIT).await {
                link.finish().await;
                return Err(explain(broken));
            }
            let client = LayerReport::new(link.machine(), &setup, link.times.outer);
            let (input, output) = connect(&hsm, LIMIT).await?.into_split();
            let (mut to_hsm, mut from_hsm) = (Vec::new(), Vec::new());
            let input = Watched::new(input, &mut from_hsm);
            let output = Watched::new(output, &mut to_hsm);
            let result = forward_both(&mut link, input, output, LIMIT, &Flow::default()).await;
            link.finish().await;
            result.map_err(explain)?;
            Ok(Seen { client, to_hsm, from_hsm })
        });
        Ok(Party { address, task })
    }

    /// Both servers in one, for whoever comes.
    pub(super) async fn serve(
        &self,
        listen: Endpoint,
        watch: WatchBoth,
        json: bool,
    ) -> Result<(), Failure> {
        Serve::echo(listen, self.host_options(), self.server("hsm"), watch).run(json).await
    }

    fn host_options(&self) -> ServerOptions {
        ServerOptions {
            client_pin: vec![self.path().join("server/default-client.crt")],
            client_ca: vec![self.path().join("customerCA.crt")],
            ..self.server("host")
        }
    }

    fn server(&self, name: &str) -> ServerOptions {
        let file = |extension| self.path().join(format!("server/{name}.{extension}"));
        let common = CommonOptions {
            cert: Some(file("crt")),
            key: Some(file("key")),
            ..CommonOptions::default()
        };
        ServerOptions { common, ..ServerOptions::default() }
    }
}

/// Where the files are.
enum Directory {
    Kept(PathBuf),
    /// Removed in the end.
    Temporary(PathBuf),
}

impl Directory {
    fn new(keep: Option<PathBuf>) -> Result<Self, Failure> {
        let Some(path) = keep else {
            let path = env::temp_dir().join(format!("nested-tls-demo-{}", process::id()));
            create(&path)?;
            return Ok(Self::Temporary(path));
        };
        match fs::read_dir(&path).map(Iterator::count) {
            // Nothing that is there already may be overwritten: it could be the real thing.
            Ok(1..) => {
                let reason = "the directory of --keep is not empty";
                Err(Failure::usage(reason, "name a new one").at(&path))
            }
            Ok(0) => Ok(Self::Kept(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create(&path)?;
                Ok(Self::Kept(path))
            }
            Err(error) => {
                let reason = format!("the directory of --keep can't be used: {}", words(&error));
                Err(Failure::usage(reason, "name another one").at(&path))
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) | Self::Temporary(path) => path,
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Self::Temporary(path) = self {
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// A directory that nobody else may look into: keys are in it.
fn create(path: &Path) -> Result<(), Failure> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| {
        let reason = format!("can't make a directory: {}", words(&error));
        Failure::usage(reason, "name a place where this user may write").at(path)
    })
}

fn unmade(error: &pki::Error) -> Failure {
    Failure::usage(error.to_string(), "see whether the disk is full")
}

async fn free_port() -> Result<(TcpListener, SocketAddr), Failure> {
    let listener = listen(&Endpoint { host: Ipv4Addr::LOCALHOST.to_string(), port: 0 }).await?;
    let address = listener.local_addr().map_err(|error| unexpected(&words(&error)))?;
    Ok((listener, address))
}

async fn accept(listener: TcpListener) -> Result<TcpStream, Failure> {
    match tokio::time::timeout(LIMIT, listener.accept()).await {
        Ok(Ok((tcp, _))) => {
            prepare(&tcp);
            Ok(tcp)
        }
        Ok(Err(error)) => Err(unexpected(&words(&error))),
        Err(_) => Err(unexpected("nobody connected")),
    }
}
