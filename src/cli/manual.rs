//! `completions` and `man`: what the options themselves say, for a shell and for `man`.

use clap::{Args, Command};
use clap_complete::Shell;

use super::console::{Console, To};
use super::failure::Failure;

/// Print the completions for a shell.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  nested-tls completions bash > /etc/bash_completion.d/nested-tls")]
pub(crate) struct Completions {
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Print the manual page, or that of one command, in the form of `man`.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  nested-tls man relay | man -l -")]
pub(crate) struct Man {
    /// Whose page; without it, that of the whole program
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

const CONSOLE: Console = Console { json: false, quiet: false };

impl Completions {
    /// Of `root`, the whole program.
    pub(crate) fn run(self, mut root: Command) -> Result<(), Failure> {
        let name = root.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut root, name.clone(), &mut script);
        match self.shell {
            Shell::Bash => print(joined(&String::from_utf8_lossy(&script), &name).as_bytes()),
            _ => print(&script),
        }
    }
}

/// clap_complete 4.6 writes a hyphen of the program's name in two ways, and so finds no command's options.
fn joined(script: &str, name: &str) -> String {
    script.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"))
}

impl Man {
    /// Of `root`, the whole program.
    pub(crate) fn run(self, mut root: Command) -> Result<(), Failure> {
        // Names with the program's before them, and options that all commands share.
        root.build();
        let page = match &self.command {
            None => root,
            Some(name) => root.find_subcommand(name).cloned().ok_or_else(|| {
                Failure::usage(
                    format!("there is no command {name}"),
                    "see --help for those that are",
                )
            })?,
        };
        let title = page.get_display_name().unwrap_or_else(|| page.get_name()).to_owned();
        let mut text = Vec::new();
        let rendered = clap_mangen::Man::new(page).title(title).render(&mut text);
        rendered.map_err(|error| {
            Failure::usage(error.to_string(), "report this as an error of nested-tls")
        })?;
        print(with_examples(&String::from_utf8_lossy(&text)).as_bytes())
    }
}

/// What stands behind the options are examples, whose lines have to stay as they are: they are copied.
fn with_examples(page: &str) -> String {
    [".SH EXTRA\nExamples:\n", ".SH EXTRA\nExample:\n"]
        .iter()
        .fold(page.to_owned(), |page, title| page.replace(title, ".SH EXAMPLES\n.nf\n"))
}

fn print(text: &[u8]) -> Result<(), Failure> {
    // Who has had enough misses nothing; what can't be written is asked for in the end.
    let _ = CONSOLE.line(To::Stdout, String::from_utf8_lossy(text).trim_end());
    Ok(())
}
