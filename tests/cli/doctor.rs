//! `doctor`: each file of a client directory broken in turn, on paper and in a live connection.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::pki::{ClientIdentity, Issued, Options, Period, Pki, Shape, Subject, Template};
use crate::support::{Server, directory, now, run};

/// A cluster with its authority's key.
struct Cluster {
    pki: Pki,
    path: PathBuf,
}

impl Cluster {
    fn new(name: &str) -> Self {
        let pki = Pki::new(&Options::new(Period::around(now()))).unwrap();
        let path = directory(name);
        let cluster = Self { pki, path };
        cluster.store("host", &cluster.pki.outer_server);
        cluster.store("hsm", &cluster.pki.cluster);
        cluster.store("default", &cluster.pki.default_client);
        cluster
    }

    fn store(&self, name: &str, issued: &Issued) {
        fs::write(self.path.join(format!("{name}.crt")), &issued.pem).unwrap();
        fs::write(self.path.join(format!("{name}.key")), &issued.key_pem).unwrap();
    }

    fn file(&self, name: &str) -> String {
        self.path.join(name).to_str().unwrap().to_owned()
    }

    /// A server of both layers with the certificates of these names.
    fn serve(&self, host: &str, hsm: &str, more: &[&str]) -> Server {
        fs::write(self.file("customerCA.crt"), &self.pki.customer_ca.pem).unwrap();
        let of = |option: &str, name: &str| format!("{option}={}", self.file(name));
        let mut arguments = vec![
            "serve".to_owned(),
            "--echo".to_owned(),
            of("--outer-cert", &format!("{host}.crt")),
            of("--outer-key", &format!("{host}.key")),
            of("--inner-cert", &format!("{hsm}.crt")),
            of("--inner-key", &format!("{hsm}.key")),
            of("--outer-client-ca", "customerCA.crt"),
            of("--outer-client-pin", "default.crt"),
        ];
        arguments.extend(more.iter().map(ToString::to_string));
        Server::start(&arguments)
    }

    /// A client directory in order.
    fn client(&self) -> PathBuf {
        let path = self.path.join("client");
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        self.pki.write_client_dir(&path, ClientIdentity::Issued).unwrap();
        path
    }

    /// A certificate that customerCA issued.
    fn issue(&self, shape: Shape, period: Period) -> Issued {
        Template::new(Subject::customer("mine"), shape, period)
            .issued_by(&self.pki.customer_ca)
            .unwrap()
    }
}

fn always() -> Period {
    Period::around(now())
}

fn gone() -> Period {
    Period::ended_before(now())
}

fn soon() -> Period {
    Period { not_before: now() - 60, not_after: now() + 30 * 86_400 }
}

/// An authority of its own, of any name.
fn authority(subject: Subject, period: Period) -> Issued {
    Template::new(subject, Shape::Authority, period).self_signed().unwrap()
}

/// What is broken, what `doctor` finds, and what comes of a connection.
struct Row<'a> {
    broken: &'a str,
    change: Box<dyn Fn(&Path) + 'a>,
    /// Severity, reason and file of each finding that is more than a note.
    findings: &'a [(&'a str, &'a str, &'a str)],
    /// Exit status of `connect`, and what it says.
    live: (i32, &'a [&'a str]),
}

