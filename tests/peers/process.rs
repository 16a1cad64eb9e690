//! A peer that is a program of its own: one line in for each conversation, one line out.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;

use nested_tls::Layer;

use crate::case::{Case, Version};
use crate::identities::{Identities, alpn, name, own, trust};
use crate::peer::{Can, Peer, Report, Running};
use crate::table::accept;

/// A program under `programs/`, running.
pub(crate) struct Process {
    name: String,
    can: Can,
    /// The peer is the inner layer only; a host stands between.
    pub(crate) inner_only: bool,
    program: Rc<RefCell<Program>>,
}

struct Program {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    /// Starts `command`, whose first line is its name and version.
    pub(crate) fn start(mut command: Command, can: Can) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap_or_else(|e| {
                panic!("{command:?}: {e}");
            });
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut name = String::new();
        output.read_line(&mut name).unwrap();
        assert!(!name.is_empty(), "{command:?} ended at once");
        let program = Rc::new(RefCell::new(Program { child, input, output }));
        Self { name: name.trim().into(), can, inner_only: false, program }
    }
}

impl Peer for Process {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn can(&self) -> Can {
        self.can
    }

    fn start(&self, identities: &Identities, case: &Case) -> (TcpStream, Running) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let line = line(identities, case, port, self.inner_only);
        writeln!(self.program.borrow_mut().input, "{line}").unwrap();
        let program = self.program.clone();
        let running = Running::new(move || {
            let mut line = String::new();
            program.borrow_mut().output.read_line(&mut line).unwrap();
            Report::parse(&line)
        });
        (accept(&listener), running)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Where it was not, that is a test's doing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line(identities: &Identities, case: &Case, port: u16, inner_only: bool) -> String {
    let mut line = Report::default();
    line.set("dir", identities.dir.display());
    line.set("port", port);
    for layer in [Layer::Outer, Layer::Inner] {
        let end = case.end(layer).other();
        let role = if inner_only && layer == Layer::Outer { "none" } else { end.word() };
        let own = own(case, layer, end, case.stranger_there == Some(layer));
        line.set(&format!("{layer}"), role);
        line.set(&format!("{layer}_tls"), case.version(layer).digits());
        line.set(&format!("{layer}_own"), own);
        line.set(&format!("{layer}_trust"), trust(layer, end));
        line.set(&format!("{layer}_alpn"), alpn(layer));
        line.set(&format!("{layer}_name"), name(layer));
        let updates = case.version(layer) == Version::Tls13;
        line.set(&format!("{layer}_updates"), u8::from(updates));
    }
    let flow = case.theirs;
    line.set("send", flow.bytes);
    line.set("piece", flow.piece);
    line.set("waits", u8::from(flow.waits));
    line.set("update", flow.update);
    line.set("outer_piece", case.outer_piece);
    line.set("pad", case.pad);
    line.set("cut", case.cut.map_or("none", crate::case::Cut::word));
    format!("{line:?}")
}
