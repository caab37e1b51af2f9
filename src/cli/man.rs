//! `man`: manual pages, made of what the command line says of itself and of the shipped configuration.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::CommandFactory;

use super::Cli;
use super::args::ManArgs;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Term;
use crate::config::SHIPPED;

pub fn man(term: &mut Term, args: &ManArgs) -> Result<Exit, Failure> {
    match &args.dir {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            term.raw(&page)?;
            term.raw_end()?;
        }
        Some(dir) => {
            let pages = write_all(dir).map_err(|error| {
                Failure::Usage(format!("the pages cannot be written to {}: {error}", dir.display()))
            })?;
            term.note(format!("{pages} manual pages are in {}; man -l {}/opros.1", dir.display(), dir.display()))?;
        }
    }
    Ok(Exit::Ok)
}

fn write_all(dir: &Path) -> io::Result<usize> {
    fs::create_dir_all(dir)?;
    let mut command = Cli::command();
    // Gives every command its whole name: opros-config-check.
    command.build();
    let written = write_tree(&command, dir)?;
    put(dir, "opros.toml.5", config_page().as_bytes())?;
    Ok(written + 1)
}

fn write_tree(command: &clap::Command, dir: &Path) -> io::Result<usize> {
    let mut written = 1;
    let man = clap_mangen::Man::new(command.clone());
    let mut page = Vec::new();
    man.render(&mut page)?;
    put(dir, &man.get_filename(), &page)?;
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        written += write_tree(inner, dir)?;
    }
    Ok(written)
}

/// Takes the place of what bears that name. A link that lies there is not written through.
fn put(dir: &Path, name: &str, page: &[u8]) -> io::Result<()> {
    let readable = fs::Permissions::from_mode(0o644);
    let mut file = tempfile::Builder::new().permissions(readable).tempfile_in(dir)?;
    file.write_all(page)?;
    file.persist(dir.join(name)).map(drop).map_err(|error| error.error)
}

/// opros.toml(5): the shipped file explains itself.
fn config_page() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut page = format!(
        ".TH opros.toml 5 \"\" \"opros {version}\"\n.SH NAME\nopros.toml \\- the configuration of opros\n.SH DESCRIPTION\n\
         Read from /etc/opros/opros.toml, or the file of --config or OPROS_CONFIG. \"opros config check\" finds every mistake, \
         \"opros init\" writes one. The shipped file, which is also every built-in default, follows.\n.SH THE SHIPPED FILE\n.nf\n"
    );
    for line in SHIPPED.lines() {
        page.push_str(&roff(line));
        page.push('\n');
    }
    page.push_str(".fi\n.SH SEE ALSO\n\\fBopros\\fR(1)\n");
    page
}

/// A line as it is: no request, no escape, and quotes that stay straight.
fn roff(line: &str) -> String {
    let escape = |c: char| match c {
        '\\' => "\\e".to_owned(),
        '-' => "\\-".to_owned(),
        '\'' => "\\(aq".to_owned(),
        c if c.is_ascii() => c.to_string(),
        c => format!("\\[u{:04X}]", u32::from(c)),
    };
    let escaped: String = line.chars().map(escape).collect();
    if escaped.starts_with('.') { format!("\\&{escaped}") } else { escaped }
}