/// Severity, reason and file's name of all that is more than a note.
fn findings(report: &Value) -> Vec<(String, String, String)> {
    let clients = report["clients"].as_array().unwrap();
    let all = clients.iter().flat_map(|client| client["findings"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    all.filter(|one| one["severity"] != "note")
        .map(|one| {
            for field in ["expected", "found", "remedy"] {
                assert_ne!(one[field], "", "{one}");
            }
            let file = text(&one["file"]);
            let file = file.rsplit('/').next().unwrap().to_owned();
            (text(&one["severity"]), text(&one["reason"]), file)
        })
        .collect()
}

fn check(cluster: &Cluster, server: &Server, rows: &[Row<'_>]) {
    let address = server.address.as_str();
    let (hsm, default) = (cluster.file("hsm.crt"), cluster.file("default.crt"));
    for Row { broken, change, findings: expected, live: (status, words) } in rows {
        let path = cluster.client();
        change(&path);
        let path = path.to_str().unwrap();
        let connected = run(&["connect", address, "-q", "--cloudhsm", path], b"");
        assert_eq!(connected.status, Some(*status), "{broken}: {}", connected.stderr);
        connected.ends(*status, words);
        let doctor = ["doctor", path, "--cluster-cert", &hsm, "--default-client", &default];
        let on_paper = run(&[&doctor[..], &["--json"]].concat(), b"");
        let report: Value = serde_json::from_slice(&on_paper.stdout).unwrap();
        let expected: Vec<_> = expected
            .iter()
            .map(|(severity, reason, file)| {
                ((*severity).to_owned(), (*reason).to_owned(), (*file).to_owned())
            })
            .collect();
        assert_eq!(findings(&report), expected, "{broken}: {report:#}");
        let fails = expected.iter().any(|(severity, ..)| severity == "failure");
        on_paper.ends(i32::from(fails), &[]);
        assert_eq!(report["ok"], !fails, "{broken}");

        let live = run(&[&doctor[..], &["--json", "--connect", address]].concat(), b"");
        let report: Value = serde_json::from_slice(&live.stdout).unwrap();
        live.ends(i32::from(fails || *status != 0), &[]);
        let error = &report["live"]["error"];
        assert_eq!(error.is_null(), *status == 0, "{broken}: {report:#}");
        let text = run(&[&doctor[..], &["--connect", address]].concat(), b"");
        let layer = match status {
            0 => "both layers verified",
            4 => "fails on the outer layer: ",
            5 => "fails on the inner layer: ",
            _ => "fails",
        };
        for word in words.iter().chain([&layer]) {
            assert!(text.text().contains(word), "{broken}: {word:?} is not in {}", text.text());
        }
        if matches!(status, 4 | 5) {
            assert_eq!(error["status"], *status, "{broken}");
            assert_eq!(error["layer"], if *status == 4 { "outer" } else { "inner" }, "{broken}");
        }
    }
    println!("{} rows", rows.len());
}

#[test]
fn each_file_broken_in_turn() {
    let cluster = Cluster::new("doctor-files");
    let server = cluster.serve("host", "hsm", &[]);
    let stranger = authority(Subject::customer("stranger"), always());
    let namesake = authority(Subject::customer("customerCA"), always());
    let other_host = authority(Subject::aws("AWS Cryptography"), always());
    let other_client = Template::new(Subject::customer("mine"), Shape::Version1, always())
        .issued_by(&namesake)
        .unwrap();
    let (gone, soon) =
        (cluster.issue(Shape::Version1, gone()), cluster.issue(Shape::Version1, soon()));
    let no_authority = cluster.issue(Shape::KeyIdentifiers, always());
    let write = |name: &'static str, text: &str| {
        let text = text.to_owned();
        Box::new(move |path: &Path| fs::write(path.join(name), &text).unwrap())
            as Box<dyn Fn(&Path)>
    };
    let remove = |name: &'static str| {
        Box::new(move |path: &Path| fs::remove_file(path.join(name)).unwrap()) as Box<dyn Fn(&Path)>
    };
    let client = |issued: &Issued| {
        let (certificate, key) = (issued.pem.clone(), issued.key_pem.clone());
        Box::new(move |path: &Path| {
            fs::write(path.join("client.crt"), &certificate).unwrap();
            fs::write(path.join("client.key"), &key).unwrap();
        }) as Box<dyn Fn(&Path)>
    };
    let damaged = |issued: &Issued| {
        let mut der = issued.der.clone();
        *der.last_mut().unwrap() ^= 1;
        crate::forge::certificate_pem(&der)
    };
    let unfinished = |issued: &Issued| issued.pem.replace("-----END CERTIFICATE-----", "");
    let encrypted = crate::forge::pem("ENCRYPTED PRIVATE KEY", b"x");
    let pki = &cluster.pki;
    let rows = [
        Row { broken: "nothing", change: Box::new(|_| {}), findings: &[], live: (0, &[]) },
        Row {
            broken: "host's certificate not there",
            change: remove("certs/21a10654.0"),
            findings: &[],
            live: (4, &["certificate not pinned", "712ff948.0"]),
        },
        Row {
            broken: "host's certificate is another host's",
            change: write("certs/21a10654.0", &other_host.pem),
            findings: &[],
            live: (4, &["certificate not pinned"]),
        },
        Row {
            broken: "host's certificate unfinished",
            change: write("certs/21a10654.0", &unfinished(&pki.outer_server)),
            findings: &[("warning", "encoding", "21a10654.0")],
            live: (4, &["certificate not pinned", "besides, see to", "21a10654.0", "END line"]),
        },
        Row {
            broken: "a bit of the host's certificate",
            change: write("certs/21a10654.0", &damaged(&pki.outer_server)),
            findings: &[("failure", "certificate that is not self-signed", "21a10654.0")],
            live: (4, &["certificate not pinned"]),
        },
        Row {
            broken: "host's certificate under a wrong name",
            change: Box::new(|path| {
                let certs = path.join("certs");
                fs::rename(certs.join("21a10654.0"), certs.join("12345678.0")).unwrap();
            }),
            findings: &[("warning", "file name is not the subject's hash", "12345678.0")],
            live: (0, &[]),
        },
        Row {
            broken: "an issued certificate among the hosts'",
            change: write("certs/00000000.0", &no_authority.pem),
            findings: &[
                ("warning", "file name is not the subject's hash", "00000000.0"),
                ("warning", "certificate that is not self-signed", "00000000.0"),
            ],
            live: (0, &[]),
        },
        Row {
            broken: "no host's certificate",
            change: Box::new(|path| {
                fs::remove_dir_all(path.join("certs")).unwrap();
                fs::create_dir(path.join("certs")).unwrap();
            }),
            findings: &[("failure", "directory without certificates", "certs")],
            live: (2, &["directory without certificates"]),
        },
        Row {
            broken: "no directory of hosts' certificates",
            change: Box::new(|path| fs::remove_dir_all(path.join("certs")).unwrap()),
            findings: &[("failure", "unreadable file", "certs")],
            live: (2, &["certs"]),
        },
        Row {
            broken: "customerCA of another cluster, of the same name",
            change: write("customerCA.crt", &namesake.pem),
            findings: &[
                ("failure", "accepted by no rule", "client.crt"),
                ("failure", "wrong signature", "customerCA.crt"),
            ],
            live: (5, &["wrong signature", "CN=customerCA", "key ", "customerCA.crt"]),
        },
        Row {
            broken: "customerCA of another cluster",
            change: write("customerCA.crt", &stranger.pem),
            findings: &[
                ("warning", "incomplete chain", "client.crt"),
                ("failure", "accepted by no rule", "client.crt"),
                ("failure", "unknown issuer", "customerCA.crt"),
            ],
            live: (5, &["unknown issuer", "CN=stranger", "CN=customerCA", "customerCA.crt"]),
        },
        Row {
            broken: "customerCA that is the cluster's certificate",
            change: write("customerCA.crt", &pki.cluster.pem),
            findings: &[
                ("warning", "certificate that is not self-signed", "customerCA.crt"),
                ("warning", "incomplete chain", "client.crt"),
                ("failure", "accepted by no rule", "client.crt"),
                ("failure", "unknown issuer", "customerCA.crt"),
            ],
            live: (5, &["unknown issuer", "CN=customerCA", "customerCA.crt"]),
        },
        Row {
            broken: "customerCA not there",
            change: remove("customerCA.crt"),
            findings: &[("failure", "unreadable file", "customerCA.crt")],
            live: (2, &["customerCA.crt", "no such file"]),
        },
        Row {
            broken: "customerCA's key in the place of its certificate",
            change: write("customerCA.crt", &pki.customer_ca.key_pem),
            findings: &[
                ("warning", "private key among certificates", "customerCA.crt"),
                ("failure", "no certificate", "customerCA.crt"),
            ],
            live: (2, &["customerCA.crt", "a block PRIVATE KEY"]),
        },
        Row {
            broken: "a bit of customerCA",
            change: write("customerCA.crt", &damaged(&pki.customer_ca)),
            findings: &[("failure", "certificate that is not self-signed", "customerCA.crt")],
            // Nobody needs the signature of an authority on itself.
            live: (0, &[]),
        },
        Row {
            broken: "client's certificate not there",
            change: remove("client.crt"),
            findings: &[("failure", "unreadable file", "client.crt")],
            live: (2, &["client.crt", "no such file"]),
        },
        Row {
            broken: "client's key not there",
            change: remove("client.key"),
            findings: &[("failure", "unreadable file", "client.key")],
            live: (2, &["client.key", "no such file"]),
        },
        Row {
            broken: "client's key is another's",
            change: write("client.key", &stranger.key_pem),
            findings: &[("failure", "private key of another certificate", "client.key")],
            live: (2, &["private key of another certificate", "client.key"]),
        },
        Row {
            broken: "client's key under a passphrase",
            change: write("client.key", &encrypted),
            findings: &[("failure", "encrypted private key", "client.key")],
            live: (2, &["encrypted private key", "client.key"]),
        },
        Row {
            broken: "client's certificate in the place of its key",
            change: write("client.key", &pki.issued_client.pem),
            findings: &[("failure", "no private key", "client.key")],
            live: (2, &["no private key", "a block CERTIFICATE", "client.key"]),
        },
        Row {
            broken: "client's certificate is a stranger's",
            change: client(&stranger),
            findings: &[("failure", "accepted by no rule", "client.crt")],
            live: (4, &["the peer refused the connection", "unknown_ca", "client.crt"]),
        },
        Row {
            broken: "client's certificate of another customerCA of that name",
            change: client(&other_client),
            findings: &[("failure", "accepted by no rule", "client.crt")],
            live: (4, &["the peer refused the connection", "client.crt"]),
        },
        Row {
            broken: "a bit of the client's certificate",
            change: write("client.crt", &damaged(&pki.issued_client)),
            findings: &[("failure", "accepted by no rule", "client.crt")],
            live: (4, &["the peer refused the connection", "client.crt"]),
        },
        Row {
            broken: "client's certificate has expired",
            change: client(&gone),
            findings: &[("failure", "expired certificate", "client.crt")],
            live: (4, &["the peer refused the connection", "certificate_expired", "client.crt"]),
        },
        Row {
            broken: "client's certificate expires soon",
            change: client(&soon),
            findings: &[("warning", "certificate expires soon", "client.crt")],
            live: (0, &[]),
        },
        Row {
            broken: "client's certificate is the default one",
            change: client(&pki.default_client),
            findings: &[],
            live: (0, &[]),
        },
        #[cfg(unix)]
        Row {
            broken: "client's key that others may read",
            change: Box::new(|path| {
                use std::os::unix::fs::PermissionsExt;
                let mode = fs::Permissions::from_mode(0o640);
                fs::set_permissions(path.join("client.key"), mode).unwrap();
            }),
            findings: &[("warning", "private key that others may read", "client.key")],
            live: (0, &[]),
        },
    ];
    check(&cluster, &server, &rows);
}

/// The same directory, and a server that presents something else.
#[test]
fn each_server_broken_in_turn() {
    let cluster = Cluster::new("doctor-servers");
    let store = |name: &str, issued: &Issued| cluster.store(name, issued);
    let customer_ca = &cluster.pki.customer_ca;
    store("expired-host", &authority(Subject::aws("Cryptography"), gone()));
    store("other-host", &authority(Subject::aws("AWS Cryptography"), always()));
    let hsm = |period, by: &Issued| {
        Template::new(Subject::hsm("x"), Shape::Version1, period).issued_by(by).unwrap()
    };
    store("expired-hsm", &hsm(gone(), customer_ca));
    store("other-hsm", &hsm(always(), &authority(Subject::customer("customerCA"), always())));
    store("sibling-hsm", &hsm(always(), customer_ca));
    // The host that terminates the outer layer poses as the HSM.
    store("posing", &cluster.pki.outer_server);
    let client = cluster.client();
    fs::copy(cluster.file("expired-host.crt"), client.join("certs/712ff948.0")).unwrap();
    let client = client.to_str().unwrap();
    let rows: [(&str, &str, &str, i32, &[&str]); 5] = [
        ("other-host", "hsm", "hsm", 4, &["certificate not pinned", "/CN=CloudHSM"]),
        ("host", "other-hsm", "hsm", 5, &["wrong signature", "CN=customerCA", "customerCA.crt"]),
        ("host", "posing", "hsm", 5, &["unknown issuer", "CN=CloudHSM", "customerCA.crt"]),
        ("host", "sibling-hsm", "hsm", 5, &["certificate not pinned", "hsm.crt"]),
        ("host", "expired-hsm", "expired-hsm", 5, &["expired certificate", "expiry at"]),
    ];
    for (host, hsm, expected_hsm, status, words) in rows {
        let server = cluster.serve(host, hsm, &[]);
        let cluster_cert = cluster.file(&format!("{expected_hsm}.crt"));
        let arguments =
            ["doctor", client, "--cluster-cert", &cluster_cert, "--connect", &server.address];
        let report = run(&arguments, b"");
        let layer = if status == 4 { "outer" } else { "inner" };
        report.ends(1, &[&format!("{layer} TLS: the connection fails")]);
        for word in words.iter().chain([&"\n  refused: "]) {
            assert!(report.text().contains(word), "{word:?} is not in {}", report.text());
        }
        // Both layers' certificates were received, and are shown, as far as it came.
        let certificates = report.text().matches("certificate 0 of the peer").count();
        assert_eq!(certificates, if status == 4 { 1 } else { 2 });
    }

    // What can't be renewed is accepted on request, and said.
    let server = cluster.serve("expired-host", "expired-hsm", &[]);
    let cluster_cert = cluster.file("expired-hsm.crt");
    let arguments = ["doctor", client, "--cluster-cert", &cluster_cert, "--connect"];
    let mut arguments = [&arguments[..], &[&server.address]].concat();
    let strict = run(&arguments, b"");
    strict.ends(1, &["outer TLS"]);
    assert!(strict.text().contains("fails: ") && strict.text().contains("712ff948.0"));
    arguments.push("--ignore-expiry");
    let lenient = run(&arguments, b"");
    let text = lenient.ends(0, &[]).text();
    assert_eq!(text.matches("warning: ").count(), 2, "{text}");
    assert_eq!(text.matches("note: expired at ").count(), 2, "{text}");
}

/// An HSM that asks for a certificate of its own, with the configuration of SDK 5.
#[test]
fn mutual_tls_on_the_inner_layer() {
    let cluster = Cluster::new("doctor-mutual");
    let anchor = authority(Subject::customer("anchor"), always());
    cluster.store("anchor", &anchor);
    let client = |by: &Issued| {
        Template::new(Subject::customer("inner client"), Shape::Version1, always())
            .issued_by(by)
            .unwrap()
    };
    let server = cluster.serve("host", "hsm", &["--inner-client-ca", &cluster.file("anchor.crt")]);
    let path = cluster.client();
    let file = |name: &str| path.join(name);
    let doctor = |status, words: &[&str]| {
        let arguments = ["doctor", path.to_str().unwrap(), "--connect", &server.address];
        let report = run(&arguments, b"");
        report.ends(status, &[]);
        for word in words {
            assert!(report.text().contains(word), "{word:?} is not in {}", report.text());
        }
    };
    doctor(1, &["fails on the inner layer", "certificate_required", "--inner-cert"]);
    let config = r#"{"clusters": [{"cluster": {"client_cert_hsm_tls_path": "inner.crt", "client_key_hsm_tls_path": "inner.key"}}]}"#;
    fs::write(file("cloudhsm-cli.cfg"), config).unwrap();
    doctor(1, &["cloudhsm-cli.cfg names", "fails: ", "inner.crt: unreadable file"]);
    let write = |issued: &Issued| {
        crate::pki::write(&file("inner.crt"), &issued.pem, 0o644).unwrap();
        crate::pki::write(&file("inner.key"), &issued.key_pem, 0o600).unwrap();
    };
    write(&client(&cluster.pki.customer_ca));
    doctor(1, &["fails on the inner layer: ", "unknown_ca", "inner.crt"]);
    write(&client(&anchor));
    doctor(0, &["both layers verified", "we presented /C=US/O=Throwaway customer/CN=inner client"]);
    fs::write(file("cloudhsm-cli.cfg"), config.replace("inner.key", "")).unwrap();
    doctor(1, &["fails: ", "cloudhsm-cli.cfg: configuration", "client_key_hsm_tls_path: a path"]);
}

#[test]
fn what_doctor_cannot_look_at() {
    let path = directory("doctor-nothing");
    let absent = path.join("absent");
    run(&["doctor", absent.to_str().unwrap()], b"").ends(2, &["can't be read", "absent"]);
    let path = path.to_str().unwrap();
    run(&["doctor", path, "--cluster-cert", "absent.crt"], b"").ends(2, &["--cluster-cert"]);
    // Nothing of a client is there; where a piece of one is, each of the others is reported.
    let no_client = ["no directory of a CloudHSM client", "customerCA.crt", "none of them"];
    run(&["doctor", path], b"").ends(2, &no_client);
    run(&["connect", "127.0.0.1:1", "--cloudhsm", path], b"").ends(2, &no_client);
    fs::create_dir(Path::new(path).join("certs")).unwrap();
    let report = run(&["doctor", path], b"");
    report.ends(1, &["4 findings"]);
    // A file that is no configuration.
    let text = Path::new(path).join("text");
    fs::write(&text, "root:x:0:0\n").unwrap();
    let report = run(&["doctor", text.to_str().unwrap()], b"");
    report.ends(1, &["1 finding"]);
    for words in ["expected JSON", "found none from line 1, column 1"] {
        assert!(report.text().contains(words), "{}", report.text());
    }
    let cluster = Cluster::new("doctor-closed");
    let client = cluster.client();
    let report = run(&["doctor", client.to_str().unwrap(), "--connect", "127.0.0.1:1"], b"");
    report.ends(1, &["the connection fails"]);
    assert!(report.text().contains("connection refused"), "{}", report.text());
}

/// As a user goes: the demonstration's directory, its doctor, a connection to its servers, each file damaged.
#[test]
fn the_demonstrations_directory() {
    let kept = directory("doctor-demo").join("cluster");
    let path = kept.to_str().unwrap();
    let demo = Server::start(&["demo", "--keep", path]);
    let hsm = kept.join("server/hsm.crt");
    let doctor =
        ["doctor", path, "--cluster-cert", hsm.to_str().unwrap(), "--connect", &demo.address];
    let connect = ["connect", &demo.address, "-q", "--cloudhsm", path];
    let report = run(&doctor, b"");
    report.ends(0, &[]);
    assert!(report.text().contains("in order") && report.text().contains("both layers verified"));
    assert_eq!(run(&connect, b"the same way").ends(0, &[]).text(), "the same way");

    let original = |file: &str| (file.to_owned(), fs::read(kept.join(file)).unwrap());
    let files = ["certs/21a10654.0", "client.crt", "client.key", "customerCA.crt"].map(original);
    let noise = [0x30; 300];
    for (file, good) in &files {
        for damaged in [&good[..good.len() / 2], &[], &noise] {
            fs::write(kept.join(file), damaged).unwrap();
            let report = run(&doctor, b"");
            report.ends(1, &[]);
            let name = format!("{path}/{file}: ");
            assert!(report.text().contains(&name), "{name} is not in {}", report.text());
            let connected = run(&connect, b"");
            assert!(matches!(connected.status, Some(2 | 4)), "{file}: {connected:?}");
            assert!(connected.stderr.contains(file.as_str()), "{}", connected.stderr);
        }
        fs::write(kept.join(file), good).unwrap();
    }
    run(&doctor, b"").ends(0, &[]);
}
