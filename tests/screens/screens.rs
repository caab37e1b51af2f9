//! Every help text, and what is said of common mistakes: files beside this one, written anew by
//! `TRYCMD=overwrite cargo test --test screens`.

use std::path::Path;

#[test]
fn what_commands_print_is_what_the_files_say() {
    trycmd::TestCases::new()
        .register_bin("opros", Path::new(env!("CARGO_BIN_EXE_opros")))
        // Nothing of the machine's has a say: not its configuration, not its terminal.
        .env("OPROS_CONFIG", "/dev/null")
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .case("tests/screens/*.trycmd");
}

/// A command without a screen is a command whose help nobody has read.
#[test]
fn every_command_has_its_help_on_file() {
    use clap::CommandFactory;
    let mut command = opros::cli::Cli::command();
    command.build();
    let files = ["help.trycmd", "help-jobs.trycmd", "help-house.trycmd"].map(|name| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens").join(name);
        std::fs::read_to_string(path).unwrap_or_default()
    });
    for inner in command.get_subcommands() {
        let line = format!("$ opros {} --help\n", inner.get_name());
        assert!(files.iter().any(|file| file.contains(&line)), "no screen of: {line}");
    }
}
